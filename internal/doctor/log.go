package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	directoryName = "directory"
	hub           = "hub"
)

// Log is how a node's copy of the directory is.
type Log struct {
	// Freshness is "fresh", "degraded" or "stale", counted from Since.
	Freshness string
	Since     time.Time
	// Confirmed is the position up to which it is in force, Stored that up to which the node has it.
	Confirmed, Stored uint64
	// Votes are how many states cosigned the newest confirmed head, of Needed.
	Votes, Needed int
	// Halted is why nothing more comes into force; nil if it does.
	Halted error
	// Proofs are how many proofs against the hub nobody has resolved; Omitted what it was to log and has not.
	Proofs, Omitted int
}

// CheckDirectory looks at the node's copy of the directory: how old the word of the witnesses on it is, and what is wrong with it.
// PROTOCOL 11.6, 11.9.
func CheckDirectory(read func() Log, clock func() time.Time) Check {
	return Check{Component: directoryName, Look: func(_ context.Context, tell func(Finding)) {
		l := read()
		tell(l.age(clock()))
		if l.Halted != nil {
			tell(Finding{directoryName, "", Failing, "halted", fault.As(l.Halted).Say, hintOr(l.Halted, "look at: enlace directory status"), nil})
		}
		if l.Proofs > 0 {
			tell(Finding{directoryName, "", Failing, "contradiction", fmt.Sprintf("%d proofs are kept that the hub signed histories that exclude each other", l.Proofs),
				"keep them (enlace --json directory status has the signed heads), and call the stewards and other members by telephone", nil})
		}
		if l.Omitted > 0 {
			tell(Finding{directoryName, "", Failing, "omitted", fmt.Sprintf("%d statements were handed in long ago and the hub has not logged them", l.Omitted),
				"ask the Secretariat why: enlace directory status names them; a restriction is in force among the nodes all the same", nil})
		}
	}}
}

func (l Log) age(now time.Time) Finding {
	quorum := fmt.Sprintf("%d of the %d witnesses needed have cosigned it", l.Votes, l.Needed)
	if l.Needed == 0 {
		quorum = "it needs no witness yet"
	}
	found := fmt.Sprintf("position %d of %d is in force, confirmed %s ago; %s", l.Confirmed, l.Stored, now.Sub(l.Since).Round(time.Second), quorum)
	const do = "see whether the hub's address in node.yaml can be reached from here, and this machine's clock is right; peers bring the directory up to date too"
	switch l.Freshness {
	case "fresh":
		return Finding{directoryName, "", OK, "fresh", found, "", nil}
	case "degraded":
		return Finding{directoryName, "", Warning, "degraded", found + "; traffic flows and is marked", do, nil}
	}
	return Finding{directoryName, "", Failing, "stale", found + "; nothing is sent", do, nil}
}

// Told is what the hub answered.
type Told struct {
	// Bus: it has one. Time is what its clock said, to the second; zero where it did not say.
	Bus  bool
	Time time.Time
}

// CheckHub calls the hub, and notes what its clock says.
func CheckHub(ask func(ctx context.Context) (Told, error), clock func() time.Time, readings *Readings) Check {
	return Check{Component: hub, Look: func(ctx context.Context, tell func(Finding)) {
		sent := clock()
		told, err := within(ctx, ask)
		took := clock().Sub(sent)
		if err != nil {
			tell(Finding{hub, "", Warning, "no-answer", "the hub does not answer: " + fault.As(err).Say,
				hintOr(err, "see whether its address in node.yaml can be reached from here; without it messages flow for 30 days on the directory as it is, and alerts go from node to node"), nil})
			return
		}
		if !told.Time.IsZero() {
			// What it says is cut to the second: the middle of that second is the best guess.
			readings.Add(Reading{hub, told.Time.Add(time.Second / 2).Sub(sent.Add(took / 2)), took + time.Second})
		}
		tell(Finding{hub, "", OK, "answers", fmt.Sprintf("the hub answers in %s", took.Round(time.Millisecond)), "", nil})
	}}
}

// within asks what may not mind its context.
func within[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := ask(ctx)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fault.Wrap(ctx.Err(), fault.Retry, "no-answer", "", "nothing came in time")
	}
}
