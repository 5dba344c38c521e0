package wire

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
)

// Peer is who is at the other end of a connection, as the directory in force has it.
type Peer struct {
	// Node is set for a node that proved to be one.
	Node authority.Node
	// Hub is set for the directory hub.
	Hub bool
	// Holder is set for who holds a state or steward key; its Owner says whose.
	Holder directory.Holder
	// Barred says why the peer is not to be served as what it is, or claims to be: suspended, revoked, unknown. Only
	// a door that still has something for such peers ever sees it set.
	Barred error
}

// IsNode reports whether the peer is a node, barred or not.
func (p Peer) IsNode() bool { return !p.Node.IsZero() }

// IsHolder reports whether the peer holds a state or steward key.
func (p Peer) IsHolder() bool { return p.Holder.Fingerprint != authority.Fingerprint{} }

// State is the state for which the peer speaks; zero for stewards, the hub and strangers.
func (p Peer) State() authority.State {
	if p.IsNode() {
		return p.Node.State()
	}
	return p.Holder.Owner.State()
}

// String names the peer in logs.
func (p Peer) String() string {
	switch {
	case p.IsNode():
		return p.Node.String()
	case p.Hub:
		return "hub"
	case p.IsHolder():
		return string(p.Holder.Purpose) + " key of " + p.Holder.Owner.String()
	}
	return "stranger"
}

type peerKey struct{}

// WithPeer is a context that says who is calling; Identity.Authorise makes it.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom says who is calling; false where the door knows its callers otherwise.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}
