package yaml

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
)

// plainJSON rewrites the two JSON escapes that the YAML parser lacks, \/ and surrogate pairs, where the
// file is JSON. Any other file is left as it is.
func plainJSON(data []byte) []byte {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) == 0 || t[0] != '{' || !bytes.ContainsRune(data, '\\') || !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			out = append(out, data[i])
			continue
		}
		if data[i+1] == '/' {
			out = append(out, '/')
			i++
			continue
		}
		if i+12 <= len(data) && data[i+1] == 'u' && data[i+6] == '\\' && data[i+7] == 'u' {
			hi, err1 := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
			lo, err2 := strconv.ParseUint(string(data[i+8:i+12]), 16, 16)
			if err1 == nil && err2 == nil {
				if r := utf16.DecodeRune(rune(hi), rune(lo)); r != '\uFFFD' {
					out = append(out, string(r)...)
					i += 11
					continue
				}
			}
		}
		out = append(out, data[i], data[i+1])
		i++
	}
	return out
}
