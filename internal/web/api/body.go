package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/strictjson"
	"countersign/internal/yaml"
)

// Limits of request bodies in bytes.
const (
	maxBody  = 256 << 10
	maxApply = 16 << 20 // a set of resources may be long
)

// readBody reads a JSON body within a limit: one media type, no coding, no surprise in length.
func readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	var params map[string]string
	mt, err := r.Header.Get("Content-Type"), error(nil)
	if mt != "application/json" {
		mt, params, err = mime.ParseMediaType(mt)
	}
	if cs := params["charset"]; err != nil || mt != "application/json" || cs != "" && !strings.EqualFold(cs, "utf-8") {
		return nil, withStatus(http.StatusUnsupportedMediaType, hub.Errorf(hub.Invalid, "the body must be application/json"))
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return nil, withStatus(http.StatusUnsupportedMediaType, hub.Errorf(hub.Invalid, "a coded body is not taken"))
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, withStatus(http.StatusRequestEntityTooLarge, hub.Errorf(hub.Invalid, "the body is larger than %d bytes", limit))
	case err != nil:
		return nil, hub.Errorf(hub.Invalid, "the body ended early")
	}
	return data, nil
}

// decodeBody reads strict JSON into v, a pointer to a struct. Members that v does not have are
// refused with the nearest name: what nobody acts on must not look accepted.
func decodeBody(data []byte, limit int, v any) error {
	if _, err := checkBody(data, limit, jsonNames(reflect.TypeOf(v).Elem())); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return hub.Errorf(hub.Invalid, "body: member %q must be a %s", te.Field, jsonKind(te.Type))
		}
		return hub.Errorf(hub.Invalid, "body: %w", err)
	}
	return nil
}

// checkBody finds a body to be strict JSON, an object, and without members that are not known, and gives its members.
func checkBody(data []byte, limit int, known []string) ([]strictjson.Member, error) {
	if err := strictjson.Check(data, strictjson.Limits{Bytes: limit}); err != nil {
		return nil, hub.Errorf(hub.Invalid, "body: %w", err)
	}
	members, err := strictjson.Members(data)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "the body must be a JSON object")
	}
	for _, m := range members {
		if slices.Contains(known, m.Name) {
			continue
		}
		e := hub.Errorf(hub.Invalid, "body: unknown member %q", short(m.Name))
		if n := yaml.Nearest(m.Name, known); n != "" {
			return nil, e.WithHint("did you mean %q?", n)
		}
		return nil, e.WithHint("known members: %s", strings.Join(known, ", "))
	}
	return members, nil
}

func jsonNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	}
	return "number"
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40s…", s)
	}
	return s
}
