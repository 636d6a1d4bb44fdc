package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"countersign/internal/config"
)

// operator is the token of the hub's operator; empty where it cannot be read.
func (g *rig) operator() string {
	raw, err := os.ReadFile(filepath.Join(g.hub.Dir, config.TokenFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// ask reads from the admin API.
func (g *rig) ask(ctx context.Context, token, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.hub.Admin+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// watchRSS looks at the hub's memory ten times a second and gives the most that it saw.
func (g *rig) watchRSS() (peak func() float64, stop func()) {
	var mu sync.Mutex
	var most float64
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			_, rss := usage(g.hub.PID())
			mu.Lock()
			most = max(most, rss)
			mu.Unlock()
		}
	})
	return func() float64 { mu.Lock(); defer mu.Unlock(); return most }, func() { close(end); wg.Wait() }
}
