package broadcast

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
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
	// Removed: it is a member no more, or was not one between; whatever State says, nothing else of the message follows.
	Removed bool
	// Given is the earliest that it can have been given the message, since it last became a member.
	Given     time.Time
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
			link, ok := given(links, m)
			switch {
			case ok:
				h := b.holder(link, m)
				if h.Given, err = b.linked(r, link); err != nil {
					return err
				}
				out = append(out, h)
			case links[0].Number < m.First:
				h, was, err := b.before(r, links, m)
				if err != nil {
					return err
				}
				if was {
					out = append(out, h)
				}
			}
		}
		return nil
	})
	return out, err
}

// linked is when the message of a link could first go to members of its epoch.
func (b *Broadcaster) linked(r ledger.Reader, l ledger.Link) (time.Time, error) {
	e, err := r.Epoch(b.chain(l.Audience), l.Epoch)
	if t := l.Message.ID.Time(); err != nil || t.After(e.Recorded) {
		return t, err
	}
	return e.Recorded, nil
}

// before is what is known of a node that has come to an audience, or come back to it, after a message was published: its
// newest receipt passes over all that was before. Where the log as remembered shows that it was no member then, it is no
// holder; where nothing is remembered of that time, it may be one.
func (b *Broadcaster) before(r ledger.Reader, links []ledger.Link, m ledger.Member) (Holder, bool, error) {
	for _, l := range slices.Backward(links) {
		if l.Number >= m.First {
			continue
		}
		e, err := r.Epoch(b.chain(l.Audience), l.Epoch)
		if err != nil {
			return Holder{}, false, err
		}
		names, known, err := b.servedThen(e, m.Node)
		if err != nil {
			return Holder{}, false, err
		}
		if !known {
			names = m.Authorities
		}
		if len(names) == 0 {
			continue
		}
		at, err := b.linked(r, l)
		return Holder{Node: m.Node, Authorities: names, State: Removed, Removed: true, Given: at, LastError: m.LastError}, true, err
	}
	return Holder{}, false, nil
}

// servedThen are the authorities that made a node a member of an epoch of ours; not known where the log of then is
// remembered no more.
func (b *Broadcaster) servedThen(e ledger.Epoch, node authority.Node) ([]authority.Name, bool, error) {
	p, err := seal.StoredEpochPackage(e.Package)
	if err != nil {
		return nil, false, err
	}
	base, ok := b.Directory.At(p.Audience.Position)
	if !ok {
		return nil, false, nil
	}
	members, err := directory.Recompute(base, p.Restrictions, p.Time, p.Category, directory.Rule(p.Audience.Rule), p.Audience.States)
	if err != nil {
		return nil, false, nil
	}
	var names []authority.Name
	for _, x := range members {
		if x.Node == node {
			names = append(names, x.Authority)
		}
	}
	return names, true, nil
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
