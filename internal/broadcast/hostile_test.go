package broadcast_test

import (
	"context"
	"crypto/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// events lists the details of a side's events of a kind, in order.
func (s *side) events(kind string) []string {
	var out []string
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		for from := uint64(0); ; {
			page, err := r.Events(from, ledger.MaxPage)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, e := range page {
				if from = e.Sequence + 1; e.Kind == kind {
					out = append(out, string(e.Detail))
				}
			}
		}
	}))
	return out
}

// Whoever joined late is given no key from before, however often it asks. PROTOCOL 7.3.
func TestKeysFromBefore(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, br := all[0], all[2]
	a := mx.publish(message.Routine, "before anything")
	w.eventually("receipts", func() bool { return mx.all(a, broadcast.Received, "jm", "br") })
	w.suspend(br)
	b := mx.publish(message.Routine, "second epoch")
	w.eventually("the receipt of jm", func() bool { return mx.states(b)["jm"] == broadcast.Received })
	ht := w.join("ht", []string{"alerts-in"})
	ht.start()
	w.eventually("the newcomer has what is in force", func() bool { return ht.has(a) && mx.states(b)["ht"] == broadcast.Received })
	before := len(mx.events("granted"))
	var asks [][]byte
	for range 4 {
		asks = append(asks, ht.controlTo(mx, seal.ControlKeyRequest, seal.KeyRequest{Publisher: mx.node, Incarnation: ht.ledger.Identity().Incarnation}.Marshal()))
	}
	ht.stop() // it takes no grants while it asks
	for _, ask := range asks {
		_, err := mx.Control(context.Background(), ht.node, ask)
		w.must(err)
	}
	ht.start2()
	w.eventually("the newest key again", func() bool { mx.Heard(ht.node); return len(mx.events("granted")) > before })
	time.Sleep(300 * time.Millisecond)
	if granted := mx.events("granted")[before:]; len(granted) != 1 {
		t.Errorf("granted: %q", granted)
	}
}

// An alert under a key that was revoked before it came is refused, and stands in nobody's way. DESIGN 5.
func TestRevokedMeanwhile(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	first := mx.publish(message.Routine, "first")
	w.eventually("the receipt", func() bool { return mx.all(first, broadcast.Received, "jm") })
	jm.stop()
	a := mx.publish(message.Routine, "under a key that is revoked meanwhile")
	k, err := mx.ring.Public(keyring.AuthoritySign(mx.name))
	w.must(err)
	payload, err := w.draft().RevokeKey(directory.OfAuthority(mx.name), k.Fingerprint(), "stolen")
	w.must(err)
	w.apply(payload, signer{directory.RoleState, mx.state})
	var asked atomic.Int64
	jm.desk.set(func(message.Subject) bool { asked.Add(1); return true }, "")
	jm.start2()
	w.eventually("the refusal", func() bool { mx.Heard(jm.node); return mx.all(a, broadcast.Refused, "jm") })
	if n := asked.Load(); n > 20 {
		t.Errorf("it was asked for %d times", n)
	}
	if jm.has(a) {
		t.Error("it was stored")
	}
}

// An alert of an authority that is suspended when it comes is refused, and stands in nobody's way. P7.
func TestSuspendedMeanwhile(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	first := mx.publish(message.Routine, "first")
	w.eventually("the receipt", func() bool { return mx.all(first, broadcast.Received, "jm") })
	jm.stop()
	a := mx.publish(message.Routine, "by an issuer suspended meanwhile")
	payload, err := w.draft().Suspend(directory.OfAuthority(mx.name), w.now().Add(time.Hour), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	jm.start2()
	w.eventually("the refusal", func() bool { mx.Heard(jm.node); return mx.all(a, broadcast.Refused, "jm") })
	if jm.has(a) {
		t.Error("it was stored")
	}
}

// What is issued again for a newcomer is sent to the newcomer alone. PROTOCOL 7.5.
func TestIssuedAgainForOne(t *testing.T) {
	const alerts = 20
	w, all := newWorld(t, "mx", "jm", "br")
	mx, jm := all[0], all[1]
	var last seal.Alert
	for n := range alerts {
		last = mx.publish(message.Routine, text(n))
	}
	w.eventually("receipts", func() bool { return mx.all(last, broadcast.Received, "jm", "br") })
	for _, state := range []string{"ht", "bb"} {
		s := w.join(state, []string{"alerts-in"})
		s.start()
		w.eventually("the newcomer has all", func() bool { return mx.states(last)[state] == broadcast.Received })
	}
	w.eventually("jm knows all numbers", func() bool { return jm.following(mx).Position == 3*alerts })
	var sent []uint64
	w.must(jm.ledger.View(context.Background(), func(r ledger.Reader) error {
		entries, err := r.Entries(mx.chain(), alerts+1, 10*alerts)
		for _, e := range entries {
			if e.Hash != (message.Digest{}) { // only a frame tells it
				sent = append(sent, e.Number)
			}
		}
		return err
	}))
	if len(sent) > 0 {
		t.Errorf("jm, who has them, was sent %v again", sent)
	}
	if n := len(mx.events("epoch-made")); n != 3 {
		t.Errorf("%d epochs were made for three sets of members", n)
	}
}

// A member that says that it remembers nothing is believed where nobody would, and costs no more than its own key.
func TestRefuserOfGrants(t *testing.T) {
	w, all := newWorld(t, "mx", "jm", "br")
	mx, br := all[0], all[2]
	br.stop()
	var last seal.Alert
	for n := range 10 {
		last = mx.publish(message.Routine, text(n))
	}
	door := br.hostile(refuser{br, "too-old"})
	t.Cleanup(door.Stop)
	w.eventually("jm has all", func() bool { mx.Heard(br.node); return mx.states(last)["jm"] == broadcast.Received })
	w.eventually("the refusal is noted", func() bool {
		mx.Heard(br.node)
		return slices.Contains(mx.events("granted"), br.node.String()+" too-old")
	})
	if epochs, again := len(mx.events("epoch-made")), len(mx.events("issued-again")); epochs != 1 || again != 0 {
		t.Errorf("%d epochs, %d alerts issued again", epochs, again)
	}
}

// One node may have this one work for it only so often, and its envelopes live for a day at most. P12; PROTOCOL 7.1.
func TestControlIsBounded(t *testing.T) {
	w, all := newWorld(t, "mx", "jm")
	mx, jm := all[0], all[1]
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	key, err := jm.ring.Public(keyring.NodeSeal)
	w.must(err)
	long, err := seal.NewControl(context.Background(), seal.ControlDraft{Network: w.current.Load().NetworkID(), ID: id, From: mx.node, To: jm.node,
		Incarnation: mx.ledger.Identity().Incarnation, Kind: seal.ControlKeyRequest, Created: w.now(), Expires: w.now().Add(25 * time.Hour),
		Key: key, NodeKey: mx.nodeKey(), Body: []byte("any")}, mx.ring, nil)
	w.must(err)
	if _, err := jm.Control(context.Background(), mx.node, long.Bytes); fault.CodeOf(err) != "expires" {
		t.Errorf("an envelope that lives for more than a day: %v", err)
	}
	busy := 0
	for range 2000 {
		if _, err := jm.Control(context.Background(), mx.node, []byte("junk")); fault.CodeOf(err) == "busy" {
			busy++
		}
	}
	if busy < 1000 {
		t.Errorf("of 2,000 envelopes at once %d were put off", busy)
	}
}
