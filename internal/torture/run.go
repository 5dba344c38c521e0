package torture

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// roundFor is how long faults go on before it is quiet, and quietFor how long the network may then take, at most, to
	// bring everything where it belongs.
	roundFor = 24 * time.Second
	quietFor = 75 * time.Second
	// reserve is kept of a run's time for its end.
	reserve = 25 * time.Second
	// readWithin is how long it may take to read what the officers of all states can see.
	readWithin = time.Minute
	// oldSample is how many cases of earlier rounds are read again in each check; the last check reads all.
	oldSample = 40
)

// Options of a run. Minutes, Program and Progress are required.
type Options struct {
	Minutes float64
	Seed    uint64
	// Ledger is sqlite or postgres.
	Ledger string
	// Program is what runs the daemons: it must call [Daemon] for the words node and hub.
	Program string
	// Favour are kinds of faults that come in each round.
	Favour []string
	// Restore has machines burn down and their nodes restored from old backups too; ledger sqlite alone.
	Restore bool
	// Plan takes the place of that of the seed; nil = that of the seed.
	Plan []Fault
	// Keep leaves the folder of a failing run behind.
	Keep bool
	// Progress is told what happens, for people.
	Progress io.Writer
}

// Result is what a run found.
type Result struct {
	OK           bool           `json:"ok"`
	Seed         uint64         `json:"seed"`
	Minutes      float64        `json:"minutes"`
	Ledger       string         `json:"ledger"`
	Plant        string         `json:"plant,omitempty"`
	Rounds       int            `json:"rounds"`
	Seconds      float64        `json:"seconds"`
	Faults       map[string]int `json:"faults"`
	Acknowledged int            `json:"acknowledged"`
	Delivered    int            `json:"delivered"`
	InDoubt      int            `json:"in_doubt"`
	// Undeliverable are messages that were reported so.
	Undeliverable int `json:"undeliverable"`
	// Ended counts ends of programs that nobody caused.
	Ended int         `json:"ended_by_themselves"`
	Found []Violation `json:"found"`
	// Trace is how it came to that: the faults, and what became of the messages.
	Trace []string `json:"trace,omitempty"`
	// Repeats says of a failing run whether it failed again when it was tried again; empty = not tried.
	Repeats string  `json:"repeats,omitempty"`
	Plan    []Fault `json:"-"`
}

// run is one run under way.
type run struct {
	Options
	dir     string
	began   time.Time
	net     *network
	breaker *breaker
	office  *office
	history *History
	readers map[string]*reader
	last    map[string]View
	done    map[string]bool // cases that an earlier check has found right
	events  []string        // guarded by mu
	mu      sync.Mutex
	result  Result
}

// Run tortures a network for so many minutes and returns what it found. An error is one of the torture program or its
// machine, not of what is tortured: Usage "no-fuse" and "no-source" where it cannot work here.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Ledger != "sqlite" && o.Ledger != "postgres" {
		return Result{}, fault.New(fault.Usage, "no-ledger", "torture", "a ledger is sqlite or postgres, not "+o.Ledger)
	}
	dir, err := os.MkdirTemp("", "enlace-torture-")
	if err != nil {
		return Result{}, failed("torture", err)
	}
	r := &run{Options: o, dir: dir, began: time.Now(), history: NewHistory(), readers: map[string]*reader{}, done: map[string]bool{}}
	r.result = Result{Seed: o.Seed, Minutes: o.Minutes, Ledger: o.Ledger, Faults: map[string]int{}, Found: []Violation{}}
	err = r.found(ctx)
	if err == nil {
		err = r.rounds(ctx)
	}
	if r.net != nil {
		if cerr := r.net.close(); err == nil {
			err = cerr
		}
	}
	r.sum()
	if o.Keep && (err != nil || !r.result.OK) {
		r.tell("kept %s", dir)
	} else {
		_ = os.RemoveAll(dir)
	}
	return r.result, err
}

// tell writes a line for people, and keeps it for the trace.
func (r *run) tell(format string, args ...any) {
	line := fmt.Sprintf("%7.2fs ", time.Since(r.began).Seconds()) + fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, line)
	fmt.Fprintln(r.Progress, line)
}

func (r *run) found(ctx context.Context) error {
	folder, err := source(ctx)
	if err != nil {
		return err
	}
	faultfs, err := buildDisk(ctx, folder, r.dir)
	if err != nil {
		return err
	}
	if r.net, err = found(ctx, filepath.Join(r.dir, "net"), faultfs, r.Program, r.Ledger == "postgres"); err != nil {
		return err
	}
	since := func() time.Duration { return time.Since(r.began) }
	r.breaker = &breaker{net: r.net, history: r.history, since: since, note: r.tell, files: map[string]bool{}}
	r.office = &office{net: r.net, history: r.history, began: r.began, seed: r.Seed}
	for state, p := range r.net.people {
		r.readers[state] = &reader{people: p, whole: map[string]string{}}
	}
	r.tell("the network is founded, seed %d", r.Seed)
	return nil
}

// rounds goes on until the time is over or something is found.
func (r *run) rounds(ctx context.Context) error {
	if v := r.startAll(ctx); len(v) > 0 {
		r.result.Found = v
		return nil
	}
	if r.result.Plan = r.Plan; r.Plan == nil {
		r.result.Plan = favour(Plan(r.Seed, int(r.Minutes*60/roundFor.Seconds())+1, states()), r.Favour, states(), r.Seed)
		if r.Restore && r.Ledger == "sqlite" {
			r.result.Plan = withBackups(r.result.Plan, states(), r.Seed)
		}
	}
	end := r.began.Add(time.Duration(r.Minutes * float64(time.Minute)))
	for round := 0; ctx.Err() == nil; round++ {
		last := time.Now().Add(2 * roundFor).Add(reserve).After(end)
		found := r.round(ctx, round, last)
		if r.result.Rounds = round + 1; len(found) > 0 || last {
			r.result.Found = found
			break
		}
	}
	return ctx.Err()
}

func (r *run) startAll(ctx context.Context) []Violation {
	if err := r.net.start(ctx); err != nil && ctx.Err() == nil {
		return []Violation{{Rule: "start", State: "network", Text: err.Error(), Lasting: true}}
	}
	return nil
}

// round is faults under load, quiet, a clean stop and start, and the check.
func (r *run) round(ctx context.Context, round int, last bool) []Violation {
	plan := ofRound(r.result.Plan, round)
	for kind, n := range byKind(plan) {
		r.result.Faults[kind] += n
	}
	r.storm(ctx, round, plan)
	if err := r.breaker.heal(ctx); err != nil && ctx.Err() == nil {
		r.breaker.fail(Violation{Rule: "start", State: "network", Text: err.Error(), Lasting: true})
	}
	found := slices.Concat(r.breaker.violations(), r.history.Backwards(), r.net.panics())
	if len(found) > 0 || ctx.Err() != nil {
		return found
	}
	r.tell("round %d is quiet", round)
	if found := r.stopped(ctx); len(found) > 0 || ctx.Err() != nil {
		return found
	}
	return r.settled(ctx, last)
}

// storm has officers work and watch while the faults of a round befall.
func (r *run) storm(ctx context.Context, round int, plan []Fault) {
	stormy, over := context.WithTimeout(ctx, roundFor)
	defer over()
	var all sync.WaitGroup
	all.Go(func() { r.office.work(stormy, round) })
	for _, state := range states() {
		all.Go(func() { r.office.watch(stormy, state) })
	}
	r.breaker.befall(ctx, plan)
	all.Wait()
}

// stopped ends the nodes cleanly, reads their evidence, and starts them again: what waits is taken up at once then.
func (r *run) stopped(ctx context.Context) []Violation {
	r.tell("the nodes are stopped")
	if err := r.net.stopNodes(); err != nil {
		return []Violation{{Rule: "stop", State: "network", Text: err.Error(), Lasting: true}}
	}
	logs := map[string]Evidence{}
	for _, state := range states() {
		logs[state] = r.net.evidence(ctx, state)
	}
	if found := CheckEvidence(r.history, logs, r.breaker.restored()); len(found) > 0 || ctx.Err() != nil {
		return found
	}
	r.tell("the evidence is sound")
	return r.startAll(ctx)
}

// settled checks again and again until all is right, or something lasting is found, or the patience is over.
func (r *run) settled(ctx context.Context, last bool) []Violation {
	wanted := r.wanted(last)
	for end := time.Now().Add(quietFor); ; pause(ctx, time.Second) {
		found := r.checked(ctx, wanted)
		if len(found) == 0 {
			r.tell("all is right: %d messages", len(r.history.Said()))
			r.remember()
			return nil
		}
		if lasting := slices.DeleteFunc(slices.Clone(found), func(v Violation) bool { return !v.Lasting }); len(lasting) > 0 {
			return lasting
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return found
		}
	}
}

// wanted are the cases to read: all of them in the end; before, those that were not right yet and some that were.
func (r *run) wanted(last bool) func(string) bool {
	if last {
		for _, reader := range r.readers {
			clear(reader.whole) // every file is read again
		}
		return func(string) bool { return true }
	}
	some, left := map[string]bool{}, oldSample
	for id := range r.done {
		if left--; left < 0 {
			break
		}
		some[id] = true
	}
	done := r.done
	return func(id string) bool { return !done[id] || some[id] }
}

// checked reads what officers see, and judges it.
func (r *run) checked(ctx context.Context, wanted func(string) bool) []Violation {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	views := map[string]View{}
	for _, state := range states() {
		view, err := r.readers[state].look(ctx, wanted)
		if err != nil {
			return []Violation{{Rule: "read", State: state, Text: err.Error()}}
		}
		for id, c := range view {
			r.history.Status(time.Since(r.began), state, id, c.Status)
		}
		views[state] = view
	}
	r.last = views
	said := slices.DeleteFunc(r.history.Said(), func(s Said) bool { return !wanted(s.Case) })
	never := func(string) bool { return false } // requests live for days, alerts for weeks
	found := Check(said, Seen{Views: views, Expired: never, MayBeLost: r.breaker.mayBeLost, Damaged: r.breaker.damaged()})
	return slices.Concat(found, r.history.Backwards())
}

// remember takes the cases down that are right and at an end.
func (r *run) remember() {
	for _, view := range r.last {
		for id, c := range view {
			if c.Status == "CLOSED" || c.Status == "CANCELLED" {
				r.done[id] = true
			}
		}
	}
}

// sum completes the result.
func (r *run) sum() {
	r.result.Acknowledged, r.result.InDoubt = acknowledgedIn(r.history.Said())
	r.result.Delivered, r.result.Undeliverable = deliveredIn(r.last)
	r.result.OK = len(r.result.Found) == 0
	if r.result.OK {
		r.result.Found = []Violation{} // an empty list in JSON
	}
	r.result.Seconds = time.Since(r.began).Seconds()
	if r.net != nil {
		for _, m := range r.net.machines {
			r.result.Ended += m.deeds
		}
	}
	if !r.result.OK {
		r.result.Trace = r.trace()
	}
}

// trace is the faults up to the end, and what officers did in the cases that were found wrong.
func (r *run) trace() []string {
	about := map[string]bool{}
	for _, v := range r.result.Found {
		about[v.Message] = true
	}
	said := r.history.Said()
	for _, s := range said {
		if about[s.ID] {
			about[s.Case] = true
		}
	}
	out := slices.Clone(r.events)
	for _, s := range said {
		if s.Case != "" && about[s.Case] {
			word := "acknowledged"
			if !s.Acknowledged {
				word = "in doubt"
			}
			out = append(out, fmt.Sprintf("%7.2fs %s to %s: %s %s of case %s, %d files, %s", s.At.Seconds(), s.From, strings.TrimSpace(s.To+" "), s.Kind, s.ID, s.Case, len(s.Files), word))
		}
	}
	slices.Sort(out)
	return out
}

// NewSeed draws one.
func NewSeed() uint64 { return uint64(rand.Uint32()) }
