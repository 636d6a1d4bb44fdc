package act

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

// run is one visit to one action.
type run struct {
	*Worker
	job *hub.Job
	it  *Item
	a   *hub.Action
	p   *progress
	app *connector.App
	at  *hub.Attempt // answered or given up, and not yet kept
}

// step goes on until there is something to wait for, or the action is final.
func (r *run) step(ctx context.Context) (time.Duration, error) {
	a, p := r.a, r.p
	if p.Sending != nil {
		r.recover()
	}
	if a.Attempts == 0 && a.Ordered && r.Withdrawn(r.it.Signal) {
		return 0, r.final(ctx, hub.Withdrawn, "", "") // receipts design §6.6: lines not started
	}
	if a.Attempts == 0 && a.NotAfter != 0 && r.now() > a.NotAfter {
		return 0, r.final(ctx, hub.Expired, "", "")
	}
	if r.late() && (p.Why != "" || p.Phase != toSend) && !(p.Phase != toSend && p.Looks == 0) {
		return 0, r.giveUp(ctx)
	}
	if p.Plan == nil {
		steps, missing, ok := plan(a.Name, a.Reach, r.app.Pack.Offers)
		if !ok {
			return 0, r.fail(ctx, "not_supported", "The connector has no operation for this action.")
		}
		p.Plan, p.Missing = steps, missing
	}
	if a.Account == "" {
		if wait, done, err := r.lookUp(ctx); done || err != nil {
			return wait, err
		}
	}
	if err := r.leftOpen(ctx); err != nil {
		return 0, err
	}
	if wait, done, err := r.count(ctx); done || err != nil {
		return wait, err
	}
	for {
		op, more := p.current()
		if !more {
			return 0, r.finish(ctx)
		}
		var wait time.Duration
		var out outcome
		var err error
		if p.Phase == toSend {
			out, wait, err = r.send(ctx, op)
		} else {
			out, wait, err = r.look(ctx, op)
		}
		if err != nil {
			return 0, err
		}
		switch out {
		case goOn:
		case waitHere:
			return wait, nil
		case gone:
			return 0, nil
		}
	}
}

// outcome of one move within a visit.
type outcome int

const (
	goOn     outcome = iota // there is more to do at once
	waitHere                // keep the claim and come again
	gone                    // the store has the action: final, or due later
)

// recover closes an attempt that was committed and whose answer nobody knows.
func (r *run) recover() {
	s := r.p.Sending
	r.p.Sending = nil
	r.at = &hub.Attempt{ActionSeq: r.a.Seq, No: s.No, Op: s.Op, Request: s.Req, Key: s.Key, Sent: s.At,
		Class: string(connector.Unknown), Note: "no answer is known: the hub stopped after the request was written down"}
	for _, at := range r.a.Tries {
		if at.No == s.No {
			r.at.Seq = at.Seq
		}
	}
	r.p.note(entry{At: r.now(), Op: s.Op, What: "act", Req: s.Req, Class: connector.Unknown, Note: r.at.Note})
	r.p.Phase, r.p.Looks, r.p.Why = toCheck, 0, "timed_out"
	r.a.State = hub.Unknown
}

// lookUp finds the accounts behind the e-mail addresses, each asked for once, the distinct ids joined.
// Several accounts become several actions; none is no line of its own (design §3).
func (r *run) lookUp(ctx context.Context) (wait time.Duration, done bool, err error) {
	a := r.a
	var ids []string
	for _, email := range strings.Fields(a.Email) {
		found, ans := r.Runner.Lookup(ctx, r.app, email)
		r.p.note(entry{At: r.now(), Op: hub.OpLookupAccount, What: "look_up", Req: ans.Request, Status: ans.Status, Class: ans.Class, Note: ans.Note, Body: ans.Body})
		switch ans.Class {
		case connector.Done, connector.AlreadyDone:
		case connector.Refused:
			return 0, true, r.fail(ctx, reasonOr(ans.Reason, "app_error"), "")
		default:
			return 0, true, r.tryLater(ctx, ans, toSend)
		}
		for _, id := range found {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		a.Hidden = true
		return 0, true, r.final(ctx, hub.Skipped, "no_such_subject", "")
	}
	if r.Protected != nil {
		for _, id := range ids {
			never, err := r.Protected(ctx, a.Tenant, a.App, id)
			if err != nil {
				return 0, true, err
			}
			if never {
				return 0, true, r.fail(ctx, "policy_declined", "This person is protected and never acted on.")
			}
		}
	}
	r.p.LookedUp = true
	a.Account = ids[0]
	if len(ids) == 1 {
		return 0, false, nil
	}
	add := make([]*hub.Action, 0, len(ids)-1)
	for _, id := range ids[1:] {
		b := *a
		b.Seq, b.ID, b.Account, b.Progress, b.Tries = 0, hub.NewID(hub.PrefixAction, r.Now()), id, (&progress{LookedUp: true}).raw(), nil
		b.State, b.Reason, b.ReasonText, b.Key = hub.Planned, "", "", ""
		add = append(add, &b)
	}
	return 0, true, r.later(ctx, 0, add)
}

// count lists the sessions before the act, where the pack can: found on the receipt, and what is ended one by one.
func (r *run) count(ctx context.Context) (wait time.Duration, done bool, err error) {
	a, p := r.a, r.p
	if a.Name != hub.RevokeSessions && a.Name != hub.DisableAccount && !p.each() || p.Seen || a.Attempts > 0 || !r.app.Pack.Offers(hub.OpListSessions) {
		return 0, false, nil
	}
	ids, ans := r.Runner.Sessions(ctx, r.app, a.Account)
	left := len(ids)
	p.note(entry{At: r.now(), Op: hub.OpListSessions, What: "count", Req: ans.Request, Status: ans.Status, Class: ans.Class, Note: ans.Note, Body: ans.Body, Left: &left})
	switch {
	case ans.Class == connector.Done:
		p.Seen = true
		if a.Reach == hub.ReachSession {
			ids = only(ids, a.Session)
		}
		p.Before = ids
		if a.Name == hub.RevokeSessions {
			a.Found = len(ids)
		}
		if p.each() {
			p.Targets, p.Listed = slices.Clone(ids), true
		}
		return 0, false, nil
	case ans.Class == connector.Refused && (p.each() || !ans.Sent): // unsent and refused: the request itself cannot be
		return 0, true, r.fail(ctx, reasonOr(ans.Reason, "app_error"), "")
	case !ans.Sent || p.each():
		return 0, true, r.tryLater(ctx, ans, toSend)
	}
	// The list does not answer: act first, and print the lower level (receipts design §1).
	return 0, false, nil
}

func (p *progress) each() bool {
	for _, s := range p.Plan {
		if s.Each {
			return true
		}
	}
	return false
}

func only(ids []string, id string) []string {
	if slices.Contains(ids, id) {
		return []string{id}
	}
	return nil
}

// nothing reports that the operation has nothing to end: the app listed no session before the act.
func (r *run) nothing(op planned) bool {
	switch op.Op {
	case hub.OpEndAllSessions, hub.OpEndSession:
		return r.p.Seen && len(r.p.Before) == 0 && (r.a.Attempts == 0 || r.a.Name == hub.DisableAccount)
	}
	return false
}

// send carries out the operation that is due: the attempt is kept first, then the request goes out.
func (r *run) send(ctx context.Context, op planned) (outcome, time.Duration, error) {
	a, p := r.a, r.p
	if r.nothing(op) {
		p.Did = append(p.Did, did{Op: op.Op, Class: connector.AlreadyDone, Proven: true, Refusal: true, Was: true})
		p.Step++
		return goOn, 0, nil
	}
	if r.at != nil { // the answer before this one has its own row, and is kept first
		return gone, 0, r.later(ctx, 0, nil)
	}
	in := r.input(op)
	if a.Key == "" {
		a.Key = r.Key(r.it.Signal, a)
		in = r.input(op)
	}
	req, err := r.Runner.Describe(r.app, op.Op, in)
	if err != nil {
		return gone, 0, r.fail(ctx, "internal_error", "The request could not be written.")
	}
	a.Attempts++
	a.State, a.Reason, a.ReasonText = hub.Running, "", ""
	at := &hub.Attempt{ActionSeq: a.Seq, No: a.Attempts, Op: op.Op, Request: req.String(), Key: in.Key, Sent: r.now()}
	if a.Started == 0 {
		a.Started = at.Sent
	}
	p.Sending = &sending{No: at.No, Op: at.Op, Req: at.Request, Key: at.Key, At: at.Sent}
	a.Progress = p.raw()
	if err := r.Store.BeginAttempt(ctx, a, at, r.job); err != nil {
		return gone, 0, err
	}
	r.Stop("act.before-send")
	ans := r.Runner.Do(ctx, r.app, op.Op, in)
	r.Stop("act.after-answer")
	p.Sending = nil
	at.Status, at.Class, at.Note = ans.Status, string(ans.Class), ans.Note
	if ans.Status != 0 {
		at.Answered = r.now()
	}
	if ans.Request != "" {
		at.Request = ans.Request
	}
	r.at = at
	r.Tried(at.Class)
	p.note(entry{At: r.now(), Op: op.Op, What: "act", Req: at.Request, Status: ans.Status, Class: ans.Class, Note: ans.Note, Body: ans.Body})
	return r.judged(ctx, op, ans)
}

// judged goes on from the class of an answer.
func (r *run) judged(ctx context.Context, op planned, ans connector.Answer) (outcome, time.Duration, error) {
	a, p := r.a, r.p
	back, sees := r.app.Pack.ReadBack(op.Op)
	p.Looks, p.Shown = 0, false
	switch ans.Class {
	case connector.Done, connector.AlreadyDone:
		p.Answered = r.now()
		p.Fail, p.Why = 0, ""
		if !sees {
			return goOn, 0, r.done(op, did{Op: op.Op, Class: ans.Class, Left: -1})
		}
		p.Phase = toLook
		p.Did = append(p.Did, did{Op: op.Op, Class: ans.Class, Left: -1}) // replaced when proven
		if back.After > 0 {
			return r.wait(ctx, back.After)
		}
		return goOn, 0, nil
	case connector.Accepted:
		p.Accepted, p.Fail = r.now(), 0
		if !sees {
			// The app will never tell; what comes after it in the sequence is done all the same (design §2.4).
			return goOn, 0, r.done(op, did{Op: op.Op, Class: ans.Class, Left: -1})
		}
		p.Phase, p.Why = delayed, "timed_out"
		a.State = hub.Delayed
		return gone, 0, r.later(ctx, back.After, nil)
	case connector.Refused:
		return gone, 0, r.fail(ctx, reasonOr(ans.Reason, "app_error"), "")
	case connector.Retry:
		next := toSend
		if ans.Sent && sees && r.app.Pack.Repeat(op.Op) != connector.RepeatSame {
			next = toCheck
		}
		return gone, 0, r.tryLater(ctx, ans, next)
	}
	// Sent, and nobody can say: look first, never repeat blindly.
	if sees {
		p.Phase, p.Why = toCheck, reasonOr(ans.Reason, "timed_out")
		a.State = hub.Unknown
		return gone, 0, r.later(ctx, 0, nil)
	}
	if r.app.Pack.Repeat(op.Op) == connector.RepeatSame {
		return gone, 0, r.tryLater(ctx, ans, toSend)
	}
	return gone, 0, r.fail(ctx, reasonOr(ans.Reason, "timed_out"), "No answer came, the application cannot be asked, and repeating is not safe.")
}

// look reads back once.
func (r *run) look(ctx context.Context, op planned) (outcome, time.Duration, error) {
	a, p := r.a, r.p
	back, sees := r.app.Pack.ReadBack(op.Op)
	if !sees { // the pack changed since
		return gone, 0, r.giveUp(ctx)
	}
	r.Stop("act.before-readback")
	proof := r.Runner.ReadBack(ctx, r.app, op.Op, r.input(op))
	p.Looks++
	e := entry{At: r.now(), Op: back.Use, What: "read_back", Req: proof.Answer.Request, Status: proof.Answer.Status, Class: proof.Answer.Class, Note: proof.Answer.Note, Body: proof.Answer.Body}
	read := proof.Answer.Class == connector.Done
	if read {
		e.Proven = &proof.Proven
		if proof.Left >= 0 {
			e.Left = &proof.Left
		}
	}
	p.note(e)
	if read && proof.Proven {
		d := did{Op: op.Op, Class: connector.Done, Proven: true, Refusal: proof.Refusal, Left: proof.Left}
		if p.Phase == toLook && len(p.Did) > 0 {
			d.Class = p.Did[len(p.Did)-1].Class
			p.Did = p.Did[:len(p.Did)-1]
		}
		if p.Phase != toLook {
			p.Answered = r.now()
		}
		if a.Reach == hub.ReachSession && a.Name == hub.RevokeSessions {
			d.Left = 0
		}
		return goOn, 0, r.done(op, d)
	}
	if read {
		p.Shown = true
		if proof.Left >= 0 {
			a.Left = proof.Left
		}
	}
	if r.late() {
		return gone, 0, r.giveUp(ctx)
	}
	every := max(back.Every, 50*time.Millisecond)
	switch p.Phase {
	case delayed:
		p.Why = "timed_out"
		if p.Looks > 5 {
			every = min(every<<min(p.Looks-5, 10), 30*time.Second)
		}
		return r.wait(ctx, every)
	case toLook:
		if p.Looks < back.Tries {
			return r.wait(ctx, every)
		}
		if !p.Shown { // answered done, and nothing can be read: keep looking, with patience
			p.Fail++
			return gone, 0, r.later(ctx, r.pause(0), nil)
		}
		// What was answered and is not so counts as a retry.
		p.Did = p.Did[:len(p.Did)-1]
		return gone, 0, r.tryLater(ctx, connector.Answer{Reason: "verification_failed"}, toSend)
	}
	if read {
		return gone, 0, r.tryLater(ctx, connector.Answer{Reason: p.Why}, toSend)
	}
	return gone, 0, r.tryLater(ctx, proof.Answer, toCheck)
}

// done closes one operation, and goes to the next.
func (r *run) done(op planned, d did) error {
	p := r.p
	p.Did = append(p.Did, d)
	p.Phase, p.Looks, p.Shown, p.Fail, p.Why = toSend, 0, false, 0, ""
	if op.Each && len(p.Targets) > 0 {
		p.Targets = p.Targets[1:]
	}
	if !op.Each || len(p.Targets) == 0 {
		p.Step++
	}
	return nil
}

// input is what the operation acts on. The key is the action's, made distinct for each further request
// that is not a repeat.
func (r *run) input(op planned) connector.Input {
	in := connector.Input{Account: r.a.Account, Session: r.a.Session, LookedUp: r.p.LookedUp || r.p.Seen, Key: r.a.Key}
	if op.Each && len(r.p.Targets) > 0 {
		in.Session = r.p.Targets[0]
		h := sha256.Sum256([]byte(in.Session))
		in.Key += "." + base64.RawURLEncoding.EncodeToString(h[:9])
	}
	if r.p.Step > 0 {
		in.Key += "." + strconv.Itoa(r.p.Step)
	}
	return in
}
