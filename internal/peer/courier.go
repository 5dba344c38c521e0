package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// greetEvery is how often an open connection is greeted again.
const greetEvery = time.Hour

// Greeting makes our hello for a peer and checks the peer's.
type Greeting interface {
	Hello(ctx context.Context, to authority.Node) ([]byte, error)
	Greeted(ctx context.Context, from authority.Node, hello []byte) error
}

// Courier carries messages to other nodes. Close it after the exchange has stopped.
type Courier struct {
	current  *directory.Current
	tls      func(authority.Node) *tls.Config
	clock    func() time.Time
	mu       sync.Mutex
	greeting Greeting             // guarded by mu; set once the exchange exists
	heard    func(authority.Node) // guarded by mu; told after each greeting
	links    map[linkName]*link   // guarded by mu
	lent     lent
	// As SmallState sets them; zero for an ordinary line.
	thin      bool
	keepalive time.Duration
	transfers chan struct{}
}

const (
	// thinSlice is the most bytes of a file that a node on a thin line puts into one message. DESIGN 8.
	thinSlice = 16 << 10
	// thinTransfers are the files that such a node sends at once: each may have a couple of seconds' worth under way.
	thinTransfers = 2
	// thinKeepalive is how long a thin line is left in peace.
	thinKeepalive = 15 * time.Minute
	// warmEvery is how often the connection for envelopes is used while a file is under way: a new one would take a thin line
	// longer than an urgent message may.
	warmEvery = 15 * time.Minute
)

// SmallState makes the courier one for a line of some 64 kbit/s: small slices, few files at once, little under way on each
// connection, long silences. It must be called before the courier is used.
func (c *Courier) SmallState() {
	c.thin, c.keepalive, c.transfers = true, thinKeepalive, make(chan struct{}, thinTransfers)
}

// piece is how much of a file, or of a lent connection, goes into one message.
func (c *Courier) piece() int {
	if c.thin {
		return thinSlice
	}
	return slice
}

// Greet sets who makes hellos, and who is told that a node was greeted (may be nil); before that, none are exchanged.
func (c *Courier) Greet(g Greeting, heard func(authority.Node)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeting, c.heard = g, heard
}

// NewCourier makes a courier; tlsFor gives the client configuration that accepts one node alone.
func NewCourier(current *directory.Current, clock func() time.Time, tlsFor func(authority.Node) *tls.Config) *Courier {
	return &Courier{current: current, tls: tlsFor, clock: clock, links: map[linkName]*link{},
		lent: lent{links: map[linkName]*link{}, news: make(chan struct{})}}
}

type linkName struct {
	node authority.Node
	bulk bool
}

// link is one connection to a peer.
type link struct {
	addr   string
	conn   *grpc.ClientConn
	client peerv1.PeerServiceClient
	// tunnel and ask are set where the peer lent the connection: ask asks it for another, for attachments.
	tunnel  *tunnel
	ask     func()
	mu      sync.Mutex
	greeted time.Time // guarded by mu
}

// Close ends all connections.
func (c *Courier) Close() {
	c.lent.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, l := range c.links {
		_ = l.conn.Close()
		delete(c.links, name)
	}
}

// link finds or makes the connection to a node. A node that moved gets a new one.
func (c *Courier) link(to directory.NodeEntry, bulk bool) (*link, error) {
	if len(to.Endpoints) == 0 {
		return nil, outboundOnly()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := linkName{to.Node, bulk}
	l := c.links[name]
	if l != nil && declared(to, l.addr) {
		return l, nil
	}
	if l != nil {
		_ = l.conn.Close()
	}
	return c.dial(to, name, to.Endpoints[0])
}

func outboundOnly() error {
	return fault.New(fault.Retry, "outbound-only", "reach node", "the node declares no address: it has to dial us")
}

func declared(to directory.NodeEntry, addr string) bool {
	for _, e := range to.Endpoints {
		if e == addr {
			return true
		}
	}
	return false
}

// dial must be called with mu held.
func (c *Courier) dial(to directory.NodeEntry, name linkName, addr string) (*link, error) {
	conn, err := c.open(to.Node, addr)
	if err != nil {
		return nil, err
	}
	l := &link{addr: addr, conn: conn, client: peerv1.NewPeerServiceClient(conn)}
	c.links[name] = l
	return l, nil
}

func (c *Courier) open(node authority.Node, addr string) (*grpc.ClientConn, error) {
	return wire.Dial(addr, wire.ClientOptions{TLS: c.tls(node), Changed: c.current.Changed, Thin: c.thin, Keepalive: c.keepalive})
}

// failed turns to the node's next address when this one does not answer.
func (c *Courier) failed(to directory.NodeEntry, bulk bool, l *link, err error) {
	if !fault.Is(err, fault.Retry) || len(to.Endpoints) < 2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := linkName{to.Node, bulk}
	if c.links[name] != l {
		return
	}
	_ = l.conn.Close()
	delete(c.links, name)
	for i, e := range to.Endpoints {
		if e == l.addr {
			_, _ = c.dial(to, name, to.Endpoints[(i+1)%len(to.Endpoints)]) // a bad address shows at the next call
			return
		}
	}
}

// greet exchanges hellos when it has not been done on this connection lately. PROTOCOL 10.2.
func (c *Courier) greet(ctx context.Context, to authority.Node, l *link) error {
	c.mu.Lock()
	g, heard := c.greeting, c.heard
	c.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if g == nil || c.clock().Sub(l.greeted) < greetEvery {
		return nil
	}
	if err := handshake(ctx, g, to, l.client); err != nil {
		return err
	}
	l.greeted = c.clock()
	if heard != nil {
		heard(to)
	}
	return nil
}

// on runs one call over the right connection.
func (c *Courier) on(ctx context.Context, to directory.NodeEntry, bulk bool, call func(peerv1.PeerServiceClient) error) error {
	name := linkName{to.Node, bulk}
	l, err := c.pick(ctx, to, name)
	if err != nil {
		return err
	}
	return c.over(ctx, to, name, l, call)
}

// pick prefers an open connection of ours, then one that the node lends: who lends cannot be dialled, whatever address the
// directory has. Only then the node is dialled.
func (c *Courier) pick(ctx context.Context, to directory.NodeEntry, name linkName) (*link, error) {
	if l := c.direct(name); l != nil && declared(to, l.addr) {
		return l, nil
	}
	if l, ok := c.borrowed(ctx, name); ok {
		return l, nil
	}
	return c.link(to, name.bulk)
}

// over runs one call over one connection, greeting the node first.
func (c *Courier) over(ctx context.Context, to directory.NodeEntry, name linkName, l *link, call func(peerv1.PeerServiceClient) error) error {
	err := c.greet(ctx, to.Node, l)
	if err == nil {
		err = call(l.client)
	}
	if fault.CodeOf(err) == codeNotGreeted {
		// The node has started since: the same call again, once it knows who calls.
		l.forget()
		if err = c.greet(ctx, to.Node, l); err == nil {
			err = call(l.client)
		}
	}
	if err != nil {
		c.failed(to, name.bulk, l, err)
	}
	return err
}

// isLive reports whether a connection to a node is open now.
func (c *Courier) isLive(node authority.Node) bool {
	_, ok := c.openLink(node)
	return ok
}

// Live are the nodes to which a connection is open now.
func (c *Courier) Live() []authority.Node {
	all := c.lent.nodes()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, l := range c.links {
		if !name.bulk && l.conn.GetState() == connectivity.Ready && !slices.Contains(all, name.node) {
			all = append(all, name.node)
		}
	}
	return all
}

// direct is the connection that we dialled, where it is open now.
func (c *Courier) direct(name linkName) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[name]; l != nil && l.conn.GetState() == connectivity.Ready {
		return l
	}
	return nil
}

func (c *Courier) openLink(node authority.Node) (*link, bool) {
	l := c.direct(linkName{node, false})
	if l == nil {
		l, _ = c.lent.get(linkName{node, false})
	}
	return l, l != nil
}

// reach runs calls over the open connection to a node; where there is none, or it does not answer, over one to each of the
// node's addresses in turn. Those are closed afterwards: to tell everybody something once must not leave everybody
// connected with everybody. Nobody is greeted.
func (c *Courier) reach(ctx context.Context, to directory.NodeEntry, call func(peerv1.PeerServiceClient) error) error {
	if l, ok := c.openLink(to.Node); ok {
		if err := call(l.client); !fault.Is(err, fault.Retry) || ctx.Err() != nil {
			return err
		}
	}
	err := outboundOnly()
	for _, addr := range to.Endpoints {
		if err = c.reachAt(to.Node, addr, call); !fault.Is(err, fault.Retry) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (c *Courier) reachAt(node authority.Node, addr string, call func(peerv1.PeerServiceClient) error) error {
	conn, err := c.open(node, addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return call(peerv1.NewPeerServiceClient(conn))
}

// Deliver hands over an envelope and returns the peer's receipt, unverified.
func (c *Courier) Deliver(ctx context.Context, to directory.NodeEntry, envelope []byte) ([]byte, error) {
	var receipt []byte
	err := c.on(ctx, to, false, func(p peerv1.PeerServiceClient) error {
		out, err := p.Deliver(ctx, &peerv1.DeliverRequest{Envelope: envelope})
		receipt = out.GetReceipt()
		return err
	})
	return receipt, err
}

// AttachmentStatus asks how much of an attachment the peer has.
func (c *Courier) AttachmentStatus(ctx context.Context, to directory.NodeEntry, a message.AttachmentRef) (message.Stored, error) {
	var st message.Stored
	err := c.on(ctx, to, true, func(p peerv1.PeerServiceClient) error {
		out, err := p.AttachmentStatus(ctx, refMessage(a))
		st = message.Stored{Bytes: out.GetStored(), Complete: out.GetComplete(), Receipt: out.GetReceipt()}
		return err
	})
	return st, err
}

func refMessage(a message.AttachmentRef) *peerv1.AttachmentStatusRequest {
	return &peerv1.AttachmentStatusRequest{Sender: a.Message.Sender.String(), MessageId: a.Message.ID.Bytes(), Index: a.Index}
}

// PushAttachment sends sealed bytes from an offset on. Memory is one slice.
func (c *Courier) PushAttachment(ctx context.Context, to directory.NodeEntry, a message.AttachmentRef, offset uint64, src io.Reader) (message.Stored, error) {
	var st message.Stored
	done, err := c.transfer(ctx, to)
	if err != nil {
		return st, err
	}
	defer done()
	begun := false
	err = c.on(ctx, to, true, func(p peerv1.PeerServiceClient) error {
		if begun {
			return fault.New(fault.Retry, "cut", "send attachment", "the node has started meanwhile") // src is read in part
		}
		begun = true
		stream, err := p.PushAttachment(ctx)
		if err != nil {
			return err
		}
		first := &peerv1.PushAttachmentRequest{Attachment: refMessage(a), Offset: offset}
		if err := send(stream, first, src, c.piece()); err != nil {
			return err
		}
		out, err := stream.CloseAndRecv()
		st = message.Stored{Bytes: out.GetStored(), Complete: out.GetComplete(), Receipt: out.GetReceipt()}
		return err
	})
	return st, err
}

// transfer takes the line's place for a file, and keeps the connection for envelopes open meanwhile: what is urgent has no
// time for handshakes behind a file. Retry "busy" where too many files are under way already.
func (c *Courier) transfer(ctx context.Context, to directory.NodeEntry) (done func(), err error) {
	if c.transfers == nil {
		return func() {}, nil
	}
	select {
	case c.transfers <- struct{}{}:
	default:
		return nil, fault.New(fault.Retry, "busy", "send attachment", "other attachments have the line")
	}
	warming, cancel := context.WithCancel(ctx)
	go c.warm(warming, to)
	return func() {
		cancel()
		<-c.transfers
	}, nil
}

// warm greets a node now and then, so that the connection is not closed for doing nothing.
func (c *Courier) warm(ctx context.Context, to directory.NodeEntry) {
	for sleep(ctx, warmEvery) {
		name := linkName{to.Node, false}
		l, err := c.pick(ctx, to, name)
		if err != nil {
			continue
		}
		l.mu.Lock()
		l.greeted = time.Time{}
		l.mu.Unlock()
		_ = c.over(ctx, to, name, l, func(peerv1.PeerServiceClient) error { return nil }) // tried again
	}
}

// send streams a file. When the peer ended the call, io.EOF stops the sending and CloseAndRecv tells its reason.
func send(stream grpc.ClientStreamingClient[peerv1.PushAttachmentRequest, peerv1.PushAttachmentResponse], m *peerv1.PushAttachmentRequest, src io.Reader, piece int) error {
	buf := make([]byte, piece)
	for {
		n, err := io.ReadFull(src, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fault.Wrap(err, fault.Internal, "", "send attachment", "the attachment could not be read")
		}
		m.Data = buf[:n]
		if err := stream.Send(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if last {
			return nil
		}
		m = &peerv1.PushAttachmentRequest{}
	}
}
