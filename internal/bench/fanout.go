package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	fanInFlight = 32
	fanWarmUp   = 40
	// wireGoal is in bytes, paceGoal in milliseconds. DESIGN 15, issue 3.
	wireGoal = 2500
	paceGoal = 250
)

// fanSize is how much is measured of the one-to-many road; zero = as DESIGN 15 has it.
type fanSize struct {
	// states are members; the first publishes.
	states []string
	// alerts of one round; paced and perSecond of the steady one; missed while a node is away.
	alerts, rounds           int
	paced, perSecond, missed int
}

func (s fanSize) filled() fanSize {
	if len(s.states) == 0 {
		s.states = members()
	}
	for _, x := range []struct {
		value *int
		usual int
	}{{&s.alerts, 300}, {&s.rounds, rounds}, {&s.paced, 300}, {&s.perSecond, 20}, {&s.missed, 100_000}} {
		if *x.value == 0 {
			*x.value = x.usual
		}
	}
	return s
}

// members are 34 states, so that an audience has 33 nodes beside the publisher's.
func members() []string {
	return []string{
		"mx", "ag", "ar", "bs", "bb", "bz", "bo", "br", "ca", "cl", "co", "cr", "dm", "do", "ec", "sv", "gd",
		"gt", "gy", "ht", "hn", "jm", "ni", "pa", "py", "pe", "kn", "lc", "vc", "sr", "tt", "us", "uy", "ve",
	}
}

// fanned is what was measured.
type fanned struct {
	floor, ours       []float64 // deliveries per second
	floorWire, wire   int       // bytes
	p99               time.Duration
	floorCatch, catch []float64 // alerts per second
}

// alerts measures the row of alerts to many.
func (o Options) alerts(ctx context.Context, into Report) error {
	if !o.wants(fanoutRow) {
		return nil
	}
	o.fan = o.fan.filled()
	var f fanned
	for _, m := range []struct {
		floor func(ctx context.Context, dir, when string, into *fanned) error
		ours  func(ctx context.Context, dir string, into *fanned) error
	}{{o.fanFloor, o.crowd}, {o.catchUpFloor, o.catchUp}} {
		err := between(func(when string) error {
			return o.within("floor-"+when, func(dir string) error { return m.floor(ctx, dir, when, &f) })
		}, func() error {
			return o.within("network", func(dir string) error { return m.ours(ctx, dir, &f) })
		})
		if err != nil {
			return err
		}
	}
	wire := ratio(float64(f.floorWire), float64(f.wire))
	wire.Goal = wireGoal
	into[fanoutRow] = map[string]Figure{
		"deliveries_per_s": ratio(median(f.floor), median(f.ours)),
		"wire_bytes":       wire,
		"p99_ms":           {Ours: milliseconds(f.p99), Goal: paceGoal},
		"catchup_per_s":    ratio(median(f.floorCatch), median(f.catch)),
	}
	return nil
}

func (o Options) fanFloor(ctx context.Context, dir, when string, into *fanned) error {
	f, err := newFan(ctx, dir, len(o.fan.states)-1)
	if err != nil {
		return err
	}
	defer f.close()
	if _, err := f.round(ctx, fanWarmUp); err != nil {
		return err
	}
	for i := range o.fan.rounds {
		o.Tell(fmt.Sprintf("%s, floor %s: round %d of %d", fanoutRow, when, i+1, o.fan.rounds))
		perSecond, err := f.round(ctx, o.fan.alerts)
		if err != nil {
			return err
		}
		into.floor = append(into.floor, perSecond)
	}
	frame, err := f.write()
	into.floorWire = len(frame)
	return err
}

// crowd measures rounds of many at once, then a steady trickle.
func (o Options) crowd(ctx context.Context, dir string, into *fanned) error {
	o.Tell(fmt.Sprintf("starting a network of %d states", len(o.fan.states)))
	c, err := newCrowd(ctx, dir, o.fan.states)
	if err != nil {
		return err
	}
	defer c.close()
	for i := range o.fan.rounds {
		o.Tell(fmt.Sprintf("%s, ours: round %d of %d", fanoutRow, i+1, o.fan.rounds))
		if err := c.prepare(ctx, o.fan.alerts); err != nil {
			return err
		}
		perSecond, err := c.deliver(ctx, o.fan.alerts)
		if err != nil {
			return err
		}
		into.ours = append(into.ours, perSecond)
	}
	if err := c.confirmed(ctx); err != nil {
		return err
	}
	last, err := c.newest(ctx)
	if err != nil {
		return err
	}
	into.wire = len(last.Frame)
	o.Tell(fmt.Sprintf("%s, ours: %d alerts, %d per second", fanoutRow, o.fan.paced, o.fan.perSecond))
	if err := c.prepare(ctx, o.fan.paced); err != nil {
		return err
	}
	if into.p99, err = c.steady(ctx, o.fan.paced, o.fan.perSecond); err != nil {
		return err
	}
	return c.confirmed(ctx)
}
