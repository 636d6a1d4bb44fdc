// Package emit answers: it cuts the receipt of an order from the state of its actions, fixes what
// will be signed, and delivers it until the sender has taken it.
//
// Cutting is pure bookkeeping: lines in the order of the directive, extra work as x lines, totals and
// outcome computed by package receipt, which also refuses what a sender would refuse. The header and
// payload bytes are fixed in the row, so that every try has the same content address; the signature is
// made at delivery. What was done, and how well it is proven, is internal/flow/act's; how our own
// streams deliver is transmitter's.
//
//	job cut  ─► lines, totals, outcome ─► row with its signing input, chained ─► job send
//	job send ─► sign ─► POST ─► accepted | again later | dead letter with its reason
package emit
