// Package act carries planned actions out at apps, one at a time for each account, and says how well
// each is proven.
//
// It owns the step machine of an action: look the account up, count, keep the attempt, send, judge,
// read back, go on to the next operation, give up in time. Which operations an action needs is
// hub.Steps; how a request looks and what an answer means is the pack's, through internal/connector;
// what a receipt prints is internal/flow/emit's. The queues, limits and waits are those of flow.Belt.
//
//	planned ─► running ─► succeeded | skipped | failed
//	   ▲          │ sent, no answer, or the process died
//	   │          ├─────────► unknown ─► read back: proven ─► succeeded
//	   └──────────┤                         └ not done ─► planned, tried again
//	  retry later └ accepted ─► delayed ─► read back until the deadline
//
// An attempt is committed before its request is sent. Whoever finds an attempt without an answer
// therefore knows that the request may have reached the app, and looks before it sends again, unless
// the pack says that repeats are the same.
package act
