package resource

import (
	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// Decode checks one document of the declarative form and gives the resource with its canonical spec.
// Errors carry line and column, the nearest known key, and for what this version does not act on that reason.
func Decode(doc yaml.Doc) (hub.Resource, error) { panic("soon") }

// DecodeAll reads a file of documents.
func DecodeAll(data []byte) ([]hub.Resource, error) { panic("soon") }
