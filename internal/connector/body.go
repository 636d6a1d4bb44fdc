package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"countersign/internal/expr"
	"countersign/internal/strictjson"
)

const keptBytes = 2048

// parseBody gives the answer's body for the rules: nil when empty, JSON where it is JSON, else text.
func parseBody(media string, raw []byte) (any, error) {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 {
		return nil, nil
	}
	declared := strings.Contains(strings.ToLower(media), "json")
	if declared || trimmed[0] == '{' || trimmed[0] == '[' {
		err := strictjson.Check(trimmed, strictjson.Limits{Bytes: maxAnswer, Depth: 32})
		if err == nil {
			return expr.JSON(trimmed)
		}
		if declared {
			return nil, err
		}
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("the text is not UTF-8")
	}
	return string(raw), nil
}

// secretMembers are members of answers that are never kept, whatever the pack says.
var secretMembers = map[string]bool{"password": true, "secret": true, "client_secret": true, "token": true, "access_token": true, "refresh_token": true, "id_token": true, "cookie": true, "recovery_code": true, "recovery_link": true}

// keep gives what of an answer may be kept: secrets and declared members masked, then cut short.
func (a *App) keep(raw []byte, more ...string) string {
	text := string(raw)
	if err := strictjson.Check(raw, strictjson.Limits{Bytes: maxAnswer, Depth: 32}); err == nil {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			if b, err := json.Marshal(a.hide(v, more)); err == nil {
				text = string(b)
			}
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return clip(a.mask(text, more...), keptBytes)
}

func (a *App) hide(v any, more []string) any {
	switch x := v.(type) {
	case string: // here, where no escape of JSON stands between a secret and its mask
		return a.mask(x, more...)
	case map[string]any:
		for k := range x {
			if secretMembers[strings.ToLower(k)] || a.Pack.redact[k] {
				x[k] = masked
			} else {
				x[k] = a.hide(x[k], more)
			}
		}
	case []any:
		for i := range x {
			x[i] = a.hide(x[i], more)
		}
	}
	return v
}

// mask replaces every secret of the app, and more of them, in a text: plain, as URLs write them, and as JSON and Go quote
// them. The longest goes first, so that nothing is left of one that begins like another.
func (a *App) mask(s string, more ...string) string {
	var forms []string
	for _, v := range append(slices.Collect(maps.Values(a.Secrets)), more...) {
		if v == "" {
			continue
		}
		forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v), inner(strconv.Quote(v)))
		if j, err := json.Marshal(v); err == nil {
			forms = append(forms, inner(string(j)))
		}
	}
	slices.SortFunc(forms, func(x, y string) int { return len(y) - len(x) })
	for _, f := range slices.Compact(forms) {
		s = strings.ReplaceAll(s, f, masked)
	}
	return s
}

// inner is a quoted text without its quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// idsOf evaluates found or sessions to distinct ids, in order.
func idsOf(p *expr.Program, vars map[string]any) ([]string, error) {
	v, err := p.Value(vars)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("a list is wanted")
	}
	if len(list) > 10000 {
		return nil, errors.New("more than 10000 entries")
	}
	seen := map[string]bool{}
	ids := []string{}
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			e = m["id"]
		}
		var id string
		switch x := e.(type) {
		case string:
			id = x
		case int64:
			id = fmt.Sprint(x)
		}
		if id == "" || len(id) > 512 {
			return nil, errors.New("an entry has no usable id")
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}
