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
	// Look ends soon after its context does, or is left behind.
	Look func(ctx context.Context) []Finding
}

const lookWithin = 10 * time.Second

// Examine makes one look after the other and tells what each has found, as soon as it is there; before each it tells which
// comes. It returns early only with ctx, whose error it returns, or with the first error of tell.
func Examine(ctx context.Context, checks []Check, tell func(component string, found []Finding) error) error {
	for _, c := range checks {
		if err := tell(c.Component, nil); err != nil {
			return err
		}
		found := c.run(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		if err := tell(c.Component, found); err != nil {
			return err
		}
	}
	return nil
}

// run makes a look. One that does not come back in time, as a sync on a disk that hangs, is left to itself: it holds a
// goroutine until the disk answers.
func (c Check) run(ctx context.Context) []Finding {
	within := c.Within
	if within <= 0 {
		within = lookWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- c.Look(ctx) }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
	}
	// A look that minds its context has more to say than that it was late.
	select {
	case found := <-done:
		return found
	case <-time.After(time.Second):
	}
	return []Finding{{Component: c.Component, State: Unknown, Code: "too-slow",
		Found: fmt.Sprintf("it could not be looked at within %s", within),
		Do:    "see whether the machine or its disk is overloaded or hangs, and run enlace doctor again"}}
}
