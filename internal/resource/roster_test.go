package resource_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/resource"
)

// readRoster gives the specs of a file and its faults by line.
func readRoster(t testing.TB, text string, o resource.RosterOptions) (specs []string, faults map[int]string, err error) {
	ro, err := resource.NewRoster(strings.NewReader(text), o)
	if err != nil {
		return nil, nil, err
	}
	faults = map[int]string{}
	for {
		row, err := ro.Next()
		if err == io.EOF {
			return specs, faults, nil
		}
		if err != nil {
			return specs, faults, err
		}
		if row.Identity == nil {
			faults[row.Line] = row.Fault
			continue
		}
		if row.Identity.Name != row.Name || row.Identity.Set != o.Set || !ro.Has(row.Name) {
			t.Errorf("row %+v", row)
		}
		specs = append(specs, string(row.Identity.Spec))
	}
}

func TestRoster(t *testing.T) {
	text := "\ufeffuserName,E-Mail,groups,account:crm,account:crm,device:mdm,Cost Centre,protect,phone\r\n" +
		"Alice,Alice@example.test;a@example.test, finance ; staff,7,8;auth0|9,laptop-1,4711,Never,+1 555-0100\r\n" +
		"\"bob\",\"bob@example.test\",,,,,\"a \"\"quoted\"\"\nnote\",,\r\n" +
		",dora@example.test,,,,,,,\r\n"
	specs, faults, err := readRoster(t, text, resource.RosterOptions{Set: "hr", Columns: map[string]string{"userName": "name", "E-Mail": "emails", "*": "-"}})
	if err != nil || len(faults) != 0 {
		t.Fatal(faults, err)
	}
	want := []string{
		`{"name":"alice","set":"hr","emails":["Alice@example.test","a@example.test"],"groups":["finance","staff"],"phones":["+15550100"],"accounts":[{"at":"crm","id":"7"},{"at":"crm","id":"8"},{"at":"crm","id":"auth0|9"}],"devices":[{"at":"mdm","id":"laptop-1"}],"protect":"never"}`,
		`{"name":"bob","set":"hr","emails":["bob@example.test"]}`,
		`{"name":"dora@example.test","set":"hr","emails":["dora@example.test"]}`,
	}
	if d := cmp.Diff(want, specs); d != "" {
		t.Error(d)
	}
	for _, sep := range []string{";", "\t"} {
		specs, faults, err := readRoster(t, strings.ReplaceAll("name,emails\na,a@example.test\n", ",", sep), resource.RosterOptions{})
		if err != nil || len(faults) != 0 || len(specs) != 1 {
			t.Errorf("between cells %q: %q %v %v", sep, specs, faults, err)
		}
	}
}

// Each wrong row is told with its line and its reason, and the others are read.
func TestRosterFaults(t *testing.T) {
	text := `name,emails,account:crm,protect
alice,alice@example.test,7,
bob
,,,
carol,not an address,,
alice,other@example.test,,
Dave Smith,dave@example.test,,
erin,erin@example.test,7;7,
frank,frank@example.test,,maybe
gina,gina"s@example.test,,
` + "hal,hal@example.test,\xff,\n" + `ida,ida@example.test,9,
`
	specs, faults, err := readRoster(t, text, resource.RosterOptions{})
	if err != nil || len(specs) != 2 {
		t.Fatalf("%d rows, %v", len(specs), err)
	}
	want := map[int]string{3: "it has 1 cells, and the header 4", 4: "it has no name and no address", 5: "is no e-mail address", 6: "stands in line 2 already",
		7: "is no name", 8: "this account stands here twice", 9: "none of none, never", 10: "bare", 11: "not UTF-8"}
	for line, why := range want {
		if !strings.Contains(faults[line], why) {
			t.Errorf("line %d: %q, want %q", line, faults[line], why)
		}
		delete(faults, line)
	}
	if len(faults) != 0 {
		t.Errorf("also %v", faults)
	}
}

func TestRosterRefusals(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		columns          map[string]string
	}{
		{"empty", "", "it is empty", nil},
		{"unknown column", "name,emials\n", "did you mean emails?", nil},
		{"far column", "name,cost centre\n", "- leaves a column out", nil},
		{"no one", "groups,labels\n", "no column is the name or an address", nil},
		{"two names", "name,Name\n", "are both the name", nil},
		{"no such column", "name\n", "there is no column \"mail\" to map", map[string]string{"mail": "emails"}},
		{"map to nothing", "name,mail\n", "did you mean emails?", map[string]string{"mail": "emial"}},
		{"a place", "name,account:Big Place\n", "is no name of a place", nil},
		{"a quote without end", "name\n\"a" + strings.Repeat("x\n", 300_000), "a row is longer than 256 KiB", nil},
		{"a long header", strings.Repeat("n", 600_000), "its first line is longer", nil},
	} {
		if _, _, err := readRoster(t, c.text, resource.RosterOptions{Columns: c.columns}); !errors.Is(err, resource.ErrRoster) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := resource.NewRoster(strings.NewReader("name\n"), resource.RosterOptions{Set: "Not A Set"}); !errors.Is(err, resource.ErrRoster) {
		t.Errorf("a set: %v", err)
	}
}

// Whatever a file holds, what is taken from it is a resource that Decode would take, too.
func FuzzRoster(f *testing.F) {
	f.Add("name,emails,account:crm\nalice,a@example.test,7\n")
	f.Add("\ufeffname;emails\n\"a\nb\";x\n")
	f.Add("emails,protect,device:m\na@b.test,never,1;2\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		specs, _, err := readRoster(t, text, resource.RosterOptions{Set: "s"})
		if err != nil && !errors.Is(err, resource.ErrRoster) {
			t.Errorf("an error of no kind: %v", err)
		}
		for _, s := range specs {
			if _, err := resource.DecodeAll([]byte(`{"apiVersion":"countersign/v1","kind":"identity",` + s[1:])); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	})
}
