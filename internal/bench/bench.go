package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	inFlight       = 64
	directedCount  = 3000
	latencyCount   = 500
	warmUp         = 200
	rounds         = 3
	msPerSecond    = 1e3
	directedPrefix = "directed"
)

// Figure is one measured number beside its floor, or beside a goal where there is no floor.
type Figure struct {
	Floor float64 `json:"floor,omitempty"`
	Ours  float64 `json:"ours"`
	Ratio float64 `json:"ratio,omitempty"`
	Goal  float64 `json:"goal,omitempty"`
}

// Report is what `enlace bench --json` prints: row, then figure. DESIGN 15.
type Report map[string]map[string]Figure

// Rows are the rows this version measures.
func Rows() []string { return []string{directedPrefix, "latency"} }

// Options of a run.
type Options struct {
	// What picks rows; empty = all.
	What []string
	// Dir is where files are made; empty = a new temporary directory, removed afterwards.
	Dir string
	// Tell is called with a line of progress; may be nil.
	Tell func(string)
}

// Run measures floor and ours in turns, so that a busy neighbour hurts both alike.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if err := known(o.What); err != nil {
		return nil, err
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "enlace-bench-")
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "", "measure", "no directory for the files")
		}
		defer os.RemoveAll(dir)
		o.Dir = dir
	}
	f, err := newFloor(o.Dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	o.Tell("starting a network of two states")
	us, err := newPair(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer us.close()
	return compare(ctx, o, f, us)
}

func known(what []string) error {
	for _, w := range what {
		found := false
		for _, r := range Rows() {
			found = found || r == w
		}
		if !found {
			return fault.New(fault.Usage, "", "measure", "there is no row "+w).WithHint("rows are " + strings.Join(Rows(), ", "))
		}
	}
	return nil
}

// wants reports whether a row is to be measured.
func (o Options) wants(row string) bool {
	if len(o.What) == 0 {
		return true
	}
	for _, w := range o.What {
		if w == row {
			return true
		}
	}
	return false
}

func compare(ctx context.Context, o Options, f *floor, us *pair) (Report, error) {
	r := Report{}
	if o.wants(directedPrefix) {
		floor, ours, err := turns(ctx, o, "directed", directedCount, inFlight, f, us)
		if err != nil {
			return nil, err
		}
		r[directedPrefix] = map[string]Figure{"msg_per_s": ratio(floor.perSecond, ours.perSecond)}
	}
	if o.wants("latency") {
		floor, ours, err := turns(ctx, o, "latency", latencyCount, 1, f, us)
		if err != nil {
			return nil, err
		}
		r["latency"] = map[string]Figure{
			"p50_ms": ratio(milliseconds(floor.p50), milliseconds(ours.p50)),
			"p99_ms": ratio(milliseconds(floor.p99), milliseconds(ours.p99)),
		}
	}
	return r, nil
}

// turns measures floor, ours, floor, ours, ... and takes the median round of each by throughput.
func turns(ctx context.Context, o Options, name string, n, flight int, f *floor, us *pair) (sample, sample, error) {
	var floors, ours []sample
	for i := range rounds {
		o.Tell(fmt.Sprintf("%s: round %d of %d", name, i+1, rounds))
		s, err := measure(ctx, n, flight, f.one)
		if err != nil {
			return sample{}, sample{}, err
		}
		floors = append(floors, s)
		if err := us.prepare(ctx, n); err != nil {
			return sample{}, sample{}, err
		}
		if s, err = measure(ctx, n, flight, us.one); err != nil {
			return sample{}, sample{}, err
		}
		ours = append(ours, s)
	}
	return middle(floors), middle(ours), nil
}

func middle(s []sample) sample {
	best := s[0]
	for _, x := range s {
		below := 0
		for _, y := range s {
			if y.perSecond < x.perSecond {
				below++
			}
		}
		if below == len(s)/2 {
			best = x
		}
	}
	return best
}

func ratio(floor, ours float64) Figure {
	return Figure{Floor: round(floor), Ours: round(ours), Ratio: round(ours / floor)}
}

func round(x float64) float64 { return float64(int64(x*msPerSecond+0.5)) / msPerSecond }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / msPerSecond }
