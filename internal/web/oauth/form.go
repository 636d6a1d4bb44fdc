package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"
)

// maxForm bounds a request's body: an assertion, a token, and room for the rest.
const maxForm = 32 << 10

// readForm reads the parameters of a request: from the body only, in the one media type, each name once (RFC 6749
// §3.2). A parameter without a value counts as left out; names that nobody knows are let be.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		// RFC 6749 §2.3.1: credentials must not be in the address, where logs keep it. Nothing belongs there.
		return nil, refusal{code: invalidRequest, why: "parameters belong in the body, not in the address"}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, refusal{code: invalidRequest, why: "the body must not be encoded"}
	}
	types := r.Header.Values("Content-Type")
	media, params, err := mime.ParseMediaType(strings.Join(types, ","))
	if err != nil || len(types) != 1 || media != "application/x-www-form-urlencoded" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return nil, refusal{code: invalidRequest, why: "the body must be application/x-www-form-urlencoded"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refusal{status: http.StatusRequestEntityTooLarge, code: invalidRequest, why: "the body is too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, refusal{status: http.StatusRequestTimeout, code: invalidRequest, why: "the body did not arrive in time"}
	case err != nil:
		return nil, refusal{code: invalidRequest, why: "the body could not be read"}
	}
	return parseForm(string(body))
}

// parseForm is readForm for the text of a body.
func parseForm(body string) (url.Values, error) {
	if strings.Count(body, "&") > 63 {
		return nil, refusal{code: invalidRequest, why: "there are too many parameters"}
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, refusal{code: invalidRequest, why: "the body is not a form"}
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, refusal{code: invalidRequest, why: "a parameter is given more than once"}
		}
		v := values[0]
		if !clean(name) || !clean(v) {
			return nil, refusal{code: invalidRequest, why: "a parameter holds characters that do not belong there"}
		}
		if v == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// clean reports whether a text is UTF-8 without control characters.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}
