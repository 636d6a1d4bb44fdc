// Package sight works out what operators see of what we transmit: how a stream fares and what to do about it, what became
// of each SET, and where an order stands, told in sentences.
//
// It reads the figures and rows of package transmitter and changes nothing. The admin API writes its types as JSON, and
// the console lays them out; both say the same because both ask here. No type of it holds a secret: of a push endpoint
// scheme, host and path are shown (Mask), of a credential that there is one.
//
//   - InfoOf and StoryOf: a stream, its health in a word, the reason in a sentence, and the next step.
//   - Search: what waits, then the history, in pages.
//   - OrderSearch and OrderStoryOf: orders by where they stand (receipts design §6.7), and one of them with its timeline.
package sight
