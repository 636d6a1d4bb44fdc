package cli

import (
	"crypto/rand"
	"encoding/json"
	"os"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// signalSendFlags are those of signal send.
type signalSendFlags struct {
	eventType, sub, payload, order, do, txn, key string
	streams                                      []string
	each                                         bool
}

func (a *App) signalSend() *cobra.Command {
	var f signalSendFlags
	c := &cobra.Command{Use: "send --event TYPE --subject JSON", Short: "Put a signal in, through the hub's API", Args: exact(0),
		Long: "Send puts a signal in: it is acted on here by the policies, or with --do transmit sent on the streams that asked for its\n" +
			"type, or on the streams of --stream alone. --stream ID --each-event sends one event of each type that the stream delivers.",
		Example: `  countersign signal send --event caep/session-revoked --subject '{"format":"email","email":"alice@example.test"}'
  countersign signal send --stream crm-signals --each-event`,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.each {
				return a.eachEvent(c, f)
			}
			return a.sendSignal(c, f)
		}}
	s := c.Flags()
	s.StringVar(&f.eventType, "event", "", "event type, by name or URI")
	s.StringVar(&f.sub, "subject", "", "subject identifier, JSON")
	s.StringVar(&f.payload, "payload", "", "the event's members, JSON")
	s.StringVar(&f.order, "order", "", "file with a directive: what is ordered from those who receive it")
	s.StringVar(&f.do, "do", "", "act: act on it here (the default); transmit: send it to the streams that asked for its type")
	s.StringVar(&f.txn, "txn", "", "transaction id that ties signals together")
	s.StringVar(&f.key, "key", "", "idempotency key, to repeat a request without harm; made up otherwise")
	s.StringArrayVar(&f.streams, "stream", nil, "send it on this stream only: a name or a stream_id; may be repeated")
	s.BoolVar(&f.each, "each-event", false, "send one event of each type that the stream delivers")
	_ = c.RegisterFlagCompletionFunc("do", words("act", "transmit"))
	a.flagNames(c, "stream", "/streams", "name", "stream_id")
	return c
}

// directive reads the file of --order; an empty name is none.
func (a *App) directive(file string) (json.RawMessage, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "--order: %w", err)
	}
	if !json.Valid(data) {
		return nil, hub.Errorf(hub.Invalid, "--order: %s is not JSON", file)
	}
	return data, nil
}

func (a *App) sendSignal(c *cobra.Command, f signalSendFlags) error {
	if f.eventType == "" || f.sub == "" {
		return hub.Errorf(hub.Invalid, "--event and --subject are needed").WithHint("countersign event types")
	}
	body := map[string]any{"event_type": f.eventType}
	switch {
	case len(f.streams) > 0 && f.do != "" && f.do != "transmit":
		return hub.Errorf(hub.Invalid, "--stream sends; it does not go with --do %s", f.do)
	case len(f.streams) > 0:
		body["do"], body["streams"] = "transmit", f.streams
	case f.do != "":
		body["do"] = f.do
	default:
		body["do"] = "act"
	}
	if f.txn != "" {
		body["txn"] = f.txn
	}
	for _, part := range [][3]string{{"sub_id", "subject", f.sub}, {"event", "payload", f.payload}} {
		raw, err := jsonFlag(part[1], part[2])
		if err != nil {
			return err
		}
		if raw != nil {
			body[part[0]] = raw
		}
	}
	order, err := a.directive(f.order)
	if err != nil {
		return err
	}
	if order != nil {
		body["order"] = order
	}
	if f.key == "" {
		f.key = rand.Text()
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	var out json.RawMessage
	if err := cl.do(c.Context(), "POST", "/signals", nil, body, &out, "Idempotency-Key", f.key); err != nil {
		return err
	}
	if a.flags.json {
		return a.object(out)
	}
	var s struct{ ID string }
	if err := json.Unmarshal(out, &s); err != nil {
		return err
	}
	a.say("%s", s.ID)
	a.note("Its story: countersign signal show %s", s.ID)
	return nil
}

// eachEvent asks for one event of each type that a stream delivers, and prints a line for each.
func (a *App) eachEvent(c *cobra.Command, f signalSendFlags) error {
	if len(f.streams) != 1 {
		return hub.Errorf(hub.Invalid, "--each-event needs one --stream").WithHint("countersign stream list")
	}
	if f.eventType != "" || f.payload != "" || f.order != "" || f.do != "" && f.do != "transmit" {
		return hub.Errorf(hub.Invalid, "--each-event makes the events itself; of an event only --subject and --txn go with it")
	}
	req := api.EachRequest{TXN: f.txn}
	var err error
	if req.SubID, err = jsonFlag("subject", f.sub); err != nil {
		return err
	}
	body := map[string]any{}
	if req.SubID != nil {
		body["sub_id"] = req.SubID
	}
	if req.TXN != "" {
		body["txn"] = req.TXN
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	raw, err := cl.raw(c.Context(), "POST", streamPath(f.streams[0], "each-event"), nil, body)
	if err != nil {
		return err
	}
	var answer api.EachAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	for _, e := range answer.Events {
		if a.flags.json {
			if err := a.object(struct {
				Stream string `json:"stream_id"`
				TXN    string `json:"txn"`
				api.EachSent
			}{answer.Stream, answer.TXN, e}); err != nil {
				return err
			}
			continue
		}
		what := e.JTI
		if e.Reason != "" {
			what = e.Reason
		}
		a.say("%-8s %-34s %s", e.Outcome, shortType(e.Type), what)
	}
	if answer.Queued == 0 {
		return hub.Errorf(hub.Conflict, "nothing was sent on %s", f.streams[0]).WithHint("countersign stream show %s", f.streams[0])
	}
	a.note("%d of %d are on their way, txn %s. What became of them: countersign delivery list --txn %s", answer.Queued, len(answer.Events), answer.TXN, answer.TXN)
	return nil
}
