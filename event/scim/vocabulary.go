package scim

import "countersign/event"

// The event type URIs (RFC 9967 §2.3 to §2.5).
const (
	FeedAddURI           = "urn:ietf:params:scim:event:feed:add"
	FeedRemoveURI        = "urn:ietf:params:scim:event:feed:remove"
	ProvCreateNoticeURI  = "urn:ietf:params:scim:event:prov:create:notice"
	ProvCreateFullURI    = "urn:ietf:params:scim:event:prov:create:full"
	ProvPatchNoticeURI   = "urn:ietf:params:scim:event:prov:patch:notice"
	ProvPatchFullURI     = "urn:ietf:params:scim:event:prov:patch:full"
	ProvPutNoticeURI     = "urn:ietf:params:scim:event:prov:put:notice"
	ProvPutFullURI       = "urn:ietf:params:scim:event:prov:put:full"
	ProvDeleteURI        = "urn:ietf:params:scim:event:prov:delete"
	ProvActivateURI      = "urn:ietf:params:scim:event:prov:activate"
	ProvDeactivateURI    = "urn:ietf:params:scim:event:prov:deactivate"
	MiscAsyncResponseURI = "urn:ietf:params:scim:event:misc:asyncresp"
)

// Vocabulary lists the event types of RFC 9967. Their names keep the colons of the URIs: "scim/prov:create:full".
func Vocabulary() []event.Type {
	return []event.Type{
		row(FeedAddURI, "feed:add", "Feed add", "2.3.1", nil),
		row(FeedRemoveURI, "feed:remove", "Feed remove", "2.3.2", nil),
		row(ProvCreateNoticeURI, "prov:create:notice", "Create (notice)", "2.4.1", notice),
		row(ProvCreateFullURI, "prov:create:full", "Create (full)", "2.4.1", full),
		row(ProvPatchNoticeURI, "prov:patch:notice", "Patch (notice)", "2.4.2", notice),
		row(ProvPatchFullURI, "prov:patch:full", "Patch (full)", "2.4.2", full),
		row(ProvPutNoticeURI, "prov:put:notice", "Put (notice)", "2.4.3", notice),
		row(ProvPutFullURI, "prov:put:full", "Put (full)", "2.4.3", full),
		row(ProvDeleteURI, "prov:delete", "Delete", "2.4.4", nil),
		row(ProvActivateURI, "prov:activate", "Activate", "2.4.5", nil),
		row(ProvDeactivateURI, "prov:deactivate", "Deactivate", "2.4.6", nil),
		row(MiscAsyncResponseURI, "misc:asyncresp", "Asynchronous response", "2.5.1.3", response),
	}
}

// identifying are the members that hold identifiers of the service provider: its data, the addresses of its resources and
// what it answered. A notice names attributes; with a filter in its path, it names a value too (RFC 7644 §3.5.2).
var identifying = []event.Identifying{{Member: "data"}, {Member: "attributes", Within: "["}, {Member: "response"}, {Member: "location"}, {Member: "bulkId"}}

func notice() event.Described   { return new(Notice) }
func full() event.Described     { return new(Full) }
func response() event.Described { return new(AsyncResponse) }

func row(uri, name, title, section string, empty func() event.Described) event.Type {
	t := event.Type{URI: uri, Name: "scim/" + name, Title: title, Clause: "RFC 9967 §" + section,
		Subjects: []string{"scim"}} // RFC 9967 §2.1
	if empty != nil {
		t.New = func() event.Payload { return empty() }
		t.Members = event.Names(empty())
		t.Identifying = event.Among(empty(), identifying...)
	}
	return t
}

// absent refuses a member that belongs to the other form of the event (RFC 9967 §2.4).
func absent(extra []event.Extra, name string) error {
	for _, m := range extra {
		if m.Name == name {
			return event.Problem(name, "does not belong to this form of the event")
		}
	}
	return nil
}
