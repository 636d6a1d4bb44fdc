package yaml

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// scalar is what a scalar is in the YAML 1.2 core schema.
type scalar string

const (
	text    scalar = "text"
	null    scalar = "nothing"
	boolean scalar = "true or false"
	integer scalar = "a number"
	decimal scalar = "a decimal number"
)

// YAML 1.2 §10.3.2, tag resolution of the core schema.
var (
	nullForm  = regexp.MustCompile(`^(?:|~|null|Null|NULL)$`)
	boolForm  = regexp.MustCompile(`^(?:true|True|TRUE|false|False|FALSE)$`)
	intForm   = regexp.MustCompile(`^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	floatForm = regexp.MustCompile(`^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

func kindOf(n *yaml.Node) scalar {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return text
	}
	if v := n.Value; v != "" {
		// Most scalars are words: decide by the first byte before any regular expression.
		switch c := v[0]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == '~', c == 'n', c == 'N', c == 't', c == 'T', c == 'f', c == 'F':
		default:
			return text
		}
	}
	switch {
	case nullForm.MatchString(n.Value):
		return null
	case boolForm.MatchString(n.Value):
		return boolean
	case intForm.MatchString(n.Value):
		return integer
	case floatForm.MatchString(n.Value):
		return decimal
	}
	return text
}

// number gives a scalar's JSON form.
func number(n *yaml.Node) (string, error) {
	if kindOf(n) == integer {
		v, base := n.Value, 10
		switch {
		case len(v) > 2 && v[:2] == "0o":
			v, base = v[2:], 8
		case len(v) > 2 && v[:2] == "0x":
			v, base = v[2:], 16
		}
		i, err := strconv.ParseInt(v, base, 64)
		if err != nil {
			return "", at(n, "the number %s does not fit: quote it if it is text", n.Value)
		}
		return strconv.FormatInt(i, 10), nil
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return "", at(n, "the number %s has no JSON form: quote it if it is text", n.Value)
	}
	return fmt.Sprint(strconv.FormatFloat(f, 'g', -1, 64)), nil
}
