package alert

import (
	"context"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
	"github.com/enlace-network/enlace/internal/seal"
)

// Options are what a Desk is built from; all are required but FourEyes, Sender and Targets.
type Options struct {
	Node        authority.Node
	Incarnation message.Incarnation
	Ledger      ledger.Ledger
	Keys        seal.Signer
	Directory   Directory
	// Road carries alerts to audiences, Exchange those to named authorities; files lie in Exchange's spool.
	Road     Road
	Exchange *exchange.Exchange
	Puller   Puller
	Gate     exchange.Gate
	Lists    message.Lists
	// FourEyes: publishing, and what an authority subscribes to, needs a second person (domain.md 12).
	FourEyes bool
	// Sender and Targets say whom to nudge when something immediate waits; without them nobody is.
	Sender  Sender
	Targets []nudge.Target
	Clock   func() time.Time
	Random  io.Reader
	Log     *zap.Logger
}

// Desk keeps the alerts of one node. It is the Inbox of broadcast and the Alerts of exchange. All methods may be called at
// once from many goroutines.
type Desk struct {
	Options
	memory memory
	calls  calls
	stale  chan struct{} // a word that subscriptions or directory changed; holds one
	rows   chan struct{} // a word that rows changed; holds one
	mu     sync.Mutex
	// changed is closed and replaced when an alert changes; guarded by mu.
	changed chan struct{}
}

// New builds a desk that knows what its people want, as the ledger has it. Call it before anything can arrive; Run makes
// it keep time.
func New(ctx context.Context, o Options) (*Desk, error) {
	d := &Desk{Options: o, stale: make(chan struct{}, 1), rows: make(chan struct{}, 1), changed: make(chan struct{})}
	d.calls.targets = map[authority.Name]nudge.Target{}
	for _, t := range o.Targets {
		d.calls.targets[t.Authority] = t
	}
	d.memory.filtersChanged = make(chan struct{})
	if err := d.recall(ctx); err != nil {
		return nil, err
	}
	_, err := d.refresh(ctx)
	return d, err
}

// Run ends what has expired, nudges, and follows directory and subscriptions, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, loop := range []func(context.Context){d.expiring, d.nudging, d.following} {
		all.Go(func() { loop(ctx) })
	}
	all.Wait()
	return nil
}

// Changed is closed at the next commit that changes an alert; take it before reading, or a change may be missed.
func (d *Desk) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// tell wakes the watchers and the loops. It is called after a commit: who stops here reads the change when it is back.
func (d *Desk) tell() {
	d.mu.Lock()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	poke(d.rows)
}

// Cursor is the newest change.
func (d *Desk) Cursor(ctx context.Context) (int64, error) {
	var n int64
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		n, err = r.AlertCursor()
		return err
	})
	return n, err
}

// allow asks the gate about an alert.
func (d *Desk) allow(ctx context.Context, a exchange.Actor, action string, row ledger.Alert) error {
	return d.Gate.Allow(ctx, a, action, exchange.Resource{
		Own: row.Own, Author: row.Author, State: message.State(row.State), Urgency: row.Urgency, FourEyes: d.FourEyes,
	})
}

// view is the directory of now.
func (d *Desk) view() directory.View { return d.Directory.Load().At(d.Clock()) }

// event is what every committed fact leaves in the evidence log.
func (d *Desk) event(kind, actor string, key message.Key, digest message.Digest, detail string) ledger.Event {
	return ledger.Event{Time: d.Clock(), Kind: kind, Actor: actor, Message: key, Digest: digest, Detail: []byte(detail)}
}

// about is the event key of an alert as its own authority names it.
func about(row ledger.Alert) message.Key { return message.Key{Sender: row.Issuer, ID: row.ID} }

// authorOf is whose work an actor's counts as where two persons are wanted.
func authorOf(a exchange.Actor) string {
	if a.Author != "" {
		return a.Author
	}
	return a.Account
}

const nodeActor = "node"

// second drops a number that the caller has no use for.
func second[T any](_ T, err error) error { return err }

// poke leaves a word in a channel that holds one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
