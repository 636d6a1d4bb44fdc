// Package receipt is action receipts: orders, and the signed answers that say what was done.
package receipt
