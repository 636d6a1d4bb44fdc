package receiver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Quirks are departures of a transmitter from the specifications that are let pass, each by its own switch. The zero value is strict.
// QuirkTable says of each what is accepted and what the other side would have to change.
type Quirks struct {
	// About tokens; used by Handler.
	NestedSubject        bool
	TopLevelSubject      bool // Q-30/sub
	OldStreamEvents      bool // Q-30/sse
	ComplexWithoutFormat bool
	OldSubjectTypes      bool
	WildcardSession      bool
	OtherWords           bool
	TXNInEvent           bool
	Expiry               bool // Q-41/exp
	NoAudience           bool // Q-41/aud
	NoType               bool // Q-41/typ
	StatusObject         bool
	PlainJWT             bool

	// About the stream API; used by Client.
	OtherMetadataPlaces bool
	IDInQuery           bool // Q-14/query
	AudienceInCreate    bool // Q-18/create
	PollToken           bool // Q-54/token
}

// Quirk is one row of QuirkTable.
type Quirk struct {
	ID      string
	Title   string
	Accepts string              // what is let pass, and how it is read
	Change  string              // what makes it unnecessary
	Side    string              // theirs or ours: who would change it
	on      func(*Quirks) *bool // nil: it has no switch and is let pass always, as the specifications advise
}

// Always reports that the quirk is let pass without a switch. Its use is noticed all the same.
func (k Quirk) Always() bool { return k.on == nil }

// QuirkTable are all switches. Its ids are those of the partner profiles; an id with a slash is one of several switches of a quirk.
var QuirkTable = []Quirk{
	{"Q-01", "metadata at another place", "metadata at the appended, the sse- and the risc-configuration address, when it is not at the inserted one", "publish the metadata at the inserted address, or write metadata_url", "theirs",
		func(q *Quirks) *bool { return &q.OtherMetadataPlaces }},
	{"Q-14/query", "stream_id in the query", "stream_id is sent in the query of PATCH, PUT and POST, too", "read stream_id from the body", "theirs",
		func(q *Quirks) *bool { return &q.IDInQuery }},
	{"Q-18/create", "aud asked for at create", "our audience is sent with the request that makes the stream", "give each stream an aud", "theirs",
		func(q *Quirks) *bool { return &q.AudienceInCreate }},
	{"Q-30", "subject inside the event", "the subject of a token without sub_id is read from its event; two that differ are refused", "send sub_id at the top of the token", "theirs",
		func(q *Quirks) *bool { return &q.NestedSubject }},
	{"Q-30/sub", "subject as sub", "a token without sub_id is about its iss and sub", "send sub_id at the top of the token", "theirs",
		func(q *Quirks) *bool { return &q.TopLevelSubject }},
	{"Q-30/sse", "stream events of the first draft", "verification and stream-updated under their names of SSE, which have no subject, are read as those of SSF 1.0", "send the events of SSF 1.0, with the stream as sub_id", "theirs",
		func(q *Quirks) *bool { return &q.OldStreamEvents }},
	{"Q-31", "complex subject without format", "an object of known member names is read as complex, and members that are null are left out", `add "format": "complex", and leave empty members out`, "theirs",
		func(q *Quirks) *bool { return &q.ComplexWithoutFormat }},
	{"Q-32", "subject_type of the older drafts", "subject_type, its hyphenated names, id_token_claims and oauth_token are read as today's formats", "send format with today's names", "theirs",
		func(q *Quirks) *bool { return &q.OldSubjectTypes }},
	{"Q-34", "session id ALL", "the session id ALL means all sessions of the person, never one session", "leave the session out when all are meant", "theirs",
		func(q *Quirks) *bool { return &q.WildcardSession }},
	{"Q-35", "times in milliseconds", "a time above 10^11 is read as milliseconds", "send times in seconds", "theirs",
		nil},
	{"Q-36", "reasons as text", "reason_admin and reason_user may be text in place of an object of languages; it is read as text of an unknown language", `send {"en": "…"}`, "theirs",
		nil},
	{"Q-37", "other words and cases", "levels in lower case and non-compliant are read as CAEP's words", "send LOW, MEDIUM, HIGH, compliant, not-compliant", "theirs",
		func(q *Quirks) *bool { return &q.OtherWords }},
	{"Q-39", "txn inside the event", "txn of the event is taken where the token has none", "send txn at the top of the token", "theirs",
		func(q *Quirks) *bool { return &q.TXNInEvent }},
	{"Q-41/exp", "a token that expires", "exp is accepted, and enforced", "leave exp out of event tokens", "theirs",
		func(q *Quirks) *bool { return &q.Expiry }},
	{"Q-41/aud", "a token without audience", "a token without aud is taken at this source's own address; one with another aud never", "send aud in each token", "theirs",
		func(q *Quirks) *bool { return &q.NoAudience }},
	{"Q-41/typ", "a token without type", "typ may be missing; another typ is refused", "send typ secevent+jwt", "theirs",
		func(q *Quirks) *bool { return &q.NoType }},
	{"Q-45", "status as an object", "status of a stream-updated event may be an object that has the status inside", "send status as text", "theirs",
		func(q *Quirks) *bool { return &q.StatusObject }},
	{"Q-53", "media type application/jwt", "a push of application/jwt is read as one of application/secevent+jwt", "send application/secevent+jwt", "theirs",
		func(q *Quirks) *bool { return &q.PlainJWT }},
	{"Q-54/token", "a token of its own for polls", "the poll address is asked with the authorization_header that the answer to create has", "take one token for management and polls", "theirs",
		func(q *Quirks) *bool { return &q.PollToken }},
}

// ErrQuirk says that there is no switch of a name.
var ErrQuirk = errors.New("receiver: no such quirk")

// LookupQuirk finds a row by its id.
func LookupQuirk(id string) (Quirk, bool) {
	i := slices.IndexFunc(QuirkTable, func(k Quirk) bool { return k.ID == id })
	if i < 0 {
		return Quirk{}, false
	}
	return QuirkTable[i], true
}

// Set turns a switch on. The error wraps ErrQuirk and names the ids that there are.
func (q *Quirks) Set(id string) error {
	k, ok := LookupQuirk(id)
	if !ok {
		ids := make([]string, len(QuirkTable))
		for i, k := range QuirkTable {
			ids[i] = k.ID
		}
		return fmt.Errorf("%w %.40q: there are %s", ErrQuirk, id, strings.Join(ids, ", "))
	}
	if k.on != nil {
		*k.on(q) = true
	}
	return nil
}

// Has reports whether the switch of an id is on.
func (q *Quirks) Has(id string) bool {
	k, ok := LookupQuirk(id)
	return ok && (k.on == nil || *k.on(q))
}

func (q *Quirks) clear(id string) {
	if k, ok := LookupQuirk(id); ok && k.on != nil {
		*k.on(q) = false
	}
}

// IDs are the switches that are on, in the order of QuirkTable.
func (q *Quirks) IDs() []string {
	var ids []string
	for _, k := range QuirkTable {
		if k.on != nil && *k.on(q) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// everything is all that could be let pass about tokens; what a refused one lacks is found with it.
func everything() (q Quirks) {
	for _, k := range QuirkTable {
		_ = q.Set(k.ID) // it is in the table
	}
	return q
}

// QuirkError is a refusal that quirks would have let pass. The sender is told Err alone.
type QuirkError struct {
	IDs []string // switches that the token needs and that are off
	Err error
}

// Error names the switches.
func (e *QuirkError) Error() string {
	var b strings.Builder
	b.WriteString(e.Err.Error())
	for _, id := range e.IDs {
		k, _ := LookupQuirk(id)
		fmt.Fprintf(&b, "; %s (%s)", id, k.Title)
	}
	return b.String()
}

// Unwrap gives the refusal.
func (e *QuirkError) Unwrap() error { return e.Err }
