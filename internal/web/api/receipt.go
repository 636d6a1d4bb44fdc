package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/set"
)

func (d *Door) listReceipts(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "source", "signal")
	if err != nil {
		return err
	}
	l, err := d.c.Store.ListReceipts(r.Context(), r.tenant, store.ReceiptFilter{State: q.Get("state"), Source: q.Get("source"), SignalID: q.Get("signal")}, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) receipt(r *request) (*hub.Receipt, error) {
	id := r.PathValue("id")
	rc, err := d.c.Store.Receipt(r.Context(), r.tenant, id)
	if err == nil && rc == nil || hub.CodeOf(err) == hub.NotFound && err != nil {
		return nil, hub.Errorf(hub.NotFound, "there is no receipt %q", short(id)).WithHint("countersign receipt list")
	}
	return rc, err
}

func (d *Door) showReceipt(w http.ResponseWriter, r *request) error {
	rc, err := d.receipt(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, rc)
}

// bundle is the evidence file of the receipts design, details A1.
type bundle struct {
	Version  int                        `json:"version"`
	Orders   []bundleToken              `json:"orders"`
	Receipts []bundleToken              `json:"receipts"`
	JWKS     map[string]json.RawMessage `json:"jwks"`
	Streams  []bundleStream             `json:"streams"`
	Evidence []bundleDocument           `json:"evidence,omitempty"`
}

type bundleToken struct {
	JWS        string `json:"jws"`
	AcceptedAt int64  `json:"accepted_at,omitempty"`
}

type bundleStream struct {
	Iss             string `json:"iss"`
	Aud             string `json:"aud"`
	ReceiptIssuer   string `json:"receipt_issuer"`
	ReceiptAudience string `json:"receipt_audience"`
}

type bundleDocument struct {
	Hash      string `json:"hash"`
	Content   string `json:"content"`
	MediaType string `json:"media_type"`
}

// evidence gives the file that lets anybody check one order and its receipts without us.
func (d *Door) evidence(w http.ResponseWriter, r *request) error {
	rc, err := d.receipt(r)
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
	b := bundle{Version: 1, Orders: []bundleToken{{sig.Token, sig.Received.Seconds()}}, Receipts: []bundleToken{}, JWKS: map[string]json.RawMessage{}}
	for _, aud := range u.Claims().Audience {
		b.Streams = append(b.Streams, bundleStream{sig.Issuer, aud, sig.Order.ReceiptIssuer, sig.Order.ReceiptAudience})
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
		b.Receipts = append(b.Receipts, bundleToken{other.Token, at.Seconds()})
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
	b.JWKS[sig.Issuer] = set.MarshalJWKS(theirs)
	b.JWKS[sig.Order.ReceiptIssuer] = set.MarshalJWKS(ours)
	actions, err := d.c.Store.ActionsOf(ctx, sig.Seq)
	if err != nil {
		return err
	}
	for _, a := range actions {
		if a.EvidenceHash != "" && len(a.Evidence) > 0 {
			b.Evidence = append(b.Evidence, bundleDocument{a.EvidenceHash, base64.RawURLEncoding.EncodeToString(a.Evidence), "application/json"})
		}
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+rc.ReceiptNo+`.evidence.json"`)
	return writeJSON(w, http.StatusOK, b)
}

func (d *Door) listKeys(w http.ResponseWriter, r *request) error {
	keys, err := d.c.Keys.Ours(r.Context(), r.tenant)
	if err != nil {
		return err
	}
	type row struct {
		KID        string          `json:"kid"`
		Alg        string          `json:"alg"`
		Thumbprint string          `json:"thumbprint"`
		JWK        json.RawMessage `json:"jwk"`
	}
	items := []row{}
	for _, k := range keys {
		jwk, err := json.Marshal(k)
		if err != nil {
			return err
		}
		items = append(items, row{k.ID, k.Algorithm, k.Thumbprint(), jwk})
	}
	return writeJSON(w, http.StatusOK, page[row]{Items: items})
}
