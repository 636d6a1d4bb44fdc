// Package enroll makes and keeps our stream at each source that wants one (stream: create): it finds
// the transmitter, creates the stream with our receive address and, where orders are accepted, with
// the receipts member; updates it when what we can do changes; deletes it when the source is deleted.
//
// It runs after the whole apply is committed, as a job of its own, so that an unreachable source holds
// nobody up: each failure is written into the state with its time, and tried again with back-off. The
// calls themselves are receiver.Client's, the negotiation is receipt's, and what a source may then send is
// ingest's.
//
//	new ─► pending ─► made (receipts: active | declined | legacy | off)
//	          │  ▲       │ what we offer changed
//	          ▼  │       ▼
//	        failed ◄── pending
//	source deleted ─► deleting ─► gone
package enroll
