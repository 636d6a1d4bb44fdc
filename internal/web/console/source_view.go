package console

import (
	"context"
	"encoding/json"

	"countersign/internal/hub"
)

// sourceState is what a running hub says of a source, as its pages use it.
type sourceState struct {
	Problem    string `json:"problem"`
	ReceiveURL string `json:"receive_url"`
	Polls      *struct {
		At    hub.Micros `json:"at"`
		SETs  int64      `json:"sets"`
		Fails int        `json:"failures"`
		Error string     `json:"error"`
	} `json:"polls"`
	Stream struct {
		Status         string     `json:"status"`
		Error          string     `json:"error"`
		Tries          int        `json:"tries"`
		Next           hub.Micros `json:"next_try_at"`
		StreamID       string     `json:"stream_id"`
		Origin         string     `json:"origin"`
		Audience       []string   `json:"audience"`
		Events         []string   `json:"events_delivered"`
		PollURL        string     `json:"poll_url"`
		Receipts       string     `json:"receipts"`
		ReceiptsReason string     `json:"receipts_reason"`
		Actions        []string   `json:"actions"`
		There          string     `json:"stream_status"`
		ThereReason    string     `json:"stream_status_reason"`
		Asked          hub.Micros `json:"verify_asked_at"`
		Verified       hub.Micros `json:"verified_at"`
		ByItself       hub.Micros `json:"verified_by_itself_at"`
		Unable         string     `json:"verify_unable"`
		Held           bool       `json:"held"`
		Alarm          string     `json:"alarm"`
		AlarmAt        hub.Micros `json:"alarm_at"`
	} `json:"stream_state"`
}

// sourceInfo is a source with what is known of it.
type sourceInfo struct {
	res  hub.Resource
	spec hub.Source
	st   sourceState
}

func (c *Console) sourceInfo(ctx context.Context, res *hub.Resource) (*sourceInfo, error) {
	i := &sourceInfo{res: *res}
	if err := json.Unmarshal(res.Spec, &i.spec); err != nil {
		return nil, err
	}
	if c.c.Show != nil {
		raw, err := json.Marshal(c.c.Show(ctx, res))
		if err == nil {
			err = json.Unmarshal(raw, &i.st)
		}
		if err != nil {
			return nil, err
		}
	}
	return i, nil
}

// health is how a source does, in one word.
func (i *sourceInfo) health() string {
	s := &i.st.Stream
	switch {
	case s.Alarm != "":
		return "silent"
	case s.Status == "failed":
		return "failed"
	case s.Held:
		return "paused"
	case i.st.Problem != "":
		return "warning"
	case s.Status == "pending", s.Status == "deleting":
		return s.Status
	case s.Status == "":
		return "unknown"
	}
	return "ok"
}

// why is what to know first of one that does not do well.
func (i *sourceInfo) why() string {
	s := &i.st.Stream
	switch {
	case i.st.Problem != "":
		return clean(i.st.Problem)
	case s.Held && s.ThereReason != "":
		return "An operator paused its stream: " + clean(s.ThereReason)
	case s.Held:
		return "An operator paused its stream."
	}
	return ""
}

// step is what to do next then.
func (i *sourceInfo) step() string {
	switch {
	case i.st.Problem != "":
		return "countersign doctor source " + clean(i.spec.Name)
	case i.st.Stream.Held:
		return "countersign source resume " + clean(i.spec.Name)
	}
	return ""
}

// alive is the last sign of life that a verification gave.
func (i *sourceInfo) alive() hub.Micros {
	return max(i.st.Stream.Verified, i.st.Stream.ByItself)
}
