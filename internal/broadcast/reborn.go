package broadcast

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// Reborn forgets, in the caller's transaction, what a member node has confirmed in an incarnation that is over: keys and
// indexes are sent to it again, from the first number that was for it, and what it lost and wants it asks for. The function
// returned is to be called after the commit. PROTOCOL 9.7.
func (b *Broadcaster) Reborn(tx ledger.Tx, node authority.Node) (func(), error) {
	all, err := tx.MembersOf(node)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !m.Removed.IsZero() {
			continue
		}
		row, err := tx.Broadcast(m.Audience)
		if err != nil {
			return nil, err
		}
		m.Position, m.Receipt, m.Next, m.Attempts, m.LastError = 0, nil, time.Time{}, 0, ""
		// Keys of epochs that it was no member of are not for it. The newest is; an older one it asks for by its index.
		if row.Epoch > 0 {
			m.Epoch = min(m.Epoch, row.Epoch-1)
		}
		if err := tx.PutMember(m); err != nil {
			return nil, err
		}
		if _, err := tx.Append(b.event("member-reborn", message.Key{}, m.Audience, node.String())); err != nil {
			return nil, err
		}
	}
	return b.lines.everything, nil
}
