// Package risc holds the fourteen event types of the OpenID RISC Profile 1.0, the deprecated
// sessions-revoked among them. Most have no members and are rows only; the three that have some are
// typed like those of caep.
package risc
