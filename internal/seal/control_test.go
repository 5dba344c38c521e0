package seal

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func controlDraft(t testing.TB) ControlDraft {
	t.Helper()
	return ControlDraft{
		Network: networkID, ID: idOf(t, "control"), From: nodeOf(t, publisher), To: nodeOf(t, receiver), Incarnation: incarnationOf("incarnation"),
		Kind: ControlKeyRequest, Created: made, Expires: made.Add(24 * time.Hour), Key: sealKey(t, receiver+" seal"),
		NodeKey: signKey(t, publisher+" sign").Fingerprint(), Body: vectortest.Bytes("control body", 100),
	}
}

func (w *world) control(t testing.TB, d ControlDraft) Control {
	t.Helper()
	c, err := NewControl(context.Background(), d, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// takeControl reads a control envelope as the node it is for does.
func (w *world) takeControl(b []byte) (Control, []byte, error) {
	p, err := ParseControl(b)
	if err != nil {
		return Control{}, nil, err
	}
	c, err := p.Verify(w.findNode)
	if err != nil {
		return Control{}, nil, err
	}
	body, err := c.Open(context.Background(), w)
	return c, body, err
}

// Only the node it is for reads a control envelope, and reads what was said. PROTOCOL 1.5, 7.1.
func TestControl(t *testing.T) {
	w := newWorld(t)
	d := controlDraft(t)
	sent := w.control(t, d)
	c, body, err := w.takeControl(sent.Bytes)
	if err != nil || !bytes.Equal(body, d.Body) {
		t.Fatalf("opens as %x, %v", body, err)
	}
	if c.ID != d.ID || c.From != d.From || c.To != d.To || c.Kind != d.Kind || c.Digest != sent.Digest || !c.Expires.Equal(d.Expires) || c.Incarnation != d.Incarnation || c.Network != networkID {
		t.Errorf("reads as %+v", c)
	}
	header, signature := c.Proof()
	if message.DigestOf(header) != c.Digest || !bytes.Contains(signature, c.signature.GetValue()) {
		t.Error("the proof is not that of this header")
	}
	if bytes.Contains(sent.Bytes, d.Body[:16]) {
		t.Error("the envelope shows its body")
	}
	if stored, err := StoredControl(sent.Bytes); err != nil || stored.Digest != sent.Digest {
		t.Errorf("stored reads as %+v, %v", stored, err)
	}
	if again := w.control(t, d); bytes.Equal(again.Bytes, sent.Bytes) || again.Digest == sent.Digest {
		t.Error("two envelopes share their seal")
	}
}

// remade changes a control envelope's header or body, and signs it again by a node.
func (w *world) remade(t testing.TB, by string, change func(*formatv1.ControlHeader, *formatv1.ControlEnvelope)) []byte {
	t.Helper()
	var envelope formatv1.ControlEnvelope
	var header formatv1.ControlHeader
	if err := canonical.Unmarshal(w.control(t, controlDraft(t)).Bytes, &envelope, message.MaxControl); err != nil {
		t.Fatal(err)
	}
	if err := canonical.Unmarshal(envelope.GetHeader(), &header, message.MaxHeader); err != nil {
		t.Fatal(err)
	}
	before := canonical.Marshal(&envelope)
	change(&header, &envelope)
	if bytes.Equal(before, canonical.Marshal(&envelope)) { // the change is one of the header
		envelope.Header = canonical.Marshal(&header)
		envelope.Signatures = []*formatv1.Signature{w.signature(t, by+" sign", authority.ForControl, envelope.GetHeader())}
	}
	return canonical.Marshal(&envelope)
}

// PROTOCOL 3.4, 5.6, 7.1.
func TestControlRefuses(t *testing.T) {
	w := newWorld(t)
	type (
		header   = formatv1.ControlHeader
		envelope = formatv1.ControlEnvelope
	)
	sealed := func(plain []byte, keys ...string) func(*header, *envelope) {
		return func(h *header, e *envelope) {
			var to []authority.PublicKey
			for _, k := range keys {
				to = append(to, sealKey(t, k+" seal"))
			}
			b, err := encrypt(plain, to, nil)
			if err != nil {
				t.Fatal(err)
			}
			digest := message.DigestOf(b)
			h.SealedSize, h.SealedDigest = uint64(len(b)), digest[:]
			e.Sealed, e.Header = b, canonical.Marshal(h)
			e.Signatures = []*formatv1.Signature{w.signature(t, publisher+" sign", authority.ForControl, e.Header)}
		}
	}
	for name, test := range map[string]struct {
		by     string
		change func(*header, *envelope)
		code   string
	}{
		"the right one":          {publisher, func(*header, *envelope) {}, ""},
		"signed by another":      {"br/node/primary", func(*header, *envelope) {}, "bad-signature"},
		"another sender":         {publisher, func(h *header, _ *envelope) { h.From = "br/node/primary" }, "bad-signature"},
		"version 2":              {publisher, func(h *header, _ *envelope) { h.Version = 2 }, "unknown-version"},
		"no ID":                  {publisher, func(h *header, _ *envelope) { h.Id = nil }, "malformed-id"},
		"no receiver":            {publisher, func(h *header, _ *envelope) { h.To = "" }, "malformed-name"},
		"no incarnation":         {publisher, func(h *header, _ *envelope) { h.Incarnation = nil }, "malformed"},
		"no sealing key":         {publisher, func(h *header, _ *envelope) { h.SealingKey = nil }, "malformed-key"},
		"a kind of later":        {publisher, func(h *header, _ *envelope) { h.Kind = "hello" }, "unknown-kind"},
		"no kind":                {publisher, func(h *header, _ *envelope) { h.Kind = "" }, "malformed"},
		"expired when made":      {publisher, func(h *header, _ *envelope) { h.Expires = h.GetCreated() }, "expires"},
		"expires in two years":   {publisher, func(h *header, _ *envelope) { h.Expires += 2 * message.MaxLife.Milliseconds() }, "expires"},
		"another size":           {publisher, func(h *header, _ *envelope) { h.SealedSize++ }, "wrong-body"},
		"another digest":         {publisher, func(h *header, _ *envelope) { h.SealedDigest[0]++ }, "wrong-body"},
		"no digest":              {publisher, func(h *header, _ *envelope) { h.SealedDigest = nil }, "malformed"},
		"a key that is not here": {publisher, func(h *header, _ *envelope) { h.SealingKey = make([]byte, 32) }, "no-key"},
		"a key of another":       {publisher, func(h *header, _ *envelope) { k := sealKey(t, "br/pf seal").Fingerprint(); h.SealingKey = k[:] }, "cannot-open"},
		"another body":           {publisher, func(_ *header, e *envelope) { e.Sealed = append(e.Sealed, 0) }, "wrong-body"},
		"no signature":           {publisher, func(_ *header, e *envelope) { e.Signatures = nil }, "bad-signature"},
		"two signatures":         {publisher, func(_ *header, e *envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }, "bad-signature"},
		"a role":                 {publisher, func(_ *header, e *envelope) { e.Signatures[0].Role = "state" }, "bad-signature"},
		"under another label": {publisher, func(_ *header, e *envelope) {
			e.Signatures[0] = w.signature(t, publisher+" sign", authority.ForHeader, e.Header)
		}, "bad-signature"},
		"huge header":              {publisher, func(_ *header, e *envelope) { e.Header = make([]byte, message.MaxHeader+1) }, "too-large"},
		"sealed to two":            {publisher, sealed(pad([]byte("body")), receiver, "br/node/primary"), "cannot-open"},
		"sealed to another":        {publisher, sealed(pad([]byte("body")), "br/node/primary"), "cannot-open"},
		"not padded":               {publisher, sealed(unpadded(pad(make([]byte, 99))), receiver), "malformed-body"},
		"padding not zero":         {publisher, sealed(append(pad(make([]byte, 99))[:103], 1), receiver), "malformed-body"},
		"bytes behind the padding": {publisher, sealed(append(pad([]byte("body")), 0), receiver), "malformed-body"},
	} {
		_, _, err := w.takeControl(w.remade(t, test.by, test.change))
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
}

// What a reader would refuse is not made. PROTOCOL 1.3, 7.1.
func TestNewControlRefuses(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		change func(*ControlDraft)
		code   string
	}{
		"unknown kind": {func(d *ControlDraft) { d.Kind = "hello" }, "unknown-kind"},
		"huge body":    {func(d *ControlDraft) { d.Body = make([]byte, message.MaxSealedBody) }, "too-large"},
		"no expiry":    {func(d *ControlDraft) { d.Expires = d.Created }, "expires"},
		"no ID":        {func(d *ControlDraft) { d.ID = message.ID{} }, "malformed-id"},
		"signing key":  {func(d *ControlDraft) { d.Key = signKey(t, receiver+" sign") }, "malformed-key"},
		"no such key":  {func(d *ControlDraft) { d.NodeKey = authority.Fingerprint{} }, "no-key"},
	} {
		d := controlDraft(t)
		test.change(&d)
		if _, err := NewControl(context.Background(), d, w, nil); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

// A receipt for a control envelope is about it alone, by the node it was for, and nothing else's receipt. PROTOCOL 7.1.
func TestControlReceipt(t *testing.T) {
	w := newWorld(t)
	c := w.control(t, controlDraft(t))
	right := ControlReceipt{
		Network: networkID, Node: c.To, Incarnation: incarnationOf("incarnation jm"), From: c.From, ID: c.ID, Digest: c.Digest,
		Stage: message.Rejected, Code: "wrong-key", Time: made, Checkpoint: message.DigestOf([]byte("checkpoint")),
	}
	for name, test := range map[string]struct {
		change func(*ControlReceipt)
		by     string
		code   string
	}{
		"the right one":   {func(*ControlReceipt) {}, receiver, ""},
		"received":        {func(r *ControlReceipt) { r.Stage, r.Code = message.Received, "" }, receiver, ""},
		"another network": {func(r *ControlReceipt) { r.Network = "x" }, receiver, "wrong-receipt"},
		"another sender":  {func(r *ControlReceipt) { r.From = r.Node }, receiver, "wrong-receipt"},
		"another ID":      {func(r *ControlReceipt) { r.ID = idOf(t, "other") }, receiver, "wrong-receipt"},
		"another header":  {func(r *ControlReceipt) { r.Digest[0]++ }, receiver, "wrong-receipt"},
		"another node":    {func(r *ControlReceipt) { r.Node = nodeOf(t, "br/node/primary") }, "br/node/primary", "wrong-receipt"},
		"another's hand":  {func(*ControlReceipt) {}, "br/node/primary", "bad-signature"},
	} {
		r := right
		test.change(&r)
		signed, err := SignControlReceipt(context.Background(), w, signKey(t, test.by+" sign").Fingerprint(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyControlReceipt(signed, c, w.findNode); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
	for name, change := range map[string]func(*ControlReceipt){
		"no stage":           func(r *ControlReceipt) { r.Stage = "" },
		"complete":           func(r *ControlReceipt) { r.Stage, r.Code = message.Complete, "" },
		"rejected, no code":  func(r *ControlReceipt) { r.Code = "" },
		"received, a code":   func(r *ControlReceipt) { r.Stage = message.Received },
		"rejected, a phrase": func(r *ControlReceipt) { r.Code = "no key" },
	} {
		r := right
		change(&r)
		signed := w.signed(t, receiver, authority.ForControlReceipt, r.Marshal())
		if _, err := VerifyControlReceipt(signed, c, w.findNode); fault.CodeOf(err) != "malformed" {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
	if _, err := VerifyControlReceipt(w.signed(t, receiver, authority.ForReceipt, right.Marshal()), c, w.findNode); fault.CodeOf(err) != "bad-signature" {
		t.Errorf("under a receipt's label: %v", err)
	}
}

// FuzzControl: whatever comes, only what a node signed passes, and only with the body it sealed.
func FuzzControl(f *testing.F) {
	w := newWorld(f)
	d := controlDraft(f)
	f.Add(w.control(f, d).Bytes)
	f.Add([]byte(vectorNamed(f, "control", "envelope").Bytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, body, err := w.takeControl(b)
		if err == nil && (c.From != d.From || !bytes.Equal(body, d.Body)) {
			t.Errorf("a control envelope nobody made: %x", b)
		}
	})
}
