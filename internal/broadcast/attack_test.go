package broadcast_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// chain is the one chain of a publisher in these tests.
func (s *side) chain() ledger.Chain {
	return ledger.Chain{Publisher: s.node, Incarnation: s.ledger.Identity().Incarnation,
		Audience: message.AudienceID(category(s.w.t), message.RuleCategory, nil)}
}

// grantFrom is the newest epoch that this side was granted, or made, with its key.
func (s *side) grantFrom(publisher *side) (ledger.Epoch, seal.Grant) {
	w := s.w
	w.t.Helper()
	var row ledger.Epoch
	w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		var err error
		row, err = r.NewestEpoch(publisher.chain())
		return err
	}))
	env, err := seal.StoredControl(row.Sealed)
	w.must(err)
	body, err := env.Open(context.Background(), s.ring)
	w.must(err)
	g, err := seal.ParseGrant(body)
	w.must(err)
	return row, g
}

func (s *side) nodeKey() authority.Fingerprint {
	k, err := s.ring.Public(keyring.NodeSign)
	s.w.must(err)
	return k.Fingerprint()
}

// frames is the frame of an alert's first number.
func (s *side) frame(a seal.Alert) ledger.Link {
	var l ledger.Link
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		var err error
		l, err = r.LinkOf(a.Header.Key())
		return err
	}))
	return l
}

// control makes a control envelope as a side's node could.
func (s *side) controlTo(to *side, kind seal.ControlKind, body []byte) []byte {
	w := s.w
	w.t.Helper()
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	key, err := to.ring.Public(keyring.NodeSeal)
	w.must(err)
	c, err := seal.NewControl(context.Background(), seal.ControlDraft{Network: w.current.Load().NetworkID(), ID: id, From: s.node, To: to.node,
		Incarnation: s.ledger.Identity().Incarnation, Kind: kind, Created: w.now(), Expires: w.now().Add(time.Hour), Key: key, NodeKey: s.nodeKey(), Body: body}, s.ring, nil)
	w.must(err)
	return c.Bytes
}

// rejected delivers a control envelope and returns the code of its receipt.
func (s *side) rejected(from *side, raw []byte) string {
	w := s.w
	w.t.Helper()
	answer, err := s.Control(context.Background(), from.node, raw)
	w.must(err)
	env, err := seal.StoredControl(raw)
	w.must(err)
	r, err := seal.VerifyControlReceipt(answer.Receipt, env, func(fp authority.Fingerprint) (authority.Node, authority.PublicKey, error) {
		h, _ := w.current.Load().At(w.now()).SigningKey(fp)
		return h.Owner.Node(), h.Public, nil
	})
	w.must(err)
	return r.Code
}

// A publisher that hands two keys for one epoch is caught by whoever sees both: the second is refused, both signed
// packages are kept. PROTOCOL 7.3.
func TestTwoKeysForOneEpoch(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "one")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	_, g := jm.grantFrom(mx)
	pack, err := seal.StoredEpochPackage(g.Package)
	w.must(err)
	key, err := seal.NewEpochKey(rand.Reader)
	w.must(err)
	pack.KeyFingerprint = key.Fingerprint()
	signed, err := seal.SignEpochPackage(context.Background(), mx.ring, mx.nodeKey(), pack)
	w.must(err)
	second := seal.Grant{Package: signed, Key: key}.Marshal()
	if code := jm.rejected(mx, mx.controlTo(jm, seal.ControlEpochGrant, second)); code != "wrong-key" {
		t.Errorf("a second key for one epoch: %q", code)
	}
	proofs := jm.proofs()
	if len(proofs) != 1 || proofs[0].Node != mx.node || !bytes.Equal(proofs[0].First, g.Package) || !bytes.Equal(proofs[0].Second, signed) {
		t.Errorf("the proof is not kept: %v", proofs)
	}
	if row, _ := jm.grantFrom(mx); row.Fingerprint == key.Fingerprint() {
		t.Error("the second key replaced the first")
	}
}

// A grant whose members are not those of the directory, or that another node brings, is refused. PROTOCOL 7.2, 7.3.
func TestForgedGrants(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	a := mx.publish(message.Routine, "one")
	w.eventually("receipts", func() bool { return mx.all(a, broadcast.Received, "jm", "br") })
	_, g := jm.grantFrom(mx)
	pack, err := seal.StoredEpochPackage(g.Package)
	w.must(err)
	forge := func(change func(*seal.EpochPackage)) []byte {
		p := pack
		p.Epoch, p.Previous = pack.Epoch+1, pack.Digest()
		change(&p)
		signed, err := seal.SignEpochPackage(context.Background(), mx.ring, mx.nodeKey(), p)
		w.must(err)
		return seal.Grant{Package: signed, Key: g.Key}.Marshal()
	}
	for _, c := range []struct {
		name, code string
		from       *side
		body       []byte
	}{
		{"other members", "wrong-key", mx, forge(func(p *seal.EpochPackage) { p.Members[0] ^= 1 })},
		{"an audience without the reader", "wrong-key", mx, forge(func(p *seal.EpochPackage) { p.Audience.States = []authority.State{br.name.State()} })},
		{"another publisher's package", "wrong-maker", br, g.Marshal()},
		{"a position before all that is remembered", "too-old", mx, forge(func(p *seal.EpochPackage) { p.Audience.Position = 0; p.Audience.Position++ })},
	} {
		if code := jm.rejected(c.from, c.from.controlTo(jm, seal.ControlEpochGrant, c.body)); code != c.code && !(c.code == "too-old" && code == "wrong-key") {
			t.Errorf("%s: %q, want %q", c.name, code, c.code)
		}
	}
	ahead := forge(func(p *seal.EpochPackage) { p.Audience.Position += 100 })
	if _, err := jm.Control(context.Background(), mx.node, mx.controlTo(jm, seal.ControlEpochGrant, ahead)); !fault.Is(err, fault.Retry) {
		t.Errorf("a package ahead of the directory: %v", err)
	}
	if _, err := jm.Control(context.Background(), br.node, mx.controlTo(jm, seal.ControlEpochGrant, g.Marshal())); fault.CodeOf(err) != "wrong-node" {
		t.Errorf("an envelope that another node brings: %v", err)
	}
}

// A fellow member has the key, and may open and seal again. Under its own name, another number, another lane or subject,
// nothing of it is stored. PROTOCOL 7.4.
func TestResealedByAFellowMember(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	first := mx.publish(message.Routine, "first")
	w.eventually("receipts", func() bool { return mx.all(first, broadcast.Received, "jm", "br") })
	br.stop() // it misses the next one
	a := mx.publish(message.Routine, "wanted")
	w.eventually("the receipt of jm", func() bool { return mx.states(a)["jm"] == broadcast.Received })
	br.start2()
	mx.stop()
	_, g := jm.grantFrom(mx)
	link := mx.frameStopped(a)
	f, err := seal.StoredFrame(link.Frame)
	w.must(err)
	opened, err := f.Open(g.Key)
	w.must(err)
	stolen, err := opened.Stored()
	w.must(err)
	framing := seal.Framing{Publisher: jm.node, NodeKey: jm.nodeKey(), Incarnation: f.Incarnation, Epoch: f.Epoch, Key: g.Key, Number: 7, Previous: f.Chain}
	if _, err := stolen.Frame(context.Background(), framing, jm.ring, rand.Reader); err == nil {
		t.Error("an alert of another state can be framed under one's own name")
	}
	framing.Publisher = mx.node
	again, err := stolen.Frame(context.Background(), framing, jm.ring, rand.Reader)
	w.must(err)
	for name, c := range map[string]struct {
		subject string
		frame   []byte
	}{
		"another number, signed by the fellow": {link.Subject, again.Bytes},
		"another lane":                         {"alert.drugs.trafficking.immediate.mx", link.Frame},
		"another state's subject":              {"alert.drugs.trafficking.routine.jm", link.Frame},
		"another category":                     {"alert.drugs.supply.routine.mx", link.Frame},
		"cut":                                  {link.Subject, link.Frame[:len(link.Frame)-1]},
	} {
		w.must(br.Take(context.Background(), c.subject, c.frame))
		if br.has(a) {
			t.Fatalf("%s: it was stored", name)
		}
	}
	w.must(br.Take(context.Background(), link.Subject, link.Frame))
	if !br.has(a) {
		t.Error("the frame itself, from whoever, was not stored")
	}
}

// An authority without the competence may sign what it likes: members refuse it.
func TestIssuerWithoutCompetence(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	mx.declare([]string{"alerts-in"})
	a := mx.publish(message.Routine, "not ours to say")
	w.eventually("the refusal", func() bool { return mx.all(a, broadcast.Refused, "jm") })
	if jm.has(a) {
		t.Error("an alert of an authority without competence was stored")
	}
	holders, err := mx.Holders(context.Background(), a.Header.Key())
	w.must(err)
	if holders[0].Code != "not-competent" {
		t.Errorf("the refusal says %q", holders[0].Code)
	}
}

// A former member keeps the old keys: they do not open what is published after it left, and its old key signs nothing.
func TestFormerMember(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm, br := all[0], all[1], all[2]
	a := mx.publish(message.Routine, "before")
	w.eventually("receipts", func() bool { return mx.all(a, broadcast.Received, "jm", "br") })
	_, old := br.grantFrom(mx)
	w.suspend(br)
	b := mx.publish(message.Routine, "after")
	w.eventually("the receipt", func() bool { return mx.states(b)["jm"] == broadcast.Received })
	f, err := seal.StoredFrame(mx.frame(b).Frame)
	w.must(err)
	if _, err := f.Open(old.Key); err == nil {
		t.Error("the old key opens the next alert")
	}
	if jm.has(b) != true || br.has(b) {
		t.Error("who left has the next alert, or who stayed has not")
	}
	// And what it publishes itself is dropped, whoever brings it.
	own := br.publishQuietly("from a suspended state")
	link := br.frame(own)
	w.must(jm.Take(context.Background(), link.Subject, link.Frame))
	if jm.has(own) {
		t.Error("an alert of a suspended state was stored")
	}
}

// Frames whose key has not come are held, under a quota, and opened when it comes. PROTOCOL 7.3.
func TestHeldUntilTheKeyComes(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm := all[0], all[1]
	jm.stop()
	a := mx.publish(message.Routine, "before the key")
	w.eventually("the receipt of br", func() bool { return mx.states(a)["br"] == broadcast.Received })
	link := mx.frame(a)
	mx.stop()
	jm.start2()
	w.must(jm.Take(context.Background(), link.Subject, link.Frame))
	if jm.has(a) {
		t.Fatal("it was stored without a key")
	}
	mx.start2()
	w.eventually("the key, and with it the alert", func() bool { return jm.has(a) })
	if n := w.told(jm.desk, a.Header.ID); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// A publisher that tells two stories about one number is caught: both are kept, the second is not believed. PROTOCOL 7.5.
func TestTwoStories(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	a := mx.publish(message.Routine, "one story")
	w.eventually("the receipt", func() bool { return mx.all(a, broadcast.Received, "jm") })
	subject, err := message.ParseSubject(mx.frame(a).Subject)
	w.must(err)
	x := seal.ChainIndex{Network: w.current.Load().NetworkID(), Publisher: mx.node, Incarnation: mx.ledger.Identity().Incarnation,
		Audience: mx.chain().Audience, First: 1,
		Entries: []seal.ChainEntry{{Number: 1, Digest: message.DigestOf([]byte("another story")), Subject: subject, Salt: make([]byte, 32)}}}
	signed, err := seal.SignChainIndex(context.Background(), mx.ring, mx.nodeKey(), x)
	w.must(err)
	if code := jm.rejected(mx, mx.controlTo(jm, seal.ControlChainIndex, signed)); code != "" {
		t.Errorf("the index itself: %q", code)
	}
	if proofs := jm.proofs(); len(proofs) != 1 || proofs[0].Kind != "chain-index" || !bytes.Equal(proofs[0].Second, signed) || len(proofs[0].First) == 0 {
		t.Errorf("the proof is not kept: %v", proofs)
	}
	b := mx.publish(message.Routine, "the story goes on")
	w.eventually("the receipt", func() bool { return mx.all(b, broadcast.Received, "jm") })
}

// An empty audience, or a state that is not there, is refused: never widened. PROTOCOL 7.2.
func TestEmptyAudience(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	unknown, err := authority.ParseState("ar")
	w.must(err)
	if _, err := all[0].Prepare(context.Background(), category(t), directory.ByCategory, []authority.State{unknown}); !fault.Is(err, fault.Denied) {
		t.Errorf("a state that is no member: %v", err)
	}
	if _, err := all[0].Prepare(context.Background(), category(t), directory.AllNPC, nil); !fault.Is(err, fault.Denied) {
		t.Errorf("an audience of nobody: %v", err)
	}
}
