package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"countersign/event/ssf"
	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/transmitter"
)

type apiDoc struct {
	OpenAPI    string                               `json:"openapi"`
	Paths      map[string]map[string]map[string]any `json:"paths"`
	Components struct {
		Schemas map[string]map[string]any `json:"schemas"`
	} `json:"components"`
}

func readDoc(t *testing.T) *apiDoc {
	t.Helper()
	var d apiDoc
	if err := json.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" {
		t.Errorf("openapi %s", d.OpenAPI)
	}
	return &d
}

// Every route is in the document, every path of the document is routed, and both say the same scope.
func TestDocumentAndRoutesAgree(t *testing.T) {
	d := readDoc(t)
	routed := map[string]bool{}
	for _, rt := range routes {
		key := strings.ToLower(rt.method) + " " + Prefix + rt.path
		routed[key] = true
		op := d.Paths[Prefix+rt.path][strings.ToLower(rt.method)]
		if op == nil {
			t.Errorf("the document lacks %s", key)
			continue
		}
		if scope, _ := op["x-scope"].(string); scope != rt.scope {
			t.Errorf("%s: the document says the scope %q, the table %q", key, scope, rt.scope)
		}
		if _, open := op["security"]; open != rt.open {
			t.Errorf("%s: who needs a token differs", key)
		}
		if op["operationId"] == "" || op["summary"] == "" {
			t.Errorf("%s has no name or summary", key)
		}
		var inPath []string
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			if m := p.(map[string]any); m["in"] == "path" {
				inPath = append(inPath, "{"+m["name"].(string)+"}")
			}
		}
		for _, seg := range strings.Split(rt.path, "/") {
			if strings.HasPrefix(seg, "{") && !slices.Contains(inPath, seg) {
				t.Errorf("%s: the parameter %s is not described", key, seg)
			}
		}
	}
	for path, ops := range d.Paths {
		for method := range ops {
			if !routed[method+" "+path] {
				t.Errorf("the document has %s %s, and nobody answers there", method, path)
			}
		}
	}
}

// The members of each schema are those of the type that is written, both ways.
func TestSchemasAreTheTypes(t *testing.T) {
	d := readDoc(t)
	for name, v := range map[string]any{
		"Problem": problem{}, "Step": Step{}, "ApplyRequest": applyRequest{}, "ApplyAnswer": applyAnswer{}, "SignalRequest": signalRequest{}, "SignalAccepted": accepted{},
		"Signal": hub.Signal{}, "Order": hub.Order{}, "Decision": hub.Decision{}, "Finding": hub.Finding{}, "Action": hub.Action{}, "Attempt": hub.Attempt{}, "Receipt": hub.Receipt{},
		"Resource": resourceView{}, "Story": Story{}, "TokenAsReceived": tokenStory{}, "AccessToken": tokenView{},
		"Stream": StreamInfo{}, "StreamStory": StreamStory{}, "StreamDelivery": StreamDelivery{}, "Answer": Answer{}, "Trouble": Trouble{}, "ReasonCount": ReasonCount{}, "Delivery": Delivery{},
		"RedriveRequest": RedriveRequest{}, "Redriven": Redriven{}, "StatusRequest": StatusRequest{}, "ExplainRequest": ExplainRequest{}, "Explained": Explained{}, "ExplainStep": ExplainStep{},
		"SubjectRequest": SubjectRequest{}, "SubjectChanged": SubjectChanged{}, "StreamAsked": StreamAsked{}, "EachRequest": EachRequest{}, "EachAnswer": EachAnswer{}, "EachSent": EachSent{},
		"Examination": Examination{}, "Diagnosis": Diagnosis{}, "SentOrder": OrderInfo{}, "OrderStory": OrderStory{}, "Moment": Moment{}, "OrderReceipt": OrderReceipt{}, "WithdrawRequest": WithdrawRequest{},
		"Account": store.Account{}, "AccountImportRequest": AccountImportRequest{}, "ImportLine": importLine{}, "ImportProgress": ImportProgress{}, "ImportFault": ImportFault{}, "ImportDone": ImportDone{},
		"Unresolved": store.Unresolved{}, "UnresolvedReason": store.UnresolvedReason{}, "SignalRedrive": SignalRedrive{}, "SignalRedriven": SignalRedriven{},
		"Refusal": hub.Refusal{}, "SourceStepRequest": enroll.StepInput{}, "SourceStep": enroll.StepResult{}, "PolledSet": enroll.PolledSet{}, "SourceReason": SourceReason{}, "ConsentRequest": ConsentRequest{},
		"ConsentAnswer": ConsentAnswer{}, "SubjectsProgress": SubjectsProgress{}, "SubjectFault": SubjectFault{}, "SubjectsLine": SubjectsLine{}, "SourceFinding": enroll.Finding{}, "SourceExamination": enroll.Examination{},
		"Key": KeyInfo{}, "RotateRequest": RotateRequest{}, "RetireRequest": RetireRequest{},
	} {
		got := slices.Sorted(maps.Keys(d.Components.Schemas[name]["properties"].(map[string]any)))
		want := members(reflect.TypeOf(v))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the document has %v, the type %v", name, got, want)
		}
	}
}

func members(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			out = append(out, members(ft)...)
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}

// Every route is called, and what it answers is held to the document.
func TestEveryRouteAnswersAsDescribed(t *testing.T) {
	b := newBench(t)
	d := readDoc(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+appDoc+`,`+identityDoc+`,`+policyDoc+`,`+sourceDoc+`],"secrets":{"wiki-token":"v","spare":"w"}}`))
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+spareTenant+`,{"kind":"identity","name":"cr","accounts":[{"at":"crm","id":"0017"}]}]}`))
	b.wires[DefaultTenant].orders[0].Receipts = []transmitter.KeptReceipt{b.receiptFor(b.signer, &b.wires[DefaultTenant].orders[0])}
	b.wires[DefaultTenant].answer = func(string) {
		w := b.wires[DefaultTenant]
		w.lines = append([]transmitter.Delivery{{Stream: 3, StreamID: pushID, JTI: "ver-1", Type: ssf.VerificationURI, Outcome: transmitter.Delivered, Status: 202, At: transmitter.At(start)}}, w.lines...)
	}
	var made tokenView
	b.decode(b.want(201, b.post("/tokens", b.operator, `{"client":"reader"}`)), &made)
	names := map[string]string{"/sources/": "idp", "/apps/": "wiki", "/identities/": "alice", "/policies/": "p1", "/clients/": "writer", "/secrets/": "spare", "/tenants/": "spare"}
	// Deletes come last, so that what the others read is there.
	ordered := slices.Clone(routes)
	slices.SortStableFunc(ordered, func(a, b route) int {
		return strings.Compare(strings.Replace(a.method, "DELETE", "Z", 1), strings.Replace(b.method, "DELETE", "Z", 1))
	})
	for _, rt := range ordered {
		path, body := b.fill(rt)
		for prefix, name := range names {
			if strings.HasPrefix(rt.path, prefix) {
				path = strings.NewReplacer("{name}", name, "{verb}", "read").Replace(rt.path)
			}
		}
		if rt.path == "/tokens/{id}" {
			path = "/tokens/" + made.ID
		}
		w := b.call(rt.method, path, b.operator, body)
		op := d.Paths[Prefix+rt.path][strings.ToLower(rt.method)]
		if op == nil {
			continue
		}
		resp, ok := op["responses"].(map[string]any)[fmt.Sprint(w.Code)].(map[string]any)
		if !ok {
			t.Errorf("%s %s answered %d, which the document does not know: %s", rt.method, path, w.Code, w.Body)
			continue
		}
		hold(t, d, rt.method+" "+path, resp, w)
	}
	for _, w := range []*httptest.ResponseRecorder{b.get("/whoami", ""), b.get("/signals/none", b.operator), b.post("/signals", b.operator, "{")} {
		hold(t, d, "a problem", d.Paths[Prefix+"/signals"]["get"]["responses"].(map[string]any)["default"].(map[string]any), w)
	}
}

func hold(t *testing.T, d *apiDoc, what string, resp map[string]any, w *httptest.ResponseRecorder) {
	t.Helper()
	ct := w.Header().Get("Content-Type")
	media, ok := resp["content"].(map[string]any)[ct].(map[string]any)
	if !ok {
		t.Errorf("%s has the type %q, which the document does not know", what, ct)
		return
	}
	var v any
	raw := bytes.TrimSpace(w.Body.Bytes())
	if ct == "application/x-ndjson" {
		raw = raw[bytes.LastIndexByte(raw, '\n')+1:]
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	for _, fault := range d.check(media["schema"].(map[string]any), v, "") {
		t.Errorf("%s: %s", what, fault)
	}
}

// check holds a value to the part of JSON Schema that the document uses.
func (d *apiDoc) check(s map[string]any, v any, at string) (faults []string) {
	if r, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(r, "#/components/schemas/")
		target, ok := d.Components.Schemas[name]
		if !ok {
			return []string{at + ": the document lacks the schema " + name}
		}
		return d.check(target, v, at)
	}
	kind := "null"
	switch x := v.(type) {
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		kind = "number"
		if x == float64(int64(x)) {
			kind = "integer"
		}
	case map[string]any:
		kind = "object"
	case []any:
		kind = "array"
	}
	if want, ok := s["type"]; ok {
		var all []any
		if one, ok := want.(string); ok {
			all = []any{one}
		} else {
			all = want.([]any)
		}
		if !slices.Contains(all, any(kind)) {
			return []string{fmt.Sprintf("%s is a %s, not %v", at, kind, all)}
		}
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, v) {
		faults = append(faults, fmt.Sprintf("%s is %v, not one of %v", at, v, words))
	}
	switch x := v.(type) {
	case []any:
		if items, ok := s["items"].(map[string]any); ok {
			for i, it := range x {
				faults = append(faults, d.check(items, it, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case map[string]any:
		props, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, r := range required {
			if _, ok := x[r.(string)]; !ok {
				faults = append(faults, fmt.Sprintf("%s lacks %s", at, r))
			}
		}
		for name, mv := range x {
			if ps, ok := props[name].(map[string]any); ok {
				faults = append(faults, d.check(ps, mv, at+"."+name)...)
			} else if s["additionalProperties"] == false {
				faults = append(faults, fmt.Sprintf("%s has %s, which is not described", at, name))
			}
		}
	}
	return faults
}
