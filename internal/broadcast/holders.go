package broadcast

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// HolderState is what is known of a message at one node of its audience.
type HolderState string

// The states of a holder.
const (
	// Received: its signed receipt says that it is stored, verified and opened there.
	Received HolderState = "RECEIVED"
	// PassedOver: its signed receipt says that its filters do not want it.
	PassedOver HolderState = "PASSED_OVER"
	// Refused: its signed receipt says that it does not hold, and why.
	Refused HolderState = "REFUSED"
	// Pending: no receipt covers it yet. It may be there.
	Pending HolderState = "PENDING"
	// Overdue: as Pending, and for longer than it should be.
	Overdue HolderState = "OVERDUE"
	// Removed: it left the audience before a receipt covered it, and may have it.
	Removed HolderState = "REMOVED"
)

// Holder is one node of the audience of a message of ours.
type Holder struct {
	Node        authority.Node
	Authorities []authority.Name
	State       HolderState
	// Code is why it was refused.
	Code string
	// Time is when the receipt was signed; zero without one.
	Time time.Time
	// Removed: it is a member no more, whatever State says.
	Removed   bool
	LastError string
}

// Holders says of each node of a message's audience, but this one, what its signed receipts prove, by node name.
// NotFound where the message is no category alert of ours.
func (b *Broadcaster) Holders(ctx context.Context, key message.Key) ([]Holder, error) {
	var out []Holder
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		links, err := r.LinksOf(key)
		if err != nil {
			return err
		}
		if len(links) == 0 {
			return ledger.Absent("category alert of ours")
		}
		members, err := r.Members(links[0].Audience)
		if err != nil {
			return err
		}
		for _, m := range members {
			if link, ok := given(links, m); ok {
				out = append(out, b.holder(link, m))
			}
		}
		return nil
	})
	return out, err
}

// given is the number under which a member is, or was, to get a message.
func given(links []ledger.Link, m ledger.Member) (ledger.Link, bool) {
	for _, l := range links {
		if l.Number < m.First {
			continue
		}
		// What was made after its removal it cannot open.
		return l, m.Removed.IsZero() || l.Message.ID.Time().Before(m.Removed)
	}
	return ledger.Link{}, false
}

func (b *Broadcaster) holder(l ledger.Link, m ledger.Member) Holder {
	h := Holder{Node: m.Node, Authorities: m.Authorities, State: Pending, Removed: !m.Removed.IsZero(), LastError: m.LastError}
	if m.Position < l.Number {
		switch {
		case h.Removed:
			h.State = Removed
		case b.Clock().Sub(l.Message.ID.Time()) > overdueAfter(l.Subject):
			h.State = Overdue
		}
		return h
	}
	receipt, err := seal.StoredCumulativeReceipt(m.Receipt)
	if err != nil {
		return h
	}
	h.Time = receipt.Time
	switch word, code := receipt.Of(l.Number); word {
	case seal.WordStored:
		h.State = Received
	case seal.WordPassedOver:
		h.State = PassedOver
	case seal.WordRefused:
		h.State, h.Code = Refused, code
	}
	return h
}

// overdueAfter is how long a receipt may take: half of what a person has to acknowledge, domain.md 4.2.
func overdueAfter(subject string) time.Duration {
	s, err := message.ParseSubject(subject)
	if err != nil {
		return time.Hour
	}
	switch s.Lane() {
	case message.Immediate.Lane():
		return 15 * time.Minute
	case message.Urgent.Lane():
		return time.Hour
	}
	return 24 * time.Hour
}

// May reports whether a node may fetch what belongs to an alert of ours: it serves a member of the audience in the
// directory of now. Denied "not-entitled", NotFound.
func (b *Broadcaster) May(ctx context.Context, node authority.Node, key message.Key) error {
	var row ledger.Broadcast
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		l, err := r.LinkOf(key)
		if err != nil {
			return err
		}
		row, err = r.Broadcast(l.Audience)
		return err
	})
	if err != nil {
		return err
	}
	_, err = b.entitled(node, row)
	return err
}

// Proofs lists what this node keeps against others, newest first.
func (b *Broadcaster) Proofs(ctx context.Context) ([]ledger.Proof, error) {
	var out []ledger.Proof
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		out, err = r.Proofs(ledger.MaxPage)
		return err
	})
	return out, err
}

// Audiences lists the audiences that this node has published to.
func (b *Broadcaster) Audiences(ctx context.Context) ([]ledger.Broadcast, error) {
	var out []ledger.Broadcast
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		out, err = r.Broadcasts()
		return err
	})
	return out, err
}
