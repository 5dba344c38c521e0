package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// State is how a component is.
type State string

// The states, worst first. Failing is what people have to act on; Warning what they will have to, or what costs; Unknown what
// could not be looked at.
const (
	Failing State = "failing"
	Warning State = "warning"
	Unknown State = "unknown"
	OK      State = "ok"
)

// rank orders states, worst first. One of a newer node counts as one that is not known.
func (s State) rank() int {
	switch s {
	case Failing:
		return 0
	case Warning:
		return 1
	case OK:
		return 3
	}
	return 2
}

// Finding is one thing found. Component and Code are slugs that stay as they are; Found and Do are English sentences for
// people, Do empty where there is nothing to do.
type Finding struct {
	Component string `json:"component"`
	// About is which of several: a folder, a node. It may be empty.
	About string `json:"about,omitempty"`
	State State  `json:"state"`
	Code  string `json:"code"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
	// Probe is set where a peer was sent a probe and answered.
	Probe *Measured `json:"probe,omitempty"`
}

// Measured is what the answer to a probe has shown.
type Measured struct {
	// Road is "direct" or "collect".
	Road string `json:"road"`
	// RoundTrip, in milliseconds, is from sending to the receipt, over a connection that is open.
	RoundTrip int64 `json:"round_trip_ms"`
	// Ahead, in milliseconds, is by how much the peer's clock is ahead of this node's; negative where it is behind. It is
	// uncertain by half the round trip.
	Ahead int64 `json:"clock_ahead_ms"`
}

// Sort orders findings worst first; those of one state keep their order.
func Sort(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.State.rank(), b.State.rank()) })
}

// Healthy reports whether nothing is failing.
func Healthy(all []Finding) bool {
	return !slices.ContainsFunc(all, func(f Finding) bool { return f.State == Failing })
}

// Check is one look at a component.
type Check struct {
	Component string
	// Within is how long it may take; zero is 10 s.
	Within time.Duration
	// Look tells what it finds, from any goroutine, until it returns. It ends soon after its context does, or is left behind.
	Look func(ctx context.Context, tell func(Finding))
}

const (
	lookWithin = 10 * time.Second
	// lastWords is how long a look that is late may take to say so itself.
	lastWords = time.Second
)

// Examine makes one look after the other. Examining is told which comes, found what each has found, as soon as it is there;
// neither is called twice at once. It returns early only with ctx, whose error it returns, or with the first error of one of
// the two.
func Examine(ctx context.Context, checks []Check, examining func(component string) error, found func(Finding) error) error {
	for _, c := range checks {
		if err := examining(c.Component); err != nil {
			return err
		}
		if err := c.run(ctx, found); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// run makes a look. One that does not come back in time, as a sync on a disk that hangs, is left to itself: it holds a
// goroutine until the disk answers.
func (c Check) run(ctx context.Context, found func(Finding) error) error {
	within := c.Within
	if within <= 0 {
		within = lookWithin
	}
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	late, end := context.WithTimeout(ctx, within+lastWords)
	defer end()
	news := make(chan Finding)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Look(looking, func(f Finding) {
			select {
			case news <- f:
			case <-late.Done(): // nobody listens any more
			}
		})
	}()
	for {
		select {
		case f := <-news:
			if err := found(f); err != nil {
				return err
			}
		case <-done:
			return nil
		case <-late.Done():
			if err := ctx.Err(); err != nil {
				return err
			}
			return found(c.tooSlow(within))
		}
	}
}

func (c Check) tooSlow(within time.Duration) Finding {
	return Finding{Component: c.Component, State: Unknown, Code: "too-slow",
		Found: fmt.Sprintf("it could not be looked at within %s", within),
		Do:    "see whether the machine or its disk is overloaded or hangs, and run enlace doctor again"}
}
