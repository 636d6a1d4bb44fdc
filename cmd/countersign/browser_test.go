package main

import (
	"context"
	"flag"
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

	"countersign/internal/demo"
)

var update = flag.Bool("update", false, "write the pictures under docs/img")

// The page of a signal that really came in, of a hub that really ran the scene, in a real browser.
func TestConsoleOfTheDemo(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs Chromium: apt-get install -y chromium")
	}
	seen := false
	r, err := demo.Run(t.Context(), demo.Options{Exe: program(t), Keep: t.TempDir()}, func(ctx context.Context, st *demo.Standing) {
		seen = true
		lookAt(t, ctx, path, st)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || !seen {
		t.Errorf("the scene: %v", r.Problems)
	}
}

func lookAt(t *testing.T, ctx context.Context, chromium string, st *demo.Standing) {
	t.Helper()
	token, err := os.ReadFile(st.Token)
	if err != nil {
		t.Error(err)
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Error(err)
		return
	}
	ctx, stop = context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	tab := chromedp.FromContext(ctx).Target
	if _, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{}); err != nil {
		t.Error(err)
		return
	}
	entries := cdp.Events(ctx, tab, log.EntryAdded)
	var mu sync.Mutex
	go func() {
		for e, err := range entries {
			if err != nil {
				return
			}
			mu.Lock()
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				t.Errorf("the browser complains: %s %s", e.Entry.Text, e.Entry.URL)
			}
			mu.Unlock()
		}
	}()
	size := func(scheme string, width int64) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			if _, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "screen", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
				return err
			}
			_, err := cdp.Call(ctx, tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
			return err
		})
	}
	if err := chromedp.Do(ctx, size("light", 1280), chromedp.Navigate(st.Console), chromedp.WaitVisible(chromedp.CSS("#token")),
		chromedp.KeyEvent(strings.TrimSpace(string(token))+"\r"), chromedp.WaitVisible(chromedp.CSS(".slip"))); err != nil {
		t.Error(err)
		return
	}
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("main")))
	if err != nil {
		t.Error(err)
		return
	}
	for _, want := range []string{"Session revoked", "alice", "at wiki", "at crm", "at forum", "verified", "FULFILLED", "accepted", "Token as received"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{375, 1280} {
			if err := chromedp.Do(ctx, size(scheme, width), chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS(".slip"))); err != nil {
				t.Error(err)
				return
			}
			over, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
			if err != nil || over {
				t.Errorf("the page is wider than %d: %v", width, err)
			}
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Error(err)
				return
			}
			if *update {
				name := filepath.Join("..", "..", "docs", "img", "demo-signal-"+scheme+"-"+map[int64]string{375: "375", 1280: "1280"}[width]+".png")
				if err := os.WriteFile(name, png, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
