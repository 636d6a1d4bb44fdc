package sight

import (
	"cmp"
	"fmt"
	"strings"

	"countersign/internal/hub"
	"countersign/stream"
	"countersign/transmitter"
)

// health says in a word how a stream fares, in a sentence why, and what to do about it.
func health(i *StreamInfo, now hub.Micros) (word, why, step string) {
	ref := i.Name
	if ref == "" {
		ref = i.ID
	}
	waits := ""
	if i.Waiting > 0 {
		waits = fmt.Sprintf("%s since %s", Count(i.Waiting, "SET waits", "SETs wait"), At(i.Oldest))
	}
	switch {
	case i.Status == transmitter.Paused:
		return transmitter.Paused, Because(cmp.Or(waits, "what comes is held"), i.Reason), "countersign stream resume " + ref
	case i.Status == transmitter.Disabled:
		return transmitter.Disabled, Because("nothing is kept for it", i.Reason), "countersign stream resume " + ref
	case i.Trouble != nil && i.Trouble.Open:
		return "stopped", Because(cmp.Or(waits, "delivery stands still"), i.Trouble.Reason), SetUp(i, ref)
	case i.Trouble != nil && i.Trouble.Fails > 0:
		return "failing", Because(cmp.Or(waits, "nothing waits"), i.Trouble.Reason), "it is tried again by itself; if it goes on: countersign doctor stream " + ref
	case i.Waiting > 0 && i.Delivery.Method == "poll":
		return "waiting", waits + " to be polled", pollStep(i, now)
	case i.Waiting > 0 && i.Oldest != 0 && now-i.Oldest > Late:
		return "waiting", waits, "countersign doctor stream " + ref
	case i.Dead > 0 && len(i.Warnings) <= 1:
		return "warning", Count(i.Dead, "SET was set aside", "SETs were set aside"), "countersign delivery list --outcome dead --stream " + ref
	case len(i.Warnings) > 0:
		return "warning", i.Warnings[0], "countersign doctor stream " + ref
	}
	return "ok", "", ""
}

// SetUp says what to put right, by what the receiver answered.
func SetUp(i *StreamInfo, ref string) string {
	status := 0
	if i.Last != nil {
		status = i.Last.Status
	}
	then := "; then: countersign stream verify " + ref
	switch {
	case status == 401 || status == 403:
		return "the receiver refuses our credential: give the stream the authorization header that it expects" + then
	case status/100 == 3:
		return "the push address redirects, and redirects are not followed: give the stream the address where SETs are taken" + then
	case status == 404 || status == 405 || status == 410:
		return "nothing takes SETs at the push address: give the stream the right one" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidKey):
		return "the receiver does not know our key: it must read our key set again" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidAudience):
		return "the receiver expects another aud: let it read its stream configuration again" + then
	case strings.Contains(i.Trouble.Reason, stream.InvalidIssuer):
		return "the receiver expects another iss: give it the address of our metadata" + then
	}
	return "countersign doctor stream " + ref
}

func pollStep(i *StreamInfo, now hub.Micros) string {
	if i.Parked == 0 && (i.Active == 0 || now-i.Active > Late) {
		return "the receiver has not polled lately: look at its side"
	}
	return ""
}

// Because joins a fact and its reason, where there is one.
func Because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

// Count says how many.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// At writes a moment.
func At(m hub.Micros) string { return m.Time().UTC().Format("2006-01-02 15:04:05Z") }
