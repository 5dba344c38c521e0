package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	inFlight      = 64
	directedCount = 3000
	latencyCount  = 500
	warmUp        = 200
	rounds        = 3
	msPerSecond   = 1e3
	directedRow   = "directed"
	latencyRow    = "latency"
	fanoutRow     = "fanout"
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
func Rows() []string { return []string{directedRow, latencyRow, fanoutRow, idleRow, directoryRow} }

// Options of a run.
type Options struct {
	// What picks rows; empty = all.
	What []string
	// Dir is where files are made; empty = a new temporary directory, removed afterwards.
	Dir string
	// Tell is called with a line of progress; may be nil.
	Tell func(string)
	// Idle is how long the idle network is watched; 10 minutes if zero.
	Idle time.Duration

	fan  fanSize
	book bookSize
}

// Run measures the floor before and after ours, in a process that holds nothing else then: a large heap spares a floor
// the garbage collector's work, and would flatter nobody but it.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Idle == 0 {
		o.Idle = idleUsual
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
	r := Report{}
	for _, part := range []func(context.Context, Report) error{o.messages, o.alerts, o.idle, o.register} {
		if err := part(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// messages measures the rows of messages to one recipient.
func (o Options) messages(ctx context.Context, into Report) error {
	if !o.wants(directedRow) && !o.wants(latencyRow) {
		return nil
	}
	floors, ours := taken{}, taken{}
	err := between(func(when string) error {
		return o.within("floor-"+when, func(dir string) error { return o.floor(ctx, dir, when, floors) })
	}, func() error {
		return o.within("pair", func(dir string) error { return o.network(ctx, dir, ours) })
	})
	if err == nil {
		report(into, floors, ours)
	}
	return err
}

// between measures the floor before and after ours, each in a process that holds nothing of the others.
func between(floor func(when string) error, ours func() error) error {
	for _, part := range []func() error{
		func() error { return floor("before") }, ours, func() error { return floor("after") },
	} {
		if err := part(); err != nil {
			return err
		}
		debug.FreeOSMemory()
	}
	return nil
}

// taken are the samples of each row.
type taken map[string][]sample

// rowSize says how a row is measured.
type rowSize struct{ count, inFlight int }

func sizes() map[string]rowSize {
	return map[string]rowSize{directedRow: {directedCount, inFlight}, latencyRow: {latencyCount, 1}}
}

func (o Options) floor(ctx context.Context, dir, when string, into taken) error {
	f, err := newFloor(dir)
	if err != nil {
		return err
	}
	defer f.close()
	if _, err := measure(ctx, warmUp, inFlight, f.one); err != nil {
		return err
	}
	return o.rounds(ctx, "floor "+when, into, nil, f.one)
}

// within runs a part with a folder of its own, which is gone afterwards: a whole run would fill gigabytes.
func (o Options) within(name string, part func(dir string) error) error {
	dir := filepath.Join(o.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Internal, "", "measure", "no directory for the files")
	}
	defer os.RemoveAll(dir)
	return part(dir)
}

func (o Options) network(ctx context.Context, dir string, into taken) error {
	o.Tell("starting a network of two states")
	us, err := newPair(ctx, dir)
	if err != nil {
		return err
	}
	defer us.close()
	return o.rounds(ctx, "ours", into, us.prepare, us.one)
}

// rounds measures every row that is wanted, several times.
func (o Options) rounds(ctx context.Context, who string, into taken, prepare func(context.Context, int) error, one func(context.Context) error) error {
	for _, row := range []string{directedRow, latencyRow} {
		size := sizes()[row]
		for i := range rounds {
			if !o.wants(row) {
				continue
			}
			o.Tell(fmt.Sprintf("%s, %s: round %d of %d", row, who, i+1, rounds))
			if prepare != nil {
				if err := prepare(ctx, size.count); err != nil {
					return err
				}
			}
			s, err := measure(ctx, size.count, size.inFlight, one)
			if err != nil {
				return err
			}
			into[row] = append(into[row], s)
		}
	}
	return nil
}

func report(r Report, floors, ours taken) {
	for row := range ours {
		floor, us := middle(floors[row]), middle(ours[row])
		switch row {
		case directedRow:
			r[row] = map[string]Figure{"msg_per_s": ratio(floor.perSecond, us.perSecond)}
		case latencyRow:
			r[row] = map[string]Figure{
				"p50_ms": ratio(milliseconds(floor.p50), milliseconds(us.p50)),
				"p99_ms": ratio(milliseconds(floor.p99), milliseconds(us.p99)),
			}
		}
	}
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

// middle is the median of each figure over the rounds.
func middle(rounds []sample) sample {
	pick := func(of func(sample) float64) float64 {
		var all []float64
		for _, s := range rounds {
			all = append(all, of(s))
		}
		return median(all)
	}
	return sample{
		perSecond: pick(func(s sample) float64 { return s.perSecond }),
		p50:       time.Duration(pick(func(s sample) float64 { return float64(s.p50) })),
		p99:       time.Duration(pick(func(s sample) float64 { return float64(s.p99) })),
	}
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func ratio(floor, ours float64) Figure {
	return Figure{Floor: round(floor), Ours: round(ours), Ratio: round(ours / floor)}
}

func round(x float64) float64 { return float64(int64(x*msPerSecond+0.5)) / msPerSecond }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / msPerSecond }
