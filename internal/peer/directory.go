package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	// maxHead is the most bytes of a head. PROTOCOL 11.6.
	maxHead = 64 << 10
	// maxUnlogged is the most restrictions named at once. PROTOCOL 10.9.
	maxUnlogged = 256
	// maxCards is the most contact cards with one statement.
	maxCards = 64
	// stall is how long one entry may take to be taken or to come.
	stall = 30 * time.Second

	opHandIn  = "take statement"
	opEntries = "exchange entries"
)

// Allow is who may call what at this door: nodes in good standing everything; a suspended node, and the holder of a state
// or steward key, only what hands in a statement, which speaks for itself. PROTOCOL 10.1, 10.10. Errors: Denied, with what
// bars the caller.
func Allow(p wire.Peer, method string) error {
	if method == peerv1.PeerService_HandIn_FullMethodName && (p.IsNode() || p.IsHolder()) {
		return nil
	}
	switch {
	case p.Barred != nil:
		return p.Barred
	case p.IsNode():
		return nil
	}
	return fault.New(fault.Denied, "not-allowed", "call node", "that call is for nodes alone")
}

func noDirectory() error {
	return fault.New(fault.Denied, "unknown-method", "serve peer", "this node gives nothing of the directory")
}

// CompareHeads tells what this node has, and hears what the caller has. PROTOCOL 10.9.
func (s *server) CompareHeads(ctx context.Context, in *peerv1.CompareHeadsRequest) (*peerv1.CompareHeadsResponse, error) {
	from, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if s.mesh == nil {
		return nil, noDirectory()
	}
	theirs, err := headsOf(in)
	if err != nil {
		return nil, err
	}
	s.mesh.heard(from, theirs)
	ours := s.mesh.o.Directory.Heads()
	return &peerv1.CompareHeadsResponse{Head: ours.Head, Unlogged: bytesOf(ours.Unlogged), Contradiction: ours.Contradiction}, nil
}

// GetEntries gives entries in order, restrictions by hash, and last the head. One caller has one such call at a time, and
// one that does not take what comes loses it (Retry "busy", "too-slow"). PROTOCOL 10.9.
func (s *server) GetEntries(in *peerv1.GetEntriesRequest, stream grpc.ServerStreamingServer[peerv1.GetEntriesResponse]) error {
	from, err := caller(stream.Context())
	if err != nil {
		return err
	}
	if s.mesh == nil {
		return noDirectory()
	}
	restrictions, err := hashesOf(in.GetRestrictions())
	if err != nil {
		return err
	}
	end, err := s.mesh.begin(from)
	if err != nil {
		return err
	}
	defer end()
	entries, head := s.mesh.o.Directory.Give(in.GetFrom(), restrictions)
	return pour(stream, entries, head, s.mesh.o.Patience)
}

// pour sends with at most what the stream's window holds ahead of the reader, and ends when nothing is taken for a while:
// a send has no end of its own.
func pour(stream grpc.ServerStreamingServer[peerv1.GetEntriesResponse], entries iter.Seq2[Entry, error], head func() []byte, patience time.Duration) error {
	taken, ended, stop := make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
	defer close(stop)
	go func() { ended <- write(stream, entries, head, taken, stop) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-taken:
			late.Reset(patience)
		case <-late.C:
			return fault.New(fault.Retry, "too-slow", opEntries, "nothing was taken for too long")
		}
	}
}

func write(stream grpc.ServerStreamingServer[peerv1.GetEntriesResponse], entries iter.Seq2[Entry, error], head func() []byte, taken chan<- struct{}, stop <-chan struct{}) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		if err := stream.Send(&peerv1.GetEntriesResponse{Position: e.Position, Statement: e.Statement}); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case taken <- struct{}{}:
		default: // a word is waiting already
		}
	}
	if h := head(); len(h) > 0 {
		return stream.Send(&peerv1.GetEntriesResponse{Head: h})
	}
	return nil
}

// HandIn takes a statement from whoever may bring one; its effect is durable when it answers. Sizes are looked at first,
// then the caller's ration, and only then signatures. Errors: TooLarge "too-large", "too-many"; Retry "too-many"; those of
// the directory. PROTOCOL 10.10.
func (s *server) HandIn(ctx context.Context, in *peerv1.HandInRequest) (*peerv1.HandInResponse, error) {
	by, ok := wire.PeerFrom(ctx)
	if !ok || !by.IsNode() && !by.IsHolder() {
		return nil, fault.New(fault.Unauthenticated, wire.CodeMissing, opHandIn, "only a node or the holder of a key may call this")
	}
	if s.mesh == nil {
		return nil, noDirectory()
	}
	if err := checkSizes(in); err != nil {
		return nil, err
	}
	outcome, position, err := s.mesh.take(ctx, by, in.GetStatement(), in.GetCards())
	return &peerv1.HandInResponse{Outcome: outcome, Position: position}, err
}

func checkSizes(in *peerv1.HandInRequest) error {
	if len(in.GetStatement()) > directory.MaxStatement {
		return fault.New(fault.TooLarge, "too-large", opHandIn, "no statement is that large")
	}
	if len(in.GetCards()) > maxCards {
		return fault.New(fault.TooLarge, "too-many", opHandIn, "too many contact cards with one statement")
	}
	for _, c := range in.GetCards() {
		if len(c) > directory.MaxCard {
			return fault.New(fault.TooLarge, "too-large", opHandIn, "no contact card is that large")
		}
	}
	return nil
}

// take spares itself a look at what a peer brings that was found good a moment ago: of one restriction each node is told
// by many.
func (m *Mesh) take(ctx context.Context, by wire.Peer, statement []byte, cards [][]byte) (string, uint64, error) {
	d := digest(sha256.Sum256(statement))
	if by.IsNode() && len(cards) == 0 && m.spread.knows(d, by.Node) {
		return "on-sight", 0, nil
	}
	name := by.Node.String()
	if by.IsHolder() {
		name = by.Holder.Fingerprint.String()
	}
	if !m.statements.allow(name, m.o.Clock()) {
		return "", 0, fault.New(fault.Retry, "too-many", opHandIn, "this caller brought too many statements").WithHint("try again in a minute")
	}
	if by.IsNode() {
		defer m.spread.bringing(d, by.Node)()
	}
	return m.o.Directory.HandIn(ctx, statement, cards...)
}

// said is either message of a comparison.
type said interface {
	GetHead() []byte
	GetUnlogged() [][]byte
	GetContradiction() []byte
}

func headsOf(m said) (Heads, error) {
	if len(m.GetHead()) > maxHead || len(m.GetContradiction()) > maxHead {
		return Heads{}, fault.New(fault.TooLarge, "too-large", opEntries, "no head is that large")
	}
	unlogged, err := hashesOf(m.GetUnlogged())
	return Heads{Head: m.GetHead(), Unlogged: unlogged, Contradiction: m.GetContradiction()}, err
}

func hashesOf(all [][]byte) ([]directory.Hash, error) {
	if len(all) > maxUnlogged {
		return nil, fault.New(fault.TooLarge, "too-many", opEntries, "more restrictions are named than may be")
	}
	out := make([]directory.Hash, 0, len(all))
	for _, b := range all {
		if len(b) != len(directory.Hash{}) {
			return nil, fault.New(fault.Invalid, "malformed", opEntries, "a hash has 32 bytes")
		}
		out = append(out, directory.Hash(b))
	}
	return out, nil
}

// bytesOf names as many as may be named; the rest is for the next time, when some of these are in the log.
func bytesOf(all []directory.Hash) [][]byte {
	var out [][]byte
	for _, h := range all[:min(len(all), maxUnlogged)] {
		out = append(out, h[:])
	}
	return out
}

// CompareHeads tells a peer what this node has and returns what the peer has, unverified but for its sizes.
// PROTOCOL 10.9.
func (c *Courier) CompareHeads(ctx context.Context, to directory.NodeEntry, ours Heads) (Heads, error) {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	var theirs Heads
	err := c.on(ctx, to, false, func(p peerv1.PeerServiceClient) error {
		out, err := p.CompareHeads(ctx, &peerv1.CompareHeadsRequest{Head: ours.Head, Unlogged: bytesOf(ours.Unlogged), Contradiction: ours.Contradiction})
		if err != nil {
			return err
		}
		theirs, err = headsOf(out)
		return err
	})
	return theirs, err
}

// GetEntries fetches what is wanted, one entry at a time; the call begins when the entries are first asked for. They come
// unverified, but in order and no more restrictions than were asked for (Invalid "out-of-order"). The head is known after
// the last entry, and empty where the peer gave none. Nothing for 30 seconds ends the call. PROTOCOL 10.9.
func (c *Courier) GetEntries(ctx context.Context, from directory.NodeEntry, want Want) (iter.Seq2[Entry, error], func() []byte) {
	var head []byte
	entries := func(yield func(Entry, error) bool) {
		err := c.on(ctx, from, want.From > 0, func(p peerv1.PeerServiceClient) error {
			var err error
			head, err = receive(ctx, p, want, func(e Entry) bool { return yield(e, nil) })
			return err
		})
		if err != nil { // never where yield wanted no more
			yield(Entry{}, err)
		}
	}
	return entries, func() []byte { return head }
}

// receive returns the head; it ends without one, and without an error, where take wants no more.
func receive(ctx context.Context, p peerv1.PeerServiceClient, want Want, take func(Entry) bool) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.GetEntries(ctx, &peerv1.GetEntriesRequest{From: want.From, Restrictions: bytesOf(want.Restrictions)})
	if err != nil {
		return nil, err
	}
	watchdog := time.AfterFunc(stall, cancel)
	defer watchdog.Stop()
	o := order{next: want.From, restrictions: len(want.Restrictions)}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return o.head, nil
		}
		if err != nil {
			return nil, err
		}
		if err := o.check(m); err != nil {
			return nil, err
		}
		watchdog.Stop() // what is done with the entry is not the peer's time
		if len(m.GetStatement()) > 0 && !take(Entry{m.GetPosition(), m.GetStatement()}) {
			return nil, nil
		}
		watchdog.Reset(stall)
	}
}

// order holds what comes against what was asked for.
type order struct {
	next         uint64 // position; 0: no entries
	restrictions int    // that may still come
	head         []byte
}

func (o *order) check(m *peerv1.GetEntriesResponse) error {
	fits := o.head == nil && len(m.GetStatement()) <= directory.MaxStatement && len(m.GetHead()) <= maxHead
	switch {
	case len(m.GetStatement()) == 0:
		fits = fits && len(m.GetHead()) > 0
	case m.GetPosition() == 0:
		o.restrictions--
		fits = fits && o.restrictions >= 0
	default:
		fits = fits && o.next > 0 && m.GetPosition() == o.next
		o.next++
	}
	if !fits {
		return fault.New(fault.Invalid, "out-of-order", opEntries, "the peer gave something else than was asked for")
	}
	if len(m.GetHead()) > 0 {
		o.head = m.GetHead()
	}
	return nil
}

// HandIn hands a statement to a peer, without a greeting: from a suspended node it is the one call that is answered. What
// comes back is the outcome, "logged" with the position, "on-sight" or "kept". Each address of the peer has 3 seconds.
// PROTOCOL 10.10.
func (c *Courier) HandIn(ctx context.Context, to directory.NodeEntry, statement []byte, cards ...[]byte) (outcome string, position uint64, err error) {
	err = c.reach(ctx, to, func(p peerv1.PeerServiceClient) error {
		ctx, cancel := context.WithTimeout(ctx, pushWithin)
		defer cancel()
		out, err := p.HandIn(ctx, &peerv1.HandInRequest{Statement: statement, Cards: cards})
		outcome, position = out.GetOutcome(), out.GetPosition()
		return err
	})
	return outcome, position, err
}
