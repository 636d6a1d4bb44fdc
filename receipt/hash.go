package receipt

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"countersign/internal/strictjson"
)

// Ref is the content address of one action at one target, and the idempotency key towards the application
// (design §5.3). For extra work the action id is "x" (A19). app and targetID may be empty.
func Ref(orderIss, orderJTI, actionID, action, app, targetID string) string {
	text, err := marshal([]string{"countersign-ar-1", orderIss, orderJTI, actionID, action, app, targetID})
	if err != nil {
		return ""
	}
	canonical, err := strictjson.JCS(text)
	if err != nil {
		return ""
	}
	return digest(canonical)
}

// CustomerHash is the keyed hash of an order's subject (design §5.4). A subject that holds a number, a
// boolean or null has none (A20).
func CustomerHash(salt []byte, subID json.RawMessage) (string, error) {
	canonical, err := strictjson.JCS(subID)
	if err != nil {
		return "", fmt.Errorf("receipt: customer hash: %w", err)
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(canonical)
	return "hmac-sha-256:" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// DocumentHash is the hash of the exact octets of a retained evidence document (A26).
func DocumentHash(content []byte) string { return digest(content) }

// Pseudonym is the name of an account towards one stream: "p-" and 96 bits of HMAC under the receiver's
// secret (design §8). The same account has another pseudonym on every stream.
func Pseudonym(secret []byte, streamID, account string) string {
	mac := hmac.New(sha256.New, secret)
	text, err := marshal([]string{"countersign-pseudonym-1", streamID, account})
	if err != nil {
		return ""
	}
	mac.Write(text)
	return fmt.Sprintf("p-%x", mac.Sum(nil)[:12])
}

// NewNumber gives a receipt number: "CS-" and 60 random bits in an alphabet without look-alikes. It is long
// enough that numbers of one merchant do not meet by chance (A43).
func NewNumber() string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var bits [12]byte
	_, _ = rand.Read(bits[:]) // never fails
	var b strings.Builder
	b.WriteString("CS-")
	for _, x := range bits {
		b.WriteByte(alphabet[x&31])
	}
	return b.String()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha-256:" + base64.RawURLEncoding.EncodeToString(sum[:])
}
