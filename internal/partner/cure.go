package partner

import (
	"errors"

	"countersign/receiver"
	"countersign/set"
)

// usual are the cures that hold for every partner, by what was seen.
var usual = []Remedy{
	{"invalid_issuer", "the issuer of the source is not the iss of its tokens: copy iss from the other side's metadata, byte for byte, slash at the end and case included", Ours},
	{"invalid_audience", "aud of the tokens is not the one of the stream: read the stream again (source stream NAME read), or, with stream: none, write what the other side sends into audience", Ours},
	{"invalid_key", "the key or the algorithm of the tokens is not to be used: the other side publishes the signing key under its kid at jwks_uri, with 2048 bit or more, and signs with an algorithm that keys.algs of the source lists", Theirs},
	{"authentication_failed", "the other side does not send the authorization_header of the stream, whole and with its scheme (Bearer …): set it there again, or update the stream", Theirs},
	{"invalid_state", "a verification event had a state that was not asked with: nothing is to be done when it was late; ask again", Theirs},
	{"401", "the credential is not taken: it is wrong or has run out, its client may not use the stream API, or it lacks the scopes ssf.manage and ssf.read", Ours},
	{"403", "the client lacks the scopes ssf.manage and ssf.read, or the stream belongs to another client", Theirs},
	{"404", "there is no such stream or address: it was deleted there, or metadata_url leads elsewhere", Theirs},
	{"409", "there is a stream of this client already: write stream: adopt", Ours},
	{"429", "we ask too often, or another client with our credential does: wait for min_verification_interval", Ours},
	{"invalid_scope", "the scopes ssf.manage and ssf.read are not given to this client: attach both to it", Theirs},
	{"invalid_client", "client_id or client_secret is wrong, or the client may not authenticate by this method: compare auth.method with what the other side set", Ours},
	{"clock", "the clocks of both machines differ, or the other side writes a moment to come into iat: have both follow a time server", Ours},
	{"silence", "the stream verifies and brings nothing: look whether default_subjects is NONE there and no subject was added, and whether events_delivered is empty", Theirs},
}

// Cure says what to change about what was seen, and on which side: an error code, a quirk's id, a status of the stream API as
// text, or one of the doctor's words. The partner's own cure is given before the usual one. Empty: none is known. p may be nil.
func Cure(p *Profile, what string) (text, side string) {
	if p != nil {
		if r, ok := find(p.Cures, what); ok {
			return r.Text, r.Side
		}
	}
	if k, ok := receiver.LookupQuirk(what); ok {
		return k.Change, k.Side
	}
	if r, ok := find(usual, what); ok {
		return r.Text, r.Side
	}
	return "", ""
}

// CureFor is Cure for a token that was refused with code, because of reason. id is the quirk that would have let it pass; empty:
// none would.
func CureFor(p *Profile, code string, reason error) (text, side, id string) {
	if q, ok := errors.AsType[*receiver.QuirkError](reason); ok && len(q.IDs) > 0 {
		id = q.IDs[0]
		if text, side = Cure(p, id); text != "" {
			return text, side, id
		}
	}
	if errors.Is(reason, set.ErrTime) {
		code = "clock"
	}
	text, side = Cure(p, code)
	return text, side, id
}

func find(list []Remedy, what string) (Remedy, bool) {
	for _, r := range list {
		if r.On == what {
			return r, true
		}
	}
	return Remedy{}, false
}
