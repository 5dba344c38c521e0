package bus

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
)

// Stored is how many messages are in a publisher's stream, by the hub's own rights.
func (b *Bus) Stored(ctx context.Context, publisher string) (uint64, error) {
	s, err := b.link.Load().js.Stream(ctx, streamPrefix+publisher)
	if err != nil {
		return 0, err
	}
	i, err := s.Info(ctx)
	if err != nil {
		return 0, err
	}
	return i.State.Msgs, nil
}

// Occupy makes the hub be at work for a node until the function is called, as where its consumers take long.
func (b *Bus) Occupy(node authority.Node) func() {
	g := b.keeper.door(node).gate
	g <- struct{}{}
	return func() { <-g }
}
