package node

import (
	"context"
	"iter"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/registry"
)

// openMesh joins the node's directory to those of its peers, and lets them call it where they cannot dial it. PROTOCOL 10.5,
// 10.9, 10.10.
func (d *daemon) openMesh() {
	d.mesh = peer.NewMesh(peer.MeshOptions{
		Self: d.parsed.node, Current: d.follower.Current(), Directory: shared{d.follower}, Courier: d.courier, Clock: d.Clock, Log: d.Log,
	})
	d.collector = peer.NewCollector(peer.CollectorOptions{
		Self: d.parsed.node, Current: d.follower.Current(), Courier: d.courier, Clock: d.Clock, Log: d.Log, Always: d.cfg.Peer.OutboundOnly, Thin: d.thin(),
	})
}

// thin reports whether the node's line is one of some 64 kbit/s.
func (d *daemon) thin() bool { return d.cfg.Profile == smallState }

// onSight passes a restriction on to the peers. The directory calls it only once it is told something, by the hub or at a
// door: after everything was opened.
func (d *daemon) onSight(signed []byte) { d.mesh.OnSight(signed) }

// greeted tells who wants to know that a node was greeted by this one.
func (d *daemon) greeted(node authority.Node) {
	d.broadcast.Heard(node)
	d.exchange.Reachable(node)
	d.mesh.Greeted(node)
}

// shared is the directory as peers use it: it implements peer.Directory.
type shared struct{ f *registry.Follower }

// Heads is what this node has.
func (s shared) Heads() peer.Heads {
	h := s.f.Heads()
	return peer.Heads{Head: h.Head, Unlogged: h.Unlogged, Contradiction: h.Contradiction}
}

// Compare says what to fetch.
func (s shared) Compare(by authority.Node, theirs peer.Heads) (peer.Want, error) {
	w, err := s.f.Compare(registry.Heads{Head: theirs.Head, Unlogged: theirs.Unlogged, Contradiction: theirs.Contradiction, By: by.String()})
	return peer.Want{From: w.From, Restrictions: w.Restrictions}, err
}

// Give is what a peer asked for.
func (s shared) Give(from uint64, restrictions []directory.Hash) (iter.Seq2[peer.Entry, error], func() []byte) {
	entries, head := s.f.Give(from, restrictions)
	return each(entries, func(e registry.Entry) peer.Entry { return peer.Entry(e) }), head
}

// Mend takes what a peer gave.
func (s shared) Mend(ctx context.Context, entries iter.Seq2[peer.Entry, error], head func() []byte) error {
	return s.f.Mend(ctx, each(entries, func(e peer.Entry) registry.Entry { return registry.Entry(e) }), head)
}

// HandIn takes a statement that was brought.
func (s shared) HandIn(ctx context.Context, statement []byte, cards ...[]byte) (string, uint64, error) {
	return s.f.HandIn(ctx, statement, cards...)
}

func each[A, B any](all iter.Seq2[A, error], as func(A) B) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		for a, err := range all {
			if !yield(as(a), err) {
				return
			}
		}
	}
}

var _ peer.Directory = shared{}
