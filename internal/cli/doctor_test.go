package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/config"
)

// found gives the result of a check.
func found(d *doctor, check string) finding {
	for _, f := range d.out.Findings {
		if f.Check == check {
			return f
		}
	}
	return finding{}
}

// The doctor notices files that others can read, and a master key beside what it protects; it does not claim to have
// looked where it could not.
func TestDoctorLooksAtFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	look := func(data string) *doctor {
		d := &doctor{a: &App{}, cl: &client{base: "https://hub.example.test"}, data: data}
		d.files()
		return d
	}
	d := look(dir)
	for check, want := range map[string]string{"files": checkOK, "master key": checkOK} {
		if f := found(d, check); f.Result != want {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if f := found(d, "disk"); f.Result == "" || f.Seen == "" {
		t.Errorf("disk: %+v", f)
	}
	for name, mode := range map[string]os.FileMode{config.MasterFile: 0o600, config.TokenFile: 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	d = look(dir)
	if f := found(d, "files"); f.Result != checkFail || !strings.Contains(f.Seen, config.TokenFile) || !strings.HasPrefix(f.Fix, "chmod") {
		t.Errorf("a token that others can read: %+v", f)
	}
	if f := found(d, "master key"); f.Result != checkWarn {
		t.Errorf("a master key in the folder: %+v", f)
	}
	if f := found(look(""), "files"); f.Result != checkNot {
		t.Errorf("no folder: %+v", f)
	}
}

func TestDoctorComparesClocks(t *testing.T) {
	for _, c := range []struct {
		base string
		off  time.Duration
		want string
	}{
		{"https://hub.example.test", 0, checkOK}, {"https://hub.example.test", time.Minute, checkWarn}, {"https://hub.example.test", -time.Minute, checkWarn},
		{"http://127.0.0.1:8444", 0, checkNot}, // the same clock says nothing
	} {
		d := &doctor{cl: &client{base: c.base}}
		d.clock(time.Now().Add(c.off))
		if f := found(d, "clock"); f.Result != c.want {
			t.Errorf("%+v: %+v", c, f)
		}
	}
	d := &doctor{cl: &client{}}
	d.clock(time.Time{})
	if f := found(d, "clock"); f.Result != checkNot {
		t.Errorf("no Date: %+v", f)
	}
}
