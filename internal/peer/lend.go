package peer

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	// lendWithin is how long a connection that was lent may take until both ends have greeted. PROTOCOL 10.5.
	lendWithin = time.Minute
	// bulkWithin is how long a node that is asked for a second connection may take; then the first serves.
	bulkWithin = 20 * time.Second

	opCollect = "collect"
)

// Roads that a message takes to another node.
const (
	RoadDirect  = "direct"
	RoadCollect = "collect"
)

// Collect takes a connection that the caller lends, and calls the caller over it for as long as it lasts. PROTOCOL 10.5.
func (s *server) Collect(stream grpc.BidiStreamingServer[peerv1.CollectRequest, peerv1.CollectResponse]) error {
	from, err := caller(stream.Context())
	if err != nil {
		return err
	}
	if s.mesh == nil {
		return fault.New(fault.Denied, "unknown-method", "serve peer", "this node calls nobody")
	}
	first, err := firstOf(stream)
	if err != nil {
		return err
	}
	c := s.mesh.o.Courier
	bulk := first.GetBulk()
	t := newTunnel(from, c.piece(), func() ([]byte, error) {
		m, err := first, error(nil)
		if first = nil; m == nil {
			m, err = stream.Recv()
		}
		return m.GetData(), err
	}, func(b []byte) error { return stream.Send(&peerv1.CollectResponse{Data: b}) }, func() {})
	err = c.borrow(stream.Context(), linkName{from, bulk}, t, func() {
		t.sending.Lock()
		defer t.sending.Unlock()
		_ = stream.Send(&peerv1.CollectResponse{Bulk: true}) // where it fails the tunnel ends by itself
	})
	if why := t.why(); fault.Is(why, fault.TooLarge) {
		return why
	}
	return err
}

// firstOf waits for the first message no longer than for all else that begins a connection.
func firstOf(stream grpc.BidiStreamingServer[peerv1.CollectRequest, peerv1.CollectResponse]) (*peerv1.CollectRequest, error) {
	type got struct {
		m   *peerv1.CollectRequest
		err error
	}
	first := make(chan got, 1)
	go func() {
		m, err := stream.Recv()
		first <- got{m, err}
	}()
	select {
	case f := <-first:
		return f.m, f.err
	case <-time.After(lendWithin):
		return nil, fault.New(fault.Retry, "too-slow", opCollect, "nothing came for too long")
	}
}

// lent are the connections that other nodes lend to this one.
type lent struct {
	mu    sync.Mutex
	links map[linkName]*link // guarded by mu
	news  chan struct{}      // guarded by mu; closed and replaced when one comes
	ended bool               // guarded by mu
}

// borrow uses a lent connection until it ends, or a newer one takes its place.
func (c *Courier) borrow(ctx context.Context, name linkName, t *tunnel, ask func()) error {
	defer func() { _ = t.Close() }()
	conn, err := wire.Dial(name.node.State().String()+":0", wire.ClientOptions{
		TLS: c.tls(name.node), Changed: c.current.Changed, Keepalive: c.keepalive, Open: once(t),
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	l := &link{addr: t.RemoteAddr().String(), conn: conn, client: peerv1.NewPeerServiceClient(conn), tunnel: t, ask: ask}
	if !c.lent.keep(name, l) {
		return fault.New(fault.Retry, "busy", opCollect, "this node is about to stop")
	}
	defer c.lent.drop(name, l)
	greeting, cancel := context.WithTimeout(ctx, lendWithin)
	err = c.greet(greeting, name.node, l)
	cancel()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.over:
		return nil
	}
}

// once gives the tunnel to the first who asks: when it is over there is no other.
func once(t *tunnel) func(context.Context) (net.Conn, error) {
	var taken sync.Once
	return func(context.Context) (net.Conn, error) {
		var conn net.Conn
		taken.Do(func() { conn = t })
		if conn == nil {
			return nil, fault.New(fault.Retry, "outbound-only", opCollect, "the connection that the node lent is over")
		}
		return conn, nil
	}
}

// keep puts a link in the place of the one before, which ends; false when nothing is taken any more.
func (x *lent) keep(name linkName, l *link) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return false
	}
	if old := x.links[name]; old != nil {
		_ = old.tunnel.Close()
	}
	x.links[name] = l
	close(x.news)
	x.news = make(chan struct{})
	return true
}

func (x *lent) drop(name linkName, l *link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.links[name] == l {
		delete(x.links, name)
	}
}

// get is the link of that name, and what is closed when another comes.
func (x *lent) get(name linkName) (*link, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.links[name], x.news
}

// nodes are those that lend a connection for envelopes.
func (x *lent) nodes() []authority.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []authority.Node
	for name := range x.links {
		if !name.bulk {
			all = append(all, name.node)
		}
	}
	return all
}

// end gives everything back and takes nothing more.
func (x *lent) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	for _, l := range x.links {
		_ = l.tunnel.Close()
	}
}

// borrowed is the lent connection to use for a node; for attachments it asks for one of their own first, and waits a while.
func (c *Courier) borrowed(ctx context.Context, name linkName) (*link, bool) {
	first, _ := c.lent.get(linkName{name.node, false})
	if !name.bulk || first == nil {
		return first, first != nil
	}
	asked := false
	late := time.NewTimer(bulkWithin)
	defer late.Stop()
	for {
		l, news := c.lent.get(name)
		if l != nil {
			return l, true
		}
		if !asked {
			asked = true
			first.ask()
		}
		select {
		case <-news:
		case <-late.C:
			return first, true
		case <-ctx.Done():
			return first, true
		}
	}
}

// Road is how a message would go to a node now: over an open connection of ours, "direct", over one that the node lends,
// "collect", or "" where there is neither. Right after a call it is the way that the call took.
func (c *Courier) Road(node authority.Node) string {
	if c.direct(linkName{node, false}) != nil {
		return RoadDirect
	}
	if l, _ := c.lent.get(linkName{node, false}); l != nil {
		return RoadCollect
	}
	return ""
}

// lends reports whether a node lends a connection now.
func (c *Courier) lends(node authority.Node) bool {
	l, _ := c.lent.get(linkName{node, false})
	return l != nil
}

// collect opens a call that lends a connection to a node.
func (c *Courier) collect(ctx context.Context, to directory.NodeEntry, bulk bool) (grpc.BidiStreamingClient[peerv1.CollectRequest, peerv1.CollectResponse], error) {
	l, err := c.link(to, bulk)
	if err != nil {
		return nil, err
	}
	var stream grpc.BidiStreamingClient[peerv1.CollectRequest, peerv1.CollectResponse]
	err = c.over(ctx, to, linkName{to.Node, bulk}, l, func(p peerv1.PeerServiceClient) error {
		var err error
		if stream, err = p.Collect(ctx); err != nil {
			return err
		}
		return stream.Send(&peerv1.CollectRequest{Bulk: bulk})
	})
	return stream, err
}
