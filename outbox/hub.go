package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Hub gives the Send of a Relay that hands entries to a Countersign hub: POST base/api/v1/signals, with the entry's id as
// Idempotency-Key. token is a bearer token with the scope signals.write. client nil: one that follows no redirects.
func Hub(base, token string, client *http.Client) func(ctx context.Context, e Entry) error {
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	url := strings.TrimSuffix(base, "/") + "/api/v1/signals"
	return func(ctx context.Context, e Entry) error {
		body, err := json.Marshal(struct {
			EventType string          `json:"event_type"`
			SubID     json.RawMessage `json:"sub_id"`
			Event     json.RawMessage `json:"event"`
			TXN       string          `json:"txn,omitempty"`
			Do        []string        `json:"do,omitempty"`
		}{e.EventType, e.SubID, e.Event, e.TXN, e.Do})
		if err != nil {
			return Permanent(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Idempotency-Key", e.ID)
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		if resp.StatusCode/100 == 2 {
			return nil
		}
		err = fmt.Errorf("HTTP %d%s", resp.StatusCode, detail(text))
		switch resp.StatusCode {
		case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return Permanent(err) // about this signal
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if s, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && s > 0 {
				return After(err, time.Duration(min(s, 3600))*time.Second)
			}
		}
		return err // 401 and 403, too: somebody mends the token
	}
}

// detail takes the sentence out of an RFC 9457 problem.
func detail(body []byte) string {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &p) != nil {
		return ""
	}
	for _, s := range []string{p.Detail, p.Title} {
		if s != "" {
			return ": " + s
		}
	}
	return ""
}
