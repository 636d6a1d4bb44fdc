package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/transmitter"
)

const orderCursor = "ord"

func (d *Door) listSentOrders(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "client", "stream", "txn", "overdue")
	if err == nil {
		err = from(p, orderCursor)
	}
	if err != nil {
		return err
	}
	state, err := word(q, "state", sight.Standings...)
	if err != nil {
		return err
	}
	overdue, err := word(q, "overdue", "true", "false")
	if err != nil {
		return err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	s := sight.OrderSearch{State: state, Client: q.Get("client"), TXN: q.Get("txn"), Overdue: overdue == "true"}
	if p.After != "" {
		if s.Before, err = strconv.ParseInt(strings.TrimPrefix(p.After, orderCursor+"_"), 10, 64); err != nil || s.Before < 1 {
			return from(hub.Page{After: "-" + p.After}, orderCursor)
		}
	}
	if ref := q.Get("stream"); ref != "" {
		if s.Stream, err = o.id(r.Context(), ref); err != nil {
			return err
		}
	}
	now := d.c.Now()
	found, more, err := s.Find(r.Context(), o.streams, p.Size(), now)
	if err != nil {
		return err
	}
	names, err := sight.StreamNames(r.Context(), o.streams)
	if err != nil {
		return err
	}
	l := hub.Listed[OrderInfo]{}
	for i := range found {
		l.Items = append(l.Items, sight.OrderInfoOf(&found[i], names[found[i].Stream], now))
	}
	if more != 0 {
		l.Next = orderCursor + "_" + strconv.FormatInt(more, 10)
	}
	return writePage(w, l)
}

func (d *Door) oneOrder(r *request) (office, *transmitter.SentOrder, error) {
	id, err := ref(r, "ref")
	if err != nil {
		return office{}, nil, err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return o, nil, err
	}
	so, err := o.streams.OrderOf(r.Context(), id)
	if errors.Is(err, transmitter.ErrNotFound) {
		return o, nil, hub.Errorf(hub.NotFound, "there is no order %q", short(id)).WithHint("countersign order list")
	}
	return o, so, err
}

func (d *Door) showSentOrder(w http.ResponseWriter, r *request) error {
	o, so, err := d.oneOrder(r)
	if err != nil {
		return err
	}
	return d.writeOrder(w, r, o, so)
}

func (d *Door) writeOrder(w http.ResponseWriter, r *request, o office, so *transmitter.SentOrder) error {
	s, err := sight.OrderStoryOf(r.Context(), so, o.streams, o.outbox, d.c.Now(), r.caller.May(ScopeSignalsToken))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}

func (d *Door) withdraw(w http.ResponseWriter, r *request) error {
	var req WithdrawRequest
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	if len(req.ReasonAdmin) > maxReason || !printable(req.ReasonAdmin) {
		return hub.Errorf(hub.Invalid, "reason_admin must have at most %d printable bytes", maxReason)
	}
	o, so, err := d.oneOrder(r)
	if err != nil {
		return err
	}
	after, err := o.streams.Withdraw(r.Context(), so.JTI, req.ReasonAdmin)
	switch {
	case errors.Is(err, transmitter.ErrConflict):
		st := transmitter.Standing(so, d.c.Now())
		return hub.Errorf(hub.Conflict, "the order can no longer be withdrawn: it is %s", strings.ReplaceAll(st.State, "_", " ")).WithHint("countersign order explain %s", so.JTI)
	case errors.Is(err, transmitter.ErrNotFound):
		return hub.Errorf(hub.Conflict, "the stream of the order is gone, so its receiver cannot be told")
	case err != nil:
		return streamError(err)
	}
	return d.writeOrder(w, r, o, after)
}
