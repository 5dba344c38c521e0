package bus

import "context"

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
