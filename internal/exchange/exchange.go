package exchange

import (
	"context"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Options are what an Exchange is built from; all but the last four are required.
type Options struct {
	Node authority.Node
	// NodeKey is the fingerprint of the node's signing key, for receipts: asked each time, since keys are rotated.
	NodeKey     func() authority.Fingerprint
	Incarnation message.Incarnation
	Ledger      ledger.Ledger
	Keys        Keys
	Directory   Directory
	Courier     Courier
	Gate        Gate
	Lists       message.Lists
	// Spool is the directory of sealed attachments; it exists.
	Spool string
	// PeerQuota is how many bytes of attachments one state may have announced and not yet sent whole; 0 = 64 GiB.
	PeerQuota uint64
	// Alerts knows what directed messages of alerts mean; nil: they are refused, "unknown-kind".
	Alerts Alerts
	// Peers greets others and fetches what they give back; nil where this node never recovers.
	Peers Peers
	// Reborn is told, in the transaction that records it, of a node that has begun a new incarnation; what it returns is
	// called after the commit. May be nil.
	Reborn func(tx ledger.Tx, node authority.Node) (after func(), err error)
	// Mail is the road by the hub, for nodes that cannot be reached; nil = there is none. MailSlice is how much of an
	// attachment one mail carries, at most 256 KiB; 0 = that. PROTOCOL 10.11.
	Mail      Mailbox
	MailSlice int
	// FourEyes: sending needs a second person (domain.md 12).
	FourEyes bool
	Clock    func() time.Time
	Random   io.Reader
	Log      *zap.Logger
}

const defaultQuota = 64 << 30

// Exchange is the heart of one node. All methods may be called at once from many goroutines.
type Exchange struct {
	Options
	deliveries *deliveries
	mailroom   *mailroom
	recipients seal.Recipients
	uploads    locks
	mu         sync.Mutex
	changed    chan struct{}           // guarded by mu; closed and replaced when a case changes
	standing   standing                // guarded by mu
	over       chan struct{}           // closed when this incarnation is over
	recovered  chan struct{}           // closed when this node is not recovering, or no more
	away       map[authority.Node]bool // guarded by mu; nodes that recover
	lostFiles  int                     // guarded by mu; attachments that were here and cannot be got back
}

// New builds an exchange; Run makes it deliver.
func New(o Options) *Exchange {
	if o.PeerQuota == 0 {
		o.PeerQuota = defaultQuota
	}
	e := &Exchange{Options: o, changed: make(chan struct{}), over: make(chan struct{}), recovered: make(chan struct{}), away: map[authority.Node]bool{}}
	e.deliveries, e.mailroom = newDeliveries(e), newMailroom(e)
	return e
}

// Run delivers what is due until ctx ends, then waits for what is under way.
//
// A node that recovers first asks its peers for what it has lost, and sends nothing before that is over (PROTOCOL 9.7).
func (e *Exchange) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { e.meet(ctx) })
	wait.Go(func() { e.recover(ctx) })
	return e.deliveries.run(ctx)
}

// Changed is closed at the next commit that changes a case; take it before reading, or a change may be missed.
func (e *Exchange) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// tell wakes the watchers. It is called after a commit, so a watcher that stops here reads the change when it is back.
func (e *Exchange) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

// allow asks the gate about an item.
func (e *Exchange) allow(ctx context.Context, a Actor, action string, c ledger.Case) error {
	return e.Gate.Allow(ctx, a, action, Resource{
		Own: c.Own, Author: c.Author, State: c.State, Urgency: c.Urgency, Side: c.Side, FourEyes: e.FourEyes,
	})
}

// open reads the case of an actor's own authority. Another authority's case does not exist for them: NotFound.
func (e *Exchange) open(ctx context.Context, a Actor, action string, conversation message.ID) (ledger.Case, error) {
	var c ledger.Case
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		c, err = r.Case(conversation, a.Authority)
		return err
	})
	if err != nil {
		return ledger.Case{}, err
	}
	return c, e.allow(ctx, a, action, c)
}

// event is what every committed fact leaves in the evidence log.
func (e *Exchange) event(kind, actor string, key message.Key, digest message.Digest, detail string) ledger.Event {
	return ledger.Event{Time: e.Clock(), Kind: kind, Actor: actor, Message: key, Digest: digest, Detail: []byte(detail)}
}

// nodeActor is the actor of events that no person caused.
const nodeActor = "node"

// second drops a number that the caller has no use for.
func second[T any](_ T, err error) error { return err }

// locks is a set of names held by one goroutine each.
type locks struct {
	mu   sync.Mutex
	held map[string]bool // guarded by mu
}

// take reports whether the name was free and is now held.
func (l *locks) take(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[name] {
		return false
	}
	if l.held == nil {
		l.held = map[string]bool{}
	}
	l.held[name] = true
	return true
}

func (l *locks) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, name)
}
