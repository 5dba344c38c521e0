package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

const (
	// catchUpFrames is how many different frames the floor takes in turn: few, since a large heap spares it the garbage
	// collector's work.
	catchUpFrames = 500
	// catchUpPart is how many alerts are prepared at once.
	catchUpPart = 500
	tellEvery   = 5000
)

// catchUpFloor is a plain loop over as many frames: verify, open, verify, commit in groups.
func (o Options) catchUpFloor(ctx context.Context, dir, when string, into *fanned) error {
	o.Tell(fmt.Sprintf("%s, catching up, floor %s", fanoutRow, when))
	s, err := newScript()
	if err != nil {
		return err
	}
	frames := make([][]byte, catchUpFrames)
	for i := range frames {
		if frames[i], err = s.write(); err != nil {
			return err
		}
	}
	t, err := openTable(filepath.Join(dir, "inbox.db"))
	if err != nil {
		return err
	}
	defer t.close()
	start := time.Now()
	if err := loop(ctx, &s, t, frames, o.fan.missed); err != nil {
		return err
	}
	into.floorCatch = append(into.floorCatch, float64(o.fan.missed)/time.Since(start).Seconds())
	return nil
}

// loop takes n frames, one after the other.
func loop(ctx context.Context, s *script, t *table, frames [][]byte, n int) error {
	batch := make([]row, 0, batchSize)
	for i := range n {
		frame := frames[i%len(frames)]
		if err := s.read(frame); err != nil {
			return err
		}
		if batch = append(batch, row{body: frame}); len(batch) < batchSize && i < n-1 {
			continue
		}
		if err := t.commit(batch); err != nil {
			return err
		}
		if batch = batch[:0]; ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// catchUp stops the only receiver, publishes, and starts it again. It is timed from the start of the node: connecting and
// finding out what is missing is part of catching up.
func (o Options) catchUp(ctx context.Context, dir string, into *fanned) error {
	c, err := newCrowd(ctx, dir, o.fan.states[:2])
	if err != nil {
		return err
	}
	defer c.close()
	away := c.receivers[0]
	if err := away.Stop(); err != nil {
		return err
	}
	if err := o.missed(ctx, c); err != nil {
		return err
	}
	o.Tell(fmt.Sprintf("%s, catching up: %s starts again", fanoutRow, away.Authority))
	start := time.Now()
	if err := c.net.StartMember(ctx, away.Member); err != nil {
		return err
	}
	if err := o.caughtUp(ctx, away); err != nil {
		return err
	}
	into.catch = append(into.catch, float64(o.fan.missed)/time.Since(start).Seconds())
	return c.confirmed(ctx)
}

// missed publishes what the receiver will find.
func (o Options) missed(ctx context.Context, c *crowd) error {
	for done := 0; done < o.fan.missed; {
		if done%tellEvery == 0 {
			o.Tell(fmt.Sprintf("%s, catching up: %d of %d alerts published", fanoutRow, done, o.fan.missed))
		}
		n := min(catchUpPart, o.fan.missed-done)
		if err := c.prepare(ctx, n); err != nil {
			return err
		}
		if _, err := measure(ctx, n, fanInFlight, c.publish); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// caughtUp waits for all of it.
func (o Options) caughtUp(ctx context.Context, r *receiver) error {
	told := int64(o.fan.missed)
	return r.await(ctx, o.fan.missed, func(left int64) {
		if left == 0 || told-left >= tellEvery {
			told = left
			o.Tell(fmt.Sprintf("%s, catching up: %d alerts are to come", fanoutRow, left))
		}
	})
}
