package ingest

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What an operator is shown of a refusal must not hold what a reader of logs may not have: tokens, credentials, people.
var (
	tokenLike   = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,2}`)
	schemeLike  = regexp.MustCompile(`(?i)\b(bearer|basic|dpop)\s+[^\s",;]+`)
	addressLike = regexp.MustCompile(`[^\s"'<>(),:;@]+@((?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+)`)
	phoneLike   = regexp.MustCompile(`\+[0-9]{7,15}\b`)
)

// mask takes tokens, credentials, addresses and numbers of people out of a text, and everything that a terminal would act
// on. secret is one more text that must not show.
func mask(text, secret string) string {
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "***")
		if _, credential, ok := strings.Cut(secret, " "); ok && credential != "" {
			text = strings.ReplaceAll(text, credential, "***")
		}
	}
	text = tokenLike.ReplaceAllString(text, "[token]")
	text = schemeLike.ReplaceAllString(text, "$1 ***")
	text = addressLike.ReplaceAllString(text, "***@$1")
	text = phoneLike.ReplaceAllString(text, "+***")
	return plain(text)
}

// Plain makes a text of the other side one that may be shown: of one line, short, without what a terminal acts on, and
// without tokens, credentials and people.
func Plain(text string) string { return cut(mask(text, ""), refusalReason) }

// plain makes a text of one line without control characters and without those that turn its direction.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError:
			return '\uFFFD'
		}
		return r
	}, text)
}

// cut shortens a text at a whole character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// jtiOf reads the jti of a token without looking at anything else; empty where it cannot be read.
func jtiOf(compact string) string {
	parts := strings.SplitN(compact, ".", 3)
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return plain(cut(claims.JTI, maxJTI))
}
