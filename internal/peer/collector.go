package peer

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
)

const (
	// A connection that ends is lent anew after a pause, twice as long each time up to one of these two.
	firstPause    = time.Second
	lastPause     = time.Minute
	lastPauseThin = 5 * time.Minute
	// settled is how long a connection has to last for the pauses to begin anew.
	settled = 30 * time.Second
	// Over a thin line few are set up at once, each with so much time for itself: all at once none would be in time.
	thinSlots = 4
	thinSlot  = 10 * time.Second
	// lookEvery and lookPause are how often, at the latest and at the soonest, the directory is asked who the peers are.
	lookEvery = time.Minute
	lookPause = 200 * time.Millisecond
)

// CollectorOptions are what a collector is made from; all are required but the last two.
type CollectorOptions struct {
	Self    authority.Node
	Current *directory.Current
	Courier *Courier
	Clock   func() time.Time
	Log     *zap.Logger
	// Always collects even where the directory names an address of this node; without it only where there is none.
	Always bool
	// Thin is for a line of some 64 kbit/s.
	Thin bool
}

// Collector makes a node that nobody can dial reachable: it lends a connection to every peer in good standing that has an
// address. Serve the node's peer service on its Listener, and run it. For each peer that
// is two connections, one within the other; a peer that does not answer costs the others nothing. PROTOCOL 10.5.
type Collector struct {
	o     CollectorOptions
	door  *lentDoor
	slots chan struct{} // nil: any number

	mu   sync.Mutex
	held map[linkName]bool // guarded by mu
	wait sync.WaitGroup
}

// NewCollector makes a collector that does nothing yet.
func NewCollector(o CollectorOptions) *Collector {
	c := &Collector{o: o, door: &lentDoor{conns: make(chan net.Conn), closed: make(chan struct{})}, held: map[linkName]bool{}}
	if o.Thin {
		c.slots = make(chan struct{}, thinSlots)
	}
	return c
}

// Listener yields the connections over which peers call this node.
func (c *Collector) Listener() net.Listener { return c.door }

// Run lends connections until ctx ends; then they are over.
func (c *Collector) Run(ctx context.Context) error {
	defer c.wait.Wait()
	for {
		changed := c.o.Current.Changed()
		for _, e := range c.o.Current.Load().At(c.o.Clock()).Nodes() {
			if to, ok := c.wanted(e.Node); ok {
				c.begin(ctx, linkName{to.Node, false})
			}
		}
		if !sleep(ctx, lookPause) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(lookEvery):
		}
	}
}

// wanted is a peer to lend to, as the directory of now has it.
func (c *Collector) wanted(node authority.Node) (directory.NodeEntry, bool) {
	view := c.o.Current.Load().At(c.o.Clock())
	self, ok := view.Node(c.o.Self)
	if !ok || !c.o.Always && len(self.Endpoints) > 0 {
		return directory.NodeEntry{}, false
	}
	to, ok := view.Node(node)
	return to, ok && node != c.o.Self && len(to.Endpoints) > 0 && view.CheckNode(node) == nil
}

// begin lends a connection where none is lent yet.
func (c *Collector) begin(ctx context.Context, name linkName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[name] || ctx.Err() != nil {
		return
	}
	c.held[name] = true
	c.wait.Go(func() {
		c.hold(ctx, name)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.held, name)
	})
}

// hold lends again and again; a connection for attachments once, since the peer asks when it needs another.
func (c *Collector) hold(ctx context.Context, name linkName) {
	last := lastPause
	if c.o.Thin {
		last = lastPauseThin
	}
	for pause := firstPause; ; pause = min(2*pause, last) {
		to, ok := c.wanted(name.node)
		if !ok {
			return
		}
		began := time.Now()
		err := c.lend(ctx, to, name)
		if ctx.Err() != nil || name.bulk {
			return
		}
		c.o.Log.Debug("a lent connection ended", zap.Stringer("peer", name.node), zap.String("code", fault.CodeOf(err)), zap.Error(err))
		if time.Since(began) > settled {
			pause = firstPause
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
	}
}

// lend lends one connection until it ends.
func (c *Collector) lend(ctx context.Context, to directory.NodeEntry, name linkName) error {
	if !c.slot(ctx) {
		return ctx.Err()
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.o.Courier.collect(call, to, name.bulk)
	if err != nil {
		return err
	}
	t := newTunnel(to.Node, c.o.Courier.piece(), func() ([]byte, error) {
		m, err := stream.Recv()
		if m.GetBulk() && !name.bulk {
			c.begin(ctx, linkName{to.Node, true})
		}
		return m.GetData(), err
	}, func(b []byte) error { return stream.Send(&peerv1.CollectRequest{Data: b}) }, cancel)
	if !c.door.admit(call, t) {
		_ = t.Close()
		return call.Err()
	}
	select {
	case <-t.over:
	case <-call.Done():
		_ = t.Close()
	}
	return t.why()
}

// slot waits for the line's turn and gives it back after a while.
func (c *Collector) slot(ctx context.Context) bool {
	if c.slots == nil {
		return true
	}
	select {
	case c.slots <- struct{}{}:
		time.AfterFunc(thinSlot, func() { <-c.slots })
		return true
	case <-ctx.Done():
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// lentDoor is the listener of connections that this node lends.
type lentDoor struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (d *lentDoor) admit(ctx context.Context, conn net.Conn) bool {
	select {
	case d.conns <- conn:
		return true
	case <-d.closed:
	case <-ctx.Done():
	}
	return false
}

// Accept gives the next connection; net.ErrClosed after Close.
func (d *lentDoor) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections that were given stay.
func (d *lentDoor) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// Addr is a name alone.
func (d *lentDoor) Addr() net.Addr { return collectAddr{} }

type collectAddr struct{}

// Network is for logs.
func (collectAddr) Network() string { return "collect" }

// String is for logs.
func (collectAddr) String() string { return "collect" }
