package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	alertCategory = "drugs.trafficking"
	wanted        = ">" // by every receiver
	// glance is how long a look at a receiver's cursor waits after the last one: what is measured is not the looking.
	glance = 20 * time.Millisecond
	// stuckAfter is when a receiver that gets nothing more makes the run fail.
	stuckAfter = time.Minute
	// receiptsWithin is how long the receipts of all may take: indexes go out some seconds after the alerts.
	receiptsWithin = time.Minute
)

// crowd is a network whose first member publishes and whose others subscribe to everything. What is measured begins with
// the submission of a prepared draft; an alert is delivered when it is durable at the receiver and its people can see it.
type crowd struct {
	net       *testnet.Network
	cancel    context.CancelFunc
	from      *testnet.Member
	receivers []*receiver
	actor     exchange.Actor
	notice    *formatv1.AlertNotice
	drafts    chan message.ID // prepared and not yet submitted
}

// receiver is a subscriber and the number of its last change.
type receiver struct {
	*testnet.Member
	cursor int64
}

// newCrowd starts the network of these states in a directory.
func newCrowd(ctx context.Context, dir string, states []string) (*crowd, error) {
	ctx, cancel := context.WithCancel(ctx)
	n, err := testnet.Start(ctx, testnet.Options{Dir: dir, States: states, FourEyes: "single"})
	if err != nil {
		cancel()
		return nil, err
	}
	first := n.Members[0]
	c := &crowd{
		net: n, cancel: cancel, from: first, notice: noticeOf(first),
		actor: exchange.Actor{Account: "officer", Authority: first.Authority, Roles: []string{"user"}},
	}
	for _, m := range n.Members[1:] {
		c.receivers = append(c.receivers, &receiver{Member: m})
	}
	if err := c.warm(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *crowd) close() {
	c.cancel()
	_ = c.net.Stop()
}

// noticeOf is an alert as others are, filled up to the size of the floor's.
func noticeOf(from *testnet.Member) *formatv1.AlertNotice {
	n := testnet.ExerciseAlert(from, alertCategory, "Measurement").GetNotice()
	const text = "Facts of a made-up case. "
	n.Details = strings.Repeat(text, alertSize/len(text))
	if over := proto.Size(n) - alertSize; over > 0 {
		n.Details = n.Details[:len(n.Details)-over]
	}
	return n
}

// warm subscribes everybody and publishes the first alerts: keys are handed out, connections are open.
func (c *crowd) warm(ctx context.Context) error {
	for _, r := range c.receivers {
		officer := exchange.Actor{Account: "officer", Authority: r.Authority, Roles: []string{"user"}}
		if _, err := r.Daemon.Alerts.AddSubscription(ctx, officer, alert.Wish{Categories: wanted}); err != nil {
			return err
		}
	}
	if err := c.prepare(ctx, fanWarmUp); err != nil {
		return err
	}
	if _, err := c.deliver(ctx, fanWarmUp); err != nil {
		return err
	}
	if err := c.confirmed(ctx); err != nil {
		return err
	}
	return c.onBus()
}

// onBus fails where a receiver has no access to the bus with the filters of now: everything would be delivered all the
// same, by the direct road, and its figures would be those.
func (c *crowd) onBus() error {
	for _, r := range c.receivers {
		if s := r.Daemon.Bus.Status(); s.Connected.IsZero() || s.Last != nil {
			return fault.Wrap(s.Last, fault.Retry, "bus-away", "measure", r.Authority.String()+" has no access to the bus")
		}
	}
	return nil
}

// prepare writes drafts; those before have been submitted.
func (c *crowd) prepare(ctx context.Context, n int) error {
	category, err := authority.ParseCategory(alertCategory)
	if err != nil {
		return err
	}
	c.drafts = make(chan message.ID, n)
	_, err = measure(ctx, n, fanInFlight, func(ctx context.Context) error {
		id, err := c.from.Daemon.Alerts.Create(ctx, c.actor, alert.Composition{AlertCompose: message.AlertCompose{
			Category: category, Urgency: message.Routine, Status: message.Exercise, Distribution: message.ByCategory,
			Notice: proto.Clone(c.notice).(*formatv1.AlertNotice),
		}})
		if err == nil {
			c.drafts <- id
		}
		return err
	})
	return err
}

// publish submits the next draft.
func (c *crowd) publish(ctx context.Context) error { return c.submit(ctx, <-c.drafts) }

// submit returns when the alert of a draft is on stable storage.
func (c *crowd) submit(ctx context.Context, id message.ID) error {
	p, err := c.from.Daemon.Alerts.Publish(ctx, c.actor, id)
	if err != nil {
		return err
	}
	if p.State != message.AlertIssued {
		return fault.New(fault.Internal, "", "measure", "an alert was not issued")
	}
	return nil
}

// deliver publishes n drafts, waits until every receiver has them, and returns deliveries per second.
func (c *crowd) deliver(ctx context.Context, n int) (float64, error) {
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for _, r := range c.receivers {
		g.Go(func() error { return r.await(ctx, n, func(int64) {}) })
	}
	g.Go(func() error { _, err := measure(ctx, n, fanInFlight, c.publish); return err })
	err := g.Wait()
	return float64(n*len(c.receivers)) / time.Since(start).Seconds(), err
}

// await waits until so many more alerts are on stable storage, and tells now and then how many are to come.
func (r *receiver) await(ctx context.Context, n int, left func(int64)) error {
	target := r.cursor + int64(n)
	moved := time.Now()
	for {
		changed := r.Daemon.Alerts.Changed()
		now, err := r.Daemon.Alerts.Cursor(ctx)
		if err != nil {
			return err
		}
		if now > r.cursor {
			r.cursor, moved = now, time.Now()
			left(target - now)
		}
		switch {
		case now > target:
			return fault.New(fault.Internal, "", "measure", r.Authority.String()+" has more alerts than were published")
		case now == target:
			return nil
		case time.Since(moved) > stuckAfter:
			return fault.New(fault.Retry, "timeout", "measure", fmt.Sprintf("%s waits for %d alerts that do not come", r.Authority, target-now))
		}
		select {
		case <-changed:
		case <-time.After(stuckAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
		time.Sleep(glance)
	}
}

// confirmed waits until the publisher holds a signed receipt of every receiver for the last alert, so that no figure
// comes from a run in which something was lost.
func (c *crowd) confirmed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, receiptsWithin)
	defer cancel()
	last, err := c.newest(ctx)
	if err != nil {
		return err
	}
	for {
		holders, err := c.from.Daemon.Broadcast.Holders(ctx, last.Message)
		if err != nil {
			return err
		}
		received := 0
		for _, h := range holders {
			if h.State == broadcast.Received {
				received++
			}
		}
		if received == len(c.receivers) && received == len(holders) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Retry, "timeout", "measure",
				fmt.Sprintf("%d of %d nodes say that they received the last alert", received, len(holders)))
		case <-time.After(glance):
		}
	}
}

// newest is the link of the last alert, with its frame.
func (c *crowd) newest(ctx context.Context) (ledger.Link, error) {
	var l ledger.Link
	err := c.from.Daemon.Exchange.Ledger.View(ctx, func(r ledger.Reader) error {
		all, err := r.Broadcasts()
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return fault.New(fault.Internal, "", "measure", "the alerts did not go to one audience")
		}
		l, err = r.Link(all[0].Audience, all[0].Last)
		return err
	})
	return l, err
}
