package transmitter

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// receiptSkew is how far ahead of our clock a receipt may be (receipts design §6.2, check 4).
const receiptSkew = 120

// maxJTI bounds what a receipt is found by; no store can index more.
const maxJTI = 1024

// takeReceipt answers POST on the receipt endpoint: checks 1 to 8 of receipts design §6.2 and the sequence rules of
// §6.3. 202 means that the receipt is kept, or was kept before.
func (s *Server) takeReceipt(w http.ResponseWriter, r *http.Request) {
	c, ok := s.caller(w, r)
	if !ok || !allowed(w, c, ScopeManageReceipts) {
		return
	}
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/secevent+jwt" {
		refuse(w, http.StatusUnsupportedMediaType, stream.InvalidRequest, "the body must be application/secevent+jwt")
		return
	}
	limit := s.ours.MaxReceiptBytes
	if limit <= 0 {
		limit = receipt.MaxReceiptBytes
	}
	data, ok := s.bytes(w, r, int64(limit))
	if !ok {
		return
	}
	problem, err := s.acceptReceipt(r.Context(), c, string(data))
	switch {
	case errors.Is(err, set.ErrKeysUnavailable):
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, stream.Unavailable, "the keys of the receipt issuer cannot be had now")
	case err != nil:
		s.failed(w, r, err)
	case problem != nil:
		stream.WriteError(w, http.StatusBadRequest, stream.WireError{Err: problem.Err, Description: problem.Text, ReceiptError: problem.ReceiptError})
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// acceptReceipt carries out the checks in their order. A problem is the sender's, an error is ours.
func (s *Server) acceptReceipt(ctx context.Context, c Caller, compact string) (*receipt.Problem, error) {
	u, err := set.Parse(compact) // check 1
	if err != nil {
		return receipt.NewProblem(receipt.CodeMalformed, "the body is not a security event token"), nil
	}
	claims := u.Claims()
	if len(claims.ID) > maxJTI {
		return receipt.NewProblem(receipt.CodeMalformed, "jti is longer than 1024 bytes"), nil
	}
	algorithms := s.algorithms()
	if p := receipt.CheckForm(u, s.cfg.Vocabulary, algorithms); p != nil { // check 2
		return p, nil
	}
	keys, audiences, err := s.receiptKeys(ctx, c.Receiver, &claims) // check 3
	if err != nil {
		return nil, err
	}
	if keys == nil {
		return receipt.NewProblem(receipt.CodeWrongIssuer, "the issuer is not the receipt_issuer of a stream of this receiver"), nil
	}
	token, err := set.Verify(ctx, compact, &set.Policy{
		Issuer: claims.Issuer, SkipAudience: true, Algorithms: algorithms, Keys: keys,
		Now: s.cfg.Now, Skew: receiptSkew * 1e9, ExactType: true, RequireKeyID: true,
	})
	switch {
	case errors.Is(err, set.ErrKeysUnavailable):
		return nil, err
	case errors.Is(err, set.ErrKeyUnknown), errors.Is(err, set.ErrKeyUnfit), errors.Is(err, set.ErrSignature):
		return receipt.NewProblem(receipt.CodeBadSignature, "no key of the receipt issuer verifies the signature"), nil
	case errors.Is(err, set.ErrTime): // check 4
		return receipt.NewProblem(receipt.CodeBadTime, "iat is in the future"), nil
	case err != nil:
		return receipt.NewProblem(receipt.CodeMalformed, "the token breaks the rules of a receipt"), nil
	}
	if len(claims.Audience) != 1 || !slices.Contains(audiences, claims.Audience[0]) {
		return receipt.NewProblem(receipt.CodeWrongAudience, "aud is not the receipt_audience"), nil
	}
	unknown := receipt.NewProblem(receipt.CodeUnknownOrder, "there is no such order") // check 5: one answer for all
	iss, jti, err := receipt.Named(&claims)
	if err != nil {
		return receipt.NewProblem(receipt.CodeMalformed, "sub_id is not the jwt_id of an order"), nil
	}
	if iss != s.cfg.Issuer {
		jti = "" // looked up all the same, so that the answer takes as long
	}
	kept := keptReceipt(token)
	kept.Accepted = At(s.cfg.Now())
	var problem *receipt.Problem
	var order SentOrder
	key := OrderKey{Receiver: c.Receiver, ReceiptIssuer: claims.Issuer, JTI: jti}
	verdict, err := s.cfg.Store.AcceptReceipt(ctx, key, kept, func(o *SentOrder, e Elsewhere) Verdict {
		var v Verdict
		v, problem = s.judge(o, token, kept, e)
		order = *o
		return v
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return unknown, nil
	case err != nil:
		return nil, err
	case verdict == Accept:
		order.Receipts = insertReceipt(order.Receipts, *kept)
		if s.cfg.OnReceipt != nil {
			s.cfg.OnReceipt(ctx, AcceptedReceipt{Order: order, Receipt: *kept})
		}
		return nil, nil
	case verdict == Dispute:
		s.cfg.Log.ErrorContext(ctx, "an order is disputed: two receipts contradict each other", "stream", order.Stream, "order", order.JTI, "seq", kept.Seq)
	case problem != nil:
		s.cfg.Log.WarnContext(ctx, "a receipt was refused", "stream", order.Stream, "order", order.JTI, "error", problem.ReceiptError)
	}
	return problem, nil
}

// judge holds a verified receipt to its order: checks 4, 6, 7 and 8 and the sequence rules.
func (s *Server) judge(o *SentOrder, token *set.Token, kept *KeptReceipt, e Elsewhere) (Verdict, *receipt.Problem) {
	u, err := set.Parse(o.Input + ".AA")
	if err != nil {
		return KeepNothing, receipt.NewProblem(receipt.CodeUnknownOrder, "there is no such order")
	}
	order, err := receipt.OrderOf(u, s.cfg.Vocabulary)
	if err != nil {
		return KeepNothing, receipt.NewProblem(receipt.CodeUnknownOrder, "there is no such order")
	}
	order.ReceiptIssuer, order.ReceiptAudience, order.Algorithms = o.ReceiptIssuer, o.ReceiptAudience, s.algorithms()
	known := make([]receipt.Known, 0, len(o.Receipts)+2)
	for _, k := range o.Receipts {
		known = append(known, receipt.Known{Seq: k.Seq, Hash: k.Hash, Stage: k.Stage, ReceiptNo: k.Number, JTI: k.JTI,
			ReceivedAt: k.ReceivedAt, Supersedes: k.Supersedes})
	}
	if e.JTIHash != "" && !slices.ContainsFunc(o.Receipts, func(k KeptReceipt) bool { return k.Hash == e.JTIHash }) {
		known = append(known, receipt.Known{Hash: e.JTIHash, JTI: kept.JTI, Elsewhere: true})
	}
	if e.NumberOrder != "" && e.NumberOrder != o.JTI {
		known = append(known, receipt.Known{ReceiptNo: kept.Number, Elsewhere: true}) // A43
	}
	_, how, p := receipt.Check(order, token, known, s.cfg.Now().Unix(), s.cfg.Vocabulary)
	switch {
	case p != nil && p.Disputed:
		return Dispute, p
	case p != nil:
		return KeepNothing, p
	case how == receipt.Identical:
		return KeepNothing, nil
	}
	kept.Gap, kept.Late = how == receipt.Gap, how == receipt.Late
	return Accept, nil
}

// algorithms are what may sign a receipt; "EdDSA" and "Ed25519" are one.
func (s *Server) algorithms() []set.Algorithm {
	out := make([]set.Algorithm, 0, len(s.ours.Algorithms))
	for _, a := range s.ours.Algorithms {
		if a == "Ed25519" {
			a = string(set.EdDSA)
		}
		if !slices.Contains(out, set.Algorithm(a)) {
			out = append(out, set.Algorithm(a))
		}
	}
	return out
}

// receiptKeys gives the keys of a receipt issuer on the streams of one receiver, and the audiences agreed
// there; nil keys where no stream of the receiver has that issuer.
func (s *Server) receiptKeys(ctx context.Context, receiver string, claims *set.Claims) (set.KeySet, []string, error) {
	issuer := claims.Issuer
	snap, err := s.t.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	keys, audiences := s.keysOf(snap.byReceiver[receiver], issuer)
	if keys == nil { // the stream may be younger than our snapshot
		streams, err := s.cfg.Store.Streams(ctx, receiver)
		if err != nil {
			return nil, nil, err
		}
		fresh := make([]*Stream, len(streams))
		for i := range streams {
			fresh[i] = &streams[i]
		}
		keys, audiences = s.keysOf(fresh, issuer)
	}
	if keys != nil {
		return keys, audiences, nil
	}
	// Its stream may be gone, or agree on other things by now: an order that was sent is still answered (receipts design §6.3).
	_, jti, err := receipt.Named(claims)
	if err != nil {
		return nil, nil, nil
	}
	o, err := s.cfg.Store.Order(ctx, OrderKey{Receiver: receiver, ReceiptIssuer: issuer, JTI: jti})
	if errors.Is(err, ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	keys, audiences = s.keysOf([]*Stream{{ReceiptIssuer: o.ReceiptIssuer, Receipts: o.Agreed}}, issuer)
	return keys, audiences, nil
}

func (s *Server) keysOf(streams []*Stream, issuer string) (set.KeySet, []string) {
	var keys unionKeys
	var audiences []string
	for _, st := range streams {
		if st.ReceiptIssuer != issuer || issuer == "" {
			continue
		}
		agreed, err := receipt.ParseSettings(st.Receipts)
		if err != nil {
			continue
		}
		audiences = append(audiences, agreed.ReceiptAudience)
		if agreed.JWKSURI != "" {
			keys = append(keys, s.remoteKeys(agreed.JWKSURI))
		} else if static, err := set.ParseJWKS(agreed.JWKS); err == nil {
			keys = append(keys, static)
		}
	}
	if keys == nil {
		return nil, nil
	}
	return keys, audiences
}

func (s *Server) remoteKeys(uri string) set.KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.remote[uri]
	if !ok {
		if len(s.remote) >= 1000 { // receivers choose the addresses
			clear(s.remote)
		}
		k = s.cfg.ReceiptKeys(uri)
		s.remote[uri] = k
	}
	return k
}

// unionKeys looks in several sets.
type unionKeys []set.KeySet

// Find gives the keys of all sets. It fails only where none can be found and a set could not be had.
func (u unionKeys) Find(ctx context.Context, kid string) ([]set.Key, error) {
	var out []set.Key
	var failed error
	for _, k := range u {
		keys, err := k.Find(ctx, kid)
		if err != nil {
			failed = err
		}
		out = append(out, keys...)
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, failed
}

// keptReceipt is a receipt as it is kept. Members that do not read are left empty; check 8 refuses them.
func keptReceipt(t *set.Token) *KeptReceipt {
	c := t.Claims()
	k := &KeptReceipt{JTI: c.ID, Issuer: c.Issuer, Hash: t.Address(), IssuedAt: c.IssuedAt, Compact: t.Compact()}
	if len(c.Events) != 1 {
		return k
	}
	var e struct {
		Number  string `json:"receipt_no"`
		Seq     int    `json:"seq"`
		Stage   string `json:"stage"`
		Outcome string `json:"outcome"`
		Order   struct {
			ReceivedAt int64 `json:"received_at"`
		} `json:"order"`
		Supersedes struct {
			Hash string `json:"hash"`
		} `json:"supersedes"`
	}
	if strictjson.Unmarshal(json.RawMessage(c.Events[0].Payload), &e) == nil {
		k.Number, k.Seq, k.Stage, k.Outcome = e.Number, e.Seq, e.Stage, e.Outcome
		k.ReceivedAt, k.Supersedes = e.Order.ReceivedAt, e.Supersedes.Hash
	}
	return k
}

// insertReceipt puts a receipt in its place by seq.
func insertReceipt(all []KeptReceipt, r KeptReceipt) []KeptReceipt {
	i, _ := slices.BinarySearchFunc(all, r.Seq, func(k KeptReceipt, seq int) int { return k.Seq - seq })
	return slices.Insert(slices.Clone(all), i, r)
}
