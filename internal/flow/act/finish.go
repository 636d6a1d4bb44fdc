package act

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

// finish is called when every operation has ended well.
func (r *run) finish(ctx context.Context) error {
	a, p := r.a, r.p
	acted := false
	for _, d := range p.Did {
		// A repeat that finds nothing to do finds what our own earlier try did.
		if d.Class == connector.Done || !d.Was && a.Attempts > len(p.Did) {
			acted = true
		}
	}
	a.Left = 0
	r.counts()
	if residue := r.app.Pack.Residue(); residue > 0 && endsAccess(a.Name) {
		a.EffectiveBy = r.completed() + hub.Micros(residue/time.Microsecond)
	}
	if a.Name == hub.DisableAccount && len(p.Missing) > 0 {
		// What the pack cannot do is left over, however short-lived the access tokens are (design §3, the table).
		switch {
		case slices.Contains(p.Missing, hub.OpEndAllSessions):
			return r.fail(ctx, "partial", "The account is disabled; its sessions cannot be ended there and come back when it is enabled.")
		case a.EffectiveBy == 0:
			return r.fail(ctx, "partial", "The account is disabled and its sessions have ended; tokens cannot be revoked there, and nothing bounds them.")
		}
	}
	if r.silent() {
		return r.final(ctx, hub.Unconfirmed, "", "")
	}
	switch {
	case !acted && gone404(a.Name):
		return r.final(ctx, hub.Skipped, "already_gone", "")
	case !acted:
		return r.final(ctx, hub.Skipped, "already_in_state", "")
	case a.EffectiveBy != 0:
		return r.final(ctx, hub.Succeeded, "done_with_residue", "Access tokens already issued can stay valid until the time given.")
	}
	text := ""
	if a.Name == hub.EnableAccount && slices.Contains(p.Missing, hub.OpEndAllSessions) {
		text = "Sessions from before the account was disabled could not be ended there, and may live again."
	}
	return r.final(ctx, hub.Succeeded, "done", text)
}

// silent reports that an operation was accepted by an app that will never tell whether it did it.
func (r *run) silent() bool {
	return slices.ContainsFunc(r.p.Did, func(d did) bool { return d.Class == connector.Accepted })
}

// endsAccess reports whether access granted before the action matters to it (design §2.4).
func endsAccess(name string) bool {
	switch name {
	case hub.RevokeSessions, hub.RevokeTokens, hub.Reauthenticate, hub.DisableAccount, hub.DeleteAccount:
		return true
	}
	return false
}

// gone404 tells actions that remove something from actions that set a state.
func gone404(name string) bool {
	switch name {
	case hub.RevokeSessions, hub.RevokeTokens, hub.RevokeCredential, hub.DeleteAccount:
		return true
	}
	return false
}

// giveUp ends an action whose time is over.
func (r *run) giveUp(ctx context.Context) error {
	p := r.p
	if p.Phase == toLook && !p.Shown && len(p.Did) > 0 {
		// The application said done, and cannot be asked: its word is what we have.
		p.Step++
		p.Phase = finished
		if _, more := p.current(); !more {
			return r.finish(ctx)
		}
	}
	why := p.Why
	switch {
	case p.Phase == delayed:
		why = "timed_out"
	case p.Phase == toLook:
		why = "verification_failed"
	case why == "" || why == "timed_out":
		why = "app_unreachable"
	}
	if r.someDone() && why != "verification_failed" {
		why = "partial"
	}
	return r.fail(ctx, why, "")
}

// someDone reports that an operation before the one that failed has changed something.
func (r *run) someDone() bool {
	for _, d := range r.p.Did {
		if d.Class == connector.Done {
			return true
		}
	}
	return false
}

// fail ends the action with a reason code of the receipt.
func (r *run) fail(ctx context.Context, reason, text string) error {
	a := r.a
	if a.Name == hub.RevokeSessions && r.p.Seen {
		left := a.Left
		r.counts()
		if left == 0 && a.Found > 0 && reason != "partial" {
			left = a.Found - r.ended()
		}
		a.Left = left
		a.Acted = min(a.Found, max(a.Found-left, r.ended()))
	}
	if text == "" {
		text = texts[reason]
	}
	return r.final(ctx, hub.Failed, reason, text)
}

var texts = map[string]string{
	"app_unreachable":     "The application did not answer until the time for it was over.",
	"app_error":           "The application answered with an error.",
	"app_denied":          "The application refused our credentials or this request.",
	"timed_out":           "The application accepted the request and did not finish in time.",
	"verification_failed": "The application said done, and reading back shows that access persists.",
	"rate_limited":        "The application limited our requests until the time for it was over.",
	"partial":             "A part was done; the rest was not.",
	"ambiguous_subject":   "The application knows more than one account for one address.",
}

// ended counts the sessions that were ended one by one.
func (r *run) ended() int {
	n := 0
	for _, d := range r.p.Did {
		if d.Op == hub.OpEndSession && d.Class == connector.Done {
			n++
		}
	}
	return n
}

// counts fills found, acted and left, where the application told both before and after (A37).
func (r *run) counts() {
	a, p := r.a, r.p
	a.Counted = false
	if a.Name != hub.RevokeSessions || !p.Seen {
		return
	}
	for _, d := range p.Did {
		switch d.Op {
		case hub.OpEndAllSessions, hub.OpEndSession:
			if d.Proven || d.Left >= 0 {
				a.Counted = true
			}
		}
	}
	if r.app.Pack != nil && !a.Counted && len(p.Did) > 0 {
		return
	}
	a.Counted, a.Unit, a.Found = true, "sessions", len(p.Before)
	a.Acted = 0
	if a.Attempts > 0 {
		a.Acted = max(a.Found-a.Left, 0)
	}
}

// level says how well the action is proven, in the receipt's four words, and how.
func (r *run) level() (hub.Level, string) {
	a, p := r.a, r.p
	method := "api_response"
	proven, refusal := len(p.Did) > 0, len(p.Did) > 0
	for _, d := range p.Did {
		if d.Proven {
			method = "read_back"
		}
		proven = proven && d.Proven
		refusal = refusal && d.Proven && d.Refusal
	}
	countable := a.Name == hub.RevokeSessions || a.Name == hub.RevokeTokens
	switch {
	case countable && !a.Counted:
		// Levels are cumulative: without counts nothing above the word is reached (A17).
		return hub.Assertion, method
	case a.State == hub.Failed || a.State == hub.Unconfirmed || !proven:
		return hub.Committed, method
	case refusal:
		// Access was seen refused: the sessions are not listed any more (B1).
		return hub.Verified, method
	}
	// A recorded state, such as an account flag, is at most committed (design §2.4).
	return hub.Committed, method
}

func (r *run) completed() hub.Micros {
	if r.p.Answered != 0 {
		return max(r.p.Answered, r.a.Started)
	}
	return r.now()
}

// final keeps the end of the action, with its evidence, and hands on what follows from it.
func (r *run) final(ctx context.Context, state hub.State, reason, text string) error {
	a := r.a
	a.State, a.Reason, a.ReasonText = state, reason, text
	a.Completed = r.now()
	if state == hub.Succeeded || state == hub.Skipped && len(r.p.Did) > 0 {
		a.Completed = r.completed()
	}
	if state == hub.Expired || state == hub.Unconfirmed {
		a.Reason = ""
	}
	if a.EffectiveBy != 0 && state != hub.Succeeded && state != hub.Skipped {
		a.EffectiveBy = 0
	}
	if len(r.p.Log) > 0 {
		a.Level, a.Method = r.level()
		if a.Level == hub.Verified || a.Method == "read_back" && state != hub.Failed {
			a.VerifiedAt = max(r.now(), a.Completed)
		}
		a.Evidence, a.EvidenceHash = r.evidence()
	} else {
		a.Level, a.Method = hub.Assertion, "api_response"
	}
	add, err := r.laterSteps(ctx)
	if err != nil {
		return err
	}
	a.Progress = nil
	jobs, err := r.Store.SaveAction(ctx, a, r.at, r.job, nil, add)
	if err != nil {
		return err
	}
	r.Changed(a)
	r.Next(r.it.Signal, jobs, nil)
	return nil
}

// laterSteps makes the lines of a disable's later steps, which are kept and shown each, unless the same action at
// this account has a line already (design §2.4).
func (r *run) laterSteps(ctx context.Context) ([]*hub.Action, error) {
	a := r.a
	if a.Name != hub.DisableAccount || len(r.p.Did) < 2 {
		return nil, nil
	}
	others, err := r.Store.ActionsOf(ctx, a.SignalSeq)
	if err != nil {
		return nil, err
	}
	var add []*hub.Action
	for _, name := range []string{hub.RevokeSessions, hub.RevokeTokens} {
		if slices.ContainsFunc(others, func(o *hub.Action) bool {
			return o.Name == name && o.App == a.App && (o.Account == a.Account || o.Account == "")
		}) {
			continue
		}
		x := &run{Worker: r.Worker, it: r.it, app: r.app, p: &progress{Seen: r.p.Seen, Before: r.p.Before}}
		for _, d := range r.p.Did {
			if (d.Op == hub.OpRevokeTokens) == (name == hub.RevokeTokens) && d.Op != hub.OpDisableAccount {
				x.p.Did = append(x.p.Did, d)
			}
		}
		if len(x.p.Did) == 0 {
			continue
		}
		b := *a
		x.a = &b
		b.Seq, b.ID, b.Name, b.Line, b.Ordered, b.OrderReach, b.Progress, b.Tries = 0, hub.NewID(hub.PrefixAction, r.Now()), name, "x", false, "", nil, nil
		if name == hub.RevokeSessions {
			b.Reach = hub.ReachTokens
		}
		b.Attempts, b.State, b.Reason, b.ReasonText = 0, hub.Skipped, "already_gone", ""
		for _, d := range x.p.Did {
			if !d.Was {
				b.Attempts++
				b.State, b.Reason = hub.Succeeded, "done"
			}
		}
		if x.silent() {
			b.State, b.Reason = hub.Unconfirmed, ""
		}
		if b.EffectiveBy != 0 && b.State == hub.Succeeded {
			b.Reason = "done_with_residue"
		}
		b.Left = 0
		x.counts()
		b.Level, b.Method = x.level()
		add = append(add, &b)
	}
	return add, nil
}

// document is the retained evidence of one action (receipts design §5.4, "committed").
type document struct {
	Version  int        `json:"v"`
	Nonce    string     `json:"nonce"` // 128 random bits, so that the hash on the receipt tells nothing
	ID       string     `json:"id"`
	Signal   string     `json:"signal"`
	Action   string     `json:"action"`
	Reach    hub.Reach  `json:"reach,omitempty"`
	App      string     `json:"app"`
	Pack     string     `json:"pack"`
	Account  string     `json:"account,omitempty"`
	Key      string     `json:"idempotency_key,omitempty"`
	Attempts int        `json:"attempts"`
	State    hub.State  `json:"state"`
	Reason   string     `json:"reason,omitempty"`
	At       hub.Micros `json:"at"`
	Did      []did      `json:"operations,omitempty"`
	Log      []entry    `json:"exchanges"`
}

func (r *run) evidence() (json.RawMessage, string) {
	var nonce [16]byte
	rand.Read(nonce[:])
	a := r.a
	pack := ""
	if r.app != nil && r.app.Pack != nil {
		pack = r.app.Pack.ID
	}
	doc, err := json.Marshal(document{Version: 1, Nonce: base64.RawURLEncoding.EncodeToString(nonce[:]), ID: a.ID, Signal: a.SignalID,
		Action: a.Name, Reach: a.Reach, App: a.App, Pack: pack, Account: a.Account, Key: a.Key, Attempts: a.Attempts,
		State: a.State, Reason: a.Reason, At: r.now(), Did: r.p.Did, Log: r.p.Log})
	if err != nil { // nothing in it can fail to marshal
		return nil, ""
	}
	h := sha256.Sum256(doc)
	return doc, "sha-256:" + base64.RawURLEncoding.EncodeToString(h[:])
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(mathrand.Int64N(int64(d)))
}
