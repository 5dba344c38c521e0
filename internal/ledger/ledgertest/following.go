package ledgertest

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

func (s *suite) followings() {
	f := ledger.Following{Chain: s.chain("jm/node/primary", 1), Category: s.category("drugs.trafficking"), Rule: "category", First: 1}
	old := ledger.Following{Chain: f.Chain}
	old.Chain.Incarnation.Counter = 1
	written(s, ledger.Tx.PutFollowing, f, old, ledger.Following{Chain: s.chain("gt/node/primary", 1)})
	f.Position, f.Hash, f.Indexed, f.Changed = 600, message.Digest{3}, 700, start
	f.Passed = []ledger.Range{{First: 0, Last: 0}, {First: 2, Last: 300}, {First: 500, Last: 1 << 40}}
	f.Refused = []ledger.Refusal{{Number: 301, Code: "bad-signature"}, {Number: 302}, {Number: 1 << 41, Code: "expired"}}
	f.Receipt, f.ReceiptPosition = []byte("receipt"), 599
	// Each part of it on its own, for what an engine might write apart.
	for _, spoil := range []func(*ledger.Following){
		func(*ledger.Following) {},
		func(f *ledger.Following) { f.Passed = f.Passed[:1] },
		func(f *ledger.Following) { f.Refused = nil },
		func(f *ledger.Following) { f.Receipt = []byte("another") },
		func(f *ledger.Following) { f.ReceiptPosition++ },
		func(f *ledger.Following) { f.Position++ },
	} {
		spoil(&f)
		written(s, ledger.Tx.PutFollowing, f)
		s.view(func(r ledger.Reader) error {
			got, err := r.Following(f.Chain)
			same(s, "following", got, err, f)
			return nil
		})
	}
	s.again()
	s.view(func(r ledger.Reader) error {
		list, err := r.FollowingOf(f.Chain.Publisher)
		same(s, "followings of the publisher", list, err, []ledger.Following{old, f})
		_, err = r.Following(s.chain("jm/node/primary", 2))
		s.is("unknown chain", err, fault.NotFound, "")
		return nil
	})
}

// badLists are refused before anything is written.
func (s *suite) badLists() {
	f := ledger.Following{Chain: s.chain("jm/node/primary", 1)}
	for what, ranges := range map[string][]ledger.Range{
		"reversed":   {{First: 5, Last: 4}},
		"descending": {{First: 5, Last: 5}, {First: 1, Last: 1}},
		"touching":   {{First: 5, Last: 5}, {First: 6, Last: 6}},
		"overlap":    {{First: 5, Last: 9}, {First: 9, Last: 10}},
		"too high":   {{First: 5, Last: 1 << 63}},
	} {
		f.Passed = ranges
		s.is(what+" ranges", s.tries(func(t ledger.Tx) error { return t.PutFollowing(f) }), fault.Internal, "")
	}
	f.Passed = nil
	for what, refused := range map[string][]ledger.Refusal{
		"descending": {{Number: 5}, {Number: 4}},
		"repeated":   {{Number: 5}, {Number: 5}},
		"too high":   {{Number: 1 << 63}},
	} {
		f.Refused = refused
		s.is(what+" refusals", s.tries(func(t ledger.Tx) error { return t.PutFollowing(f) }), fault.Internal, "")
	}
	for _, word := range []string{"", "two words"} {
		sub := ledger.Subscription{ID: s.id(), Types: []string{"be-on-lookout", word}}
		s.is("a type "+word, s.tries(func(t ledger.Tx) error { return t.PutSubscription(sub) }), fault.Internal, "")
	}
	nameless := ledger.Member{Node: f.Chain.Publisher, Authorities: []authority.Name{{}}}
	s.is("member", s.tries(func(t ledger.Tx) error { return t.PutMember(nameless) }), fault.Internal, "")
	stateless := ledger.Broadcast{States: []authority.State{{}}}
	s.is("broadcast", s.tries(func(t ledger.Tx) error { return t.PutBroadcast(stateless) }), fault.Internal, "")
	s.view(func(r ledger.Reader) error {
		_, err := r.Following(f.Chain)
		s.is("following", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) entry(chain ledger.Chain, number uint64) ledger.Entry {
	return ledger.Entry{
		Chain: chain, Number: number, Digest: message.Digest{byte(number)}, Salt: []byte("salt"), Hash: message.Digest{1, byte(number)},
		Previous: message.Digest{2, byte(number)}, Subject: "alert.drugs.trafficking.urgent.jm", State: ledger.EntryStored, Seen: start,
	}
}

func (s *suite) entries() {
	here, there := s.chain("jm/node/primary", 1), s.chain("jm/node/primary", 2)
	one, three, ten, other := s.entry(here, 1), s.entry(here, 3), s.entry(here, 10), s.entry(there, 2)
	three.Hash, three.Previous, three.Salt, three.Subject = message.Digest{}, message.Digest{}, nil, ""
	three.State, three.Seen = ledger.EntryKnown, time.Time{}
	written(s, ledger.Tx.PutEntry, ten, other, three, one)
	ten.State, ten.Code, ten.Digest, ten.Salt, ten.Subject = ledger.EntryRefused, "expired", message.Digest{99}, []byte("other"), "other"
	ten.Hash, ten.Previous, ten.Seen = message.Digest{98}, message.Digest{97}, start.Add(time.Hour)
	written(s, ledger.Tx.PutEntry, ten)
	s.again()
	s.view(func(r ledger.Reader) error {
		for _, want := range []ledger.Entry{one, three, ten, other} {
			got, err := r.Entry(want.Chain, want.Number)
			same(s, "entry", got, err, want)
		}
		list, err := r.Entries(here, 0, 10)
		same(s, "entries", list, err, []ledger.Entry{one, three, ten})
		list, err = r.Entries(here, 2, 1)
		same(s, "first entry from 2", list, err, []ledger.Entry{three})
		_, err = r.Entry(here, 2)
		s.is("unknown entry", err, fault.NotFound, "")
		return nil
	})
}

func (s *suite) indexes() {
	chain := s.chain("jm/node/primary", 1)
	index := func(first, last uint64, signed string) ledger.Index {
		return ledger.Index{Chain: chain, First: first, Last: last, Signed: []byte(signed)}
	}
	a, b, c, wide := index(1, 5, "a"), index(6, 9, "b"), index(10, 12, "c"), index(2, 20, "wide")
	other := ledger.Index{Chain: s.chain("jm/node/primary", 2), First: 1, Last: 100, Signed: []byte("other")}
	written(s, ledger.Tx.PutIndex, c, wide, index(1, 5, "replaced"), b, a, other)
	s.again()
	s.view(func(r ledger.Reader) error {
		list, err := r.Indexes(chain, 0, 10)
		same(s, "indexes", list, err, []ledger.Index{a, wide, b, c})
		list, err = r.Indexes(chain, 9, 10)
		same(s, "indexes from 9", list, err, []ledger.Index{wide, b, c})
		list, err = r.Indexes(chain, 6, 2)
		same(s, "two indexes from 6", list, err, []ledger.Index{wide, b})
		list, err = r.Indexes(chain, 21, 10)
		same(s, "indexes beyond all", len(list), err, 0)
		return nil
	})
}

func (s *suite) held() {
	key, other := message.Digest{1}, message.Digest{2}
	frame := func(publisher string, key message.Digest, text string, at time.Duration) ledger.Held {
		return ledger.Held{Publisher: s.node(publisher), Fingerprint: key, Hash: message.DigestOf([]byte(text)), Subject: "alert.x", Frame: []byte(text), Recorded: start.Add(at)}
	}
	one, two, three := frame("jm/node/primary", key, "one", 0), frame("jm/node/primary", key, "two!", 1e9), frame("jm/node/primary", other, "three", 2e9)
	far, none := frame("gt/node/primary", key, "far", 3e9), frame("do/node/primary", key, "", 3e9)
	none.Subject, none.Frame = "", nil
	written(s, ledger.Tx.PutHeld, one, two, three, far, none, one)
	one.Seq, two.Seq, three.Seq, far.Seq, none.Seq = 1, 2, 3, 4, 5
	s.again()
	s.heldSums(map[string]uint64{"jm": 12, "gt": 3, "do": 0, "mx": 0})
	s.view(func(r ledger.Reader) error {
		list, err := r.HeldFor(one.Publisher, key, 0, 10)
		same(s, "held", list, err, []ledger.Held{one, two})
		list, err = r.HeldFor(one.Publisher, key, 0, 1)
		same(s, "first held", list, err, []ledger.Held{one})
		list, err = r.HeldFor(one.Publisher, key, one.Seq, 10)
		same(s, "held after the first", list, err, []ledger.Held{two})
		list, err = r.HeldFor(none.Publisher, key, 0, 10)
		same(s, "held without a frame", list, err, []ledger.Held{none})
		nodes, err := r.HeldPublishers()
		same(s, "publishers", nodes, err, []authority.Node{none.Publisher, far.Publisher, one.Publisher})
		return nil
	})

	written(s, ledger.Tx.DeleteHeld, none.Seq, far.Seq, one.Seq, one.Seq, 99)
	s.heldSums(map[string]uint64{"jm": 9, "gt": 0, "do": 0})
	s.again()
	written(s, ledger.Tx.PutHeld, far)
	s.update(func(t ledger.Tx) error {
		again, err := t.HeldFor(far.Publisher, key, 0, 10)
		s.must(err)
		if len(again) != 1 || again[0].Seq <= none.Seq {
			s.Errorf("held again = %+v, want a seq that nobody has had", again)
		}
		n, err := t.DeleteHeldBefore(three.Recorded)
		same(s, "deleted", n, err, 1)
		n, err = t.DeleteHeldBefore(three.Recorded)
		same(s, "deleted again", n, err, 0)
		return nil
	})
	s.heldSums(map[string]uint64{"jm": 5, "gt": 3})
	s.view(func(r ledger.Reader) error {
		nodes, err := r.HeldPublishers()
		same(s, "publishers left", nodes, err, []authority.Node{far.Publisher, three.Publisher})
		return nil
	})
}

func (s *suite) heldSums(want map[string]uint64) {
	s.Helper()
	s.view(func(r ledger.Reader) error {
		for state, bytes := range want {
			got, err := r.HeldBytes(s.node(state + "/node/primary"))
			same(s, "bytes held of "+state, got, err, bytes)
		}
		return nil
	})
}

func (s *suite) controls() {
	control := func(from string, expires time.Duration) ledger.Control {
		return ledger.Control{From: s.node(from), ID: s.id(), Digest: message.Digest{1}, Receipt: []byte("receipt"), Expires: start.Add(expires)}
	}
	late, soon, sooner := control("jm/node/primary", 3e9), control("jm/node/primary", 2e9), control("gt/node/primary", 1e9)
	twin := late
	twin.From, twin.Receipt = s.node("gt/node/primary"), nil
	written(s, ledger.Tx.PutControl, late, soon, sooner, twin, late)
	for what, spoil := range map[string]func(*ledger.Control){
		"digest":  func(c *ledger.Control) { c.Digest[0]++ },
		"receipt": func(c *ledger.Control) { c.Receipt = []byte("other") },
	} {
		other := late
		spoil(&other)
		s.is("other "+what, s.tries(func(t ledger.Tx) error { return t.PutControl(other) }), fault.Conflict, "receipt-fixed")
	}
	s.again()
	left := func(want ...ledger.Control) {
		s.Helper()
		s.view(func(r ledger.Reader) error {
			found := 0
			for _, c := range []ledger.Control{late, soon, sooner, twin} {
				if _, err := r.Control(c.From, c.ID); err == nil {
					found++
				}
			}
			same(s, "controls left", found, nil, len(want))
			for _, c := range want {
				got, err := r.Control(c.From, c.ID)
				same(s, "control", got, err, c)
			}
			return nil
		})
	}
	left(late, soon, sooner, twin)
	forget := func(before time.Time, limit int) {
		s.update(func(t ledger.Tx) error { _, err := t.DeleteControls(before, limit); return err })
	}
	forget(late.Expires, 1)
	left(late, soon, twin)
	forget(late.Expires, 10)
	left(late, twin)
}

func (s *suite) proofs() {
	p := ledger.Proof{Kind: "chain-entry", Node: s.node("jm/node/primary"), About: "1/2", First: []byte("a"), Second: []byte("b"), Time: start}
	again, index, other := p, p, p
	again.Second = []byte("c")
	index.Kind, index.First, index.Second, index.Time = "chain-index", nil, nil, time.Time{}
	other.About = "1/3"
	s.update(func(t ledger.Tx) error {
		for _, test := range []struct {
			proof ledger.Proof
			added bool
		}{{p, true}, {again, false}, {index, true}, {other, true}} {
			added, err := t.PutProof(test.proof)
			same(s, "added", added, err, test.added)
		}
		return nil
	})
	s.again()
	s.view(func(r ledger.Reader) error {
		list, err := r.Proofs(10)
		same(s, "proofs", list, err, []ledger.Proof{other, index, p})
		list, err = r.Proofs(1)
		same(s, "newest proof", list, err, []ledger.Proof{other})
		return nil
	})
}
