package transmitter

import (
	"bytes"
	"encoding/json"
	"strconv"

	"countersign/internal/strictjson"
)

// Body makes Event.Body: the claims that are the same on every stream, written once for each event.
// txn may be empty and toe 0: then they are left out. subID and payload are valid JSON objects.
func Body(txn string, toe int64, subID json.RawMessage, typ string, payload json.RawMessage) []byte {
	b := make([]byte, 0, len(txn)+len(subID)+len(typ)+len(payload)+64)
	if txn != "" {
		b = strictjson.AppendString(append(b, `,"txn":`...), txn)
	}
	if toe != 0 {
		b = strconv.AppendInt(append(b, `,"toe":`...), toe, 10)
	}
	b = appendJSON(append(b, `,"sub_id":`...), subID)
	b = strictjson.AppendString(append(b, `,"events":{`...), typ)
	b = appendJSON(append(b, ':'), payload)
	return append(b, "}}"...)
}

// claimsStart is the part of a claims object that is the same for every SET of a stream.
func claimsStart(issuer string, audience []string) string {
	b := strictjson.AppendString([]byte(`{"iss":`), issuer)
	b = append(b, `,"aud":`...)
	if len(audience) == 1 {
		b = strictjson.AppendString(b, audience[0])
	} else {
		b = append(b, '[')
		for i, a := range audience {
			if i > 0 {
				b = append(b, ',')
			}
			b = strictjson.AppendString(b, a)
		}
		b = append(b, ']')
	}
	return string(append(b, `,"iat":`...))
}

// appendClaims writes the whole claims object of an item.
func appendClaims(b []byte, start string, iat int64, jti string, body []byte) []byte {
	b = append(b, start...)
	b = strconv.AppendInt(b, iat, 10)
	b = strictjson.AppendString(append(b, `,"jti":`...), jti)
	return append(b, body...)
}

// appendJSON writes valid JSON without the white space between its tokens.
func appendJSON(b []byte, raw json.RawMessage) []byte {
	if bytes.IndexByte(raw, ' ') < 0 && bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\t') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return append(b, raw...)
	}
	buf := bytes.NewBuffer(b)
	if json.Compact(buf, raw) != nil {
		return append(b, raw...)
	}
	return buf.Bytes()
}
