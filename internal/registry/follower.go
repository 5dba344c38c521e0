package registry

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	// silence is how long a hub may say nothing, heartbeats included, before the follower dials again.
	silence = 3 * heartbeat
	// batch is the most entries synced together.
	batch      = 256
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// FollowerOptions are what the node's side is made from; all are required but Hubs, Alarm, Sync and those that say so.
type FollowerOptions struct {
	// Data is the folder of log and cards; it exists.
	Data string
	// Fingerprint is the network's, 64 hexadecimal digits.
	Fingerprint string
	// Genesis is the signed genesis, from Bootstrap; needed the first time only.
	Genesis []byte
	// Hubs are host:port addresses to use instead of those that the directory names.
	Hubs []string
	TLS  TLS
	Now  func() time.Time
	Log  *zap.Logger
	// Alarm is told of what a person must look into, and not for each entry: "invalid-entry", at most once a minute;
	// "not-a-statement", "invalid-entries", "out-of-order" and "beyond-log", once until the hub sends a valid entry.
	Alarm func(error)
	Sync  Sync
	// Cosigner is this node's witness; nil: it cosigns nothing.
	Cosigner Cosigner
	// Anchor is a recently published head, "size root" (root in base64) or the signed note; empty = none.
	Anchor string
	// OnSight is called once for each restriction newly in force here that did not come from the hub's log, once it is
	// durable and with no lock held, to be pushed to peers; may be nil. It must not wait.
	OnSight func(signed []byte)
	// Key is the node's own signing key, and Signer has it, so that a start goes by what this node verified before
	// ([Verified]). Without Signer each start verifies everything.
	Key    authority.PublicKey
	Signer VerifiedSigner
}

// Cosigner is a witness's memory and key ([witness.Cosigner]).
type Cosigner interface {
	// Cosign stores the checkpoint, whose root must be root(size), and then signs it. Errors: Conflict "rollback",
	// "not-consistent".
	Cosign(c merkle.Checkpoint, root func(size int64) (tlog.Hash, error), now time.Time) (line []byte, err error)
}

// Follower is the directory as a node has it: its own verified copy of the log, kept up to date by Run, usable
// without the hub (promise P8). What is stored is in force as far as a head confirms it, and restrictions before that
// (PROTOCOL 11.8).
type Follower struct {
	o       FollowerOptions
	log     *Log
	tree    *tree
	cards   *Cards
	sight   *sight
	kept    *kept
	history *directory.History // the confirmed log alone
	current *directory.Current // and with the restrictions that it does not have yet
	contact *contact

	mending sync.Mutex // one peer at a time

	// mu is held while the copy of the log changes, or what it proves: Run and peers both bring entries and heads.
	mu        sync.Mutex
	beyond    beyond
	debt      debt
	skips     skips
	head      directory.Head // the newest that is confirmed
	judged    directory.Judgement
	latest    directory.Judgement // of the last head that was looked at
	vouched   directory.Head      // the largest of this node's own log, confirmed or not
	vouchedBy string
	proofs    *proofs
	anchors   []anchor
	misplaced error            // the log does not come to an anchor
	rules     error            // the log goes on by rules that are not known here
	suspect   bool             // what a peer gave did not fit this node's copy
	valid     uint64           // valid entries that were taken, whoever brought them
	reread    int              // how often a part of the log was
	strays    bool             // the hub of this session sends another log
	gleaned   [][]byte         // restrictions that OnSight is to be told of once mu is given back
	refused   []directory.Hash // restrictions of peers that are over, or add nothing; the newest 256

	hub     string          // of this session; used by the goroutine of Run alone
	doubted map[string]bool // by address, as many as hubs are named; guarded by mu
}

// OpenFollower opens the data and verifies every entry that this node did not verify before, from the genesis with the
// right fingerprint on. In force is then
// what was when the node stopped. Errors: Denied "wrong-genesis", "wrong-anchor"; Usage "no-genesis" where there is none
// yet, "bad-anchor"; Internal "damaged-head", "damaged-proof"; those of OpenLog.
func OpenFollower(o FollowerOptions) (*Follower, error) {
	log, err := OpenLog(filepath.Join(o.Data, logFile), o.Sync)
	if err != nil {
		return nil, err
	}
	f := &Follower{o: o, log: log, tree: &tree{}, history: &directory.History{}, current: &directory.Current{},
		contact: openContact(o.Data, o.Now()), doubted: map[string]bool{}}
	if err := f.load(); err != nil {
		if f.sight != nil {
			_ = f.sight.close()
		}
		_ = log.Close()
		return nil, err
	}
	return f, nil
}

func (f *Follower) load() error {
	if err := f.begin(); err != nil {
		return err
	}
	var err error
	if f.sight, err = openSight(f.o.Data, f.o.Sync, f.o.Now); err != nil {
		return err
	}
	if f.kept, err = openKept(f.o.Data); err != nil {
		return err
	}
	if f.proofs, err = openProofs(f.o.Data); err != nil {
		return err
	}
	if f.cards, err = OpenCards(filepath.Join(f.o.Data, cardsName)); err != nil {
		return err
	}
	if err := f.restore(); err != nil {
		return err
	}
	if err := f.openAnchor(); err != nil {
		return err
	}
	f.tell()
	f.sight.notes(f.o.Log)
	return errors.Join(f.sight.tidy(f.o.Sync), f.cards.Sweep(f.history.Newest().At(f.o.Now())))
}

// openAnchor holds what is confirmed against the head that a person was given, or waits for it.
func (f *Follower) openAnchor() error {
	a, err := parseAnchor(f.o.Anchor)
	if err != nil || a.size == 0 {
		return err
	}
	if f.head.IsZero() || f.head.Position() < a.size {
		f.anchors = append(f.anchors, a)
		return nil
	}
	root, err := f.tree.root(int64(a.size))
	if err == nil && root != a.root {
		err = f.misled()
	}
	return err
}

// begin makes sure that the log begins with the genesis that was asked for.
func (f *Follower) begin() error {
	if f.log.Size() == 0 {
		if len(f.o.Genesis) == 0 {
			return fault.New(fault.Usage, "no-genesis", "open directory", "this node has no directory yet").
				WithHint("fetch the genesis from the hub first")
		}
		if _, err := found(f.o.Genesis, f.o.Fingerprint); err != nil {
			return err
		}
		if err := f.log.Append(f.o.Genesis); err != nil {
			return err
		}
	}
	genesis, err := f.log.Read(1)
	if err != nil {
		return err
	}
	_, err = found(genesis, f.o.Fingerprint)
	return err
}

func (f *Follower) alarm(err error) {
	if f.o.Alarm != nil {
		f.o.Alarm(err)
	}
}

// Current is the directory in force.
func (f *Follower) Current() *directory.Current { return f.current }

// Entries are the log's bytes from a position on, for peers, auditors and a hub to be rebuilt.
func (f *Follower) Entries() *Log { return f.log }

// Restrict puts a restricting statement in force that came by another road than the log: durable and in force on
// return, and brought to the hub by Run. It reports whether it was news, to be passed on. Errors: Invalid
// "not-restricting", and those of directory.CheckOnSight and directory.Restrict. Promise P7; PROTOCOL 4.6.
func (f *Follower) Restrict(signed []byte) (bool, error) {
	st, err := directory.ParseStatement(signed)
	if err != nil {
		return false, err
	}
	news, err := f.restrict(st)
	if news {
		f.spread(st.Signed())
	}
	return news, err
}

// restrict is Restrict, but tells nobody.
func (f *Follower) restrict(st directory.Statement) (bool, error) {
	if st.Restricting() {
		if err := directory.CheckOnSight(st, f.o.Now()); err != nil {
			return false, err
		}
	}
	return f.sight.take(st, f.current)
}

// spread is called with no lock held.
func (f *Follower) spread(signed []byte) {
	if f.o.OnSight != nil {
		f.o.OnSight(signed)
	}
}

// Unlogged are the restrictions in force here that the log does not have yet, for peers to hear of.
func (f *Follower) Unlogged() []directory.Statement { return statements(f.sight.unlogged()) }

// Propose hands a statement to the hub over a connection of its own, so it works for a suspended node too, which may
// not follow. See Client.Propose.
func (f *Follower) Propose(ctx context.Context, statement []byte, cards ...[]byte) (uint64, error) {
	var position uint64
	err := f.ask(func(c *Client) error {
		var err error
		position, err = c.Propose(ctx, statement, cards...)
		return err
	})
	return position, err
}

// Card is a contact card, from disk or else from the hub. NotFound "no-card", Retry "unreachable".
func (f *Follower) Card(ctx context.Context, hash directory.Hash) ([]byte, error) {
	card, err := f.cards.Get(hash)
	if err == nil || !fault.Is(err, fault.NotFound) {
		return card, err
	}
	err = f.ask(func(c *Client) error {
		card, err = c.Card(ctx, hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = f.cards.Put(card)
	return card, err
}

// ask tries one hub after the other until one answers.
func (f *Follower) ask(call func(*Client) error) error {
	var err error
	for _, addr := range f.hubs() {
		var c *Client
		if c, err = NewClient(addr, f.current, f.o.Now, f.o.TLS); err != nil {
			return err
		}
		err = call(c)
		_ = c.Close()
		if !fault.Is(err, fault.Retry) {
			return err
		}
	}
	return err
}

// Run follows the hub until ctx ends, dialling again whenever the connection fails. It returns an error only where the
// disk failed and nothing more can be stored.
func (f *Follower) Run(ctx context.Context) error {
	pause := &backoff.ExponentialBackOff{InitialInterval: firstPause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: maxPause}
	for turn := 0; ; turn++ {
		hubs := f.hubs()
		before := f.contact.at()
		f.hub = hubs[turn%len(hubs)]
		err := f.session(ctx, f.hub)
		if ctx.Err() != nil {
			return nil
		}
		if isClosed(f.log.Failed()) || isClosed(f.sight.failed()) {
			return err
		}
		f.o.Log.Info("the connection to the hub ended", zap.String("code", fault.CodeOf(err)), zap.Error(err))
		if f.contact.at() != before {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		if f.doubts() {
			wait = maxPause
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (f *Follower) hubs() []string {
	if len(f.o.Hubs) > 0 {
		return f.o.Hubs
	}
	return f.current.Load().Hub().Endpoints // the genesis names at least one
}

// Close lets go of the data; call it after Run has returned.
func (f *Follower) Close() error { return errors.Join(f.sight.close(), f.log.Close()) }
