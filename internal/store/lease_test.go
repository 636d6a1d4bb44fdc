package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

func shardsOf(t testing.TB, s *Store) transmitter.Shards {
	t.Helper()
	got, err := s.Transmitter(tenant, nil).Shards(t.Context())
	must(t, err)
	return got
}

func size(s transmitter.Shards) int {
	n := 0
	for shard := range transmitter.ShardCount {
		if s[shard/64]&(1<<(shard%64)) != 0 {
			n++
		}
	}
	return n
}

func both(a, b transmitter.Shards) (out transmitter.Shards) {
	for i := range a {
		out[i] = a[i] & b[i]
	}
	return out
}

func TestSQLiteHasEveryShard(t *testing.T) {
	if got := shardsOf(t, sqlitePlace(t).open(t, Config{})); got != transmitter.AllShards {
		t.Fatalf("%x", got)
	}
}

func TestRendezvous(t *testing.T) {
	three := []string{"a/1", "b/1", "c/1"}
	for _, pair := range [][]string{{"stays/1", "killed/1"}, {"a/1", "b/1"}, {"node-1/1", "node-2/1"}, {"hub.example/1", "hub2.example/1"}} {
		n := 0
		for shard := range transmitter.ShardCount {
			if rendezvous(pair, shard) == pair[0] {
				n++
			}
		}
		if n < 90 || n > 166 {
			t.Errorf("%v: the first has %d of 256", pair, n)
		}
	}
	got := map[string]int{}
	for shard := range transmitter.ShardCount {
		at := rendezvous(three, shard)
		got[at]++
		if again := rendezvous([]string{"a/2", "b/7", "c/3"}, shard); again[:1] != at[:1] {
			t.Fatalf("shard %d is at %s, and in another life at %s", shard, at, again)
		}
		if left := rendezvous(three[:2], shard); at != "c/1" && left != at {
			t.Fatalf("shard %d moved from %s to %s when c went", shard, at, left)
		}
	}
	for node, n := range got {
		if n < 50 || n > 130 {
			t.Errorf("%s has %d of 256", node, n)
		}
	}
}

// shared waits until two stores hold all shards between them, and none twice.
func shared(t *testing.T, a, b *Store, within time.Duration) {
	t.Helper()
	end := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		x, y := shardsOf(t, a), shardsOf(t, b)
		if size(x)+size(y) == 256 && size(both(x, y)) == 0 && size(x) > 60 && size(y) > 60 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s one holds %d, the other %d, both %d", within, size(x), size(y), size(both(x, y)))
		}
		<-tick.C
	}
}

func TestTwoNodesShare(t *testing.T) {
	t.Parallel()
	p := postgresPlace(t)
	a := p.open(t, Config{Node: "a"})
	if n := size(shardsOf(t, a)); n != 256 {
		t.Fatalf("alone it holds %d", n)
	}
	b := p.open(t, Config{Node: "b"})
	if n := size(both(shardsOf(t, b), shardsOf(t, a))); n != 0 {
		t.Fatalf("%d shards are held twice", n)
	}
	shared(t, a, b, 4*renewEvery)

	// A back-off is written by whoever delivers.
	v, w := a.Transmitter(tenant, nil), b.Transmitter(tenant, nil)
	for i := range 8 {
		st := &transmitter.Stream{ID: fmt.Sprint("str_", i), Receiver: "r", Status: transmitter.Enabled}
		must(t, v.CreateStream(t.Context(), st, 0))
		mine := shardsOf(t, a).Has(st.Key)
		for _, c := range []struct {
			v    *Transmitter
			ours bool
		}{{v, mine}, {w, !mine}} {
			err := c.v.Backoff(t.Context(), st.Key, transmitter.Trouble{Fails: 3, Reason: "because"})
			if c.ours {
				must(t, err)
			} else {
				wantCode(t, err, hub.Conflict)
			}
		}
	}

	// Close gives back at once: nobody waits for a lease to end.
	b.Close()
	begun := time.Now()
	for size(shardsOf(t, a)) != 256 {
		if time.Since(begun) > 2*renewEvery {
			t.Fatalf("after %s only %d", time.Since(begun), size(shardsOf(t, a)))
		}
		time.Sleep(20 * time.Millisecond)
	}

	// A node that starts again before its old row is gone takes what its earlier life held.
	lives := a.life
	a.e.(*pg).leases.stop()
	a.e.(*pg).leases.end.Wait()
	again := p.open(t, Config{Node: "a"})
	if n := size(shardsOf(t, again)); n != 256 || again.life == lives {
		t.Fatalf("the next life holds %d", n)
	}
}

func leaseChild(spec string) {
	f := strings.Split(spec, "|")
	s, err := Open(context.Background(), f[0], Config{Schema: f[1], Node: "killed"})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for {
		got, err := s.Transmitter(tenant, nil).Shards(context.Background())
		fmt.Println(size(got), err)
		time.Sleep(100 * time.Millisecond)
	}
}

// A node that is killed with kill -9 is followed within 15 s.
func TestKilledNodeIsFollowed(t *testing.T) {
	t.Parallel()
	p := postgresPlace(t)
	s := p.open(t, Config{Node: "stays"})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=lease|"+p.url+"|"+p.schema)
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(pipe)
	theirs := 0
	for opened := time.Now(); lines.Scan(); {
		if time.Since(opened) > 30*time.Second {
			t.Fatalf("the two do not share: they have %d, we have %d", theirs, size(shardsOf(t, s)))
		}
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		fmt.Sscan(lines.Text(), &theirs)
		if theirs > 60 && theirs+size(shardsOf(t, s)) == 256 {
			break
		}
	}
	must(t, cmd.Process.Kill())
	begun := time.Now()
	cmd.Wait()
	if n := size(shardsOf(t, s)); n > 256-60 {
		t.Fatalf("the one that stays holds %d already", n)
	}
	for size(shardsOf(t, s)) != 256 {
		if time.Since(begun) > 15*time.Second {
			t.Fatalf("after 15 s only %d of 256 shards are followed", size(shardsOf(t, s)))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("followed after %s", time.Since(begun).Round(10*time.Millisecond))
}
