package transmitter_test

import (
	"context"
	"net/http"
	"testing"

	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
)

// An order is answered though its stream is gone: the order keeps what was agreed when it was sent. Nobody else's keys
// come in by that way.
func TestReceiptAfterTheStream(t *testing.T) {
	x := newTill(t)
	if err := x.RemoveStream(context.Background(), x.ids[0]); err != nil {
		t.Fatal(err)
	}
	final := func() string {
		return x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: receipt.StageFinal}))
	}
	give := func(token string) int {
		return do(x, call{method: "POST", path: "/t/blue/ssf/receipts", token: token, body: final(), header: http.Header{"Content-Type": {"application/secevent+jwt"}}}).StatusCode
	}
	if code := give("token-b"); code != 400 {
		t.Errorf("from another receiver: %d", code)
	}
	right := x.signer
	x.signer = ssftest.Signer(set.ES256, "rcpt-b")
	if code := give("token-a"); code != 400 {
		t.Errorf("by another key: %d", code)
	}
	x.signer = right
	if code := give("token-a"); code != 202 {
		t.Errorf("the answer to the order: %d", code)
	}
	if len(x.accepted) != 1 {
		t.Errorf("%d accepted", len(x.accepted))
	}
}
