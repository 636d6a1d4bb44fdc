package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// toYAML writes a JSON value as YAML that internal/yaml reads back to the same value: members keep
// their order, and text that could be read as anything else is quoted as JSON quotes it.
func toYAML(raw json.RawMessage) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := readNode(dec)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	n.write(&b, 0, false)
	return b.Bytes(), nil
}

// node is a JSON value whose members have an order.
type node struct {
	scalar string
	keys   []string
	items  []*node // members' values, or elements
	kind   byte    // 's' scalar, 'o' object, 'a' array
}

func readNode(dec *json.Decoder) (*node, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	d, ok := tok.(json.Delim)
	if !ok {
		return &node{kind: 's', scalar: scalar(tok)}, nil
	}
	n := &node{kind: 'a'}
	if d == '{' {
		n.kind = 'o'
	}
	for dec.More() {
		if n.kind == 'o' {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, scalar(key))
		}
		it, err := readNode(dec)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, it)
	}
	_, err = dec.Token()
	return n, err
}

// plainText is text that needs no quotes: it begins with a letter or slash and holds nothing that YAML sees.
var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*$`)

func scalar(tok json.Token) string {
	s, ok := tok.(string)
	if !ok {
		if tok == nil {
			return "null"
		}
		return fmt.Sprint(tok)
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s)
	return escapeBreaks(strings.TrimSpace(b.String()))
}

// escapeBreaks writes what JSON takes as it is and YAML does not: the controls beyond ASCII, of which U+0085 is a line
// break to YAML, and the byte order mark.
func escapeBreaks(quoted string) string {
	var b strings.Builder
	for _, r := range quoted {
		if r >= 0x7f && r < 0xa0 || r == 0xfeff {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (n *node) empty() bool { return n.kind != 's' && len(n.items) == 0 }

func (n *node) flat() bool {
	if n.kind == 's' {
		return true
	}
	if len(n.items) > 6 {
		return false
	}
	for _, it := range n.items {
		if it.kind != 's' || len(it.scalar) > 60 {
			return false
		}
	}
	return n.kind == 'a'
}

func (n *node) write(b *bytes.Buffer, depth int, inline bool) {
	switch {
	case n.kind == 's':
		b.WriteString(n.scalar + "\n")
	case n.empty():
		b.WriteString(map[byte]string{'o': "{}\n", 'a': "[]\n"}[n.kind])
	case n.flat():
		var parts []string
		for _, it := range n.items {
			parts = append(parts, it.scalar)
		}
		b.WriteString("[" + strings.Join(parts, ", ") + "]\n")
	default:
		pad := strings.Repeat("  ", depth)
		for i, it := range n.items {
			if i > 0 || !inline {
				b.WriteString(pad)
			}
			if n.kind == 'a' {
				b.WriteString("- ")
				it.write(b, depth+1, true)
				continue
			}
			b.WriteString(n.keys[i] + ":")
			if it.kind == 's' || it.empty() || it.flat() {
				b.WriteString(" ")
				it.write(b, depth+1, true)
				continue
			}
			b.WriteString("\n")
			it.write(b, depth+1, false)
		}
	}
}
