// Package req lets a test say which numbered requirement it proves, at the assertion that proves it.
// The ids are those of the specification checklist (TX-, RX-, SUB-, EV-, IOP-, AZ-, GTR-, BCL-, LEG-),
// of the receipts design (AR-§, A, B) and of the partners' quirks (Q-). A test that was skipped or
// failed proves nothing: the id is printed only when the test ends well.
package req
