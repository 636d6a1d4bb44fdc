package decide

import (
	"maps"

	"countersign/event"
	"countersign/internal/expr"
	"countersign/internal/hub"
)

// memberKinds are the kinds of hub.Variable.
var memberKinds = map[string]expr.Kind{"text": expr.Text, "number": expr.Int, "object": expr.Map, "list": expr.List}

// shapeOf adds to a shape what conditions may name of an event of the type: the variables of its meaning, and of a type that
// has none in our table the members of its row. Whatever else a sender may add stands in signal.payload.
func shapeOf(t event.Type, shape *expr.Shape) {
	m, ok := hub.MeaningOf(t.URI)
	if !ok {
		shape.Open = shape.Open || t.Open
		for _, name := range t.Members {
			add(shape, name, expr.Any)
		}
		return
	}
	for _, v := range m.Variables {
		add(shape, v.Name, memberKinds[v.Kind])
	}
}

// add names a member. One that two types of a policy know as different things is whatever came.
func add(shape *expr.Shape, name string, kind expr.Kind) {
	if was, ok := shape.Members[name]; ok && was != kind {
		kind = expr.Any
	}
	shape.Members[name] = kind
}

// eventOf gives the members of an event under the names that conditions use, each of the kind that it has there. The reasons
// may come as plain text from senders of older drafts; a number may have a fraction.
func eventOf(uri string, payload any) any {
	members, ok := payload.(map[string]any)
	m, known := hub.MeaningOf(uri)
	if !ok || !known {
		return payload
	}
	out := maps.Clone(members)
	for _, v := range m.Variables {
		value, there := members[v.Member]
		if !there {
			continue
		}
		switch x := value.(type) {
		case string:
			if v.Kind == "object" {
				value = map[string]any{"und": x} // BCP 47: the language is not known
			}
		case float64:
			if v.Kind == "number" {
				value = int64(x)
			}
		}
		out[v.Name] = value
	}
	return out
}
