package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"countersign/internal/hub"
)

// page is one page of a list; next is absent on the last.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// query reads the parameters of a list: after, limit and the given filters. Others are refused, for
// a misspelt filter would show more than was asked.
func query(r *http.Request, filters ...string) (hub.Page, url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return hub.Page{}, nil, hub.Errorf(hub.Invalid, "the query cannot be read")
	}
	known := append([]string{"after", "limit"}, filters...)
	for name, values := range q {
		if !slices.Contains(known, name) {
			return hub.Page{}, nil, hub.Errorf(hub.Invalid, "unknown parameter %q", short(name)).WithHint("known parameters: %s", strings.Join(known, ", "))
		}
		if len(values) != 1 {
			return hub.Page{}, nil, hub.Errorf(hub.Invalid, "parameter %q stands there twice", name)
		}
		if len(values[0]) > 512 || strings.ContainsRune(values[0], 0) || !utf8.ValidString(values[0]) {
			return hub.Page{}, nil, hub.Errorf(hub.Invalid, "parameter %q cannot be that", name)
		}
	}
	p := hub.Page{After: q.Get("after")}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > hub.PageMax {
			return p, nil, hub.Errorf(hub.Invalid, "limit must be a number from 1 to %d", hub.PageMax)
		}
		p.Limit = n
	}
	return p, q, nil
}

// from holds a list's cursor to the ids that the list is of: anything else would quietly show another part of it.
func from(p hub.Page, prefix string) error {
	if p.After != "" && !strings.HasPrefix(p.After, prefix+"_") {
		return hub.Errorf(hub.Invalid, "after %q is not from a page of this list", short(p.After)).WithHint("give the next of the page before, unchanged")
	}
	return nil
}

// word reads a filter that is one of a few words; empty, where it is not given. Another word is a mistake, and
// an empty list would hide it.
func word[T ~string](q url.Values, name string, words ...T) (T, error) {
	v := T(q.Get(name))
	if v == "" || slices.Contains(words, v) {
		return v, nil
	}
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return "", hub.Errorf(hub.Invalid, "there is no %s %q", name, short(string(v))).WithHint("it is one of %s", b.String())
}

// ref reads a path's name of something: text that could be one.
func ref(r *request, name string) (string, error) {
	v := r.PathValue(name)
	if v == "" || len(v) > 512 || !utf8.ValidString(v) || !printable(v) {
		return "", hub.Errorf(hub.Invalid, "no %s can be that", name)
	}
	return v, nil
}

func writePage[T any](w http.ResponseWriter, l hub.Listed[T]) error {
	return writeJSON(w, http.StatusOK, page[T]{Items: emptyNotNull(l.Items), Next: l.Next})
}
