package cli

import (
	"context"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/enlace-network/enlace/internal/fault"
)

// Bounds of work on many things at one node.
const (
	inFlight     = 8
	mostInFlight = 64
	bulkTries    = 8
	longestPause = 15 * time.Second
)

// counter is a progress bar of things rather than bytes.
func (a *app) counter(name string, total int) bar {
	if _, ok := terminalOf(a.streams.Err); !ok || a.json {
		return bar{}
	}
	all := mpb.New(mpb.WithOutput(a.streams.Err), mpb.WithAutoRefresh())
	one := all.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(cut(name, 30)+" ")),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d "), decor.AverageETA(decor.ET_STYLE_GO)))
	return bar{all, one}
}

// done counts one thing more.
func (b bar) done() {
	if b.one != nil {
		b.one.Increment()
	}
}

// crowd does the same with many things, a few at a time, in no order. Something that fails does not stop the others, save
// where nothing more can succeed: the session has ended, or the caller has.
type crowd struct {
	work chan func(context.Context) error
	done sync.WaitGroup
	ctx  context.Context
	stop context.CancelCauseFunc
}

func gather(ctx context.Context, workers int) *crowd {
	c := &crowd{work: make(chan func(context.Context) error)}
	c.ctx, c.stop = context.WithCancelCause(ctx)
	for range workers {
		c.done.Go(func() {
			for do := range c.work {
				if err := do(c.ctx); fault.Is(err, fault.Unauthenticated) {
					c.stop(err)
				}
			}
		})
	}
	return c
}

// add hands something to the next that is free; false when there is no point in going on.
func (c *crowd) add(do func(context.Context) error) bool {
	select {
	case <-c.ctx.Done():
		return false
	case c.work <- do:
		return true
	}
}

// wait is for all of them; it says why they stopped early, if they did.
func (c *crowd) wait() error {
	close(c.work)
	c.done.Wait()
	defer c.stop(nil)
	if c.ctx.Err() == nil {
		return nil
	}
	if err := context.Cause(c.ctx); fault.Is(err, fault.Unauthenticated) {
		return err
	}
	return fault.New(fault.Retry, "interrupted", "", "interrupted before all was done")
}

// patiently calls again what the node asks to be called again later.
func patiently(ctx context.Context, call func() error) error {
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := call()
		if !fault.Is(err, fault.Retry) || try == bulkTries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}
