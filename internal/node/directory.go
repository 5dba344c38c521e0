package node

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	"github.com/enlace-network/enlace/internal/registry"
)

// known is the directory as exchange and operator door want it.
type known struct{ *registry.Follower }

// Load is the snapshot in force.
func (k known) Load() *directory.Snapshot { return k.Current().Load() }

// Changed is closed at the next change of the snapshot in force.
func (k known) Changed() <-chan struct{} { return k.Current().Changed() }

// Freshness is its slug, and what it counts from.
func (k known) Freshness(time.Time) (string, time.Time) {
	f, since := k.Follower.Freshness()
	return f.String(), since
}

// Status is how this node's copy of the log is.
func (k known) Status() operator.LogStatus {
	s := k.Follower.Status()
	out := operator.LogStatus{Head: s.Head, Judgement: s.Judgement, Confirmed: s.Confirmed, Stored: s.Stored,
		Freshness: s.Freshness.String(), Since: s.Since, Halted: s.Halted}
	for _, p := range s.Proofs {
		out.Proofs = append(out.Proofs, operator.LogProof{ID: p.ID, Kind: p.Kind, Head: p.Head, Other: p.Other, By: p.By, OtherBy: p.OtherBy, Agreed: p.Agreed, At: p.At})
	}
	for _, o := range s.Omitted {
		out.Omitted = append(out.Omitted, operator.Omission(o))
	}
	return out
}

// Card is a contact card that this node holds or the hub has.
func (k known) Card(ctx context.Context, hash directory.Hash) (directory.Card, error) {
	b, err := k.Follower.Card(ctx, hash)
	if err != nil {
		return directory.Card{}, err
	}
	card, found, err := directory.ParseCard(b)
	if err == nil && found != hash {
		err = fault.New(fault.Invalid, "wrong-card", "read contact card", "the card is not the one that the directory names")
	}
	return card, err
}
