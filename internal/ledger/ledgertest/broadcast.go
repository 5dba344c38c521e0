package ledgertest

import (
	"context"
	"math"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

func (s *suite) state(text string) authority.State {
	v, err := authority.ParseState(text)
	return must(s, v, err)
}

func (s *suite) category(text string) authority.Category {
	v, err := authority.ParseCategory(text)
	return must(s, v, err)
}

// tries runs f and hands its error back.
func (s *suite) tries(f func(ledger.Tx) error) error { return s.l.Update(context.Background(), f) }

// written runs f on every record, in one transaction.
func written[T any](s *suite, f func(ledger.Tx, T) error, records ...T) {
	s.Helper()
	s.update(func(t ledger.Tx) error {
		for _, r := range records {
			if err := f(t, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// chain is of a publisher's second incarnation.
func (s *suite) chain(publisher string, audience byte) ledger.Chain {
	return ledger.Chain{
		Publisher: s.node(publisher), Incarnation: message.Incarnation{Counter: 2, Random: [8]byte{7, 8}}, Audience: message.Digest{audience},
	}
}

func (s *suite) epoch(chain ledger.Chain, number uint64) ledger.Epoch {
	return ledger.Epoch{
		Chain: chain, Number: number, Fingerprint: message.Digest{chain.Audience[0], byte(number)}, Package: []byte("package"),
		Sealed: []byte("sealed"), SealedTo: authority.Fingerprint{9}, Recorded: start,
	}
}

func (s *suite) epochs() {
	here, there := s.chain("jm/node/primary", 1), s.chain("jm/node/primary", 2)
	before := here
	before.Incarnation.Counter = 1
	one, two, other := s.epoch(here, 1), s.epoch(here, 2), s.epoch(there, 1)
	old := ledger.Epoch{Chain: before, Number: 7, Fingerprint: message.Digest{50}}
	written(s, ledger.Tx.PutEpoch, two, one, other, old)

	again := one
	again.Sealed, again.SealedTo, again.Package, again.Recorded = []byte("anew"), authority.Fingerprint{10}, nil, start.Add(1)
	written(s, ledger.Tx.PutEpoch, again)
	one.Sealed, one.SealedTo = again.Sealed, again.SealedTo
	again.Fingerprint[5]++
	s.is("other key", s.tries(func(t ledger.Tx) error { return t.PutEpoch(again) }), fault.Conflict, "equivocation")

	s.again()
	s.view(func(r ledger.Reader) error {
		for _, want := range []ledger.Epoch{one, two, other, old} {
			got, err := r.Epoch(want.Chain, want.Number)
			same(s, "epoch", got, err, want)
			got, err = r.EpochByKey(want.Chain.Publisher, want.Fingerprint)
			same(s, "epoch by key", got, err, want)
		}
		newest, err := r.NewestEpoch(here)
		same(s, "newest epoch", newest, err, two)
		_, err = r.EpochByKey(s.node("gt/node/primary"), one.Fingerprint)
		s.is("another's key", err, fault.NotFound, "")
		_, err = r.NewestEpoch(s.chain("jm/node/primary", 3))
		s.is("newest epoch of nothing", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) broadcasts() {
	b := ledger.Broadcast{
		Audience: message.Digest{1}, Category: s.category("drugs.trafficking"), Rule: "category",
		States: []authority.State{s.state("jm"), s.state("x-caricom")},
	}
	all := ledger.Broadcast{Audience: message.Digest{2}, Category: s.category("arms.trafficking"), Rule: "all-npc"}
	written(s, ledger.Tx.PutBroadcast, b, all)
	b.Epoch, b.Last, b.Hash = 3, 1<<40, message.Digest{4}
	written(s, ledger.Tx.PutBroadcast, b)
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.Broadcast(b.Audience)
		same(s, "broadcast", got, err, b)
		list, err := r.Broadcasts()
		same(s, "broadcasts", list, err, []ledger.Broadcast{all, b})
		_, err = r.Broadcast(message.Digest{3})
		s.is("unknown audience", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) link(audience byte, number uint64) ledger.Link {
	m := s.message()
	return ledger.Link{
		Audience: message.Digest{audience}, Number: number, Epoch: 2, Message: m.Key, Digest: m.Digest,
		Subject: "alert.drugs.trafficking.urgent.mx", Salt: []byte("salt"), Hash: message.Digest{audience, byte(number)},
		Expires: start.Add(time.Hour),
	}
}

func (s *suite) linked(links ...*ledger.Link) {
	s.Helper()
	written(s, func(t ledger.Tx, l *ledger.Link) error {
		var err error
		l.Seq, err = t.PutLink(*l)
		return err
	}, links...)
}

// bare are links without their frames.
func bare(links ...ledger.Link) []ledger.Link {
	for i := range links {
		links[i].Frame = nil
	}
	return links
}

func (s *suite) links() {
	// one and three are the same alert in two audiences: its message's envelope is the frame of the first.
	one, two, three := s.link(1, 1), s.link(1, 2), s.link(2, 1)
	two.Direct, two.Frame = true, []byte("frame two")
	three.Message, three.Frame, three.Salt, three.Subject, three.Expires = one.Message, []byte("frame three"), nil, "", time.Time{}
	s.update(func(t ledger.Tx) error {
		m := s.message()
		m.Key, m.Envelope = one.Message, []byte("frame one")
		_, err := t.PutMessage(m)
		return err
	})
	s.linked(&one, &two, &three)
	same(s, "seqs", []int64{one.Seq, two.Seq, three.Seq}, nil, []int64{1, 2, 3})
	taken := s.link(1, 2)
	s.is("taken number", s.tries(func(t ledger.Tx) error { _, err := t.PutLink(taken); return err }), fault.Conflict, "same-number")

	s.again()
	one.Frame = []byte("frame one")
	s.view(func(r ledger.Reader) error {
		for _, want := range []ledger.Link{one, two, three} {
			got, err := r.Link(want.Audience, want.Number)
			same(s, "link", got, err, want)
		}
		of, err := r.LinkOf(one.Message)
		same(s, "link of the message", of, err, one)
		after, err := r.LinksAfter(0, 10)
		same(s, "links for the bus", after, err, []ledger.Link{one, three})
		after, err = r.LinksAfter(0, 1)
		same(s, "first link for the bus", after, err, []ledger.Link{one})
		after, err = r.LinksAfter(1, 10)
		same(s, "links for the bus after the first", after, err, []ledger.Link{three})
		list, err := r.LinksOf(one.Message)
		same(s, "links of the message", list, err, bare(one, three))
		list, err = r.Links(one.Audience, 1, 10)
		same(s, "links of the chain", list, err, bare(one, two))
		list, err = r.Links(one.Audience, 2, 10)
		same(s, "links from 2", list, err, bare(two))
		list, err = r.Links(one.Audience, 0, 1)
		same(s, "first link", list, err, bare(one))
		_, err = r.Link(one.Audience, 3)
		s.is("unknown number", err, fault.NotFound, "")
		_, err = r.LinkOf(s.message().Key)
		s.is("link of an unknown message", err, fault.NotFound, "")
		return nil
	})
}

// tooHigh: numbers come from other nodes too.
func (s *suite) tooHigh() {
	for _, number := range []uint64{math.MaxInt64, 1 << 63, math.MaxUint64} {
		l, e := s.link(1, number), s.entry(s.chain("jm/node/primary", 1), number)
		s.is("link", s.tries(func(t ledger.Tx) error { _, err := t.PutLink(l); return err }), fault.Invalid, "malformed")
		s.is("entry", s.tries(func(t ledger.Tx) error { return t.PutEntry(e) }), fault.Invalid, "malformed")
	}
	high := s.entry(s.chain("jm/node/primary", 1), math.MaxInt64-1)
	written(s, ledger.Tx.PutEntry, high)
	s.view(func(r ledger.Reader) error {
		got, err := r.Entry(high.Chain, high.Number)
		same(s, "highest entry", got, err, high)
		for _, number := range []uint64{math.MaxInt64, 1 << 63, math.MaxUint64} {
			_, err := r.Entry(high.Chain, number)
			s.is("entry", err, fault.NotFound, "")
			list, err := r.Entries(high.Chain, number, 10)
			same(s, "entries", len(list), err, 0)
		}
		return nil
	})
}

func (s *suite) member(audience byte, node string, next time.Time) ledger.Member {
	return ledger.Member{Audience: message.Digest{audience}, Node: s.node(node), First: 1, Next: next}
}

func (s *suite) members() {
	jm, gt, far := s.member(1, "jm/node/primary", start), s.member(1, "gt/node/primary", start.Add(-1e9)), s.member(2, "jm/node/primary", time.Time{})
	written(s, ledger.Tx.PutMember, jm, gt, far)
	jm.Authorities, jm.Removed, jm.First = []authority.Name{s.name("jm/jcf"), s.name("jm/mca")}, start, 5
	jm.Epoch, jm.Position, jm.Receipt, jm.Next = 6, 7, []byte("receipt"), start.Add(time.Hour)
	jm.Attempts, jm.LastError = 3, "no answer"
	written(s, ledger.Tx.PutMember, jm)
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.Member(jm.Audience, jm.Node)
		same(s, "member", got, err, jm)
		list, err := r.Members(jm.Audience)
		same(s, "members", list, err, []ledger.Member{gt, jm})
		list, err = r.MembersOf(jm.Node)
		same(s, "members of the node", list, err, []ledger.Member{jm, far})
		list, err = r.MembersDue(jm.Next, 10)
		same(s, "due", list, err, []ledger.Member{gt, jm})
		list, err = r.MembersDue(jm.Next, 1)
		same(s, "first due", list, err, []ledger.Member{gt})
		list, err = r.MembersDue(jm.Next.Add(-time.Millisecond), 10)
		same(s, "due earlier", list, err, []ledger.Member{gt})
		next, err := r.NextMember()
		same(s, "next member", next, err, gt.Next)
		_, err = r.Member(far.Audience, gt.Node)
		s.is("unknown member", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) busCursor() {
	for _, seq := range []int64{5, 6} {
		s.update(func(t ledger.Tx) error { return t.SetBusCursor(seq) })
	}
	s.again()
	s.view(func(r ledger.Reader) error {
		got, err := r.BusCursor()
		same(s, "bus cursor", got, err, 6)
		return nil
	})
}
