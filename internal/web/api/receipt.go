package api

import (
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/receipt"
	"countersign/set"
)

func (d *Door) listReceipts(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "source", "signal")
	if err == nil {
		err = from(p, hub.PrefixReceipt)
	}
	if err != nil {
		return err
	}
	state, err := word(q, "state", "kept", "queued", "accepted", "dead")
	if err != nil {
		return err
	}
	l, err := d.c.Store.ListReceipts(r.Context(), r.tenant, store.ReceiptFilter{State: state, Source: q.Get("source"), SignalID: q.Get("signal")}, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) oneReceipt(r *request) (*hub.Receipt, error) {
	id := r.PathValue("id")
	rc, err := d.c.Store.Receipt(r.Context(), r.tenant, id)
	if err == nil && rc == nil || hub.CodeOf(err) == hub.NotFound && err != nil {
		return nil, hub.Errorf(hub.NotFound, "there is no receipt %q", short(id)).WithHint("countersign receipt list")
	}
	return rc, err
}

func (d *Door) showReceipt(w http.ResponseWriter, r *request) error {
	rc, err := d.oneReceipt(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, rc)
}

// evidence gives the file that lets anybody check one order and its receipts without us.
func (d *Door) evidence(w http.ResponseWriter, r *request) error {
	rc, err := d.oneReceipt(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	sig, err := d.c.Store.SignalBySeq(ctx, rc.SignalSeq)
	if err != nil {
		return err
	}
	if sig.Token == "" || sig.Order == nil {
		return hub.Errorf(hub.Conflict, "this receipt answers no signed order, so there is nothing that others could check")
	}
	u, err := set.Parse(sig.Token)
	if err != nil {
		return err
	}
	b := receipt.NewBundle()
	b.Orders = append(b.Orders, receipt.Entry{JWS: sig.Token, AcceptedAt: sig.Received.Seconds()})
	for _, aud := range u.Claims().Audience {
		b.Streams = append(b.Streams, receipt.StreamRule{Issuer: sig.Issuer, Audience: aud, ReceiptIssuer: sig.Order.ReceiptIssuer, ReceiptAudience: sig.Order.ReceiptAudience})
	}
	receipts, err := d.c.Store.ReceiptsOf(ctx, sig.Seq)
	if err != nil {
		return err
	}
	for _, other := range receipts {
		if other.Token == "" {
			continue
		}
		at := other.Accepted
		if at == 0 {
			at = other.Cut
		}
		b.Receipts = append(b.Receipts, receipt.Entry{JWS: other.Token, AcceptedAt: at.Seconds()})
	}
	if len(b.Receipts) == 0 {
		return hub.Errorf(hub.Conflict, "receipt %s is not signed yet", rc.ReceiptNo).WithHint("it is signed when it is sent; try again in a moment")
	}
	theirs, err := d.c.Keys.Source(ctx, r.tenant, sig.Source)
	if err != nil {
		return hub.Errorf(hub.Unavailable, "the keys of source %s cannot be had: %w", sig.Source, err)
	}
	ours, err := d.c.Keys.Ours(ctx, r.tenant)
	if err != nil {
		return err
	}
	b.AddKeys(sig.Issuer, theirs...)
	b.AddKeys(sig.Order.ReceiptIssuer, ours...)
	actions, err := d.c.Store.ActionsOf(ctx, sig.Seq)
	if err != nil {
		return err
	}
	for _, a := range actions {
		if a.EvidenceHash != "" && len(a.Evidence) > 0 {
			b.Evidence = append(b.Evidence, receipt.NewDocument(a.Evidence, "application/json"))
		}
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+rc.ReceiptNo+`.evidence.json"`)
	file, err := b.Marshal()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(file)
	return nil
}
