package node

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/registry"
)

// known is the directory as exchange and operator door want it.
type known struct{ *registry.Follower }

// Load is the snapshot in force.
func (k known) Load() *directory.Snapshot { return k.Current().Load() }

// Changed is closed at the next change of the snapshot in force.
func (k known) Changed() <-chan struct{} { return k.Current().Changed() }

// Freshness is its slug, and when the hub was last heard.
func (k known) Freshness(time.Time) (string, time.Time) {
	f, since := k.Follower.Freshness()
	return f.String(), since
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
