package receiver

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"countersign/event/ssf"
	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/subject"
)

// normal brings what a token says into the form of the specifications, as far as its quirks are let pass, and remembers which
// it needed. It makes copies: the token's bytes stay.
type normal struct {
	q    *Quirks
	used []string
}

// let reports whether a quirk that was met is let pass, and notes that it was.
func (n *normal) let(id string) bool {
	if !n.q.Has(id) {
		return false
	}
	if !slices.Contains(n.used, id) {
		n.used = append(n.used, id)
	}
	return true
}

// subjectOf finds the subject of a token and of its event, and the event without it where it stood there.
func (n *normal) subjectOf(c *set.Claims, payload json.RawMessage, known bool) (raw, rest json.RawMessage, differ bool) {
	raw, rest = c.SubID, payload
	members, err := strictjson.Members(payload)
	if err != nil {
		return raw, rest, false
	}
	i := slices.IndexFunc(members, func(m strictjson.Member) bool { return m.Name == "subject" && isObject(m.Value) })
	switch {
	case raw == nil && i >= 0 && n.let("Q-30"): // LEG-10
		return n.subject(members[i].Value), object(slices.Delete(members, i, i+1)), false
	case raw == nil && len(c.Member("sub")) > 0 && n.let("Q-30/sub"):
		if sub, err := strictjson.String(c.Member("sub")); err == nil && sub != "" {
			raw, _ = json.Marshal(map[string]string{"format": subject.FormatIssSub, "iss": c.Issuer, "sub": sub}) // text marshals
		}
		return raw, rest, false
	case raw != nil && i >= 0 && known:
		// In two places: they must mean the same, whatever is let pass. A subject of its own meaning is none.
		all := everything()
		lenient := &normal{q: &all}
		one, err1 := subject.Parse(lenient.subject(raw))
		two, err2 := subject.Parse(lenient.subject(members[i].Value))
		if err1 == nil && err2 == nil && !subject.Identical(one, two) {
			return raw, rest, true
		}
		if err2 == nil && n.let("Q-30") {
			rest = object(slices.Delete(members, i, i+1))
		}
	}
	return n.subject(raw), rest, false
}

// olderEvents are the events about the stream as the first draft of SSE named them (LEG-8), and their names of today.
var olderEvents = map[string]string{
	"https://schemas.openid.net/secevent/sse/event-type/verification":   ssf.VerificationURI,
	"https://schemas.openid.net/secevent/sse/event-type/stream-updated": ssf.StreamUpdatedURI,
}

// eventType gives today's name of the one event. An older event about a person, as the draft's stream-updated may be, has none.
func (n *normal) eventType(c *set.Claims) string {
	e := c.Events[0]
	newer, older := olderEvents[e.Type]
	if !older {
		return e.Type
	}
	if members, err := strictjson.Members(e.Payload); c.SubID != nil || err != nil || slices.ContainsFunc(members, func(m strictjson.Member) bool { return m.Name == "subject" }) || !n.let("Q-30/sse") {
		return e.Type
	}
	return newer
}

// partNames are the members of a complex subject (SSF 1.0 §3.3).
var partNames = []string{subject.PartUser, subject.PartDevice, subject.PartSession, subject.PartApplication, subject.PartTenant, subject.PartOrgUnit, subject.PartGroup}

// subject gives today's form of a subject of an older draft. What it does not know it leaves as it is.
func (n *normal) subject(raw json.RawMessage) json.RawMessage {
	members, err := strictjson.Members(raw)
	if err != nil || len(members) == 0 {
		return raw
	}
	format, hasFormat := text(members, "format")
	if !hasFormat {
		if older, ok := text(members, "subject_type"); ok {
			if _, known := today[older]; known && n.let("Q-32") { // LEG-27
				return n.older(members, "subject_type", older)
			}
			return raw
		}
	}
	switch {
	case hasFormat && format == subject.FormatComplex, !hasFormat && complexOf(members):
	case hasFormat && today[format] != "" && today[format] != format && !soundToday[format] && n.let("Q-32"):
		return n.older(members, "format", format)
	default:
		return raw
	}
	// Members that are null are absent, and each of the others may be of an older draft (LEG-11).
	var out []strictjson.Member
	changed := false
	for _, m := range members {
		if string(m.Value) == "null" && slices.Contains(partNames, m.Name) && n.let("Q-31") {
			changed = true
			continue
		}
		if m.Name != "format" && isObject(m.Value) {
			if value := n.subject(m.Value); !bytes.Equal(value, m.Value) {
				m.Value, changed = value, true
			}
		}
		out = append(out, m)
	}
	if !hasFormat && n.let("Q-31") {
		changed = true
	}
	if !changed {
		return raw
	}
	if !hasFormat {
		out = append([]strictjson.Member{{Name: "format", Value: json.RawMessage(`"complex"`)}}, out...)
	}
	return object(out)
}

// complexOf recognises a complex subject without format: members that a complex one has, each an object or null.
func complexOf(members []strictjson.Member) bool {
	some := false
	for _, m := range members {
		if !slices.Contains(partNames, m.Name) || !isObject(m.Value) && string(m.Value) != "null" {
			return false
		}
		some = some || isObject(m.Value)
	}
	return some
}

// today are the names of formats in the older drafts, and at Google.
var today = map[string]string{
	"iss-sub": subject.FormatIssSub, "iss_sub": subject.FormatIssSub, "issuer_subject": subject.FormatIssSub,
	"id_token_claims": "id_token_claims", "id-token-claims": "id_token_claims",
	"email": subject.FormatEmail, "phone": subject.FormatPhone, "phone_number": subject.FormatPhone, "phone-number": subject.FormatPhone,
	"jwt-id": subject.FormatJWTID, "jwt_id": subject.FormatJWTID, "saml-assertion-id": subject.FormatSAML, "saml_assertion_id": subject.FormatSAML,
	"account": subject.FormatAccount, "opaque": subject.FormatOpaque, "did": subject.FormatDID, "uri": subject.FormatURI, "oauth_token": "oauth_token",
}

// soundToday are older names that package subject reads by itself (SUB-26).
var soundToday = map[string]bool{"phone": true, "jwt-id": true, "saml-assertion-id": true}

// older rewrites a simple subject whose format is named name, in the member at.
func (n *normal) older(members []strictjson.Member, at, name string) json.RawMessage {
	format := today[name]
	if format == "id_token_claims" { // issuer and subject, and perhaps an address beside them
		var ids []json.RawMessage
		iss, hasIss := text(members, "iss")
		sub, hasSub := text(members, "sub")
		if hasIss && hasSub {
			id, _ := json.Marshal(map[string]string{"format": subject.FormatIssSub, "iss": iss, "sub": sub}) // text marshals
			ids = append(ids, id)
		}
		if email, ok := text(members, "email"); ok {
			id, _ := json.Marshal(map[string]string{"format": subject.FormatEmail, "email": email})
			ids = append(ids, id)
		}
		switch len(ids) {
		case 1:
			return ids[0]
		case 2:
			all, _ := json.Marshal(map[string]any{"format": subject.FormatAliases, "identifiers": ids})
			return all
		}
	}
	out := []strictjson.Member{{Name: "format", Value: strictjson.AppendString(nil, format)}}
	for _, m := range members {
		if m.Name != at {
			out = append(out, m)
		}
	}
	return object(out)
}

// payload gives the standard form of an event's members. txn is the event's own, where the quirk is let pass.
func (n *normal) payload(name string, raw json.RawMessage) (out json.RawMessage, txn string) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return raw, ""
	}
	changed := false
	replace := func(i int, value json.RawMessage) { members[i].Value, changed = value, true }
	for i, m := range members {
		switch m.Name {
		case "event_timestamp":
			if s, ok := seconds(m.Value); ok && n.let("Q-35") { // RX-68
				replace(i, s)
			}
		case "reason_admin", "reason_user":
			if _, err := strictjson.String(m.Value); err == nil && n.let("Q-36") { // EV-14
				replace(i, object([]strictjson.Member{{Name: "und", Value: m.Value}}))
			}
		case "initiating_entity":
			n.word(members, i, &changed, "admin", "user", "policy", "system")
		case "current_level", "previous_level":
			if name == "caep/risk-level-change" {
				n.word(members, i, &changed, "LOW", "MEDIUM", "HIGH")
			}
		case "current_status", "previous_status":
			if name == "caep/device-compliance-change" {
				if v, _ := strictjson.String(m.Value); strings.EqualFold(v, "non-compliant") && n.let("Q-37") {
					replace(i, json.RawMessage(`"not-compliant"`))
				} else {
					n.word(members, i, &changed, "compliant", "not-compliant")
				}
			}
		case "txn":
			if v, err := strictjson.String(m.Value); err == nil && v != "" && n.let("Q-39") {
				txn = v
			}
		case "status":
			// An object that holds the status, and the reason where that does not stand beside it.
			if name != "ssf/stream-updated" || !isObject(m.Value) {
				continue
			}
			inner, err := strictjson.Members(m.Value)
			if err != nil {
				continue
			}
			if status, ok := text(inner, "status"); ok && n.let("Q-45") {
				replace(i, strictjson.AppendString(nil, status))
				if reason, ok := text(inner, "reason"); ok {
					if _, beside := text(members, "reason"); !beside {
						members = append(members, strictjson.Member{Name: "reason", Value: strictjson.AppendString(nil, reason)})
					}
				}
			}
		}
	}
	if !changed {
		return raw, txn
	}
	return object(members), txn
}

// word writes a value as the specification spells it, where only the case differs.
func (n *normal) word(members []strictjson.Member, i int, changed *bool, words ...string) {
	v, err := strictjson.String(members[i].Value)
	if err != nil || slices.Contains(words, v) {
		return
	}
	for _, w := range words {
		if strings.EqualFold(v, w) && n.let("Q-37") {
			members[i].Value, *changed = strictjson.AppendString(nil, w), true
			return
		}
	}
}

// millisecondsFrom is the first number that is taken for milliseconds: as seconds it lies in the year 5138.
const millisecondsFrom = 1e11

func seconds(raw json.RawMessage) (json.RawMessage, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f <= millisecondsFrom || f > 1e15 {
		return nil, false
	}
	return strconv.AppendInt(nil, int64(f/1000), 10), true
}

func isObject(raw json.RawMessage) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}

// text gives a member that is text and not empty.
func text(members []strictjson.Member, name string) (string, bool) {
	for _, m := range members {
		if m.Name == name {
			s, err := strictjson.String(m.Value)
			return s, err == nil && s != ""
		}
	}
	return "", false
}

// object writes members in their order.
func object(members []strictjson.Member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(strictjson.AppendString(out, m.Name), ':')
		out = append(out, m.Value...)
	}
	return append(out, '}')
}
