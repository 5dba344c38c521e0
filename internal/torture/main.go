package torture

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// settings are the command line.
type settings struct {
	Options
	plant, all string
	json       bool
	shrink     time.Duration
}

// Main is the command line's body: one run, clean or with a planted bug, or with --plants all of it. It returns an error
// when a clean run found something, or a planted bug was not found.
func Main(ctx context.Context, args []string, out, progress io.Writer) error {
	s := settings{Options: Options{Progress: progress}}
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.Float64Var(&s.Minutes, "minutes", 3, "how long faults go on and are looked for")
	flags.Uint64Var(&s.Seed, "seed", 0, "draws faults and officers' deeds; 0 = a new one")
	flags.StringVar(&s.Ledger, "ledger", "sqlite", "sqlite or postgres")
	flags.BoolVar(&s.json, "json", false, "print one JSON object for each run")
	flags.StringVar(&s.plant, "plant", "", "plant this bug in the daemons first; \"seed\" = one chosen by the seed")
	flags.StringVar(&s.all, "plants", "", "\"list\" the planted bugs, or run \"all\" after a clean run")
	flags.DurationVar(&s.shrink, "shrink", 0, "how long to look for fewer faults with which a failing run still fails")
	flags.BoolVar(&s.Restore, "restore", false, "have machines burn down and their nodes restored from old backups too (ledger sqlite)")
	flags.BoolVar(&s.Keep, "keep", false, "leave the folder of a failing run behind")
	if err := flags.Parse(args); err != nil {
		return fault.Wrap(err, fault.Usage, "usage", "read command line", err.Error())
	}
	if s.Seed == 0 {
		s.Seed = NewSeed()
	}
	var err error
	if s.Program, err = os.Executable(); err != nil {
		return failed("torture", err)
	}
	switch {
	case s.all == "list":
		return list(out)
	case s.all == "all":
		return s.table(ctx, out)
	case s.plant != "":
		_, err := s.planted(ctx, out)
		return err
	}
	return s.clean(ctx, out)
}

func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range Plants() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Promise, p.What)
	}
	return failed("list", w.Flush())
}

// clean is one run that must find nothing.
func (s settings) clean(ctx context.Context, out io.Writer) error {
	r, err := Run(ctx, s.Options)
	if err != nil {
		return err
	}
	if !r.OK && s.shrink > 0 {
		r = s.shorter(ctx, r)
	}
	if err := s.print(out, r); err != nil {
		return err
	}
	if !r.OK {
		return fault.New(fault.Internal, "found", "torture", fmt.Sprintf("%d promises were not kept; --seed %d --minutes %v", len(r.Found), r.Seed, r.Minutes))
	}
	return nil
}

// shorter tries a failing run again with fewer faults, and says what came of it.
func (s settings) shorter(ctx context.Context, first Result) Result {
	shortest, end := first, time.Now().Add(s.shrink)
	plan := first.Plan
	for i, f := range plan {
		if f.Round >= first.Rounds {
			plan = plan[:i] // they never came
			break
		}
	}
	fails := func(fewer []Fault) bool {
		o := s.Options
		o.Plan, o.Minutes = fewer, float64(first.Rounds)*roundFor.Minutes()+1
		r, err := Run(ctx, o)
		if err != nil || r.OK {
			return false
		}
		shortest = r
		return true
	}
	again := fails(plan)
	smaller, runs := Shrink(plan, fails, func() bool { return ctx.Err() != nil || time.Now().After(end) })
	shortest.Repeats = fmt.Sprintf("it failed with %d faults of %d, in %d runs", len(smaller), len(plan), runs+1)
	if !again && len(smaller) == len(plan) {
		shortest.Repeats = fmt.Sprintf("it did not fail again in %d runs with the same faults or fewer: the interleaving does not repeat", runs+1)
	}
	return shortest
}

// planted is one run with a bug that must be found.
func (s settings) planted(ctx context.Context, out io.Writer) (Result, error) {
	p, err := plantNamed(s.plant, s.Seed)
	if err != nil {
		return Result{}, err
	}
	fmt.Fprintf(s.Progress, "planted: %s (%s): %s\n", p.Name, p.Promise, p.What)
	dir, err := os.MkdirTemp("", "enlace-plant-")
	if err != nil {
		return Result{}, failed("plant", err)
	}
	defer os.RemoveAll(dir)
	folder, err := source(ctx)
	if err != nil {
		return Result{}, err
	}
	o := s.Options
	o.Favour = p.Favour
	if o.Program, err = p.Build(ctx, folder, dir); err != nil {
		return Result{}, err
	}
	r, err := Run(ctx, o)
	r.Plant = p.Name
	if err != nil {
		return r, err
	}
	if err := s.print(out, r); err != nil {
		return r, err
	}
	if r.OK {
		return r, fault.New(fault.Internal, "not-found", "torture", fmt.Sprintf("the planted bug %s was not found; --seed %d", p.Name, s.Seed))
	}
	return r, nil
}

// table runs clean, then with each planted bug, and prints how long each took to be found.
func (s settings) table(ctx context.Context, out io.Writer) error {
	all := []error{s.clean(ctx, s.Progress)}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "clean\t\t%s\n", map[bool]string{true: "nothing found", false: "FOUND SOMETHING"}[all[0] == nil])
	for _, p := range Plants() {
		one := s
		one.plant = p.Name
		r, err := one.planted(ctx, s.Progress)
		all = append(all, err)
		what := "NOT FOUND"
		if err == nil && len(r.Found) > 0 {
			what = fmt.Sprintf("found in %.0f s by %q", r.Seconds, r.Found[0].Rule)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Promise, what)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(all, w.Flush())...)
}

// print writes a result for people or programs.
func (s settings) print(out io.Writer, r Result) error {
	if s.json {
		return failed("print", json.NewEncoder(out).Encode(r))
	}
	word := map[bool]string{true: "kept every promise", false: "BROKE A PROMISE"}[r.OK]
	fmt.Fprintf(out, "%s in %d rounds, %.0f s, seed %d, ledger %s\n%d acknowledged, %d in doubt, %d delivered, %d undeliverable; faults %v\n",
		word, r.Rounds, r.Seconds, r.Seed, r.Ledger, r.Acknowledged, r.InDoubt, r.Delivered, r.Undeliverable, r.Faults)
	for _, line := range r.Trace {
		fmt.Fprintln(out, " ", line)
	}
	for _, v := range r.Found {
		fmt.Fprintln(out, "FOUND", v)
	}
	if r.Repeats != "" {
		fmt.Fprintln(out, r.Repeats)
	}
	return nil
}
