package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	bus   = "bus"
	queue = "queue"
	// waitsLong is how long a message may wait for a node before it is told of; endsSoon how long before it can be delivered
	// no more that is failing.
	waitsLong = 5 * time.Minute
	endsSoon  = time.Hour
	// mostBoxes bounds how many boxes the hub is asked about.
	mostBoxes = 16
)

// BusState is how a node stands to the bus.
type BusState struct {
	// Configured: the hub has a bus, as far as is known. Connected is since when; zero while it is not.
	Configured bool
	Connected  time.Time
	// Last is why there is no connection; it may be nil.
	Last error
	// Dropped is how many deliveries found no room here.
	Dropped uint64
}

// Box is what waits at the hub for another node.
type Box struct{ Messages, Bytes, MaxMessages, MaxBytes uint64 }

// CheckBus looks at the connection to the bus, and at this node's boxes for those whom its messages wait for.
func CheckBus(read func() BusState, waiting func(ctx context.Context) ([]Queue, error), ask func(ctx context.Context, to authority.Node) (Box, error)) Check {
	return Check{Component: bus, Look: func(ctx context.Context, tell func(Finding)) {
		s := read()
		tell(s.finding())
		if s.Dropped > 0 {
			tell(Finding{bus, "", Warning, "dropped", fmt.Sprintf("%d alerts came faster than they could be taken since the start", s.Dropped),
				"nothing is lost: they come by the direct road; see what else keeps this machine or its disk busy", nil})
		}
		if s.Connected.IsZero() {
			return
		}
		queues, err := waiting(ctx)
		if err != nil {
			return // the look at the queues says so
		}
		for _, q := range queues[:min(len(queues), mostBoxes)] {
			box(ctx, q.Node, ask, tell)
		}
	}}
}

func (s BusState) finding() Finding {
	switch {
	case !s.Connected.IsZero():
		return Finding{bus, "", OK, "connected", "connected since " + s.Connected.UTC().Format(time.DateTime) + " UTC", "", nil}
	case !s.Configured:
		return Finding{bus, "", OK, "none", "the hub names none; alerts go by the direct road", "", nil}
	}
	found := "not connected; alerts go by the direct road"
	if s.Last != nil {
		found += ": " + fault.As(s.Last).Say
	}
	return Finding{bus, "", Failing, "not-connected", found,
		"see whether the hub's bus (port 4222) can be reached from here; nothing is lost: what does not come over the bus comes from node to node, later", nil}
}

// box tells only of what is wrong: a box is of no use to who reaches the node directly.
func box(ctx context.Context, to authority.Node, ask func(context.Context, authority.Node) (Box, error), tell func(Finding)) {
	b, err := ask(ctx, to)
	switch {
	case err != nil:
		tell(Finding{bus, to.String(), Unknown, "no-box", "the hub does not say how full the mailbox for this node is: " + fault.As(err).Say,
			"run enlace doctor again; what waits is kept here", nil})
	case stalled(b.Messages, b.MaxMessages) || stalled(b.Bytes, b.MaxBytes):
		tell(Finding{bus, to.String(), Warning, "box-full", fmt.Sprintf("the mailbox for this node is full: %d messages, %s", b.Messages, bytes(b.Bytes)),
			"nothing is lost: what does not fit waits here; the other node does not take its mail: telephone its state (enlace directory show)", nil})
	}
}

// stalled reports whether nine tenths are taken.
func stalled(have, most uint64) bool { return most > 0 && have >= most-most/10 }

// Queue is what waits here for one node.
type Queue struct {
	Node authority.Node
	// Waiting are how many messages; More: there are more than were counted.
	Waiting int
	More    bool
	// Oldest is when the oldest of them was made, Ends when the first can be delivered no more.
	Oldest, Ends time.Time
	// LastContact is zero where the node was not heard of since the start.
	LastContact time.Time
	LastError   string
}

// CheckQueues looks at what waits for other nodes.
func CheckQueues(read func(ctx context.Context) ([]Queue, error), clock func() time.Time) Check {
	return Check{Component: queue, Look: func(ctx context.Context, tell func(Finding)) {
		all, err := read(ctx)
		if err != nil {
			tell(Finding{queue, "", Unknown, "not-read", "the queues cannot be read: " + fault.As(err).Say, "see what is found about the ledger", nil})
			return
		}
		for _, q := range all {
			tell(q.finding(clock()))
		}
		if len(all) == 0 {
			tell(Finding{queue, "", OK, "empty", "nothing waits for another node", "", nil})
		}
	}}
}

func (q Queue) finding(now time.Time) Finding {
	count := fmt.Sprintf("%d", q.Waiting)
	if q.More {
		count = "more than " + count
	}
	found := fmt.Sprintf("%s messages wait, the oldest for %s", count, now.Sub(q.Oldest).Round(time.Second))
	if q.LastError != "" {
		found += ": " + q.LastError
	}
	const do = "the node tries again by itself; see what is found about this peer, and if it is urgent telephone the other side's desk (enlace directory show)"
	switch {
	case !q.Ends.IsZero() && q.Ends.Sub(now) < endsSoon:
		return Finding{queue, q.Node.String(), Failing, "expiring", found + "; the first can be delivered until " + q.Ends.UTC().Format(time.DateTime) + " UTC and no longer", do, nil}
	case now.Sub(q.Oldest) > waitsLong:
		return Finding{queue, q.Node.String(), Warning, "waiting", found, do, nil}
	}
	return Finding{queue, q.Node.String(), OK, "moving", found, "", nil}
}
