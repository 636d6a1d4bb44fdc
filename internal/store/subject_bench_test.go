package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"countersign/transmitter"
)

// BenchmarkSubjects10M looks people up among 10 million stream-subject pairs of 10 streams, SQLite, at a cache of 64 MB in all.
// The rows are written in the order of their keys, which makes the file that random adding makes, only faster.
func BenchmarkSubjects10M(b *testing.B) {
	const streams, people = 10, 1_000_000
	path := filepath.Join(b.TempDir(), "subjects.db")
	s := place{url: "sqlite:" + path}.open(b, Config{})
	v := s.Transmitter(tenant, nil)
	var keys []int64
	for i := range streams {
		st := &transmitter.Stream{ID: fmt.Sprint("str_", i), Receiver: "r", Status: transmitter.Enabled}
		must(b, v.CreateStream(b.Context(), st, 0))
		must(b, v.PutSubject(b.Context(), &transmitter.SubjectEntry{Stream: st.Key, ID: [16]byte{0xff, byte(i)}, Keys: [][16]byte{{0xff, byte(i)}}}, 0))
		keys = append(keys, st.Key)
	}
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][16]byte, people)
	for i := range all {
		binary.BigEndian.PutUint64(all[i][:], random.Uint64()>>1) // below the keys above
		binary.BigEndian.PutUint64(all[i][8:], random.Uint64())
	}
	slices.SortFunc(all, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	conn := s.e.(*lite).conn
	begun := time.Now()
	_, err := conn.ExecContext(b.Context(), "BEGIN")
	must(b, err)
	const each = 200
	query := "INSERT INTO stream_subject (key, stream, id, flags, until, at) VALUES " + tuples(6, each)
	args := make([]any, 0, 6*each)
	empty := []byte{}
	for i := range all {
		for _, key := range keys {
			args = append(args, all[i][:], key, empty, 0, 0, 1)
		}
		if len(args) == cap(args) {
			_, err := s.e.(*lite).st.ExecContext(context.Background(), query, args...)
			must(b, err)
			args = args[:0]
		}
	}
	_, err = conn.ExecContext(b.Context(), "COMMIT")
	must(b, err)
	b.Logf("%d pairs in %s", streams*people, time.Since(begun).Round(time.Second))

	// The readers get the cache that a hub of this size is given.
	e := s.e.(*lite)
	read := url.Values{"mode": {"ro"}, "_pragma": {"query_only(ON)", "cache_size(-64000)"}}
	e.rst.close()
	e.readers.Close()
	e.readers, err = sql.Open("sqlite", "file:"+path+"?"+read.Encode())
	must(b, err)
	e.readers.SetMaxOpenConns(1)
	e.rst = newPrepared(e.readers)
	for b.Loop() {
		got, err := v.Subjects(b.Context(), all[random.IntN(people):][:1])
		if err != nil || len(got) != streams {
			b.Fatal(len(got), err)
		}
	}
	one := make([][16]byte, 1)
	begun = time.Now()
	cpu := cpuTime()
	const misses = 20_000
	for range misses {
		binary.BigEndian.PutUint64(one[0][:], random.Uint64()>>1)
		if got, err := v.Subjects(b.Context(), one); err != nil || len(got) != 0 {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(time.Since(begun).Nanoseconds())/misses/1000, "µs/miss")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/misses/1000, "cpu-µs/miss")
}
