package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"countersign/internal/egress"
	"countersign/internal/hub"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 1 << 20

// exchange is the whole way of one request. The variables of the answer come back for reading operations.
func (r *Runner) exchange(ctx context.Context, app *App, op hub.Operation, in Input) (Answer, map[string]any) {
	a := Answer{Class: Refused}
	credential := "" // as it went out, should the app send it back
	end := func(c Class, reason, note string) (Answer, map[string]any) {
		a.Class, a.Reason, a.Note = c, reason, clip(app.mask(note, credential), 300)
		return a, nil
	}
	o := app.Pack.ops[op]
	if o == nil {
		return end(Refused, "not_supported", "the pack "+app.Pack.ID+" has no "+string(op))
	}
	vars := inputs(app, in)
	if why := app.Pack.guard(o, vars); why != "" {
		return end(Refused, "policy_declined", "the pack's guard holds: never "+why)
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, _, err := o.render(ctx, app, vars, in.Key)
	if err != nil {
		return end(Refused, "internal_error", "the request cannot be built: "+err.Error())
	}
	_, credential, _ = strings.Cut(req.Header.Get("Authorization"), " ")
	delete(vars, "secrets")
	a.Request = app.mask(Request{Method: req.Method, URL: req.URL.String()}.String())
	if err := r.rate(app).wait(ctx, r.now); err != nil {
		return end(Retry, "rate_limited", "the app's own rate leaves no room before the deadline")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		// A connection that was got can have carried the request, whatever the error says.
		a.Sent = sent.Load()
		return end(lost(a.Sent && o.acting), "app_unreachable", failure(err, a.Sent))
	}
	a.Sent, a.Status = true, resp.StatusCode
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	resp.Body.Close()
	switch {
	case err != nil:
		return end(lost(o.acting), "app_unreachable", "the answer broke off: "+failure(err, true))
	case len(raw) > maxAnswer:
		return end(lost(o.acting), "app_error", "the answer is larger than 1 MiB")
	}
	a.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), r.now())
	a.Body = app.keep(raw, credential)
	body, err := parseBody(resp.Header.Get("Content-Type"), raw)
	if err != nil {
		return end(lost(o.acting), "app_error", "the answer is no acceptable JSON: "+err.Error())
	}
	headers := map[string]string{}
	for k, v := range resp.Header {
		headers[strings.ToLower(k)] = strings.Join(v, ", ")
	}
	vars["status"], vars["headers"], vars["body"] = int64(resp.StatusCode), headers, body
	a.Class, a.Note = o.judge(vars)
	a.Note = app.mask(a.Note, credential)
	a.Reason = reason(a.Class, a.Status)
	return a, vars
}

// lost is the class of a request without a usable answer: an acting one that can have arrived is unknown,
// anything else may simply be tried again.
func lost(arrived bool) Class {
	if arrived {
		return Unknown
	}
	return Retry
}

// judge tries the rules in their order: done, already_done, accepted, refused, retry, else unknown.
// A rule that cannot be evaluated over this answer does not match, and the note says so.
func (o *operation) judge(vars map[string]any) (Class, string) {
	var failed []string
	for _, rl := range o.rules {
		hit, err := rl.when.Bool(vars)
		if err != nil {
			failed = append(failed, string(rl.class)+" could not be evaluated: "+err.Error())
			continue
		}
		if hit {
			return rl.class, strings.Join(append([]string{string(rl.class) + ": " + rl.when.Source()}, failed...), "; ")
		}
	}
	note := strings.Join(append([]string{"no rule of the pack names this answer"}, failed...), "; ")
	if !o.acting {
		return Retry, note
	}
	return Unknown, note
}

// reason is the receipt's code for a class, should it become final.
func reason(c Class, status int) string {
	switch {
	case c == Done || c == AlreadyDone || c == Accepted:
		return ""
	case status == http.StatusTooManyRequests:
		return "rate_limited"
	case c == Refused && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return "app_denied"
	}
	return "app_error"
}

// failure words a transport error without the address, which can hold a person's name.
func failure(err error, sent bool) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var t interface{ Timeout() bool }
	switch {
	case errors.Is(err, egress.ErrRefused):
		return err.Error()
	case errors.As(err, &t) && t.Timeout(), errors.Is(err, context.DeadlineExceeded):
		if sent {
			return "sent, and no answer in time"
		}
		return "no connection in time; nothing was sent"
	case errors.Is(err, context.Canceled):
		return "stopped while waiting"
	case sent:
		return "sent, and the connection broke: " + err.Error()
	}
	return "nothing was sent: " + err.Error()
}

// retryAfter reads RFC 9110 §10.2.3, seconds or a date, bounded to an hour.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	d := time.Duration(0)
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return max(0, min(d, time.Hour))
}
