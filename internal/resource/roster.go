package resource

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"countersign/internal/hub"
	"countersign/internal/yaml"
	"countersign/subject"
)

// ErrRoster is wrapped by every error about a file as a whole: its header, or text that is no CSV at all.
var ErrRoster = errors.New("the file cannot be read")

// RosterOptions say how the columns of a file are read.
type RosterOptions struct {
	// Set is what the identities belong to.
	Set string
	// Columns gives for the title of a column the field that it holds; "-" leaves it out, and the title "*" stands for every
	// column that has no other meaning.
	Columns map[string]string
}

// Roster reads identities from CSV: a header with the names of fields, then one identity a row. The fields are name,
// emails, phones, labels, groups, protect, and for each place account:PLACE and device:PLACE; a cell of all but name and
// protect may hold several values with ; between them. Without a name the first address is it.
//
// A row that is wrong is told with its line and does not end the reading.
type Roster struct {
	csv    *csv.Reader
	in     *counted
	set    string
	fields []field
	seen   map[uint64]int // by a hash of the name its line
	seed   maphash.Seed
	// Ignored are the columns that are left out, in their order.
	Ignored []string
}

// Row is one row of a Roster.
type Row struct {
	Line int
	Name string
	// Identity is a resource as Decode gives it; Fault says what is wrong with the row where there is none.
	Identity *hub.Resource
	Fault    string
}

// Limits of a file.
const (
	maxRow     = 256 << 10
	maxColumns = 200
	maxValues  = 200 // in one cell
)

// field is what one column holds.
type field struct{ kind, place string }

var rosterFields = []string{"name", "emails", "phones", "labels", "groups", "protect"}

// rosterWords are other titles for fields.
var rosterWords = map[string]string{"email": "emails", "phone": "phones", "label": "labels", "group": "groups"}

// NewRoster reads the header.
func NewRoster(r io.Reader, o RosterOptions) (*Roster, error) {
	if o.Set != "" && !nameForm.MatchString(o.Set) {
		return nil, fmt.Errorf("%w: a set is named like a resource, not %.80q", ErrRoster, o.Set)
	}
	in := &counted{r: bufio.NewReaderSize(r, 64<<10)}
	head, _ := in.r.Peek(64 << 10)
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) { // a byte order mark, as spreadsheets write it
		_, _ = in.r.Discard(3)
		head = head[3:]
	}
	ro := &Roster{csv: csv.NewReader(in), in: in, set: o.Set, seen: map[uint64]int{}, seed: maphash.MakeSeed()}
	ro.csv.Comma = comma(head)
	ro.csv.ReuseRecord = true
	titles, err := ro.csv.Read()
	switch {
	case err == io.EOF:
		return nil, fmt.Errorf("%w: it is empty; its first line names the columns, such as name,emails,account:crm", ErrRoster)
	case errors.Is(err, errLongRow):
		return nil, fmt.Errorf("%w: its first line is longer than %d KiB", ErrRoster, maxRow>>10)
	case err != nil:
		return nil, fmt.Errorf("%w: line 1: %w", ErrRoster, err)
	case len(titles) > maxColumns:
		return nil, fmt.Errorf("%w: it has more than %d columns", ErrRoster, maxColumns)
	}
	return ro, ro.header(titles, o.Columns)
}

// comma is what lies between the cells: a comma, or where the header has none a semicolon or a tab.
func comma(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	for _, c := range ",;\t" {
		if bytes.ContainsRune(line, c) {
			return c
		}
	}
	return ','
}

func (ro *Roster) header(titles []string, columns map[string]string) error {
	used := map[string]bool{}
	taken := map[field]string{}
	for i, title := range titles {
		title = strings.TrimSpace(title)
		if !utf8.ValidString(title) {
			return fmt.Errorf("%w: the title of column %d is not UTF-8", ErrRoster, i+1)
		}
		what, mapped := columns[title]
		if used[title] = true; !mapped {
			what = strings.ToLower(title)
		}
		f, err := fieldOf(what)
		if err != nil && !mapped {
			if what, mapped = columns["*"]; mapped {
				f, err = fieldOf(what)
			}
		}
		if err != nil {
			return fmt.Errorf("%w: column %.80q: %w", ErrRoster, title, err)
		}
		if f.kind == "-" {
			ro.Ignored = append(ro.Ignored, title)
		} else if before, twice := taken[f]; twice && (f.kind == "name" || f.kind == "protect") {
			return fmt.Errorf("%w: the columns %.80q and %.80q are both the %s", ErrRoster, before, title, f.kind)
		}
		taken[f] = title
		ro.fields = append(ro.fields, f)
	}
	for title := range columns {
		if title != "*" && !used[title] {
			return fmt.Errorf("%w: there is no column %.80q to map; it has %s", ErrRoster, title, strings.Join(trimmed(titles), ", "))
		}
	}
	if !slices.ContainsFunc(ro.fields, func(f field) bool { return f.kind == "name" || f.kind == "emails" }) {
		return fmt.Errorf("%w: no column is the name or an address; map one, such as userName=name", ErrRoster)
	}
	return nil
}

func trimmed(titles []string) []string {
	out := []string{}
	for _, t := range titles {
		out = append(out, fmt.Sprintf("%.40q", strings.TrimSpace(t)))
	}
	return out
}

func fieldOf(word string) (field, error) {
	if w, ok := rosterWords[word]; ok {
		word = w
	}
	if word == "-" || slices.Contains(rosterFields, word) {
		return field{kind: word}, nil
	}
	if kind, place, ok := strings.Cut(word, ":"); ok && (kind == "account" || kind == "device") {
		if !nameForm.MatchString(place) {
			return field{}, fmt.Errorf("%.80q is no name of a place", place)
		}
		return field{kind: kind, place: place}, nil
	}
	if near := yaml.Nearest(word, rosterFields); near != "" {
		return field{}, fmt.Errorf("it is no field: did you mean %s?", near)
	}
	return field{}, fmt.Errorf("it is no field; known are %s, account:PLACE and device:PLACE, and - leaves a column out", strings.Join(rosterFields, ", "))
}

// Next gives the next row; io.EOF after the last. Another error ends the reading.
func (ro *Roster) Next() (*Row, error) {
	ro.in.since = 0
	cells, err := ro.csv.Read()
	var pe *csv.ParseError
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, errLongRow):
		return nil, fmt.Errorf("%w: a row is longer than %d KiB; is a quotation mark missing?", ErrRoster, maxRow>>10)
	case errors.As(err, &pe):
		why := pe.Err.Error()
		if errors.Is(err, csv.ErrFieldCount) {
			why = fmt.Sprintf("it has %d cells, and the header %d", len(cells), len(ro.fields))
		}
		return &Row{Line: pe.StartLine, Fault: why}, nil
	case err != nil:
		return nil, err
	}
	line, _ := ro.csv.FieldPos(0)
	row := &Row{Line: line}
	id := hub.Identity{Set: ro.set}
	for i, cell := range cells {
		if row.Fault == "" {
			row.Fault = ro.cell(&id, ro.fields[i], cell)
		}
	}
	if row.Fault != "" {
		return row, nil
	}
	if id.Name == "" && len(id.Emails) > 0 {
		id.Name = subject.CanonicalEmail(id.Emails[0])
	}
	if row.Name = id.Name; !nameForm.MatchString(id.Name) {
		row.Fault = fmt.Sprintf("%.80q is no name: a name is made of letters, digits and . _ - + @, and begins and ends with a letter or digit", id.Name)
		if id.Name == "" {
			row.Fault = "it has no name and no address"
		}
		return row, nil
	}
	if at, why := identityFault(&id); why != "" {
		row.Fault = at + ": " + why
		return row, nil
	}
	key := maphash.String(ro.seed, id.Name)
	if before, twice := ro.seen[key]; twice {
		row.Fault = fmt.Sprintf("the identity stands in line %d already; put its values into one row, with ; between them", before)
		return row, nil
	}
	ro.seen[key] = line
	spec, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	row.Identity = &hub.Resource{Kind: hub.KindIdentity, Name: id.Name, Set: id.Set, Spec: spec}
	return row, nil
}

// Has reports whether a row of the file was this identity's.
func (ro *Roster) Has(name string) bool { return ro.seen[maphash.String(ro.seed, name)] != 0 }

// cell puts what a cell holds into the identity, and gives what is wrong with it.
func (ro *Roster) cell(id *hub.Identity, f field, cell string) (fault string) {
	cell = strings.TrimSpace(cell)
	if cell == "" || f.kind == "-" {
		return ""
	}
	if !utf8.ValidString(cell) {
		return f.kind + ": it is not UTF-8 text"
	}
	if strings.ContainsFunc(cell, func(r rune) bool { return unicode.IsControl(r) || r == 0xfeff || r >= 0xfffe && r <= 0xffff }) {
		return f.kind + ": it holds control characters"
	}
	switch f.kind {
	case "name":
		id.Name = subject.CanonicalEmail(cell)
		return ""
	case "protect":
		id.Protect = strings.ToLower(cell)
		return ""
	}
	values := strings.Split(cell, ";")
	if len(values) > maxValues {
		return fmt.Sprintf("%s: it has more than %d values", f.kind, maxValues)
	}
	for _, v := range values {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		switch f.kind {
		case "emails":
			id.Emails = append(id.Emails, v)
		case "phones":
			id.Phones = append(id.Phones, v)
		case "labels":
			id.Labels = append(id.Labels, v)
		case "groups":
			id.Groups = append(id.Groups, v)
		case "account":
			id.Accounts = append(id.Accounts, hub.Account{At: f.place, ID: v})
		case "device":
			id.Devices = append(id.Devices, hub.Account{At: f.place, ID: v})
		}
	}
	return ""
}

var errLongRow = errors.New("a row is too long")

// counted ends the reading where one row asks for more than maxRow, as a quotation mark that is never closed makes it.
type counted struct {
	r     *bufio.Reader
	since int // bytes that were asked for since the row began
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	if c.since > maxRow {
		return 0, errLongRow
	}
	if len(p) > 32<<10 {
		p = p[:32<<10]
	}
	n, err := c.r.Read(p)
	c.since += n
	return n, err
}

// NewPerson makes an identity of addresses alone, named by the first; why says why there is none.
func NewPerson(emails []string, set string) (r *hub.Resource, why string) {
	id := hub.Identity{Set: set}
	for _, e := range emails {
		if key := subject.CanonicalEmail(e); !slices.ContainsFunc(id.Emails, func(o string) bool { return subject.CanonicalEmail(o) == key }) {
			id.Emails = append(id.Emails, e)
		}
	}
	if len(id.Emails) == 0 {
		return nil, "it has no address"
	}
	if id.Name = subject.CanonicalEmail(id.Emails[0]); !nameForm.MatchString(id.Name) {
		return nil, "its address is no name for an identity"
	}
	if at, why := identityFault(&id); why != "" {
		return nil, at + ": " + why
	}
	spec, err := json.Marshal(id)
	if err != nil {
		return nil, err.Error()
	}
	return &hub.Resource{Kind: hub.KindIdentity, Name: id.Name, Set: set, Spec: spec}, ""
}
