// Package api is the admin door: JSON under /api/v1 for people's tools, the command line and API
// clients, beside health and metrics.
//
// Who calls is settled first (auth.go): the operator token may do everything here, a client's token
// what its scopes say. Then one table (routes.go) ties method and path to a scope and a handler; the
// OpenAPI document (openapi.json, written by hand) is held to that table and to what the handlers
// answer by tests. Bodies are read strictly: media type, size, JSON without duplicate names, and no
// members that nobody acts on. Errors are RFC 9457 problem details with the code of hub.Error, a
// hint that says what to do next, and a reference for what is only in the log.
//
// A call is about the tenant of its token. The operator token of the first tenant may name another with the header
// Countersign-Tenant; whoever else does is refused, and learns nothing about which tenants there are.
//
// Scopes: signals.read shows what happened, to whom it was told (deliveries, orders) and what would be told (explain);
// signals.write sends, within the client's own event types and domains; resources.read shows streams beside the other
// resources, resources.write operates them: status, subjects, verification, redrive, withdraw. Keys, tenants,
// secrets and tokens are the operator's.
//
// The door decides nothing. What operators see of streams, deliveries and orders is worked out in internal/sight. What a resource may say is internal/resource's, what is kept is
// internal/store's, what happens to a signal is internal/flow's; what else is needed from the hub
// is named in door.go, and internal/server hands it in.
package api
