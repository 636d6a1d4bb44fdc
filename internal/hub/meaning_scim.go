package hub

import "encoding/json"

func scimMeanings() []Meaning {
	version := Variable{Name: "version", Kind: kindText, Text: "ETag of the resource after the event"}
	notice := []Variable{{Name: "attributes", Kind: kindList, Text: "the attributes that were set, by SCIM path"}, version}
	full := []Variable{{Name: "data", Kind: kindObject, Text: "the resource as it became, or the PatchOp"}, version}
	row := func(name, label, means, payload string, vars ...Variable) Meaning {
		return Meaning{Type: scimType + name, Label: label, Means: means, Example: json.RawMessage(payload), Variables: vars, Resource: true}
	}
	return []Meaning{
		row("feed:add", "Added to the feed", "The sender will tell of this resource from now on. It says nothing about when it was made.", `{}`),
		row("feed:remove", "Removed from the feed", "The sender tells no more of this resource. It does not say that it was deleted.", `{}`),
		row("prov:create:notice", "Resource created", "A person or group was made; the values are to be fetched.", `{"attributes":["id","userName","name","emails"]}`, notice...),
		row("prov:create:full", "Resource created, with its data", "A person or group was made as the event says.",
			`{"data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"countersign-each-event","emails":[{"type":"work","value":"countersign-each-event@example.com"}]}}`, full...),
		row("prov:patch:notice", "Resource patched", "Some attributes changed; the values are to be fetched.", `{"attributes":["phoneNumbers"]}`, notice...),
		row("prov:patch:full", "Resource patched, with its data", "Some attributes changed as the event says.",
			`{"data":{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"displayName","value":"Test event"}]}}`, full...),
		row("prov:put:notice", "Resource replaced", "The resource was written anew; the values are to be fetched.", `{"attributes":["id","userName","active"]}`, notice...),
		row("prov:put:full", "Resource replaced, with its data", "The resource was written anew as the event says.",
			`{"data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"countersign-each-event","active":true}}`, full...),
		row("prov:delete", "Resource deleted", "The resource was deleted, and left the feed.", `{}`),
		row("prov:activate", "Resource activated", "The person may work with the account.", `{}`),
		row("prov:deactivate", "Resource deactivated", "The account is closed; no session of it shall live on.", `{}`),
		row("misc:asyncresp", "Answer to an earlier request", "What became of a request that was answered 202 before. Nothing is done about it.", `{"method":"PATCH","status":"200","version":"W/\"countersign-each-event\""}`,
			Variable{Name: "method", Kind: kindText, Text: "HTTP method of the request"}, Variable{Name: "status", Kind: kindText, Text: "HTTP status as text"}, version,
			Variable{Name: "bulk_id", Member: "bulkId", Kind: kindText, Text: "of the request"}, Variable{Name: "location", Kind: kindText, Text: "of the resource"},
			Variable{Name: "response", Kind: kindObject, Text: "the SCIM error, where it failed"}),
	}
}
