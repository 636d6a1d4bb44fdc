package api

import (
	"net/http"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/transmitter"
)

func (d *Door) listDeliveries(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "stream", "jti", "txn", "outcome")
	if err != nil {
		return err
	}
	outcome, err := word(q, "outcome", sight.Waiting, transmitter.Delivered, transmitter.DeadLettered, transmitter.Skipped)
	if err != nil {
		return err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	s := sight.Search{Outcome: outcome, JTI: q.Get("jti"), TXN: q.Get("txn")}
	if ref := q.Get("stream"); ref != "" {
		v, err := o.find(r.Context(), ref)
		if err != nil {
			return err
		}
		s.Stream = v.Stream.Key
	}
	l, err := s.Find(r.Context(), o.streams, o.outbox, p.After, p.Size())
	if err != nil {
		return err
	}
	return writePage(w, l)
}

func (d *Door) redrive(w http.ResponseWriter, r *request) error {
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var req RedriveRequest
	if err := decodeBody(data, maxBody, &req); err != nil {
		return err
	}
	for name, v := range map[string]string{"stream": req.Stream, "jti": req.JTI, "reason": req.Reason} {
		if len(v) > 1024 || !printable(v) {
			return hub.Errorf(hub.Invalid, "%s cannot be that", name)
		}
	}
	chosen := req.Stream != "" || req.JTI != "" || req.Reason != ""
	switch {
	case chosen && req.All:
		return hub.Errorf(hub.Invalid, "all stands alone: with it, stream, jti and reason are not given")
	case !chosen && !req.All:
		return hub.Errorf(hub.Invalid, "which dead letters are to be sent again?").WithHint("give stream, jti, reason, or all")
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	f := transmitter.DeadFilter{JTI: req.JTI, Reason: req.Reason}
	if req.Stream != "" {
		v, err := o.find(r.Context(), req.Stream)
		if err != nil {
			return err
		}
		if v.Stream.Status == transmitter.Disabled {
			return hub.Errorf(hub.Conflict, "the stream is disabled, and its dead letters stay where they are").WithHint("countersign stream resume %s", nameOf(&v.Stream))
		}
		f.Stream = v.Stream.Key
	}
	n, err := o.streams.Redrive(r.Context(), f)
	if err != nil {
		return streamError(err)
	}
	return writeJSON(w, http.StatusOK, Redriven{n})
}
