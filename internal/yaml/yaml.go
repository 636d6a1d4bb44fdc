package yaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of what is read. A file of a hundred thousand identities fits.
const (
	MaxBytes = 64 << 20
	MaxDepth = 32
)

// Error is a refusal with its place. Line and Col count from 1; 0 means that the place is unknown.
type Error struct {
	Line, Col int
	Msg       string
}

// Error gives "line 3:5: …".
func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return e.Msg
	case e.Col == 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
	}
	return fmt.Sprintf("line %d:%d: %s", e.Line, e.Col, e.Msg)
}

func at(n *yaml.Node, format string, args ...any) *Error {
	return &Error{Line: n.Line, Col: n.Column, Msg: fmt.Sprintf(format, args...)}
}

// Decode reads exactly one YAML document into v, strictly. v is a pointer.
func Decode(data []byte, v any) error {
	nodes, err := parse(data)
	if err != nil {
		return err
	}
	switch len(nodes) {
	case 0:
		return &Error{Line: 1, Col: 1, Msg: "the document is empty"}
	case 1:
		return decodeNode(nodes[0], v, nil)
	}
	return at(nodes[1], "one document is wanted here, and this is a second")
}

// One reads exactly one document that is no resource, such as a pack, so that errors found later have places.
func One(data []byte) (Doc, error) {
	nodes, err := parse(data)
	switch {
	case err != nil:
		return Doc{}, err
	case len(nodes) == 0:
		return Doc{}, &Error{Line: 1, Col: 1, Msg: "the document is empty"}
	case len(nodes) > 1:
		return Doc{}, at(nodes[1], "one document is wanted here, and this is a second")
	case nodes[0].Kind != yaml.MappingNode:
		return Doc{}, at(nodes[0], "a mapping is wanted here")
	}
	return Doc{Line: nodes[0].Line, node: nodes[0]}, nil
}

// Doc is one document of a declarative file.
type Doc struct {
	APIVersion string
	Kind       string
	Name       string
	Line       int             // where the document starts
	Raw        json.RawMessage // the whole document as JSON, without apiVersion and kind

	node *yaml.Node
}

// head are the members that stand beside every spec.
var head = map[string]bool{"apiVersion": true, "kind": true}

// Version is the one apiVersion that is understood.
const Version = "countersign/v1"

// Documents reads a file of resource documents. apiVersion stands in the first and holds for the rest.
// Keys are not compared with a kind's fields here: Doc.Decode does that.
func Documents(data []byte) ([]Doc, error) {
	nodes, err := parse(data)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, &Error{Line: 1, Col: 1, Msg: "there is no document in this file"}
	}
	var docs []Doc
	for i, n := range nodes {
		if n.Kind != yaml.MappingNode {
			return nil, at(n, "a resource is a mapping that begins with kind and name")
		}
		d := Doc{Line: n.Line, node: n}
		for _, f := range []struct {
			key string
			to  *string
		}{{"apiVersion", &d.APIVersion}, {"kind", &d.Kind}, {"name", &d.Name}} {
			val := member(n, f.key)
			if val == nil {
				continue
			}
			if val.Kind != yaml.ScalarNode || kindOf(val) != text {
				return nil, at(val, "%s is text: quote it", f.key)
			}
			*f.to = val.Value
		}
		switch {
		case i == 0 && d.APIVersion == "":
			return nil, at(n, "the first document of a file says apiVersion: %s", Version)
		case d.APIVersion == "":
			d.APIVersion = docs[0].APIVersion
		case d.APIVersion != Version:
			return nil, at(member(n, "apiVersion"), "apiVersion %q is not understood: this version reads %s", d.APIVersion, Version)
		}
		if d.Kind == "" {
			return nil, at(n, "a resource says its kind: source, app, identity, policy or client")
		}
		var b bytes.Buffer
		e := emitter{out: &b}
		if err := e.value(n, nil, 1, head); err != nil {
			return nil, err
		}
		d.Raw = b.Bytes()
		docs = append(docs, d)
	}
	return docs, nil
}

// Decode reads the document into v, strictly; apiVersion and kind are not part of v.
func (d Doc) Decode(v any) error {
	if d.node == nil {
		return Decode(d.Raw, v)
	}
	if d.Kind == "" {
		return decodeNode(d.node, v, nil)
	}
	return decodeNode(d.node, v, head)
}

// Errorf makes an Error at a path such as then[0].when, or at the nearest parent that is there.
func (d Doc) Errorf(path, format string, args ...any) error {
	e := &Error{Line: d.Line, Msg: fmt.Sprintf(format, args...)}
	if d.node == nil {
		return e
	}
	n := d.node
	for _, step := range steps(path) {
		var next *yaml.Node
		if i, err := strconv.Atoi(step); err == nil && n.Kind == yaml.SequenceNode {
			if i < len(n.Content) {
				next = n.Content[i]
			}
		} else if n.Kind == yaml.MappingNode {
			next = member(n, step)
		}
		if next == nil {
			break
		}
		n = next
	}
	e.Line, e.Col = n.Line, n.Column
	return e
}

// Keys calls f with the path of every mapping key, list positions left out, such as then[].transmit, until
// f gives a message; that message becomes the error, at the key.
func (d Doc) Keys(f func(path, value string) string) error {
	if d.node == nil {
		return nil
	}
	return walkKeys(d.node, "", f)
}

func walkKeys(n *yaml.Node, path string, f func(path, value string) string) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			p := k.Value
			if path != "" {
				p = path + "." + k.Value
			}
			if msg := f(p, v.Value); msg != "" {
				return at(k, "%s", msg)
			}
			if err := walkKeys(v, p, f); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for _, v := range n.Content {
			if err := walkKeys(v, path+"[]", f); err != nil {
				return err
			}
		}
	}
	return nil
}

func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

var placed = regexp.MustCompile(`^yaml: (?:.* )?line (\d+): (.*)$`)

// parse gives the root node of each document that is not empty, checked for what the house refuses.
func parse(data []byte) (nodes []*yaml.Node, err error) {
	if len(data) > MaxBytes {
		return nil, &Error{Msg: fmt.Sprintf("the file is larger than %d MiB", MaxBytes>>20)}
	}
	if i := badByte(data); i >= 0 {
		return nil, &Error{Line: 1 + bytes.Count(data[:i], []byte("\n")), Msg: "the file is not UTF-8 text"}
	}
	defer func() {
		if recover() != nil {
			nodes, err = nil, &Error{Msg: "the file cannot be read as YAML"}
		}
	}()
	data = plainJSON(data)
	lines := bytes.Split(data, []byte("\n"))
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return nodes, nil
		} else if err != nil {
			return nil, explain(err)
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
			continue
		}
		root := doc.Content[0]
		if root.Kind == yaml.ScalarNode && kindOf(root) == null && root.Value == "" {
			continue
		}
		if err := check(root, lines, 1); err != nil {
			return nil, err
		}
		nodes = append(nodes, root)
	}
}

func badByte(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if (r == utf8.RuneError && n < 2) || r == 0 {
			return i
		}
		i += n
	}
	return -1
}

// explain turns the parser's text into ours, with a hint where CEL that YAML misreads is the usual cause.
func explain(err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{Msg: msg}
	if m := placed.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Msg = m[2]
	}
	for _, sign := range []string{"mapping values are not allowed", "did not find expected", "unknown anchor", "found character that cannot start", "found unexpected", "did not find URI", "found undefined tag", "while scanning"} {
		if strings.Contains(msg, sign) {
			e.Msg += "; an expression that holds : # & * ! { [ or quotes is written between single quotes"
			break
		}
	}
	return e
}

// check refuses tags, anchors, aliases, merge keys, duplicate keys and too much depth.
func check(n *yaml.Node, lines [][]byte, depth int) error {
	if depth > MaxDepth {
		return at(n, "nested deeper than %d", MaxDepth)
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return at(n, "*%s is a YAML alias, which is refused; quote the value if it is text", n.Value)
	case n.Anchor != "":
		return at(n, "&%s is a YAML anchor, which is refused; quote the value if it is text", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0 || startsWith(n, lines, '!'):
		return at(n, "a value that begins with ! is a YAML tag, which is refused; put an expression between single quotes")
	}
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode {
				return at(k, "a key is text")
			}
			if k.Style == 0 && k.Value == "<<" {
				return at(k, "the merge key << is refused")
			}
			if kind := kindOf(k); kind != text {
				return at(k, "the key %s is %s to YAML: quote it", k.Value, kind)
			}
			if seen[k.Value] {
				return at(k, "the key %s stands here twice", k.Value)
			}
			seen[k.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := check(c, lines, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// startsWith looks at the source: the parser drops the bare tag "!".
func startsWith(n *yaml.Node, lines [][]byte, b byte) bool {
	if n.Line < 1 || n.Line > len(lines) {
		return false
	}
	line := lines[n.Line-1]
	for col := 1; col < n.Column && len(line) > 0; col++ {
		_, size := utf8.DecodeRune(line)
		line = line[size:]
	}
	return len(line) > 0 && line[0] == b
}
