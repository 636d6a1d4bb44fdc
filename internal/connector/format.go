package connector

import (
	"encoding/json"
)

// packFile is pack.yaml as written (surface.md §4).
type packFile struct {
	ID         string               `json:"id"`
	Title      string               `json:"title"`
	Links      []string             `json:"links,omitempty"`
	Checked    Checked              `json:"checked"`
	Settings   map[string]fieldFile `json:"settings"`
	Secrets    map[string]fieldFile `json:"secrets,omitempty"`
	Auth       authFile             `json:"auth"`
	Never      []string             `json:"never,omitempty"`
	Operations map[string]opFile    `json:"operations"`
	Residue    residueFile          `json:"residue,omitempty"`
	Rates      ratesFile            `json:"rates,omitempty"`
	Redact     []string             `json:"redact,omitempty"` // members of answers that are never kept
}

type fieldFile struct {
	Type     string `json:"type,omitempty"`
	Title    string `json:"title"`
	Optional bool   `json:"optional,omitempty"`
}

type authFile struct {
	Kind     string `json:"kind"`
	Token    string `json:"token,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

type opFile struct {
	Request     requestFile   `json:"request"`
	Found       string        `json:"found,omitempty"`    // lookup_account
	Sessions    string        `json:"sessions,omitempty"` // list_sessions
	Accounts    string        `json:"accounts,omitempty"` // list_accounts
	Next        string        `json:"next,omitempty"`     // list_accounts: where the next page begins; empty: this is the last
	Done        string        `json:"done,omitempty"`
	AlreadyDone string        `json:"already_done,omitempty"`
	Accepted    string        `json:"accepted,omitempty"`
	Refused     string        `json:"refused,omitempty"`
	Retry       string        `json:"retry,omitempty"`
	Repeat      string        `json:"repeat,omitempty"`
	ReadBack    *readBackFile `json:"read_back,omitempty"`
}

type requestFile struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Slash   string            `json:"slash,omitempty"` // encoded: a path value may hold a slash
	Query   map[string]string `json:"query,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	JSON    json.RawMessage   `json:"json,omitempty"`
	Form    map[string]string `json:"form,omitempty"`
}

type readBackFile struct {
	Use    string `json:"use"`
	Proven string `json:"proven"`
	After  string `json:"after,omitempty"`
	Every  string `json:"every,omitempty"`
	Tries  int    `json:"tries,omitempty"`
}

type residueFile struct {
	AccessToken string `json:"access_token,omitempty"`
}

type ratesFile struct {
	Requests int    `json:"requests,omitempty"`
	Per      string `json:"per,omitempty"`
}
