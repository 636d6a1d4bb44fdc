// Package receipt is action receipts for Shared Signals: a SET can carry an order ("do this, by then, and
// tell me"), and the answer is a signed SET that says what was done, to what, when, and with what result.
// The package follows the project's action receipts design and its settled details; "design §" and the rule
// numbers A1 to A59 and B1 to B6 in comments point there.
//
// # Which function to reach for
//
// A hub that receives orders: OrderOf reads an order from a verified token (or FindDirective and
// ParseDirective, where the directive is kept apart from its token); Directive.Refusal says whether it has to
// be refused whole, and RefusedLines then gives the answer. NewNumber names the receipt, Ref each action,
// Pseudonym each account, CustomerFor the subject. Compute adds up the till at any moment. Issue turns an
// Order and a Receipt into the payload to sign; it refuses what the other side would refuse.
//
// A transmitter that sends orders: Requested and Answer negotiate on its side, Offered and Agreed on the
// receiver's. Named finds which order a receipt is about, Check judges it against what was accepted before,
// KnownOf says what to keep of it, and Review lists what is worth a flag though it is valid. ParseReceipt and
// ReceiptOf read a receipt that is only to be shown.
//
// Anybody with an evidence file: Verify gives a Report with the exit code of the command line, Report.Text is
// for people, and Slip prints a receipt the way a till does. ParseBundle and Bundle.Marshal read and write
// the file.
//
// # What it leaves to others
//
// Signatures, keys, strict JSON and content addresses are those of package set; Verify is the only function
// here that looks at a signature, through set.Verify. Checks 1, 3 and 5 of design §6.2 (caller, issuer and key,
// finding the order) belong to whoever holds the streams: package transmitter. Doing the work, keeping the
// ledger, sending and retrying belong to the hub. Nothing here reads a clock, a file or the network: time
// comes in as seconds or a time.Time.
//
// # The life of an order
//
//	SET with directive ─ FindDirective ─ ParseDirective ─┬─ *Malformed: 400, nothing else happens
//	                                                     ├─ Refusal:    RefusedLines, one final receipt
//	                                                     └─ accepted:   lines change as the work goes on
//	lines ─ Compute ─ Issue ─ sign ─ deliver ─ Check ─┬─ Next, Gap: the new state of the order
//	                                                  ├─ Identical: answered as before, no effect
//	                                                  ├─ Late:      history
//	                                                  └─ *Problem:  400 with err and receipt_error, perhaps Disputed
//
// Every receipt restates the whole state; the highest seq wins. An interim has a pending line, a final has
// none, and only amended may follow final.
//
// # Where the design leaves a choice
//
// A member that check 6 or 7 compares and that is absent is taken as not equal, so a missing set_hash is an
// order_mismatch and a missing supersedes a sequence_conflict; a member of a wrong type cannot be compared and
// is left to the schema. A target other than the ordered one (A14) and counts that cannot be (A37) are a
// totals_mismatch, a downstream member that differs from the receipt it names an order_mismatch. The evidence
// level of a policy (A2) raises what an order asked and never lowers it. A reach that this version does not
// know is refused by receipt. An invalid withdrawal in an evidence file is noted and withdraws nothing.
package receipt
