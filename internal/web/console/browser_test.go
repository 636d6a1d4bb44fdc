package console

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"

	"countersign/event"
	"countersign/event/caep"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/internal/store"
)

// fixtureStore gives the fixtures as a store would.
type fixtureStore struct{ f *fixtures }

func (s fixtureStore) find(id string) *Story {
	for _, st := range s.f.stories {
		if st.Signal.ID == id {
			return st.Story
		}
	}
	return nil
}

func (s fixtureStore) Signal(_ context.Context, _, id string) (*hub.Signal, error) {
	if st := s.find(id); st != nil {
		sig := *st.Signal
		for i, other := range s.f.stories {
			if other.Story == st {
				sig.Seq = int64(i + 1)
			}
		}
		return &sig, nil
	}
	return nil, hub.Errorf(hub.NotFound, "no signal")
}
func (s fixtureStore) SignalBySeq(_ context.Context, seq int64) (*hub.Signal, error) {
	return s.f.stories[seq-1].Signal, nil
}
func (s fixtureStore) ListSignals(_ context.Context, _ string, f store.SignalFilter, p hub.Page) (hub.Listed[*hub.Signal], error) {
	if p.After == "fail" {
		return hub.Listed[*hub.Signal]{}, hub.Errorf(hub.Internal, "the disk is gone: secret detail")
	}
	var out []*hub.Signal
	for _, sig := range s.f.signals() {
		if f.State == "" || f.State == sig.State {
			out = append(out, sig)
		}
	}
	return hub.Listed[*hub.Signal]{Items: out}, nil
}
func (s fixtureStore) DecisionOf(_ context.Context, seq int64) (*hub.Decision, error) {
	return s.f.stories[seq-1].Decision, nil
}
func (s fixtureStore) ActionsOf(_ context.Context, seq int64) ([]*hub.Action, error) {
	return s.f.stories[seq-1].Actions, nil
}
func (s fixtureStore) Action(_ context.Context, _, id string) (*hub.Action, error) {
	for _, st := range s.f.stories {
		for _, a := range st.Actions {
			if a.ID == id {
				return a, nil
			}
		}
	}
	return nil, hub.Errorf(hub.NotFound, "no action")
}
func (s fixtureStore) Receipt(_ context.Context, _, id string) (*hub.Receipt, error) {
	for _, st := range s.f.stories {
		for _, r := range st.Receipts {
			if r.ID == id {
				return r, nil
			}
		}
	}
	return nil, hub.Errorf(hub.NotFound, "no receipt")
}
func (s fixtureStore) ReceiptsOf(_ context.Context, seq int64) ([]*hub.Receipt, error) {
	return s.f.stories[seq-1].Receipts, nil
}

func (s fixtureStore) Resource(_ context.Context, _ string, kind hub.Kind, name string) (*hub.Resource, error) {
	for i := range s.f.sourced {
		if kind == hub.KindSource && s.f.sourced[i].res.Name == name {
			return &s.f.sourced[i].res, nil
		}
	}
	for i := range s.f.out.docs {
		if s.f.out.docs[i].Name == name {
			return &s.f.out.docs[i], nil
		}
	}
	return nil, hub.Errorf(hub.NotFound, "no resource")
}
func (s fixtureStore) Resources(_ context.Context, _ string, kind hub.Kind) (all []hub.Resource, err error) {
	if kind == hub.KindStream {
		return s.f.out.docs, nil
	}
	for _, one := range s.f.sourced {
		if one.name != "hostile" {
			all = append(all, one.res)
		}
	}
	return all, nil
}

func (s fixtureStore) Refusals(_ context.Context, _, source string, _ hub.Page) (l hub.Listed[hub.Refusal], err error) {
	for _, one := range s.f.sourced {
		if one.res.Name == source {
			l.Items = one.refused
		}
	}
	return l, nil
}

const operatorToken = "cs_fixture_operator_token_of_this_test"

// newTestConsole serves the fixtures through the real handlers.
func newTestConsole(now func() time.Time) *Console {
	f := newFixtures()
	return New(Config{Name: "Acme signal hub", Store: fixtureStore{f}, Streams: func() (sight.Streams, sight.Outbox) { return f.out, f.out },
		Show: f.show, Registry: event.NewRegistry(caep.Vocabulary()), Now: now,
		SignIn: func(_ context.Context, token string) (User, error) {
			switch token {
			case operatorToken:
				return User{Name: "operator", Read: true, ReadTokens: true, ReadStreams: true}, nil
			case "cs_reader":
				return User{Name: "reader", Read: true}, nil
			case "cs_writer_only":
				return User{Name: "writer"}, nil
			}
			return User{}, hub.Errorf(hub.Unauthenticated, "the token is not valid")
		}})
}

// browser starts Chromium; a machine without one is a failure with its cure, never a skip.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if path, err = exec.LookPath("chromium-browser"); err != nil {
			t.Fatal("the browser test needs Chromium: apt-get install -y chromium")
		}
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"), chromedp.Flag("disable-lcd-text", true))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// complaints collects what the browser says against the pages: refused styles, missing files, errors.
func complaints(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	tab := chromedp.FromContext(ctx).Target
	if _, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	entries := cdp.Events(ctx, tab, log.EntryAdded)
	var mu sync.Mutex
	var out []string
	go func() {
		for e, err := range entries {
			if err != nil {
				return
			}
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				mu.Lock()
				out = append(out, e.Entry.Text+" "+e.Entry.URL)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), out...)
	}
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// look sets the reader's scheme, the medium and the width.
func look(medium, scheme string, width int64) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
		return err
	})
}

// shoot takes a picture of the whole page; with -update it is kept under docs/img.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	png := get(t, ctx, chromedp.FullScreenshot(100))
	if len(png) < 5000 {
		t.Errorf("the picture %s has %d bytes only", name, len(png))
	}
	if *update {
		dir := filepath.Join("..", "..", "..", "docs", "img")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const tooWide = `(() => { const w = document.documentElement; if (w.scrollWidth <= w.clientWidth) return ""; return w.scrollWidth + " of " + w.clientWidth + ": " + [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > w.clientWidth + 1).slice(0, 5).map(e => e.tagName + "." + e.className).join(" "); })()`

// The pages are looked at a moment after the fixtures' time, so that what they say of ages is the same each time.
var began = time.Now()

// kept are the pages whose pictures stand in docs/img.
var kept = map[string]bool{"sources": true, "source-pushing": true, "signals": true, "signal": true, "streams": true, "stream-failing": true, "orders": true, "order": true}

func TestBrowser(t *testing.T) {
	srv := httptest.NewServer(newTestConsole(func() time.Time { return time.Unix(fixtureTime, 0).Add(time.Since(began)) }))
	defer srv.Close()
	ctx := browser(t)
	said := complaints(t, ctx)
	story := srv.URL + "/signals/sig_06c1zr2t3v0g9m5a7k8b1n4q2e"

	// Without a session every page leads to the form, and the form leads back.
	do(t, ctx, look("screen", "light", 1280), chromedp.Navigate(story))
	if at := get(t, ctx, chromedp.Location()); !strings.HasPrefix(at, srv.URL+"/sign-in?to=") {
		t.Fatalf("without a session the story answers at %s", at)
	}
	if id := get(t, ctx, chromedp.Evaluate[string](`document.activeElement.id`)); id != "token" {
		t.Errorf("the form begins at %q", id)
	}
	// By keyboard alone: type, Enter.
	do(t, ctx, chromedp.KeyEvent(operatorToken+"\r"), chromedp.WaitVisible(chromedp.CSS("ol.steps")))
	if at := get(t, ctx, chromedp.Location()); at != story {
		t.Errorf("signing in led to %s", at)
	}
	text := get(t, ctx, chromedp.Text(chromedp.CSS("main")))
	for _, want := range []string{"Session revoked", "alice", "revoke sessions", "at wiki", "verified", "FULFILLED", "CS-7F3K9Q2M"} {
		if !strings.Contains(text, want) {
			t.Errorf("the story does not show %q", want)
		}
	}
	if cookie := get(t, ctx, chromedp.Evaluate[string](`document.cookie`)); cookie != "" {
		t.Errorf("scripts could read the cookie: %q", cookie)
	}

	for _, p := range []struct{ name, path, wait string }{
		{"signals", "/", "table.signals"},
		{"signal", "/signals/sig_06c1zr2t3v0g9m5a7k8b1n4q2e", ".slip"},
		{"signal-failing", "/signals/sig_06c1zq8m2c0g9m5a7k8b1n4q2f", ".slip"},
		{"signal-hostile", "/signals/sig_06c1zm2h8y0g9m5a7k8b1n4q2k", ".slip"},
		{"receipt", "/receipts/rct_1", ".slip"},
		{"sources", "/sources", "table.streams"},
		{"source", "/sources/keycloak", ".settings"},
		{"source-pushing", "/sources/hr", ".settings"},
		{"source-failing", "/sources/okta", ".problem"},
		{"source-silent", "/sources/mdm", ".problem"},
		{"source-hostile", "/sources/evil", ".settings"},
		{"streams", "/streams", "table.streams"},
		{"stream", "/streams/" + crmStream, ".figures"},
		{"stream-failing", "/streams/" + forumStream, ".figures"},
		{"stream-hostile", "/streams/" + hostileStream, ".figures"},
		{"stream-missing", "/streams/warehouse", ".problem"},
		{"orders", "/orders", "table.orders"},
		{"order", "/orders/ord-7Q2MZK4VXW3N9RTD", ".slip"},
		{"order-overdue", "/orders/ord-B8C1D6H2J5P9K3W4", ".sentences"},
		{"order-hostile", "/orders/ord-%3Cb%3EX%3C%2Fb%3E", ".sentences"},
	} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{375, 1280} {
				do(t, ctx, look("screen", scheme, width), chromedp.Navigate(srv.URL+p.path), chromedp.WaitVisible(chromedp.CSS(p.wait)))
				if over := get(t, ctx, chromedp.Evaluate[string](tooWide)); over != "" {
					t.Errorf("%s is wider than %d: %s", p.name, width, over)
				}
				ground := get(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.documentElement).backgroundColor`))
				if dark := ground == "rgb(19, 23, 21)"; dark != (scheme == "dark") {
					t.Errorf("%s %s has the ground %s", p.name, scheme, ground)
				}
				if kept[p.name] {
					shoot(t, ctx, p.name+"-"+scheme+"-"+itoa(int(width))+".png")
				}
			}
		}
	}

	// Printed, the receipt is the slip alone.
	do(t, ctx, look("print", "light", 400), chromedp.Navigate(srv.URL+"/receipts/rct_1"), chromedp.WaitVisible(chromedp.CSS(".slip")))
	if get(t, ctx, chromedp.Evaluate[bool](`[...document.querySelectorAll("header.top, .unprinted, button")].some(e => e.checkVisibility())`)) {
		t.Error("more than the slip is printed")
	}
	shoot(t, ctx, "receipt-print.png")
	if pdf := get(t, ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground())); len(pdf) < 2000 || string(pdf[:5]) != "%PDF-" {
		t.Errorf("the print has %d bytes", len(pdf))
	}

	// Signing out ends it.
	do(t, ctx, look("screen", "light", 1280), chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible(chromedp.CSS("table.signals")), chromedp.Click(chromedp.CSS(".who button")), chromedp.WaitVisible(chromedp.CSS("#token")), chromedp.Navigate(srv.URL+"/"))
	if at := get(t, ctx, chromedp.Location()); at != srv.URL+"/sign-in" {
		t.Errorf("after signing out the list answers at %s", at)
	}
	if c := said(); len(c) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(c, "\n"))
	}
}
