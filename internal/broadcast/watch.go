package broadcast

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	// settle lets changes of the directory that come together be looked at together. Well under the 10 s of P7.
	settle = 100 * time.Millisecond
	// lookEvery is for what changes by time alone: a suspension that lapses.
	lookEvery = 5 * time.Minute
)

// watchDirectory holds audiences and waiting frames against the directory whenever that changes.
func (b *Broadcaster) watchDirectory(ctx context.Context) {
	for ctx.Err() == nil {
		changed := b.Directory.Changed()
		if err := b.reconcile(ctx); err != nil && ctx.Err() == nil {
			b.Log.Warn("audiences could not be held against the directory", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-changed:
			wait(ctx, settle)
		case <-time.After(lookEvery):
		}
	}
}

// reconcile ends memberships that the directory has ended, brings in who has joined where alerts are in force, and takes
// frames that waited for the directory.
func (b *Broadcaster) reconcile(ctx context.Context) error {
	var rows []ledger.Broadcast
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		rows, err = r.Broadcasts()
		return err
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := b.reconcileOne(ctx, row); err != nil {
			return err
		}
	}
	return b.releaseAll(ctx)
}

func (b *Broadcaster) reconcileOne(ctx context.Context, row ledger.Broadcast) error {
	members, err := b.Members(row.Category, directory.Rule(row.Rule), row.States)
	if err != nil && !fault.Is(err, fault.Denied) {
		return err
	}
	now := nodesOf(members, b.Node) // nobody, where the audience is empty
	joined, left, err := b.differ(ctx, row.Audience, now)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		b.making.Lock()
		err := b.Ledger.Update(ctx, func(tx ledger.Tx) error { return b.removeAll(tx, row.Audience, left) })
		b.keys.forget(row.Audience)
		b.making.Unlock()
		if err != nil {
			return err
		}
	}
	if !joined {
		return nil
	}
	inForce, err := b.inForceIn(ctx, row.Audience, 1)
	if err != nil || len(inForce) == 0 {
		return err // nothing to give them: the next alert makes the epoch
	}
	_, err = b.Prepare(ctx, row.Category, directory.Rule(row.Rule), row.States)
	return err
}

// differ compares the members of now with those on record.
func (b *Broadcaster) differ(ctx context.Context, id message.Digest, now map[authority.Node][]authority.Name) (joined bool, left []authority.Node, err error) {
	err = b.Ledger.View(ctx, func(r ledger.Reader) error {
		members, err := r.Members(id)
		if err != nil {
			return err
		}
		active := 0
		for _, m := range members {
			_, still := now[m.Node]
			switch {
			case !m.Removed.IsZero():
			case still:
				active++
			default:
				left = append(left, m.Node)
			}
		}
		joined = active < len(now)
		return nil
	})
	return joined, left, err
}

func (b *Broadcaster) removeAll(tx ledger.Tx, id message.Digest, nodes []authority.Node) error {
	for _, n := range nodes {
		m, err := tx.Member(id, n)
		if err != nil {
			return err
		}
		if err := b.remove(tx, m); err != nil {
			return err
		}
	}
	return nil
}

// inForceIn lists messages of an audience whose alerts are in force and that say their newest version, with the last
// link of each; at most limit, 0 for all.
func (b *Broadcaster) inForceIn(ctx context.Context, id message.Digest, limit int) ([]ledger.Link, error) {
	last := map[message.Key]ledger.Link{}
	var order []message.Key
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		for from := uint64(1); ; {
			links, err := r.Links(id, from, ledger.MaxPage)
			if err != nil || len(links) == 0 {
				return err
			}
			for _, l := range links {
				from = l.Number + 1
				ok, err := inForce(r, l, b.Clock())
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				if _, seen := last[l.Message]; !seen {
					order = append(order, l.Message)
				}
				last[l.Message] = l
				if limit > 0 && len(order) >= limit {
					return nil
				}
			}
		}
	})
	out := make([]ledger.Link, 0, len(order))
	for _, key := range order {
		out = append(out, last[key])
	}
	return out, err
}

// inForce reports whether a link's message says the newest version of an alert that people may act on.
func inForce(r ledger.Reader, l ledger.Link, now time.Time) (bool, error) {
	if !l.Expires.After(now) {
		return false, nil
	}
	m, err := r.Message(l.Message)
	if err != nil {
		return false, err
	}
	a, err := r.Alert(m.Conversation, l.Message.Sender)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && a.State.InForce() && a.Latest == l.Message, err
}

// reissue gives alerts in force to who joined since they were published: the same header, signatures and content under
// a new number, by the direct road alone, since all others have them. PROTOCOL 7.4.
func (b *Broadcaster) reissue(ctx context.Context, id message.Digest) error {
	newest, nodes, err := b.newestMember(ctx, id)
	if err != nil {
		return err
	}
	links, err := b.inForceIn(ctx, id, 0)
	if err != nil {
		return err
	}
	var failed error
	for _, l := range links {
		if l.Number >= newest {
			continue // all members have it, or will
		}
		if err := b.reissueOne(ctx, l); err != nil {
			failed = err
			b.Log.Warn("an alert in force could not be issued again", zap.Stringer("message", l.Message.ID), zap.Error(err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	b.lines.all(id, nodes, b.Clock())
	return failed
}

// newestMember is the highest First of an audience's members, and the nodes that are members.
func (b *Broadcaster) newestMember(ctx context.Context, id message.Digest) (uint64, []authority.Node, error) {
	var newest uint64
	var nodes []authority.Node
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		members, err := r.Members(id)
		for _, m := range members {
			if m.Removed.IsZero() {
				newest = max(newest, m.First)
				nodes = append(nodes, m.Node)
			}
		}
		return err
	})
	return newest, nodes, err
}

func (b *Broadcaster) reissueOne(ctx context.Context, l ledger.Link) error {
	var m ledger.Message
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		m, err = r.Message(l.Message)
		return err
	})
	if err != nil {
		return err
	}
	a, err := b.Open(ctx, m)
	if err != nil {
		return err
	}
	known, err := b.audience(ctx, l.Audience)
	if err != nil {
		return err
	}
	return b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := tx.Broadcast(l.Audience)
		if err != nil || row.Epoch != known.epoch {
			return err // the newer epoch issues it again
		}
		again, err := b.link(ctx, &row, a, known.key, true)
		if err != nil {
			return err
		}
		if _, err := tx.PutLink(again); err != nil {
			return err
		}
		if err := tx.PutBroadcast(row); err != nil {
			return err
		}
		return second(tx.Append(b.event("issued-again", l.Message, l.Digest, "")))
	})
}

// releaseAll takes frames that waited for the directory, or whose key came while they were being held.
func (b *Broadcaster) releaseAll(ctx context.Context) error {
	var epochs []ledger.Epoch
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		publishers, err := r.HeldPublishers()
		if err != nil {
			return err
		}
		for _, p := range publishers {
			chains, err := r.FollowingOf(p)
			if err != nil {
				return err
			}
			for _, f := range chains {
				e, err := r.NewestEpoch(f.Chain)
				if err == nil {
					epochs = append(epochs, e)
				}
			}
		}
		return nil
	})
	for _, e := range epochs {
		if e := b.release(ctx, e.Chain.Publisher, e.Fingerprint); e != nil {
			err = e
		}
	}
	return err
}
