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
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
)

const (
	// silence is how long a hub may say nothing, heartbeats included, before the follower dials again.
	silence = 3 * heartbeat
	// batch is the most entries synced together.
	batch      = 256
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// FollowerOptions are what the node's side is made from; all are required but Hubs, Alarm and Sync.
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
	// OnSight is called for each restriction newly in force here that did not come from the hub's log, once it is
	// durable, to be pushed to peers; may be nil. It must not wait.
	OnSight func(signed []byte)
}

// Cosigner is a witness's memory and key ([witness.Cosigner]).
type Cosigner interface {
	// Cosign stores the checkpoint, whose root must be root(size), and then signs it. Errors: Conflict "rollback",
	// "not-consistent".
	Cosign(c merkle.Checkpoint, root func(size int64) (tlog.Hash, error), now time.Time) (line []byte, err error)
}

// Follower is the directory as a node has it: its own verified copy of the log, kept up to date by Run, usable
// without the hub (promise P8).
type Follower struct {
	o       FollowerOptions
	log     *Log
	cards   *Cards
	sight   *sight
	history *directory.History // the log alone
	current *directory.Current // and with the restrictions that are not in it yet
	contact *contact

	// Used by OpenFollower, then by the goroutine of Run alone.
	debt    debt
	skips   skips
	hub     string          // of this session
	doubted map[string]bool // by address; as many as hubs are named
}

// OpenFollower opens the data and verifies every entry, from the genesis with the right fingerprint on.
// Errors: Denied "wrong-genesis", Usage "no-genesis" where there is none yet, those of OpenLog.
func OpenFollower(o FollowerOptions) (*Follower, error) {
	log, err := OpenLog(filepath.Join(o.Data, logFile), o.Sync)
	if err != nil {
		return nil, err
	}
	f := &Follower{o: o, log: log, history: &directory.History{}, current: &directory.Current{},
		contact: openContact(o.Data, o.Now()), doubted: map[string]bool{}}
	if err := f.load(); err != nil {
		_ = log.Close()
		return nil, err
	}
	if f.sight, err = openSight(o.Data, f.current, o.Sync, o.Log); err != nil {
		_ = log.Close()
		return nil, err
	}
	return f, nil
}

func (f *Follower) load() error {
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
	if _, err := found(genesis, f.o.Fingerprint); err != nil {
		return err
	}
	if err := f.history.Fold(f.log.Entries(1), f.skipped); err != nil {
		return err
	}
	f.tell()
	s := f.history.Newest()
	f.current.Store(s)
	if f.cards, err = OpenCards(filepath.Join(f.o.Data, cardsName)); err != nil {
		return err
	}
	return f.cards.Sweep(s.At(f.o.Now()))
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

// Freshness is how old the directory may be, and when the hub was last heard.
func (f *Follower) Freshness() (Freshness, time.Time) {
	last := f.contact.at()
	return freshnessAt(last, f.o.Now()), last
}

// CheckFresh refuses to send on a directory that is stale. Retry "stale-directory".
func (f *Follower) CheckFresh() error {
	if state, _ := f.Freshness(); state != Stale {
		return nil
	}
	return fault.New(fault.Retry, "stale-directory", "check directory", "the directory was not confirmed by the hub for 30 days").
		WithHint("restore the connection to the hub")
}

// Restrict puts a restricting statement in force that came by another road than the log: durable and in force on
// return, and brought to the hub by Run. It reports whether it was news, to be passed on. Errors: Invalid
// "not-restricting", and those of directory.CheckOnSight and directory.Restrict. Promise P7; PROTOCOL 4.6.
func (f *Follower) Restrict(signed []byte) (bool, error) {
	st, err := directory.ParseStatement(signed)
	if err != nil {
		return false, err
	}
	if st.Restricting() {
		if err := directory.CheckOnSight(st, f.o.Now()); err != nil {
			return false, err
		}
	}
	return f.sight.take(st, f.current)
}

// Unlogged are the restrictions in force here that the log does not have yet, for peers to hear of.
func (f *Follower) Unlogged() []directory.Statement { return f.sight.unlogged() }

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
		if isClosed(f.log.Failed()) {
			return err
		}
		f.o.Log.Info("the connection to the hub ended", zap.String("code", fault.CodeOf(err)), zap.Error(err))
		if f.contact.at() != before {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		if f.doubted[f.hub] {
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

// session follows one hub over one connection.
func (f *Follower) session(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := NewClient(addr, f.current, f.o.Now, f.o.TLS)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	// First, because a hub that has suspended us takes our statements and lets us follow no more.
	f.bring(ctx, client)
	var helper sync.WaitGroup
	helper.Go(func() { f.bringing(ctx, client) })
	defer helper.Wait()
	defer cancel()
	return f.follow(ctx, client)
}

// bring hands restrictions that were only seen to the hub, which must include them.
func (f *Follower) bring(ctx context.Context, client *Client) {
	for _, st := range f.Unlogged() {
		if _, err := client.Propose(ctx, st.Signed()); err != nil && ctx.Err() == nil {
			f.o.Log.Warn("the hub did not take a restriction", zap.Stringer("subject", st.Subject()), zap.Error(err))
		}
	}
}

func (f *Follower) bringing(ctx context.Context, client *Client) {
	for {
		select {
		case <-f.sight.news:
		case <-time.After(maxPause):
		case <-ctx.Done():
			return
		}
		f.bring(ctx, client)
	}
}

// follow reads entries as they come and stores as many as have come with one sync.
func (f *Follower) follow(ctx context.Context, client *Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.api.Follow(ctx, &directoryv1.FollowRequest{From: f.log.Size() + 1})
	if err != nil {
		return err
	}
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	come := make(chan arrival, batch)
	failed := make(chan error, 1)
	go func() {
		defer close(come)
		failed <- receive(ctx, stream, come, func() { watchdog.Reset(silence) })
	}()
	for first := range come {
		if err := f.absorb(drain(first, come)); err != nil {
			return err
		}
	}
	err = <-failed
	if code := fault.CodeOf(err); code == "beyond-log" || code == codeJunk {
		return f.doubt(err)
	}
	return err
}

// arrival is what came from the hub: an entry, or a heartbeat, which has position 0.
type arrival struct {
	position  uint64
	statement []byte
}

// receive passes on what comes. It keeps nothing of a message but what is needed, and nothing larger than an entry may
// be: with the queue and the batch, 32 MiB at the most.
func receive(ctx context.Context, stream grpc.ServerStreamingClient[directoryv1.FollowResponse], come chan<- arrival, heard func()) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		heard()
		if len(r.GetStatement()) > directory.MaxStatement {
			return junk(nil)
		}
		select {
		case come <- arrival{r.GetPosition(), r.GetStatement()}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain takes what has come besides the first, without waiting.
func drain(first arrival, come <-chan arrival) []arrival {
	all := []arrival{first}
	for len(all) < batch {
		select {
		case r, ok := <-come:
			if !ok {
				return all
			}
			all = append(all, r)
		default:
			return all
		}
	}
	return all
}

// absorb stores entries, then puts them in force, then notes the contact. Of entries that may not be stored nothing is
// left but doubt.
func (f *Follower) absorb(come []arrival) error {
	judged, refused := f.acceptable(come)
	entries := make([][]byte, len(judged))
	for i, v := range judged {
		entries[i] = v.entry
	}
	if err := f.log.Append(entries...); err != nil { // commit
		return err
	}
	// If the machine stops here the entries are read from the log at the next start.
	for _, v := range judged {
		f.apply(v)
	}
	if len(judged) > 0 {
		f.sight.rebase(f.history, f.current)
	}
	f.tell()
	if refused != nil {
		return f.doubt(refused)
	}
	if f.doubted[f.hub] {
		return nil
	}
	if err := f.contact.heard(f.o.Now()); err != nil {
		f.o.Log.Warn("the time of the last contact was not kept", zap.Error(err))
	}
	return nil
}

// apply adds one stored entry to the history, or skips it as everyone does.
func (f *Follower) apply(v verdict) {
	before := f.history.Newest()
	f.history.Add(v.next)
	if v.refused != nil {
		f.skipped(v.next.Position(), v.refused)
		return
	}
	delete(f.doubted, f.hub)
	if err := f.cards.replace(before.At(f.o.Now()), v.statement); err != nil {
		f.o.Log.Error("a replaced contact card was not deleted", zap.Error(err))
	}
}

// Close lets go of the data; call it after Run has returned.
func (f *Follower) Close() error { return errors.Join(f.sight.close(), f.log.Close()) }
