package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"countersign/internal/hub"
)

// defaultTenant is whose streams a bench makes.
const defaultTenant = "default"

// FillSubjects puts the same made-up people on the lists of streams of the default tenant, in the SQLite file of a hub that
// does not run, and gives how many microseconds a look-up then takes with a cache of 64 MB. It is for a bench: adding ten
// million one by one would take it an hour. The rows are written in the order of their keys, which makes the file that random
// adding makes, only faster.
func FillSubjects(ctx context.Context, file string, streams []string, people int) (perLookup float64, err error) {
	s, err := Open(ctx, "sqlite:"+file, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	all, err := s.fillSubjects(ctx, streams, people)
	if err != nil {
		return 0, errors.Join(err, s.Close())
	}
	if err := s.Close(); err != nil {
		return 0, err
	}
	return lookups(ctx, file, all, len(streams))
}

func (s *Store) fillSubjects(ctx context.Context, streams []string, people int) ([][16]byte, error) {
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][16]byte, people)
	for i := range all {
		binary.BigEndian.PutUint64(all[i][:], random.Uint64())
		binary.BigEndian.PutUint64(all[i][8:], random.Uint64())
	}
	slices.SortFunc(all, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	var keys []int64
	err := s.write(ctx, pointNone, func(t *tx) error {
		gen, err := bump(t, defaultTenant, "stream")
		if err != nil {
			return err
		}
		keys = keys[:0]
		for _, id := range streams {
			var key int64
			found, err := t.one(`UPDATE stream SET listed = $1, subjects = subjects + $2, generation = $3 WHERE id = $4 RETURNING seq`, []any{true, people, gen, id}, &key)
			if err != nil || !found {
				return errors.Join(hub.Errorf(hub.NotFound, "no stream %s", id), err)
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return nil
	})
	if err != nil {
		return nil, err
	}
	const rows = 200 // of one statement
	each := max(1, rows/len(keys))
	for part := range slices.Chunk(all, 50_000) {
		err := s.write(ctx, pointNone, func(t *tx) error {
			for some := range slices.Chunk(part, each) {
				args := make([]any, 0, 6*rows)
				for i := range some {
					for _, key := range keys {
						args = append(args, some[i][:], key, []byte{}, 0, 0, 1)
					}
				}
				if _, err := t.exec(`INSERT INTO stream_subject (key, stream, id, flags, until, at) VALUES `+tuples(6, len(args)/6), args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lookups measures looking people up, half of whom are on no list.
func lookups(ctx context.Context, file string, all [][16]byte, streams int) (float64, error) {
	s, err := Open(ctx, "sqlite:"+file, Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	e := s.e.(*lite)
	e.rst.close()
	e.readers.Close()
	read := url.Values{"mode": {"ro"}, "_pragma": {"query_only(ON)", "cache_size(-64000)"}}
	if e.readers, err = sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()+"?"+read.Encode()); err != nil {
		return 0, err
	}
	e.readers.SetMaxOpenConns(1)
	e.rst = newPrepared(e.readers)
	v := s.Transmitter(defaultTenant, nil)
	random := rand.New(rand.NewPCG(3, 4))
	one := make([][16]byte, 1)
	n := min(50_000, len(all))
	var begun time.Time
	for i := range 2 * n { // the first half warms the cache
		if i == n {
			begun = time.Now()
		}
		want := 0
		if one[0] = all[random.IntN(len(all))]; i%2 == 0 {
			want = streams
		} else {
			one[0][15]++
		}
		got, err := v.Subjects(ctx, one)
		if err != nil || len(got) != want {
			return 0, errors.Join(hub.Errorf(hub.Internal, "a look-up gave %d streams, want %d", len(got), want), err)
		}
	}
	return float64(time.Since(begun).Microseconds()) / float64(n), nil
}
