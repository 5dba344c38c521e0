package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/seal"
	"github.com/enlace-network/enlace/internal/wire"
)

// hello is what mx says to jm, changed, signed by the ring given for the purpose given.
func (w *world) hello(change func(*formatv1.Hello), by *keyring.Ring, purpose authority.Purpose) []byte {
	w.t.Helper()
	m := &formatv1.Hello{
		Network: w.current.Load().NetworkID(), Node: w.mx.node.String(), Peer: w.jm.node.String(), Versions: []uint32{7, message.Version},
		Incarnation: &formatv1.Incarnation{Counter: 1, Random: bytes.Clone(w.mx.Incarnation.Random[:])}, Position: 1, Time: w.now().UnixMilli(), State: "NORMAL",
	}
	change(m)
	key, err := by.Public(keyring.NodeSign)
	w.must(err)
	signed, err := seal.SignNode(context.Background(), by, key.Fingerprint(), purpose, canonical.Marshal(m))
	w.must(err)
	return signed
}

// TestHello: a hello counts when it is the caller's own, for us, here and now. PROTOCOL 10.2.
func TestHello(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	ours, err := w.jm.Greet(ctx, w.mx.node, w.hello(func(*formatv1.Hello) {}, w.mx.ring, authority.ForHello))
	w.must(err)
	w.must(w.mx.Greeted(ctx, w.jm.node, ours))
	same := func(*formatv1.Hello) {}
	ahead := func(d time.Duration) func(*formatv1.Hello) {
		return func(m *formatv1.Hello) { m.Time = w.now().Add(d).UnixMilli() }
	}
	for _, c := range []struct {
		name   string
		from   authority.Node
		change func(*formatv1.Hello)
		by     *keyring.Ring
		as     authority.Purpose
		code   string
	}{
		{"another node's", w.mx.node, same, w.jm.ring, authority.ForHello, "wrong-node"},
		{"shown by another node", w.jm.node, same, w.mx.ring, authority.ForHello, "wrong-node"},
		{"another node's name", w.mx.node, func(m *formatv1.Hello) { m.Node = w.jm.node.String() }, w.mx.ring, authority.ForHello, "wrong-node"},
		{"for another node", w.mx.node, func(m *formatv1.Hello) { m.Peer = w.mx.node.String() }, w.mx.ring, authority.ForHello, "wrong-node"},
		{"of another network", w.mx.node, func(m *formatv1.Hello) { m.Network = "x" }, w.mx.ring, authority.ForHello, "wrong-network"},
		{"of other versions", w.mx.node, func(m *formatv1.Hello) { m.Versions = []uint32{2} }, w.mx.ring, authority.ForHello, "unknown-version"},
		{"without incarnation", w.mx.node, func(m *formatv1.Hello) { m.Incarnation = nil }, w.mx.ring, authority.ForHello, "malformed"},
		{"from the future", w.mx.node, ahead(6 * time.Minute), w.mx.ring, authority.ForHello, "clock"},
		{"from the past", w.mx.node, ahead(-6 * time.Minute), w.mx.ring, authority.ForHello, "clock"},
		{"signed as a receipt", w.mx.node, same, w.mx.ring, authority.ForReceipt, "bad-signature"},
	} {
		if _, err := w.jm.Greet(ctx, c.from, w.hello(c.change, c.by, c.as)); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

// TestOrderOfChecks: of several faults the earlier one in PROTOCOL 10.3 is told, so what costs more is never done for
// what is refused anyway.
func TestOrderOfChecks(t *testing.T) {
	w := newWorld(t)
	expired := func(c *message.Context) {
		c.Created, c.Expires = w.now().Add(-2*time.Hour), w.now().Add(-time.Hour)
	}
	elsewhere := func(c *message.Context) { c.Recipients[0].Authority = mustName(t, "jm/nobody") }
	foreign := func(c *message.Context) { c.Network = "00" + c.Network[2:] }
	both := func(changes ...func(*message.Context)) forgery {
		return forgery{context: func(c *message.Context) {
			for _, change := range changes {
				change(c)
			}
		}}
	}
	wrongNetwork := w.forge(both(foreign, expired, elsewhere))
	if _, err := w.receive(w.jm.node, wrongNetwork.Bytes); fault.CodeOf(err) != "wrong-network" {
		t.Errorf("wrong network, wrong node, expired: %v", err)
	}
	broken := adopt(t, wrongNetwork, w.forge(forgery{}))
	if _, err := w.receive(w.mx.node, broken); fault.CodeOf(err) != "wrong-body" {
		t.Errorf("wrong body, wrong network: %v", err)
	}
	broken[len(broken)/8] ^= 1 // inside the header
	if _, err := w.receive(w.mx.node, broken); err == nil || fault.CodeOf(err) == "wrong-body" {
		t.Errorf("changed header, wrong body: %v", err)
	}
	late := w.forge(both(expired, elsewhere))
	receipt, err := w.receive(w.mx.node, late.Bytes)
	if code := w.rejection(receipt, err, late.Header); code != "wrong-addressee" {
		t.Errorf("not served and expired: %s", code)
	}
	sealedAway := w.forge(both(expired, func(c *message.Context) { c.Recipients[0].Key = authority.Fingerprint{1} }))
	receipt, err = w.receive(w.mx.node, sealedAway.Bytes)
	if code := w.rejection(receipt, err, sealedAway.Header); code != "expired" {
		t.Errorf("expired and sealed to an unknown key: %s", code)
	}
	w.quiet()
}

// dial is a client of jm's door with mx's certificate and nothing of ours in between.
func (w *world) dial() peerv1.PeerServiceClient {
	w.t.Helper()
	id, err := authority.NodeID(w.mx.node, networkName)
	w.must(err)
	source := w.mx.ring.NodeSource(id, nil, w.now)
	conn, err := wire.Dial(w.jm.listen.Addr().String(), wire.ClientOptions{TLS: source.ClientTLS(wire.ThisNode(w.current, w.now, w.jm.node).Verify)})
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close() })
	return peerv1.NewPeerServiceClient(conn)
}

// TestSlices: no message of a stream carries more than a slice, and only the first names an attachment. PROTOCOL 10.4.
func TestSlices(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{context: func(c *message.Context) {
		c.Attachments = []message.Attachment{{SealedSize: 4 * message.HashChunk, Root: message.DigestOf(nil)}}
	}, content: func(s *seal.Content) {
		s.Attachments = []seal.AttachmentKey{{Salt: make([]byte, 32), Identity: "none"}}
	}})
	receipt, err := w.receive(w.mx.node, env.Bytes)
	if w.must(err); len(receipt) == 0 {
		t.Fatal("no receipt")
	}
	client := w.dial()
	_, err = client.Handshake(context.Background(), &peerv1.HandshakeRequest{Hello: w.hello(func(*formatv1.Hello) {}, w.mx.ring, authority.ForHello)})
	w.must(err)
	ref := &peerv1.AttachmentStatusRequest{Sender: w.mx.name.String(), MessageId: env.Header.ID.Bytes()}
	chunk, tooMuch := make([]byte, message.HashChunk), make([]byte, message.HashChunk+1)
	_, _ = rand.Read(chunk)
	for name, stream := range map[string][]*peerv1.PushAttachmentRequest{
		"long first":  {{Attachment: ref, Data: tooMuch}},
		"long second": {{Attachment: ref, Data: chunk}, {Data: tooMuch}},
		"named again": {{Attachment: ref, Data: chunk}, {Attachment: ref, Data: chunk}},
	} {
		push, err := client.PushAttachment(context.Background())
		w.must(err)
		for _, m := range stream {
			_ = push.Send(m) // the answer tells what became of it
		}
		_, err = push.CloseAndRecv()
		if err = wire.FromStatus(err); fault.CodeOf(err) != "malformed" {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
	st, err := client.AttachmentStatus(context.Background(), ref)
	if err != nil || st.GetStored() > message.HashChunk || st.GetComplete() {
		t.Errorf("stored %d, %v", st.GetStored(), err)
	}
}
