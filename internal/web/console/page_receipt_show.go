package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
)

type receiptShowView struct {
	frame
	Slip     *slipView
	SignalID string
	State    badge
	Reason   string
	Tries    int
	Accepted time.Time
}

// slipView is a receipt as it lies on the counter.
type slipView struct {
	Merchant, Register   string
	At                   time.Time
	Number, Copy, Stage  string
	OrderType, OrderHash string
	Lines                []slipLine
	Ordered, Count       int
	Sums                 string
	Outcome              string
	Tone                 string
	Notes                []string
	KID, Alg             string
	Hash                 string
	Bars                 []bar
	Broken               bool
}

type slipLine struct {
	ID, Action, Target, Counts, Result string
	Tone                               string
	Reason                             string
}

// bar is one bar of the code under the slip: the receipt's content address, drawn.
type bar struct{ X, W int }

func (c *Console) pageReceiptShow(w http.ResponseWriter, r *visit) error {
	rc, err := c.c.Store.Receipt(r.Context(), c.c.Tenant, r.PathValue("id"))
	if err == nil && rc == nil {
		err = hub.Errorf(hub.NotFound, "no such receipt")
	}
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "receipt_show", c.receiptShow(&r.user, rc))
	return nil
}

func (c *Console) receiptShow(u *User, rc *hub.Receipt) receiptShowView {
	f := c.frame("Receipt "+clean(rc.ReceiptNo), u).at("signals")
	f.Narrow = true
	return receiptShowView{frame: f, Slip: c.slip(rc, rc.No), SignalID: rc.SignalID, State: mark(rc.State), Reason: clean(rc.Reason), Tries: rc.Tries, Accepted: rc.Accepted.Time()}
}

// slip lays a receipt out. What it shows is the signed body, nothing that was computed here.
func (c *Console) slip(rc *hub.Receipt, copyNo int) *slipView {
	v := &slipView{Merchant: c.c.Name, At: rc.Cut.Time(), Number: clean(rc.ReceiptNo), Stage: clean(rc.Stage), Copy: "copy " + itoa(copyNo), Outcome: strings.ToUpper(words(rc.Outcome)),
		Tone: tone(rc.Outcome), KID: clean(rc.KID), Hash: clean(rc.Hash), Bars: bars(rc.Hash)}
	if u, err := set.Parse(rc.Token); rc.Token != "" && err == nil {
		v.Alg = clean(u.Header().Algorithm)
	}
	var body receipt.Receipt
	if json.Unmarshal(rc.Body, &body) != nil {
		v.Broken = true
		return v
	}
	if body.Merchant != nil && body.Merchant.Name != "" {
		v.Merchant = clean(body.Merchant.Name)
	}
	if body.Register != nil {
		v.Register = clean(strings.Trim(body.Register.ID+" · "+body.Register.Zone, " ·"))
	}
	v.OrderType, v.OrderHash = c.typeName(body.Order.EventType), clean(body.Order.SetHash)
	if _, name, ok := strings.Cut(v.OrderType, "/"); ok && !strings.Contains(v.OrderType, ":") {
		v.OrderType = name
	}
	v.Ordered, v.Count = body.Totals.Requested, body.Totals.Lines
	v.Sums = sums(body.Totals)
	stars := ""
	for _, l := range body.Lines {
		sl := slipLine{ID: clean(l.ID), Action: clean(l.Action), Tone: tone(l.Status), Result: lineResult(l), Reason: words(clean(l.Reason))}
		if l.Target != nil {
			sl.Target = clean(l.Target.App)
		}
		if l.Quantity > 1 {
			sl.Target = strings.TrimSpace(sl.Target + " × " + itoa(l.Quantity))
		}
		if n := l.Counts; n != nil && n.Found != nil && n.Acted != nil {
			sl.Counts = fmt.Sprintf("%d of %d", *n.Acted, *n.Found)
		}
		if l.EffectiveBy != 0 {
			stars += "*"
			sl.Result += stars
			v.Notes = append(v.Notes, stars+" access already granted can last until "+time.Unix(l.EffectiveBy, 0).UTC().Format("15:04:05Z"))
		}
		v.Lines = append(v.Lines, sl)
	}
	if t := body.Message["en"]; t != "" {
		v.Notes = append(v.Notes, clean(t))
	}
	return v
}

func lineResult(l receipt.Line) string {
	switch {
	case l.Status == receipt.Succeeded:
		return "done"
	case l.Status == receipt.Skipped && (l.Reason == "already_gone" || l.Reason == "already_in_state"):
		return "already so"
	case l.Status == receipt.Failed || l.Status == receipt.Skipped:
		return words(clean(l.Reason))
	}
	return clean(l.Status)
}

func sums(t receipt.Totals) string {
	var out []string
	for _, p := range []struct {
		n    int
		word string
	}{{t.Succeeded, "done"}, {t.Skipped, "skipped"}, {t.Unconfirmed, "unconfirmed"}, {t.Failed, "failed"}, {t.Pending, "pending"}, {t.Reversed, "reversed"}} {
		if p.n > 0 {
			out = append(out, itoa(p.n)+" "+p.word)
		}
	}
	return strings.Join(out, " · ")
}

// bars draws the last characters of a content address, six bits as three bars and gaps.
func bars(hash string) []bar {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	_, code, _ := strings.Cut(hash, ":")
	if len(code) > 26 {
		code = code[:26]
	}
	out := []bar{{0, 1}, {2, 1}}
	x := 5
	for _, r := range code {
		n := strings.IndexRune(alphabet, r)
		if n < 0 {
			continue
		}
		w := 1 + n&3
		out = append(out, bar{x, w})
		x += w + 1 + n>>2&3
		w = 1 + n>>4&3
		out = append(out, bar{x, w})
		x += w + 2
	}
	return append(out, bar{x + 1, 1}, bar{x + 3, 1})
}

// Width is where the bars end.
func (v *slipView) Width() int {
	last := v.Bars[len(v.Bars)-1]
	return last.X + last.W
}

func itoa(n int) string { return strconv.Itoa(n) }

func split3(token string) []string { return strings.SplitN(token, ".", 3) }
