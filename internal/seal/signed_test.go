package seal

import (
	"bytes"
	"context"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const receiver = "jm/node/primary"

func nodeOf(t testing.TB, s string) authority.Node {
	t.Helper()
	n, err := authority.ParseNode(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func receiptFor(t testing.TB, h message.Header, stage message.Stage, code string) message.Receipt {
	t.Helper()
	return message.Receipt{
		Network: h.Network, Node: nodeOf(t, receiver), Incarnation: message.Incarnation{Counter: 1, Random: [8]byte(vectortest.Bytes("incarnation jm", 8))},
		Message: h.Key(), Digest: h.Digest, Stages: []message.StageOf{{Authority: h.Recipients[0].Authority, Stage: stage, Code: code}},
		Time: made, Checkpoint: message.DigestOf([]byte("checkpoint")),
	}
}

func (w *world) signReceipt(t testing.TB, r message.Receipt, by string) []byte {
	t.Helper()
	b, err := SignReceipt(context.Background(), w, signKey(t, by+" sign").Fingerprint(), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// PROTOCOL 8.1, 8.2.
func TestReceipt(t *testing.T) {
	w := newWorld(t)
	h := w.envelope(t, "jm/jcf").Header
	for _, r := range []message.Receipt{receiptFor(t, h, message.Complete, ""), receiptFor(t, h, message.Rejected, "expired")} {
		signed := w.signReceipt(t, r, receiver)
		got, err := VerifyReceipt(signed, h, w.findNode)
		if err != nil || !bytes.Equal(got.Marshal(), r.Marshal()) {
			t.Errorf("got %+v, %v; want %+v", got, err, r)
		}
		if again := w.signReceipt(t, r, receiver); !bytes.Equal(again, signed) {
			t.Error("the same receipt has other bytes the second time")
		}
	}
}

// Every single byte of a receipt changed is refused. PROTOCOL 8.1.
func TestEveryByteOfAReceipt(t *testing.T) {
	w := newWorld(t)
	h := w.envelope(t, "jm/jcf").Header
	signed := w.signReceipt(t, receiptFor(t, h, message.Received, ""), receiver)
	for i := range signed {
		for bit := range 8 {
			b := bytes.Clone(signed)
			b[i] ^= 1 << bit
			if r, err := VerifyReceipt(b, h, w.findNode); err == nil {
				t.Fatalf("byte %d, bit %d changed: accepted as %+v", i, bit, r)
			}
		}
		if _, err := VerifyReceipt(signed[:i], h, w.findNode); err == nil {
			t.Fatalf("cut to %d bytes: accepted", i)
		}
	}
}

// A receipt about anything but this message, or by anyone but the node it names, is refused. PROTOCOL 8.1.
func TestReceiptAboutSomethingElse(t *testing.T) {
	w := newWorld(t)
	h := w.envelope(t, "jm/jcf").Header
	for name, test := range map[string]struct {
		change func(*message.Receipt)
		by     string
		code   string
	}{
		"another network":          {func(r *message.Receipt) { r.Network = "x" }, receiver, "wrong-receipt"},
		"another sender":           {func(r *message.Receipt) { r.Message.Sender = nameOf(t, "br/pf") }, receiver, "wrong-receipt"},
		"another message":          {func(r *message.Receipt) { r.Message.ID = idOf(t, "other") }, receiver, "wrong-receipt"},
		"another header":           {func(r *message.Receipt) { r.Digest[0]++ }, receiver, "wrong-receipt"},
		"another node's name":      {func(r *message.Receipt) { r.Node = nodeOf(t, "br/node/primary") }, receiver, "wrong-receipt"},
		"another node's signature": {func(*message.Receipt) {}, "br/node/primary", "wrong-receipt"},
		"an authority's signature": {func(*message.Receipt) {}, "jm/jcf", "malformed-name"},
		"no stage":                 {func(r *message.Receipt) { r.Stages = nil }, receiver, "malformed"},
	} {
		r := receiptFor(t, h, message.Received, "")
		test.change(&r)
		if _, err := VerifyReceipt(w.signReceipt(t, r, test.by), h, w.findNode); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

// PROTOCOL 3.3, 3.4: one signature, of the key's algorithm, without a role, under this label.
func TestVerifyNodeRefuses(t *testing.T) {
	w := newWorld(t)
	payload := []byte("payload")
	key := signKey(t, receiver+" sign").Fingerprint()
	good, err := SignNode(context.Background(), w, key, authority.ForReceipt, payload)
	if err != nil {
		t.Fatal(err)
	}
	if got, node, err := VerifyNode(good, authority.ForReceipt, w.findNode); err != nil || !bytes.Equal(got, payload) || node.String() != receiver {
		t.Fatalf("%s by %v, %v", got, node, err)
	}
	with := func(change func(*formatv1.Signed)) []byte {
		var m formatv1.Signed
		if err := canonical.Unmarshal(good, &m, message.MaxReceipt); err != nil {
			t.Fatal(err)
		}
		change(&m)
		return canonical.Marshal(&m)
	}
	for name, test := range map[string]struct {
		b       []byte
		purpose authority.Purpose
		code    string
	}{
		"under another label": {good, authority.ForHello, "bad-signature"},
		"no signature":        {with(func(m *formatv1.Signed) { m.Signatures = nil }), authority.ForReceipt, "bad-signature"},
		"two signatures":      {with(func(m *formatv1.Signed) { m.Signatures = append(m.Signatures, m.Signatures[0]) }), authority.ForReceipt, "bad-signature"},
		"another payload":     {with(func(m *formatv1.Signed) { m.Payload = []byte("Payload") }), authority.ForReceipt, "bad-signature"},
		"a role":              {with(func(m *formatv1.Signed) { m.Signatures[0].Role = "state" }), authority.ForReceipt, "bad-signature"},
		"another algorithm":   {with(func(m *formatv1.Signed) { m.Signatures[0].Algorithm = "x" }), authority.ForReceipt, "bad-signature"},
		"an unknown key":      {with(func(m *formatv1.Signed) { m.Signatures[0].Key = make([]byte, 32) }), authority.ForReceipt, "unknown-key"},
		"a short key":         {with(func(m *formatv1.Signed) { m.Signatures[0].Key = nil }), authority.ForReceipt, "malformed-key"},
		"an unknown field":    {append(bytes.Clone(good), 0x1a, 1, 'x'), authority.ForReceipt, "unknown-field"},
		"too large":           {with(func(m *formatv1.Signed) { m.Payload = make([]byte, message.MaxReceipt) }), authority.ForReceipt, "too-large"},
	} {
		if _, _, err := VerifyNode(test.b, test.purpose, w.findNode); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
	if _, err := SignNode(context.Background(), away{}, key, authority.ForReceipt, payload); !fault.Is(err, fault.Retry) {
		t.Errorf("keyring away: %v, want retry", err)
	}
}

type signedVector struct {
	Name    string            `json:"name"`
	Key     string            `json:"key"`
	Label   authority.Purpose `json:"label"`
	Payload vectortest.Hex    `json:"payload"`
	Signed  vectortest.Hex    `json:"signed"`
}

func (w *world) signedVector(t *testing.T, name string, purpose authority.Purpose, payload []byte) signedVector {
	t.Helper()
	signed, err := SignNode(context.Background(), w, signKey(t, receiver+" sign").Fingerprint(), purpose, payload)
	if err != nil {
		t.Fatal(err)
	}
	if got, node, err := VerifyNode(signed, purpose, w.findNode); err != nil || !bytes.Equal(got, payload) || node.String() != receiver {
		t.Errorf("%s: %v by %v", name, err, node)
	}
	return signedVector{name, receiver + " sign", purpose, payload, signed}
}

// PROTOCOL 3.4, 8.1, 10.2.
func TestVectorSigned(t *testing.T) {
	w := newWorld(t)
	to := nameOf(t, "jm/jcf")
	r := message.Receipt{
		Network: networkID, Node: nodeOf(t, receiver), Incarnation: message.Incarnation{Counter: 1, Random: [8]byte(vectortest.Bytes("incarnation jm", 8))},
		Message: message.Key{Sender: nameOf(t, "mx/fgr"), ID: idOf(t, "message")}, Digest: message.DigestOf([]byte("header")),
		Stages: []message.StageOf{{Authority: to, Stage: message.Received}}, Time: made, Checkpoint: message.DigestOf([]byte("checkpoint")),
	}
	rejection := r
	rejection.Stages = []message.StageOf{{Authority: to, Stage: message.Rejected, Code: "wrong-commitment"}}
	hello := &formatv1.Hello{
		Network: networkID, Node: receiver, Peer: "mx/node/primary", Versions: []uint32{message.Version}, Position: 42, Time: made.UnixMilli(), State: "NORMAL",
		Incarnation: &formatv1.Incarnation{Counter: 1, Random: vectortest.Bytes("incarnation jm", 8)},
	}
	vectortest.Check(t, "receipt-signed", "a receipt and a rejection as they travel", []string{"3.4", "8.1", "8.2"}, []signedVector{
		w.signedVector(t, "receipt", authority.ForReceipt, r.Marshal()), w.signedVector(t, "rejection", authority.ForReceipt, rejection.Marshal()),
	})
	vectortest.Check(t, "hello", "a hello as it travels", []string{"3.4", "10.2"}, []signedVector{w.signedVector(t, "hello", authority.ForHello, canonical.Marshal(hello))})
}

// FuzzVerifyNode: only what the node signed, under the label it signed it for, passes.
func FuzzVerifyNode(f *testing.F) {
	w := newWorld(f)
	payload := []byte("payload")
	good, err := SignNode(context.Background(), w, signKey(f, receiver+" sign").Fingerprint(), authority.ForReceipt, payload)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _, err := VerifyNode(b, authority.ForReceipt, w.findNode); err == nil && !bytes.Equal(got, payload) {
			t.Errorf("%x passes", b)
		}
	})
}
