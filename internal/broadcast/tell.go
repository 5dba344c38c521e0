package broadcast

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	opTell = "tell member of alerts"
	// rounds bounds how often one member is asked in a row while it makes progress.
	rounds = 256
	// tellLimit bounds the time that one member takes from the others.
	tellLimit = 2 * time.Minute
)

// standing is what the ledger says of one member.
type standing struct {
	row    ledger.Broadcast
	member ledger.Member
}

// done reports whether the member has confirmed all there is.
func (s standing) done() bool {
	return !s.member.Removed.IsZero() || (s.member.Epoch >= s.row.Epoch && s.next() > s.row.Last)
}

// next is the first number that the member has not confirmed.
func (s standing) next() uint64 { return max(s.member.Position+1, s.member.First) }

func (b *Broadcaster) standing(ctx context.Context, n authority.Node, id message.Digest) (standing, error) {
	var s standing
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if s.row, err = r.Broadcast(id); err != nil {
			return err
		}
		s.member, err = r.Member(id, n)
		return err
	})
	return s, err
}

// tell hands one member node what it lacks of an audience: grants, what is immediate, the index, what it misses. It
// reports whether the node has confirmed everything. What is not confirmed is told again by the ordinary code.
func (b *Broadcaster) tell(ctx context.Context, n authority.Node, id message.Digest) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	again := false
	for range rounds {
		s, err := b.standing(ctx, n, id)
		if err != nil || s.done() {
			return true, err
		}
		to, err := b.entitled(n, s.row)
		if err != nil {
			return false, err
		}
		if err := b.grantAll(ctx, to, s); err != nil {
			return false, err
		}
		if s.next() > s.row.Last {
			continue
		}
		advanced, sent, err := b.tellIndex(ctx, to, s)
		// What was sent and not confirmed at once is not sent at once again.
		if err != nil || (!advanced && (!sent || again)) {
			return false, err
		}
		again = !advanced
	}
	return false, nil
}

// entitled finds the node in the directory of now, and that it is a member of the audience still (P7).
func (b *Broadcaster) entitled(n authority.Node, row ledger.Broadcast) (directory.NodeEntry, error) {
	view := b.Directory.Load().At(b.Clock())
	if err := view.CheckNode(n); err != nil {
		return directory.NodeEntry{}, err
	}
	members, err := view.Audience(row.Category, directory.Rule(row.Rule), row.States)
	if err != nil {
		return directory.NodeEntry{}, err
	}
	if !slices.ContainsFunc(members, func(m directory.Member) bool { return m.Node == n }) {
		return directory.NodeEntry{}, fault.New(fault.Denied, "not-entitled", opTell, "the node serves no authority of the audience now")
	}
	to, _ := view.Node(n)
	return to, nil
}

// grantAll hands over the keys of all epochs that the node was a member of and has not receipted. PROTOCOL 7.3.
func (b *Broadcaster) grantAll(ctx context.Context, to directory.NodeEntry, s standing) error {
	for number := s.member.Epoch + 1; number <= s.row.Epoch; number++ {
		if err := b.grant(ctx, to, s.row, number); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broadcaster) grant(ctx context.Context, to directory.NodeEntry, row ledger.Broadcast, number uint64) error {
	var epoch ledger.Epoch
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		epoch, err = r.Epoch(b.chain(row.Audience), number)
		return err
	})
	if err != nil {
		return err
	}
	k, err := b.opened(ctx, epoch)
	if err != nil {
		return err
	}
	_, code, err := b.send(ctx, to, seal.ControlEpochGrant, seal.Grant{Package: epoch.Package, Key: k.key}.Marshal())
	if err != nil {
		return err
	}
	switch {
	case code == codeTooOld && !b.remembered(k.pack):
		return b.renew(ctx, to.Node, row)
	case code == "expired", code == "unknown-sealing-key", code == "cannot-open":
		// Of this envelope, not of the grant: another one may be taken.
		return fault.New(fault.Retry, code, opTell, "the node could not open the grant of a key")
	}
	return b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		m, err := tx.Member(row.Audience, to.Node)
		if err != nil || m.Epoch >= number || !m.Removed.IsZero() {
			return err
		}
		// A grant that was refused is not offered again: the next epoch is another one.
		m.Epoch, m.LastError = number, code
		if err := tx.PutMember(m); err != nil {
			return err
		}
		return second(tx.Append(b.event("granted", message.Key{}, message.DigestOf(epoch.Package), to.Node.String()+" "+code)))
	})
}

// remembered reports whether the members of an epoch can still be computed here. What a member says of that counts only
// where it is so: every node remembers as much.
func (b *Broadcaster) remembered(p seal.EpochPackage) bool {
	_, ok := b.Directory.At(p.Audience.Position)
	return ok
}

// renew makes a new epoch for a member that can compute the audience of an old one no longer. It is as one that has
// joined: alerts in force are issued to it again.
func (b *Broadcaster) renew(ctx context.Context, n authority.Node, row ledger.Broadcast) error {
	err := b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		m, err := tx.Member(row.Audience, n)
		if err != nil {
			return err
		}
		return b.remove(tx, m)
	})
	if err != nil {
		return err
	}
	// If the machine stops here, the next look at the directory finds that a member is missing.
	b.keys.forget(row.Audience)
	_, err = b.Prepare(ctx, row.Category, directory.Rule(row.Rule), row.States)
	return err
}

// tellIndex sends what is immediate, then the index, then what the node misses. It reports whether the node has come
// further, and whether it was sent something.
func (b *Broadcaster) tellIndex(ctx context.Context, to directory.NodeEntry, s standing) (advanced, sent bool, err error) {
	links, err := b.links(ctx, s.row.Audience, s.next())
	if err != nil || len(links) == 0 {
		return false, false, err
	}
	if err := b.direct(ctx, to, s.row.Audience, atOnce(s.row, links)); err != nil {
		return false, false, err
	}
	answer, err := b.sendIndex(ctx, to, s, links)
	if err != nil {
		return false, false, err
	}
	if len(answer.Cumulative) > 0 {
		if advanced, err = b.accept(ctx, to.Node, answer.Cumulative); err != nil {
			return false, false, err
		}
	}
	sent, err = b.sendMissing(ctx, to, s.row, answer.Missing)
	return advanced, sent, err
}

func (b *Broadcaster) sendIndex(ctx context.Context, to directory.NodeEntry, s standing, links []ledger.Link) (message.ControlAnswer, error) {
	body, err := b.indexOf(ctx, s.row.Audience, links)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	answer, code, err := b.send(ctx, to, seal.ControlChainIndex, body)
	if fault.CodeOf(err) == codeNoEpoch {
		// It has lost the key that it receipted.
		if e := b.Ledger.Update(ctx, func(tx ledger.Tx) error { return regrant(tx, s.member) }); e != nil {
			return answer, e
		}
	}
	if err == nil && code != "" {
		err = fault.New(fault.Invalid, code, opTell, "the node has refused the chain index")
	}
	return answer, err
}

func (b *Broadcaster) links(ctx context.Context, id message.Digest, from uint64) ([]ledger.Link, error) {
	var links []ledger.Link
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		links, err = r.Links(id, from, message.MaxChainEntries)
		return err
	})
	return links, err
}

// atOnce are the numbers that take both roads at once, and those that take no other. What is issued again for a newcomer
// waits until that asks for it.
func atOnce(row ledger.Broadcast, links []ledger.Link) []uint64 {
	var out []uint64
	for _, l := range links {
		subject, err := message.ParseSubject(l.Subject)
		if err == nil && (row.Rule == string(message.RuleAllNPC) || (subject.Lane() == message.Immediate.Lane() && !l.Direct)) {
			out = append(out, l.Number)
		}
	}
	return out
}

// indexOf signs the index of consecutive links. PROTOCOL 7.5.
func (b *Broadcaster) indexOf(ctx context.Context, id message.Digest, links []ledger.Link) ([]byte, error) {
	x := seal.ChainIndex{Network: b.Directory.Load().NetworkID(), Publisher: b.Node, Incarnation: b.Incarnation, Audience: id, First: links[0].Number}
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		if x.First > 1 {
			before, err := r.Link(id, x.First-1)
			if err != nil {
				return err
			}
			x.Previous = before.Hash
		}
		for _, l := range links {
			entry, err := entryOf(l)
			if err != nil {
				return err
			}
			if l.Direct {
				if entry.Again, err = lastOf(r, l); err != nil {
					return err
				}
			}
			x.Entries = append(x.Entries, entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return seal.SignChainIndex(ctx, b.Keys, b.NodeKey(), x)
}

func entryOf(l ledger.Link) (seal.ChainEntry, error) {
	subject, err := message.ParseSubject(l.Subject)
	return seal.ChainEntry{Number: l.Number, Digest: l.Digest, Subject: subject, Salt: l.Salt}, err
}

// lastOf is the number under which the alert of a link was issued last before in the same chain; 0 if it was not.
func lastOf(r ledger.Reader, l ledger.Link) (uint64, error) {
	all, err := r.LinksOf(l.Message)
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, o := range all {
		if o.Audience == l.Audience && o.Number < l.Number {
			last = max(last, o.Number)
		}
	}
	return last, nil
}

// sendMissing hands over by the direct road what the node says that it misses. What it asks for beyond the chain, or
// from before it became a member, is not for it.
func (b *Broadcaster) sendMissing(ctx context.Context, to directory.NodeEntry, row ledger.Broadcast, missing []message.Numbers) (bool, error) {
	s, err := b.standing(ctx, to.Node, row.Audience)
	if err != nil {
		return false, err
	}
	var numbers []uint64
	for _, r := range missing {
		for n := max(r.First, s.member.First); n <= min(r.Last, row.Last) && len(numbers) < message.MaxChainEntries; n++ {
			numbers = append(numbers, n)
		}
	}
	return len(numbers) > 0, b.direct(ctx, to, row.Audience, numbers)
}

// direct carries frames to a node, a batch at a time.
func (b *Broadcaster) direct(ctx context.Context, to directory.NodeEntry, id message.Digest, numbers []uint64) error {
	for len(numbers) > 0 {
		batch, err := b.batch(ctx, id, numbers)
		if err != nil {
			return err
		}
		taken, err := b.Courier.DeliverFrames(ctx, to, batch)
		if err != nil {
			return err
		}
		if taken <= 0 || taken > len(batch) {
			return fault.New(fault.Retry, "not-taken", opTell, "the node could not take an alert now")
		}
		numbers = numbers[taken:]
	}
	return nil
}

// batch reads as many frames as one call may carry.
func (b *Broadcaster) batch(ctx context.Context, id message.Digest, numbers []uint64) ([]message.CarriedFrame, error) {
	var out []message.CarriedFrame
	size := 0
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		for _, n := range numbers[:min(len(numbers), message.MaxFrames)] {
			l, err := r.Link(id, n)
			if err != nil {
				return err
			}
			if size += len(l.Frame); size > message.MaxCarried && len(out) > 0 {
				return nil
			}
			out = append(out, message.CarriedFrame{Subject: l.Subject, Frame: l.Frame})
		}
		return nil
	})
	return out, err
}

// accept verifies a cumulative receipt and commits how far the node has come. It reports whether that is further than
// before. PROTOCOL 8.5.
func (b *Broadcaster) accept(ctx context.Context, from authority.Node, signed []byte) (bool, error) {
	view := b.Directory.Load().At(b.Clock())
	c, err := seal.VerifyCumulativeReceipt(signed, view.NodeKey)
	if err != nil {
		return false, err
	}
	wrong := fault.New(fault.Invalid, "wrong-receipt", "verify cumulative receipt", "the receipt is about something else than a chain of ours")
	if c.Node != from || c.Publisher != b.Node || c.PublisherIncarnation != b.Incarnation || c.Network != b.Directory.Load().NetworkID() {
		return false, wrong
	}
	if c.Time.After(b.Clock().Add(message.MaxAhead)) {
		return false, fault.New(fault.Invalid, "wrong-receipt", "verify cumulative receipt", "the receipt is dated more than 5 minutes in the future")
	}
	advanced := false
	err = b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		link, err := tx.Link(c.Audience, c.Position)
		if err != nil || link.Hash != c.ChainHash {
			return wrong
		}
		m, err := tx.Member(c.Audience, from)
		if err != nil {
			return wrong
		}
		if c.Position <= m.Position {
			return nil
		}
		m.Position, m.Receipt, m.LastError, advanced = c.Position, signed, "", true
		if err := tx.PutMember(m); err != nil {
			return err
		}
		return second(tx.Append(b.event("alerts-receipted", message.Key{}, message.DigestOf(signed), from.String())))
	})
	// If the machine stops before the commit, the node gives the same receipt to the next index.
	return advanced && err == nil, err
}

// note keeps for this node's people why a member could not be told.
func (b *Broadcaster) note(ctx context.Context, n authority.Node, ids []message.Digest, cause error) {
	err := b.Ledger.Update(ctx, func(tx ledger.Tx) error {
		for _, id := range ids {
			m, err := tx.Member(id, n)
			if err != nil {
				return err
			}
			m.Attempts, m.LastError = m.Attempts+1, fault.As(cause).Say
			if err := tx.PutMember(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		b.Log.Warn("a failure to tell a member was not kept")
	}
}
