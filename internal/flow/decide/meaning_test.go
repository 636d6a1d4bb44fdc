package decide_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"countersign/internal/flow/decide"
	"countersign/internal/hub"
)

// Every type that may be received about somebody has a meaning, a label, an example that is valid, and variables that a policy
// may name; each variable of the example has the value that the event gives.
func TestEveryTypeHasAMeaning(t *testing.T) {
	types := decide.Types()
	n := 0
	for _, typ := range types.Types() {
		m, ok := hub.MeaningOf(typ.URI)
		if typ.StreamLevel {
			if ok {
				t.Errorf("%s is about the stream and has a meaning", typ.Name)
			}
			continue
		}
		if n++; !ok || m.Label == "" || m.Means == "" {
			t.Errorf("%s has no meaning: %+v", typ.Name, m)
			continue
		}
		if p, err := types.Decode(typ.URI, m.Example); err != nil || p.Validate() != nil {
			t.Errorf("%s: the example: %v", typ.Name, err)
		}
		if len(m.Default) == 0 && len(m.ByValue) == 0 && typ.Name != "scim/misc:asyncresp" {
			t.Errorf("%s stands for no action", typ.Name)
		}
		var example map[string]any
		if err := json.Unmarshal(m.Example, &example); err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		var when []string
		for _, v := range m.Variables {
			known[v.Member] = true
			if v.Text == "" {
				t.Errorf("%s: %s says nothing", typ.Name, v.Name)
			}
			want, there := example[v.Member]
			empty := map[string]string{"text": `""`, "number": `0`, "object": `{}`, "list": `[]`}[v.Kind]
			switch raw, _ := json.Marshal(want); {
			case there:
				when = append(when, "signal.event."+v.Name+" == "+string(raw))
			default:
				when = append(when, "signal.event."+v.Name+" == "+empty)
			}
		}
		for _, name := range typ.Members {
			if !known[name] {
				t.Errorf("%s: the member %s is no variable", typ.Name, name)
			}
		}
		if len(when) == 0 {
			when = []string{"signal.payload.size() == 0"}
		}
		policy := func(cond string) hub.Policy {
			return hub.Policy{Name: "p", On: []string{typ.Name}, When: cond, Then: []hub.Rule{{Action: hub.Record}}}
		}
		c, err := decide.Compile(policy(strings.Join(when, " && ")), 1, types)
		if err != nil {
			t.Errorf("%s: %v", typ.Name, err)
			continue
		}
		res, err := decide.NewSet(c).Decide(decide.Input{Signal: &hub.Signal{ID: "sig_1", Tenant: "default", EventType: typ.URI, SubID: json.RawMessage(`{}`), Event: m.Example},
			Source: &hub.Source{Name: "s"}, Person: decide.Person{Identity: &hub.Identity{Name: "alice"}}, Now: time.Unix(1, 0)})
		if err != nil || len(res.Actions) != 1 {
			t.Errorf("%s: %v %+v", typ.Name, err, res.Decision.Findings)
		}
		// A name that is none is refused when the policy is loaded, and says which there are.
		if _, err := decide.Compile(policy("signal.event.reasn == \"\""), 1, types); err == nil || !strings.Contains(err.Error(), "there is no member reasn here") {
			t.Errorf("%s: a misspelt member: %v", typ.Name, err)
		}
		if len(m.Variables) > 0 && m.Variables[0].Kind == "text" {
			if _, err := decide.Compile(policy("signal.event."+m.Variables[0].Name+" == 7"), 1, types); err == nil {
				t.Errorf("%s: a text is compared with a number", typ.Name)
			}
		}
	}
	if n != 34 {
		t.Errorf("%d types", n)
	}
}

// What senders of older drafts write is given the kind that conditions expect.
func TestVariablesOfOlderDrafts(t *testing.T) {
	types := decide.Types()
	c, err := decide.Compile(hub.Policy{Name: "p", On: []string{"risc/identifier-changed"}, Then: []hub.Rule{{Action: hub.Record}},
		When: `signal.event.reason_admin["und"] == "moved" && signal.event.event_timestamp == 5 && signal.event.new_value == "b@example.test" && signal.payload["x-own"] == true`}, 1, types)
	if err != nil {
		t.Fatal(err)
	}
	res, err := decide.NewSet(c).Decide(decide.Input{Signal: &hub.Signal{EventType: "https://schemas.openid.net/secevent/risc/event-type/identifier-changed", SubID: json.RawMessage(`{}`),
		Event: json.RawMessage(`{"reason_admin":"moved","event_timestamp":5.75,"new-value":"b@example.test","x-own":true}`)},
		Source: &hub.Source{Name: "s"}, Person: decide.Person{Identity: &hub.Identity{Name: "alice"}}, Now: time.Unix(1, 0)})
	if err != nil || len(res.Actions) != 1 {
		t.Errorf("%v %+v", err, res.Decision.Findings)
	}
	if strings.Contains(string(res.Decision.Inputs), `"payload"`) || !strings.Contains(string(res.Decision.Inputs), `"new_value":"b@example.test"`) {
		t.Errorf("inputs %s", res.Decision.Inputs)
	}
}
