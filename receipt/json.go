package receipt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"countersign/internal/strictjson"
)

// object gives the members of an object by exact name.
func object(data []byte) (map[string]json.RawMessage, error) {
	ms, err := strictjson.Object(data)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(ms))
	for _, m := range ms {
		out[m.Name] = m.Value
	}
	return out, nil
}

// member gives one member of an object, nil when data is no object or lacks it.
func member(data json.RawMessage, name string) json.RawMessage {
	if len(data) == 0 {
		return nil
	}
	ms, err := strictjson.Object(data)
	if err != nil {
		return nil
	}
	for _, m := range ms {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// marshal is encoding/json without HTML escapes and without the final newline.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// quote writes a JSON string.
func quote(s string) string {
	b, err := marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// tree decodes JSON that strictjson has passed into maps, slices and json.Number.
func tree(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return v, nil
}

// decode fills v from JSON that has passed a schema of this package.
func decode(data []byte, v any) error { return strictjson.Decode(data, v) }

// indent lays JSON out for a person, two spaces a level.
func indent(flat []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, flat, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// sortedKeys lists the names of a map in order, so that reports do not change from run to run.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
