package api

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openapi []byte

// openapi serves the document that describes this door.
func (d *Door) openapi(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openapi)
	return nil
}
