package peer

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// compareWithin bounds the exchange of heads, seeWithin the fetching of restrictions, mendWithin that of entries: the
	// directory takes from one peer at a time, and a peer that gives drop by drop must not keep it from the others.
	compareWithin = 10 * time.Second
	seeWithin     = 30 * time.Second
	mendWithin    = 10 * time.Minute
	// glanceEvery is how often a node that nobody can dial asks a peer what it has missed. With the time that a
	// restriction takes to reach everybody else it stays under the 10 s of promise P7.
	glanceEvery = 4 * time.Second
)

// Directory is the node's own copy of the directory log, and what it knows beyond it. Everything that comes from a peer
// is verified there; this room verifies nothing.
type Directory interface {
	// Heads is what the node has, to be compared.
	Heads() Heads
	// Compare says what to fetch from a peer that has theirs. A contradiction among the heads is kept as proof, with who
	// showed it.
	Compare(by authority.Node, theirs Heads) (Want, error)
	// Give is what a peer asked for: entries from a position on (0: none), then restrictions by hash, as far as they are
	// known; after the last, the function returns the confirmed head that covers the entries, or nothing.
	Give(from uint64, restrictions []directory.Hash) (iter.Seq2[Entry, error], func() []byte)
	// Mend takes what a peer gave; head is asked for after the last entry, and may be empty.
	Mend(ctx context.Context, entries iter.Seq2[Entry, error], head func() []byte) error
	// HandIn takes a statement that was brought; its effect is durable when it returns. The outcome is "logged", with the
	// position, "on-sight" or "kept".
	HandIn(ctx context.Context, statement []byte, cards ...[]byte) (outcome string, position uint64, err error)
}

// Heads is what one node has of the directory. PROTOCOL 10.9.
type Heads struct {
	// Head is the newest confirmed head, a signed note; empty where there is none.
	Head []byte
	// Unlogged are restrictions in force that the log does not have; at most 256.
	Unlogged []directory.Hash
	// Contradiction is a head that contradicts another; empty where none does.
	Contradiction []byte
}

// Want is what is to be fetched from a peer.
type Want struct {
	// From is the first position; 0 for no entries.
	From         uint64
	Restrictions []directory.Hash
}

func (w Want) nothing() bool { return w.From == 0 && len(w.Restrictions) == 0 }

// Entry is a signed statement; Position is 0 for a restriction that is not in the log.
type Entry struct {
	Position  uint64
	Statement []byte
}

// MeshOptions are what a mesh is made from; all are required but Patience.
type MeshOptions struct {
	// Self is the node's own name.
	Self    authority.Node
	Current *directory.Current
	// Directory is where everything goes that peers bring.
	Directory Directory
	Courier   *Courier
	Clock     func() time.Time
	Log       *zap.Logger
	// Patience is how long a peer may take over one entry that it asked for; 30 s if zero.
	Patience time.Duration
}

// Mesh cures the directory among peers, the hub up or down: it compares heads after each greeting and fetches what is
// missing, and passes restrictions on at once. Give it to Register, its Greeted to the courier, its OnSight to the
// directory, and run it. PROTOCOL 10.9, 10.10.
type Mesh struct {
	o       MeshOptions
	spread  *spread
	compare *rounds
	// A peer's word makes us dial and fetch, and each statement brought costs signature checks: both are rationed.
	words, statements *ration

	mu      sync.Mutex
	told    map[authority.Node]Heads // guarded by mu; by peers that called, until their round
	serving map[authority.Node]bool  // guarded by mu; who is being given entries
}

// NewMesh makes a mesh that does nothing yet.
func NewMesh(o MeshOptions) *Mesh {
	if o.Patience == 0 {
		o.Patience = stall
	}
	m := &Mesh{o: o, told: map[authority.Node]Heads{}, serving: map[authority.Node]bool{},
		words: newRation(1.0/60, 4), statements: newRation(4, 256)}
	m.spread = newSpread(o)
	m.compare = newRounds(m.round)
	return m
}

// Run compares and spreads until ctx ends; before it runs, what is to be done waits.
func (m *Mesh) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	wait.Go(func() { m.spread.visits.run(ctx) })
	wait.Go(func() { m.compare.run(ctx) })
	wait.Go(func() { m.glance(ctx) })
	wait.Wait()
	m.o.Courier.lent.end() // or the server that is about to stop would wait for the nodes that lend
	return nil
}

// piece is how much of a file goes into one message; a node without a mesh has an ordinary line.
func (m *Mesh) piece() int {
	if m == nil {
		return slice
	}
	return m.o.Courier.piece()
}

// OnSight passes on a restriction that is newly in force here and did not come from the hub's log: at once to every peer
// with a live connection, and within seconds to the others that can be dialled. It returns at once. DESIGN 6.
func (m *Mesh) OnSight(signed []byte) { m.spread.tell(signed) }

// Greeted has heads compared with a node that this one has just greeted. It returns at once. PROTOCOL 10.9.
func (m *Mesh) Greeted(node authority.Node) { m.compare.ask(node) }

// heard is the other side of Greeted: the peer compares, and has told us what it has.
func (m *Mesh) heard(from authority.Node, theirs Heads) {
	if !m.words.allow(from.String(), m.o.Clock()) {
		return
	}
	m.mu.Lock()
	m.told[from] = theirs
	m.mu.Unlock()
	m.compare.ask(from)
}

func (m *Mesh) heardFrom(node authority.Node) (Heads, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.told[node]
	delete(m.told, node)
	return h, ok
}

// round compares with one peer, and fetches what this node lacks. What the peer lacks it fetches itself.
func (m *Mesh) round(ctx context.Context, node authority.Node) {
	theirs, told := m.heardFrom(node)
	to, ok := dialable(m.o, node)
	if !ok {
		return
	}
	if err := m.mend(ctx, to, theirs, told); err != nil && ctx.Err() == nil {
		m.o.Log.Debug("the directory was not compared with a peer", zap.Stringer("peer", node), zap.String("code", fault.CodeOf(err)), zap.Error(err))
	}
}

func (m *Mesh) mend(ctx context.Context, to directory.NodeEntry, theirs Heads, told bool) error {
	if !told {
		var err error
		if theirs, err = m.o.Courier.CompareHeads(ctx, to, m.o.Directory.Heads()); err != nil {
			return err
		}
	}
	want, err := m.o.Directory.Compare(to.Node, theirs)
	if err != nil || want.nothing() {
		return err
	}
	within := mendWithin
	if want.From == 0 {
		within = seeWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	entries, head := m.o.Courier.GetEntries(ctx, to, want)
	return m.o.Directory.Mend(ctx, m.spread.watching(to.Node, entries), head)
}

// glance lets a node that declares no address hear in time what nobody can push to it.
func (m *Mesh) glance(ctx context.Context) {
	tick := time.NewTicker(glanceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if self, ok := m.o.Current.Load().At(m.o.Clock()).Node(m.o.Self); !ok || len(self.Endpoints) > 0 {
			continue
		}
		if live := m.o.Courier.Live(); len(live) > 0 {
			m.compare.ask(live[rand.IntN(len(live))])
		}
	}
}

// dialable is a peer in good standing that declares an address, or lends a connection.
func dialable(o MeshOptions, node authority.Node) (directory.NodeEntry, bool) {
	e, ok := o.Current.Load().At(o.Clock()).Node(node)
	return e, ok && node != o.Self && e.Status == directory.Active && (len(e.Endpoints) > 0 || o.Courier.lends(node))
}

// begin takes the one place that a peer has to be given entries. Retry "busy".
func (m *Mesh) begin(node authority.Node) (func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.serving[node] {
		return nil, fault.New(fault.Retry, "busy", "give entries", "this peer is being given entries already")
	}
	m.serving[node] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.serving, node)
	}, nil
}
