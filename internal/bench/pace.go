package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const pagePace = 500

// pace times alerts that are published at a steady rate, whatever comes of those before.
type pace struct {
	mu    sync.Mutex
	due   map[message.ID]time.Time // guarded by mu; when each was to be published
	times []time.Duration          // guarded by mu; of each alert at each receiver
}

// steady publishes n drafts, so many per second, and returns the 99th percentile of the time from the moment when one
// was due to be published until a receiver had it on stable storage, over all alerts and receivers.
func (c *crowd) steady(ctx context.Context, n, perSecond int) (time.Duration, error) {
	p := &pace{due: map[message.ID]time.Time{}}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range c.receivers {
		g.Go(func() error { return r.time(ctx, n, p) })
	}
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(due))
		id := <-c.drafts
		p.mu.Lock()
		p.due[id] = due
		p.mu.Unlock()
		g.Go(func() error { return c.submit(ctx, id) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if want := n * len(c.receivers); len(p.times) != want {
		return 0, fault.New(fault.Internal, "", "measure", fmt.Sprintf("%d alerts were timed, not %d", len(p.times), want))
	}
	slices.Sort(p.times)
	return p.times[len(p.times)*99/100], nil
}

// time follows the changes at a receiver, as an agency system would, until it has n more alerts.
func (r *receiver) time(ctx context.Context, n int, p *pace) error {
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	for target := r.cursor + int64(n); r.cursor < target; {
		changed := r.Daemon.Alerts.Changed()
		var page []ledger.Alert
		err := r.Daemon.Exchange.Ledger.View(ctx, func(v ledger.Reader) error {
			var err error
			page, err = v.AlertsSince(r.cursor, pagePace)
			return err
		})
		if err != nil {
			return err
		}
		if len(page) > 0 {
			r.cursor = page[len(page)-1].Cursor
			p.note(page)
			stuck.Reset(stuckAfter)
			continue
		}
		select {
		case <-changed:
		case <-stuck.C:
			return fault.New(fault.Retry, "timeout", "measure", fmt.Sprintf("%s waits for %d alerts that do not come", r.Authority, target-r.cursor))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *pace) note(page []ledger.Alert) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range page {
		if due, ok := p.due[a.ID]; ok {
			p.times = append(p.times, now.Sub(due))
		}
	}
}
