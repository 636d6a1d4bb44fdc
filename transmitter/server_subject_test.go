package transmitter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/subject"
	"countersign/transmitter"
)

// lists changes the lists of streams over the API.
type lists struct {
	t *testing.T
	x *transmitter.Transmitter
}

func (l lists) change(path, id, sub, more string, want int) {
	l.t.Helper()
	r := do(l.x, call{method: "POST", path: "/t/blue/ssf/subjects/" + path, token: "token-a", body: `{"stream_id":"` + id + `","subject":` + sub + more + `}`})
	if body := text(l.t, r); r.StatusCode != want || want < 300 && body != "" {
		l.t.Fatalf("%s %s: %d %q", path, sub, r.StatusCode, body)
	}
}

func (l lists) add(id, sub string)    { l.t.Helper(); l.change("add", id, sub, "", 200) }
func (l lists) remove(id, sub string) { l.t.Helper(); l.change("remove", id, sub, "", 204) }

// goes reports whether an event about somebody is sent on the one stream there is.
func (l lists) goes(name string) bool {
	l.t.Helper()
	return len(mustSend(l.t, l.x, message(name)).Queued) == 1
}

func mail(name string) string { return `{"format":"email","email":"` + name + `@example.com"}` }

func TestSubjectsUnderALL(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	l := lists{t, x}
	id := create(t, x, "token-a", pollBody)
	if !l.goes("alice") {
		t.Error("ALL: nobody was removed, and nothing is sent")
	}
	req.Covers(t, "TX-22")
	l.remove(id, mail("alice"))
	if l.goes("alice") || !l.goes("bob") {
		t.Error("a removed person is sent, or another one is not")
	}
	l.remove(id, mail("nobody-knows-them")) // answered alike
	l.add(id, mail("nobody-knows-them"))
	l.add(id, `{"format":"urn:example:format-of-another","id":"1"}`)
	l.add(id, mail("alice"))
	if !l.goes("alice") {
		t.Error("adding does not undo removing")
	}
	l.add(id, mail("alice")) // once more is no error
	req.Covers(t, "TX-43", "TX-112", "TX-113", "TX-114", "TX-116", "TX-117", "TX-118", "TX-119", "TX-120", "P-28", "P-61", "P-63")
	// The stream itself is on every list and stays there.
	l.add(id, `{"format":"opaque","id":"`+id+`"}`)
	l.change("remove", id, `{"format":"opaque","id":"`+id+`"}`, "", 400)
	if err := x.Verification(t.Context(), id); err != nil {
		t.Errorf("verification: %v", err)
	}
	req.Covers(t, "TX-122", "SUB-36")
	// A list goes with its stream.
	l.remove(id, mail("alice"))
	if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"}); r.StatusCode != 204 {
		t.Fatal(r.StatusCode)
	}
	l.change("add", id, mail("alice"), "", 404)
	l.change("remove", id, mail("alice"), "", 404)
	create(t, x, "token-a", pollBody)
	if !l.goes("alice") {
		t.Error("the list of a deleted stream is obeyed by the next one")
	}
	sub, _ := subject.Parse([]byte(mail("alice")))
	if left, err := store.Subjects(t.Context(), [][16]byte{sub.Key()}); err != nil || len(left) != 0 {
		t.Errorf("entries are left: %v, %v", left, err)
	}
	req.Covers(t, "TX-95")
}

func TestSubjectsUnderNONE(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	cfg.DefaultSubjects = "NONE"
	x := newTransmitter(t, cfg)
	l := lists{t, x}
	id := create(t, x, "token-a", pollBody)
	if body := text(t, do(x, call{method: "GET", path: "/t/blue/.well-known/ssf-configuration"})); !strings.Contains(body, `"default_subjects":"NONE"`) {
		t.Errorf("%s", body)
	}
	if l.goes("alice") {
		t.Error("NONE: something is sent though nobody was added")
	}
	l.add(id, mail("alice"))
	if !l.goes("alice") || l.goes("bob") {
		t.Error("who was added is not sent, or who was not is")
	}
	l.change("add", id, mail("carol"), `,"verified":false`, 200)
	l.add(id, `{"format":"complex","user":`+mail("dora")+`,"tenant":{"format":"opaque","id":"t1"}}`)
	if !l.goes("carol") || !l.goes("dora") {
		t.Error("an unverified or a complex subject is not sent")
	}
	l.remove(id, mail("dora")) // not what was added
	if !l.goes("dora") {
		t.Error("removed by likeness, not by identity")
	}
	l.remove(id, `{"tenant":{"id":"t1","format":"opaque"},"user":`+mail("dora")+`,"format":"complex"}`)
	l.remove(id, mail("alice"))
	if l.goes("alice") || l.goes("dora") {
		t.Error("who was removed is sent")
	}
	if err := x.Verification(t.Context(), id); err != nil {
		t.Errorf("verification: %v", err)
	}
	req.Covers(t, "TX-21", "TX-23", "TX-132", "P-74")
}

// A caller's own baseline is told in its stream object where the metadata says another.
func TestDefaultSubjectsByCaller(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	cfg.Caller = transmitter.StaticBearer(map[string]transmitter.Caller{"token-a": {Receiver: "a", DefaultSubjects: "NONE"}})
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", pollBody)
	if body := text(t, do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"})); !strings.Contains(body, `"default_subjects":"NONE"`) {
		t.Errorf("%s", body)
	}
	if (lists{t, x}).goes("alice") {
		t.Error("NONE: something is sent though nobody was added")
	}
	req.Covers(t, "TX-21")
}

func TestSubjectRemovalGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newConfig(new(transmitter.Memory))
		cfg.RemovalGrace = time.Hour
		x := newTransmitter(t, cfg)
		l := lists{t, x}
		id := create(t, x, "token-a", pollBody)
		l.remove(id, mail("alice"))
		time.Sleep(50 * time.Minute)
		if !l.goes("alice") {
			t.Error("within the grace nothing is sent")
		}
		l.remove(id, mail("alice"))
		time.Sleep(11 * time.Minute)
		if l.goes("alice") {
			t.Error("a second removal made the grace longer")
		}
		req.Covers(t, "TX-121")
	})
}

func TestMaxSubjects(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.MaxSubjects = 3
	x := newTransmitter(t, cfg)
	l := lists{t, x}
	id := create(t, x, "token-a", pollBody)
	for i := range 3 {
		l.add(id, mail(fmt.Sprint("p", i)))
	}
	l.change("add", id, mail("one-more"), "", 400)
	l.remove(id, mail("p1"))
	l.add(id, mail("p1"))
	if n := store.CountsOf(id).Subjects; n != 3 {
		t.Errorf("%d entries", n)
	}
}

func TestListSubject(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	sub, err := subject.Parse([]byte(mail("alice")))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.ListSubject(t.Context(), id, sub, false, true); err != nil {
		t.Fatal(err)
	}
	if (lists{t, x}).goes("alice") {
		t.Error("a person whom the operator removed is sent")
	}
	if err := x.ListSubject(t.Context(), "unknown", sub, true, true); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("an unknown stream: %v", err)
	}
	if err := x.ListSubject(t.Context(), id, subject.Opaque(id), false, true); !errors.Is(err, transmitter.ErrInvalid) {
		t.Errorf("the stream itself: %v", err)
	}
	if err := x.ListSubject(t.Context(), id, subject.Identifier{}, true, true); !errors.Is(err, transmitter.ErrInvalid) {
		t.Errorf("nobody: %v", err)
	}
}
