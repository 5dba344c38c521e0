package exchange

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// Hello is our signed greeting to one peer. PROTOCOL 10.2.
func (e *Exchange) Hello(ctx context.Context, to authority.Node) ([]byte, error) {
	if e.ended() {
		return nil, e.Ready()
	}
	s := e.Directory.Load()
	m := &formatv1.Hello{
		Network: s.NetworkID(), Node: e.Node.String(), Peer: to.String(), Versions: []uint32{message.Version},
		Incarnation: &formatv1.Incarnation{Counter: e.Incarnation.Counter, Random: e.Incarnation.Random[:]},
		Position:    s.Position(), Time: e.Clock().UnixMilli(), State: e.state(),
	}
	return seal.SignNode(ctx, e.Keys, e.NodeKey(), authority.ForHello, canonical.Marshal(m))
}

// Greet checks a peer's hello and answers with ours.
func (e *Exchange) Greet(ctx context.Context, from authority.Node, hello []byte) ([]byte, error) {
	if err := e.Greeted(ctx, from, hello); err != nil {
		return nil, err
	}
	return e.Hello(ctx, from)
}

// Greeted checks a hello: signed by the node at the other end, made for us, now, in this network, in a version we speak.
// PROTOCOL 10.2.
func (e *Exchange) Greeted(ctx context.Context, from authority.Node, hello []byte) error {
	const op = opGreet
	g, err := e.helloOf(hello, from)
	if err != nil {
		return err
	}
	m := g.hello
	switch {
	case m.GetPeer() != e.Node.String():
		return fault.New(fault.Invalid, "wrong-node", op, "the hello was made by or for another node")
	case !slices.Contains(m.GetVersions(), message.Version):
		return fault.New(fault.Denied, "unknown-version", op, "the peer speaks no version of the protocol that is known here")
	case skew(e.Clock(), time.UnixMilli(m.GetTime())) > message.MaxAhead:
		return fault.New(fault.Retry, "clock", op, "the clocks of the two nodes differ by more than 5 minutes")
	}
	if err := e.recall(ctx, from, g, hello); err != nil {
		return err
	}
	// If the machine stops here the incarnation is recorded, and nothing was exchanged with it.
	e.deliveries.contact(from)
	e.heardState(from, m.GetState())
	return nil
}

func skew(a, b time.Time) time.Duration {
	if d := a.Sub(b); d > 0 {
		return d
	}
	return b.Sub(a)
}
