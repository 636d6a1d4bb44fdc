package yaml

import "encoding/json"

// Doc is one document of a declarative file.
type Doc struct {
	APIVersion string
	Kind       string
	Name       string
	Line       int             // where the document starts
	Raw        json.RawMessage // the whole document as JSON, without apiVersion and kind
}

// Decode reads exactly one YAML document into v, strictly.
func Decode(data []byte, v any) error { panic("soon") }

// Documents reads a file of resource documents: apiVersion stands in the first and holds for the rest.
func Documents(data []byte) ([]Doc, error) { panic("soon") }
