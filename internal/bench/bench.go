package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are what the bench command was asked.
type Options struct {
	What       string        // one of Figures
	Alg        string        // RS256 | ES256 | EdDSA; empty: RS256 (deliver), ES256 (ingest), EdDSA receipts (loop)
	FanOut     int           // streams that take each event; 0: 1, and with ingest none: storage and the door alone
	Seconds    float64       // of load in all; 0: 10
	Rate       float64       // events per second of an open loop; 0: the figure's own
	Clients    int           // waiters of a closed loop; 0: 64
	Fsync      time.Duration // added to each commit, to see what a slower disk does
	Database   string        // postgres:// URL; empty: SQLite
	Kills      int           // kill: random kills beside the named ones; 0: 5
	Rows       int           // backlog: SETs that wait; streams: how many; 0: the figure's own
	Signals    int           // receive: how many are pushed; 0: 100,000
	Dir        string        // full: a small file system of its own, for the hub's data
	JSON       bool
	Exe        string
	Out        io.Writer // where progress goes; nil: nowhere
	DropSchema func(ctx context.Context, database, schema string) error
	// FillSubjects puts people on the lists of streams in the file of a hub that stands still, and gives microseconds of a look-up.
	FillSubjects func(ctx context.Context, file string, streams []string, people int) (float64, error)
}

// Result is what a run found. Members that do not apply are left out.
type Result struct {
	Bench     string  `json:"bench"`
	Engine    string  `json:"engine"`
	Alg       string  `json:"alg,omitempty"`
	FanOut    int     `json:"fan_out,omitempty"`
	Offered   float64 `json:"offered,omitempty"` // events per second asked for in an open loop
	Events    int64   `json:"events"`
	SETs      int64   `json:"sets,omitempty"`
	Rate      float64 `json:"rate"`                 // SETs (deliver) or events (others) per second
	FloorName string  `json:"floor_name,omitempty"` // what floor is: sign | HTTP
	Floor     float64 `json:"floor,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`      // rate / floor; left out where anything was lost
	SignFloor float64 `json:"sign_floor,omitempty"` // signatures per second, all cores
	HTTPFloor float64 `json:"http_floor,omitempty"` // pushes per second over TLS
	FsyncP50  float64 `json:"fsync_p50_ms,omitempty"`
	AckP50    float64 `json:"ack_p50_ms,omitempty"`
	AckP99    float64 `json:"ack_p99_ms,omitempty"`
	P50       float64 `json:"p50_ms,omitempty"`
	P99       float64 `json:"p99_ms,omitempty"`
	Max       float64 `json:"max_ms,omitempty"`
	CPU       float64 `json:"cpu_us_per_set,omitempty"`    // of the hub process
	CPURatio  float64 `json:"cpu_per_signature,omitempty"` // that over the CPU of a bare signature
	RSS       float64 `json:"rss_mb"`
	IdleRSS   float64 `json:"idle_rss_mb,omitempty"`
	Trips     float64 `json:"sql_per_signal,omitempty"`
	// Of two things compared, the other; P99 or CPU is the one that the bar is about, Times what it is of this.
	Beside     float64        `json:"beside,omitempty"`
	Times      float64        `json:"times,omitempty"`
	QueueStart int64          `json:"queue_start,omitempty"` // SETs acknowledged and not delivered
	QueueEnd   int64          `json:"queue_end,omitempty"`
	KB         float64        `json:"kb_each,omitempty"`     // of the hub's memory
	Lookup     float64        `json:"lookup_us,omitempty"`   // of a person among 10 million stream-subject pairs
	Refused    int64          `json:"refused,omitempty"`     // answers 503
	Recovered  float64        `json:"recovered_s,omitempty"` // from the cure to the next acknowledgement
	Lost       int64          `json:"lost"`
	SentTwice  int64          `json:"sent_twice"`
	Kills      int            `json:"kills"`
	Points     map[string]int `json:"stop_points,omitempty"` // how often each was hit
	Attempts   int64          `json:"attempts,omitempty"`    // acting requests that the receipts admit
	Acted      int64          `json:"acted,omitempty"`       // acting requests that the apps counted
	Blind      int64          `json:"blind_repeats"`         // acting requests repeated without a look or the same key
	Problems   []string       `json:"problems,omitempty"`
}

// OK reports whether nothing was lost and nothing was wrong.
func (r *Result) OK() bool { return r.Lost == 0 && r.Blind == 0 && len(r.Problems) == 0 }

// figures are what can be measured.
var figures = map[string]func(context.Context, Options) (*Result, error){
	"deliver": deliver, "ingest": ingest, "receive": receive, "kill-receive": killReceive, "loop": loop, "kill": kill,
	"steady": steady, "isolation": isolation, "backlog": backlogged, "polls": polls, "polls-plain": plainPolls, "lot": lot, "streams": idleStreams, "nodes": nodes, "outage": outage, "full": full,
}

// Figures are the names that Options.What may have.
func Figures() []string { return slices.Sorted(maps.Keys(figures)) }

// Run measures one figure.
func Run(ctx context.Context, opt Options) (*Result, error) {
	if opt.FanOut < 0 || opt.FanOut == 0 && opt.What != "ingest" {
		opt.FanOut = 1
	}
	if opt.Seconds <= 0 {
		opt.Seconds = 10
	}
	if opt.Clients <= 0 {
		opt.Clients = 64
	}
	if opt.Out == nil {
		opt.Out = io.Discard
	}
	if opt.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		opt.Exe = exe
	}
	var (
		r   *Result
		err error
	)
	figure := figures[opt.What]
	if figure == nil {
		return nil, fmt.Errorf("bench knows %s, not %q", strings.Join(Figures(), ", "), opt.What)
	}
	r, err = figure(ctx, opt)
	if err != nil {
		return nil, err
	}
	r.Bench = opt.What
	r.Engine = "sqlite"
	if opt.Database != "" {
		r.Engine = "postgres"
	}
	if r.Lost > 0 {
		r.Ratio = 0
	} else if r.Floor > 0 {
		r.Ratio = round(r.Rate/r.Floor, 3)
	}
	return r, nil
}

// Print writes a result for people: each figure beside its floor.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s on %s", r.Bench, r.Engine)
	if r.Alg != "" {
		fmt.Fprintf(w, ", %s", r.Alg)
	}
	if r.FanOut > 0 {
		fmt.Fprintf(w, ", fan-out %d", r.FanOut)
	}
	fmt.Fprintf(w, ", %d cores\n", runtime.GOMAXPROCS(0))
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Offered > 0 {
		row("offered", "%.0f/s", r.Offered)
	}
	if r.Rate > 0 {
		row("rate", "%.0f/s  (%d events, %d SETs)", r.Rate, r.Events, r.SETs)
	}
	if r.SignFloor > 0 {
		row("sign floor", "%.0f/s", r.SignFloor)
	}
	if r.HTTPFloor > 0 {
		row("HTTP floor", "%.0f/s", r.HTTPFloor)
	}
	if r.FsyncP50 > 0 {
		row("fsync p50", "%.3f ms", r.FsyncP50)
	}
	if r.Ratio > 0 {
		row("share of "+r.FloorName+" floor", "%.1f %%", 100*r.Ratio)
	}
	if r.AckP50 > 0 {
		row("acknowledged p50/p99", "%.2f / %.2f ms", r.AckP50, r.AckP99)
	}
	if r.P99 > 0 {
		row("end to end p50/p99/max", "%.2f / %.2f / %.2f ms", r.P50, r.P99, r.Max)
	}
	if r.CPU > 0 {
		row("hub CPU per SET", "%.0f µs", r.CPU)
	}
	if r.CPURatio > 0 {
		row("over a bare signature", "%.2fx", r.CPURatio)
	}
	if r.Times > 0 {
		row("against", "%.2f, that is %.2fx", r.Beside, r.Times)
	}
	if r.QueueStart+r.QueueEnd > 0 {
		row("queue start, end", "%d, %d", r.QueueStart, r.QueueEnd)
	}
	if r.Refused > 0 {
		row("refused with 503", "%d, taken again after %.2f s", r.Refused, r.Recovered)
	}
	if r.KB > 0 {
		row("memory of each", "%.1f KB", r.KB)
	}
	if r.Lookup > 0 {
		row("subject looked up", "%.1f µs", r.Lookup)
	}
	if r.Trips > 0 {
		row("SQL trips per signal", "%.3f", r.Trips)
	}
	if r.IdleRSS > 0 {
		row("hub RSS idle/loaded", "%.0f / %.0f MB", r.IdleRSS, r.RSS)
	} else if r.RSS > 0 {
		row("hub RSS", "%.0f MB", r.RSS)
	}
	row("lost, sent twice", "%d, %d", r.Lost, r.SentTwice)
	if r.Kills > 0 {
		row("kills", "%d", r.Kills)
		names := make([]string, 0, len(r.Points))
		for n := range r.Points {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			row("  "+n, "%d", r.Points[n])
		}
		row("acted ≤ attempts", "%d ≤ %d, blind repeats %d", r.Acted, r.Attempts, r.Blind)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, "  problem: "+p)
	}
}

// promised are the members that scripts find in every result. One that a figure has nothing for is null.
var promised = []string{"rate", "floor", "ratio", "p50_ms", "p99_ms", "cpu_us_per_set", "rss_mb", "lost", "sent_twice", "kills"}

// WriteJSON writes one object on one line. After a loss it has no ratio.
func (r *Result) WriteJSON(w io.Writer) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var have map[string]json.RawMessage
	if err := json.Unmarshal(line, &have); err != nil {
		return err
	}
	line = line[:len(line)-1]
	for _, name := range promised {
		if have[name] == nil && !(name == "ratio" && r.Lost > 0) {
			line = fmt.Appendf(line, ",%q:null", name)
		}
	}
	if r.Bench == "steady" && have["queue_end"] == nil {
		line = append(line, `,"queue_end":0`...)
	}
	_, err = w.Write(append(line, "}\n"...))
	return err
}

// usage reads the CPU time and the resident memory of a process from /proc.
func usage(pid int) (cpu time.Duration, rssMB float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 22 {
		return 0, 0
	}
	u, _ := strconv.ParseInt(f[11], 10, 64)
	k, _ := strconv.ParseInt(f[12], 10, 64)
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	return time.Duration(u+k) * 10 * time.Millisecond, float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}

func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p * float64(len(sorted)-1))
	return round(sorted[i], 3)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

func round(v float64, digits int) float64 {
	p := 1.0
	for range digits {
		p *= 10
	}
	return float64(int64(v*p+0.5)) / p
}
