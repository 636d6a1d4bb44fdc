package receipt

import (
	"regexp"
)

// The schema of design §11, with the constraints it cannot express (A41), as code. Patterns follow ECMA-262:
// "$" is the end of the text, and "." excludes the four line ends.
var (
	urlForm     = regexp.MustCompile(`^https://[^#?]+$`)
	codeForm    = regexp.MustCompile(`^([a-z][a-z0-9_]{0,63}|[a-z][a-z0-9+.-]*:[^\n\r\x{2028}\x{2029}]+)$`)
	hashForm    = regexp.MustCompile(`^sha-256:[A-Za-z0-9_-]{43}$`)      // A40, narrower than §11
	keyedForm   = regexp.MustCompile(`^hmac-sha-256:[A-Za-z0-9_-]{43}$`) // A40
	idForm      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	traceForm   = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	saltForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{22,86}$`)
	lineForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[1-9][0-9]{0,5})?$`)
	numberForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{3,63}$`)
	compactForm = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
)

var (
	timeRule    = whole(0, 253402300799)
	countRule   = whole(0, 1000000)
	urlRule     = str(2048, urlForm)
	codeRule    = str(255, codeForm)
	hashRule    = str(160, hashForm)
	textRule    = each(1, 16, str(512, nil))
	traceRule   = str(0, traceForm)
	whoRule     = obj([]string{"type"}, members{"type": enum("admin", "user", "policy", "system"), "ref": str(128, nil)})
	levelRule   = enum(Assertion, Counted, Committed, Verified)
	numberRule  = str(0, numberForm)
	seqRule     = whole(1, 100000)
	stageRule   = enum(StageInterim, StageFinal, StageAmended)
	outcomeRule = enum(OutcomeFulfilled, OutcomeUnconfirmed, OutcomePartial, OutcomeUnfulfilled, OutcomeRefused, OutcomeWithdrawn, OutcomePending)
	targetRule  = obj([]string{"app"}, members{"app": str(128, nil), "id": str(128, nil),
		"kind": enum("account", "session", "device", "group", "token", "tenant")})
)

// directiveSchema is #/$defs/directive.
var directiveSchema = obj([]string{"obligation"}, members{
	"obligation": enum(ObligationMust, ObligationReport),
	"actions": list(1, 16, obj([]string{"id", "action"}, members{"id": str(0, idForm), "action": codeRule,
		"optional": boolean, "target": targetRule, "params": anyObject})),
	"interim_by": timeRule, "complete_by": timeRule, "not_after": timeRule,
	"priority": enum("emergency", "urgent", "routine"),
	"receipt": obj(nil, members{"when": enum("all", "final", "exceptions"), "evidence": levelRule,
		"detail": enum("per_target", "summary"), "customer": enum("echo", "hash", "omit"),
		"subject_salt": str(0, saltForm), "chain": enum("none", "digest", "attach")}),
	"initiator": whoRule, "traceparent": traceRule, "max_hops": whole(0, 8),
	"parent": obj([]string{"order_hash"}, members{"order_hash": hashRule}),
	"crit":   list(1, 0, str(0, nil)),
})

// lineSchema is #/$defs/line.
var lineSchema = obj([]string{"line", "action", "status", "reason"}, members{
	"line": str(0, lineForm), "action": codeRule, "reach": enum(ReachSession, ReachSessionTokens, ReachGlobal), "target": targetRule,
	"quantity": whole(1, 1000000), "status": enum(Succeeded, Unconfirmed, Failed, Skipped, Pending, Reversed), "reason": codeRule,
	"reason_text": textRule, "requested_at": timeRule, "started_at": timeRule, "completed_at": timeRule, "effective_by": timeRule,
	"reversed_at": timeRule, "attempts": countRule,
	"counts": obj([]string{"unit"}, members{"unit": codeRule, "found": countRule, "acted": countRule, "left": countRule}),
	"evidence": obj([]string{"level"}, members{"level": levelRule, "hash": hashRule,
		"method": enum(MethodAPIResponse, MethodReadBack, MethodOperator, MethodDownstream), "verified_at": timeRule}),
	"ref": hashRule, "reversed_by": hashRule,
	"downstream": obj([]string{"iss", "receipt_no", "seq", "stage", "outcome", "hash"}, members{"iss": urlRule, "receipt_no": numberRule,
		"seq": seqRule, "stage": stageRule, "outcome": outcomeRule, "hash": hashRule}),
}, func(o map[string]any) error {
	needs := map[any]string{"done_with_residue": "effective_by", "reversed_by_order": "reversed_by"} // §11, A33
	if name := needs[o["reason"]]; name != "" && o[name] == nil {
		return fault("lacks %s, which its reason needs", name)
	}
	if o["status"] == Reversed && o["reversed_at"] == nil {
		return fault("lacks reversed_at")
	}
	return nil
})

// receiptSchema is #/$defs/receipt. That seq above 1 needs supersedes, and seq 1 forbids it, is check 7 (A25).
var receiptSchema = obj([]string{"receipt_no", "seq", "stage", "outcome", "order", "lines", "totals"}, members{
	"receipt_no": numberRule, "seq": seqRule, "stage": stageRule, "outcome": outcomeRule,
	"order": obj([]string{"event_type", "set_hash", "received_at"}, members{"event_type": str(255, nil), "set_hash": hashRule,
		"received_at": timeRule, "parent_hash": hashRule}),
	"merchant": obj(nil, members{"name": str(128, nil), "software": str(64, nil)}),
	"register": obj(nil, members{"id": str(64, nil), "zone": str(64, nil)}),
	"cashier":  whoRule,
	"customer": exactlyOne(
		obj([]string{"sub_id"}, members{"sub_id": obj([]string{"format"}, nil)}),
		obj([]string{"hash"}, members{"hash": str(160, keyedForm)}),
		obj([]string{"omitted"}, members{"omitted": isTrue})),
	"supersedes":     obj([]string{"seq", "hash"}, members{"seq": seqRule, "hash": hashRule}),
	"next_update_by": timeRule, "message": textRule, "traceparent": traceRule,
	"lines": list(1, 2000, lineSchema),
	"totals": func(v any) error {
		if err := obj([]string{"requested", "lines", "succeeded", "unconfirmed", "failed", "skipped", "pending", "reversed"}, nil)(v); err != nil {
			return err
		}
		return each(0, 0, countRule)(v)
	},
	"attachments": list(0, 64, str(0, compactForm)),
}, func(o map[string]any) error {
	interim := o["stage"] == StageInterim
	switch {
	case interim != (o["outcome"] == OutcomePending):
		return fault("outcome pending goes with stage interim, and with no other")
	case !interim && o["next_update_by"] != nil:
		return fault("next_update_by stands in interim receipts only") // A41
	}
	if n, ok := o["seq"].(interface{ String() string }); ok && n.String() != "1" && o["supersedes"] == nil {
		return fault("lacks supersedes")
	}
	return nil
})

// settingsSchema is #/$defs/settings. What is REQUIRED differs by side (A41): see Settings.
var settingsSchema = obj(nil, members{
	"action_receipt_endpoint":              urlRule,
	"directive_events_supported":           list(1, 0, str(0, nil)),
	"actions_supported":                    list(1, 0, codeRule),
	"receipt_signing_alg_values_supported": list(1, 0, enum("RS256", "PS256", "ES256", "EdDSA", "Ed25519")),
	"receipt_delivery_methods_supported":   list(1, 0, enum(DeliveryPush, DeliveryStream)),
	"receipt_log":                          obj([]string{"origin", "vkey", "url"}, members{"origin": str(255, nil), "vkey": str(512, nil), "url": urlRule}),
	"max_receipt_bytes":                    whole(16384, 0),
	"status":                               enum(StatusActive, StatusDeclined),
	"receipt_issuer":                       urlRule, "receipt_jwks_uri": urlRule,
	"receipt_jwks":     obj([]string{"keys"}, nil),
	"receipt_delivery": enum(DeliveryPush, DeliveryStream),
	"receipt_audience": str(2048, nil),
	"capabilities": list(1, 0, obj([]string{"action"}, members{"action": codeRule, "event_types": list(0, 0, str(0, nil)),
		"typical_seconds": countRule, "approval": enum("none", "may", "always"), "evidence": levelRule})),
})

// isHash reports whether s is a version 1 content address (A40).
func isHash(s string) bool { return hashForm.MatchString(s) }
