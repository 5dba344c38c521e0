package broadcast_test

import (
	"context"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// following is how far a side has come in a publisher's chain.
func (s *side) following(publisher *side) ledger.Following {
	var f ledger.Following
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		var err error
		f, err = r.Following(publisher.chain())
		return err
	}))
	return f
}

// index signs an index of a publisher's chain as only it could.
func (s *side) index(first uint64, previous message.Digest, entries ...seal.ChainEntry) []byte {
	w := s.w
	w.t.Helper()
	signed, err := seal.SignChainIndex(context.Background(), s.ring, s.nodeKey(), seal.ChainIndex{Network: w.current.Load().NetworkID(),
		Publisher: s.node, Incarnation: s.ledger.Identity().Incarnation, Audience: s.chain().Audience, First: first, Previous: previous, Entries: entries})
	w.must(err)
	return signed
}

func entry(t *testing.T, s *side, a seal.Alert, number uint64, digest string) seal.ChainEntry {
	t.Helper()
	subject, err := message.ParseSubject(s.frame(a).Subject)
	if err != nil {
		t.Fatal(err)
	}
	return seal.ChainEntry{Number: number, Digest: message.DigestOf([]byte(digest)), Subject: subject, Salt: make([]byte, 32)}
}

// A member that was suspended and is back, with nothing published in between, gets what is in force.
func TestReadmitted(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	first := mx.publish(message.Routine, "first")
	w.eventually("receipts", func() bool { return mx.all(first, broadcast.Received, "jm", "br") })
	br.stop()
	second := mx.publish(message.Routine, "second")
	w.suspend(br)
	w.eventually("br is removed", func() bool { return mx.states(second)["br"] == broadcast.Removed })
	payload, err := w.draft().Reinstate(directory.OfState(br.name.State()), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	br.start2()
	w.eventually("br has what is in force", func() bool { mx.Heard(br.node); return br.has(second) && mx.states(second)["br"] == broadcast.Received })
	if w.told(jm.desk, second.Header.ID) != 1 {
		t.Error("what was issued again came twice to who had it")
	}
}

// An index whose beginning does not fit what the node has is a second story: nothing of it is taken. PROTOCOL 7.5.
func TestForgedPrevious(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "one story")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	before := jm.following(mx)
	raw := mx.controlTo(jm, seal.ControlChainIndex, mx.index(2, message.DigestOf([]byte("another beginning")), entry(t, mx, a, 2, "two")))
	if _, err := jm.Control(context.Background(), mx.node, raw); err != nil {
		t.Fatal(err)
	}
	if after := jm.following(mx); after.Position != before.Position || after.Hash != before.Hash || after.Indexed != before.Indexed {
		t.Errorf("it was taken: %+v", after)
	}
	if len(jm.proofs()) != 1 {
		t.Error("no proof is kept")
	}
}

// What lies before a leap is claimed by no receipt after it. PROTOCOL 7.5, 8.5.
func TestLeap(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "one")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	jm.desk.set(func(message.Subject) bool { return false }, "")
	leap := mx.index(7, message.DigestOf([]byte("some chain")), entry(t, mx, a, 7, "seven"))
	if _, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlChainIndex, leap)); !fault.Is(err, fault.Retry) {
		t.Errorf("a leap of nobody who joined: %v", err)
	}
	_, g := jm.grantFrom(mx)
	pack, err := seal.StoredEpochPackage(g.Package)
	w.must(err)
	pack.Epoch, pack.Previous = pack.Epoch+1, pack.Digest()
	signed, err := seal.SignEpochPackage(context.Background(), mx.ring, mx.nodeKey(), pack)
	w.must(err)
	if code := jm.rejected(mx, mx.controlTo(jm, seal.ControlEpochGrant, seal.Grant{Package: signed, Key: g.Key}.Marshal())); code != "" {
		t.Fatalf("the grant: %s", code)
	}
	answer, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlChainIndex, leap))
	w.must(err)
	r, err := seal.StoredCumulativeReceipt(answer.Cumulative)
	w.must(err)
	if word, _ := r.Of(1); r.Position != 7 || word != seal.WordPassedOver {
		t.Errorf("position %d, number 1: %s", r.Position, word)
	}
}

// Whoever passes over very many single numbers begins to take what it does not want, rather than never to answer again.
func TestManyRanges(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "x")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	f := jm.following(mx)
	f.Passed = nil
	for n := uint64(2); n <= 2*message.MaxRanges; n += 2 {
		f.Passed = append(f.Passed, ledger.Range{First: n, Last: n})
	}
	f.Position, f.Hash = 2*message.MaxRanges+1, message.DigestOf([]byte("p"))
	w.must(jm.ledger.Update(context.Background(), func(tx ledger.Tx) error { return tx.PutFollowing(f) }))
	jm.desk.set(func(message.Subject) bool { return false }, "")
	answer, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlChainIndex,
		mx.index(f.Position+1, f.Hash, entry(t, mx, a, f.Position+1, "next"))))
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Missing) != 1 || answer.Missing[0].First != f.Position+1 {
		t.Errorf("missing: %v", answer.Missing)
	}
}

// All frames that waited for a key are taken when it comes, and a frame that comes often waits once.
func TestHeldMany(t *testing.T) {
	const frames = 150
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm := all[0], all[1]
	jm.stop()
	var alerts []seal.Alert
	var links []ledger.Link
	for n := range frames {
		alerts = append(alerts, mx.publish(message.Routine, text(n)))
	}
	for _, a := range alerts {
		links = append(links, mx.frame(a))
	}
	mx.stop()
	jm.start2()
	for range 2 {
		for _, l := range links {
			w.must(jm.Take(context.Background(), l.Subject, l.Frame))
		}
	}
	var held uint64
	w.must(jm.ledger.View(context.Background(), func(r ledger.Reader) error {
		var err error
		held, err = r.HeldBytes(mx.node)
		return err
	}))
	var once uint64
	for _, l := range links {
		once += uint64(len(l.Frame))
	}
	if held != once {
		t.Errorf("%d bytes are held of frames of %d", held, once)
	}
	mx.open()
	_, g := mx.grantFrom(mx)
	_, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlEpochGrant, g.Marshal()))
	w.must(err)
	w.must(mx.ledger.Close())
	w.eventually("all are released", func() bool {
		for _, a := range alerts {
			if !jm.has(a) {
				return false
			}
		}
		return true
	})
}

// A member that was away while the directory changed more often than it remembers gets a new key, and what is in force.
func TestAwayThroughManyChanges(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	jm.stop()
	a := mx.publish(message.Routine, "while jm is away")
	w.eventually("the receipt of br", func() bool { return mx.states(a)["br"] == broadcast.Received })
	for range 70 {
		br.declare([]string{"alerts-in", "alerts-out"})
	}
	jm.start2()
	w.eventually("jm has the alert", func() bool { mx.Heard(jm.node); return jm.has(a) && mx.states(a)["jm"] == broadcast.Received })
}

// An update under a subject that a node does not want comes all the same if its alert does, in whatever order.
func TestUpdateOfWhatIsUnderWay(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm := all[0], all[1]
	jm.desk.set(func(s message.Subject) bool {
		// Immediate by subscription; the rest only where an alert is in force.
		return s.Lane() == message.Immediate.Lane() || len(jm.desk.placed) > 0
	}, "")
	jm.stop()
	a := mx.publish(message.Immediate, "alert")
	u := mx.publish(message.Routine, "its update, less urgent")
	links := []ledger.Link{mx.frame(a), mx.frame(u)}
	_, g := mx.grantFrom(mx)
	var entries []seal.ChainEntry
	for _, l := range links {
		s, err := message.ParseSubject(l.Subject)
		w.must(err)
		entries = append(entries, seal.ChainEntry{Number: l.Number, Digest: l.Digest, Subject: s, Salt: l.Salt})
	}
	grant := mx.controlTo(jm, seal.ControlEpochGrant, g.Marshal())
	index := mx.controlTo(jm, seal.ControlChainIndex, mx.index(1, message.Digest{}, entries...))
	mx.stop()
	jm.start2()
	for _, raw := range [][]byte{grant, index} {
		_, err := jm.Control(context.Background(), mx.node, raw)
		w.must(err)
	}
	w.must(jm.Take(context.Background(), links[0].Subject, links[0].Frame))
	mx.start2()
	w.eventually("jm has the update too", func() bool { mx.Heard(jm.node); return jm.has(u) })
}

// Two indexes that differ in their last number, the 1,024th, are two stories too. PROTOCOL 7.5.
func TestTwoStoriesAtTheEnd(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "x")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	hash := jm.following(mx).Hash
	for _, last := range []string{"one story", "another story"} {
		var entries []seal.ChainEntry
		for n := range uint64(message.MaxChainEntries) {
			entries = append(entries, entry(t, mx, a, n+2, text(int(n))))
		}
		entries[len(entries)-1].Digest = message.DigestOf([]byte(last))
		start := time.Now()
		_, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlChainIndex, mx.index(2, hash, entries...)))
		w.must(err)
		t.Log("took", time.Since(start))
	}
	if proofs := jm.proofs(); len(proofs) != 1 || len(proofs[0].First) == 0 {
		t.Errorf("the proof is not kept: %d", len(proofs))
	}
}
