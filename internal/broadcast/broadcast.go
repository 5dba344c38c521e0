package broadcast

import (
	"context"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Keys are the private keys of this node, behind their fingerprints. Kind Retry when the keyring is away.
type Keys interface {
	seal.Signer
	seal.Opener
}

// Directory is the verified directory that this node routes by, and its past.
type Directory interface {
	// Load is the snapshot in force, restrictions seen on sight included.
	Load() *directory.Snapshot
	// Base is what the log says and nothing else.
	Base() *directory.Snapshot
	// At is the newest base that answers for audiences as the log did at a position; false where that is too long ago, or
	// yet to come.
	At(position uint64) (*directory.Snapshot, bool)
	// Audience is an audience of now, with all that receivers need to compute the same one.
	Audience(category authority.Category, rule directory.Rule, states []authority.State) (directory.Audience, error)
	// Changed is closed at the next change.
	Changed() <-chan struct{}
	// Freshness is "fresh", "degraded" or "stale" (DESIGN 6).
	Freshness(now time.Time) (string, time.Time)
}

// Bus is the conveyor. Nothing depends on what it says.
type Bus interface {
	// Publish hands over one frame; Retry "bus-away" while there is no connection.
	Publish(ctx context.Context, subject string, frame []byte) error
	// Flush returns when what was published before has left.
	Flush(ctx context.Context) error
	// Connected reports whether anything can come at all.
	Connected() bool
	// Expecting reports whether more of a publisher is known to be under way to this node.
	Expecting(publisher authority.State) bool
}

// Courier carries bytes to another node over the peer door.
type Courier interface {
	// Control hands over a control envelope. What comes back is unverified.
	Control(ctx context.Context, to directory.NodeEntry, envelope []byte) (message.ControlAnswer, error)
	// DeliverFrames hands over frames, at most message.MaxFrames; it returns how many of them, from the first on, need not
	// be sent again.
	DeliverFrames(ctx context.Context, to directory.NodeEntry, frames []message.CarriedFrame) (int, error)
}

// Inbox is who knows what an alert means to the people of this node.
type Inbox interface {
	// Wants reports whether this node takes an alert of a publisher that goes under a subject. It is asked for every number
	// of every index, so it must be cheap.
	Wants(rule directory.Rule, s message.Subject) bool
	// Examine judges an alert that was opened and whose signatures hold: a rejection code, or "". PROTOCOL 8.4.
	Examine(a seal.Alert) (code string)
	// Place records what the alert means, in the transaction that stores it; of an alert of ours, for the other authorities
	// of this node.
	Place(tx ledger.Tx, a seal.Alert) error
	// Stored is told after the commit.
	Stored(a seal.Alert)
}

// Options are what a Broadcaster is built from; all are required but HeldQuota and Flush.
type Options struct {
	Node authority.Node
	// NodeKey is the fingerprint of the node's signing key: asked each time, since keys are rotated.
	NodeKey     func() authority.Fingerprint
	Incarnation message.Incarnation
	Ledger      ledger.Ledger
	Keys        Keys
	Directory   Directory
	Bus         Bus
	Courier     Courier
	// HeldQuota is how many bytes of frames of one publisher wait for their keys; 0 = 16 MiB.
	HeldQuota uint64
	// Flush is the least time between two indexes to the members of an audience, for each member there is: telling all of
	// them costs the same share of the machine whatever their number; 0 = 150 ms. IMMEDIATE alerts wait for nothing.
	Flush  time.Duration
	Clock  func() time.Time
	Random io.Reader
	Log    *zap.Logger
}

const (
	defaultQuota = 16 << 20
	defaultFlush = 150 * time.Millisecond
	nodeActor    = "node"
)

// Broadcaster is the one-to-many road of one node. All methods may be called at once from many goroutines.
type Broadcaster struct {
	Options
	inbox      Inbox
	recipients seal.Recipients
	keys       keyCache
	pace       pace
	making     sync.Mutex // held while an epoch is made: one at a time
	lines      *lines
	conveyor   chan struct{} // a word that there is something for the bus; holds one
	thirst     chan struct{} // a word that frames wait for keys; holds one
}

// New builds a broadcaster; Attach gives it its inbox, Run makes it send.
func New(o Options) *Broadcaster {
	if o.HeldQuota == 0 {
		o.HeldQuota = defaultQuota
	}
	if o.Flush == 0 {
		o.Flush = defaultFlush
	}
	b := &Broadcaster{Options: o, conveyor: make(chan struct{}, 1), thirst: make(chan struct{}, 1)}
	b.lines = newLines(b)
	return b
}

// Attach sets who knows what alerts mean; call it before anything else.
func (b *Broadcaster) Attach(i Inbox) { b.inbox = i }

// Run sends what is to be sent, and asks for what is missing, until ctx ends.
func (b *Broadcaster) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, loop := range []func(context.Context){b.convey, b.lines.run, b.watchDirectory, b.thirsty, b.tidying, b.lines.reissuing} {
		all.Go(func() { loop(ctx) })
	}
	all.Wait()
	return nil
}

// chain is a chain of ours.
func (b *Broadcaster) chain(audience message.Digest) ledger.Chain {
	return ledger.Chain{Publisher: b.Node, Incarnation: b.Incarnation, Audience: audience}
}

func (b *Broadcaster) event(kind string, key message.Key, digest message.Digest, detail string) ledger.Event {
	return ledger.Event{Time: b.Clock(), Kind: kind, Actor: nodeActor, Message: key, Digest: digest, Detail: []byte(detail)}
}

// second drops a number that the caller has no use for.
func second[T any](_ T, err error) error { return err }

// poke leaves a word in a channel that holds one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
