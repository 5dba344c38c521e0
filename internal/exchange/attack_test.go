package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// forgery makes an envelope of the first state as an attacker who holds its keys, or part of them, would.
type forgery struct {
	context func(*message.Context)
	content func(*seal.Content)
	// keys seals to other keys than the directory's.
	keys []authority.PublicKey
}

func (w *world) forge(f forgery) seal.Envelope {
	w.t.Helper()
	sign, err := w.mx.ring.Public(keyring.AuthoritySign(w.mx.name))
	w.must(err)
	to, err := w.jm.ring.Public(keyring.AuthoritySeal(w.jm.name))
	w.must(err)
	own, err := w.mx.ring.Public(keyring.AuthoritySeal(w.mx.name))
	w.must(err)
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	conversation, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	comp := w.composition()
	item, err := seal.NewItem("request", comp.Request, rand.Reader)
	w.must(err)
	d := seal.Draft{
		Context: message.Context{
			Network: w.current.Load().NetworkID(), ID: id, Conversation: conversation, Kind: message.KindRequest, Sender: w.mx.name,
			Recipients: []message.Recipient{{Authority: w.jm.name, Key: to.Fingerprint(), Stanza: 0}, {Authority: w.mx.name, Key: own.Fingerprint(), Stanza: 1}},
			Category:   comp.Category, Urgency: message.Routine, Status: message.Test, Created: w.now(), Expires: w.now().Add(time.Hour),
			Position: w.current.Load().Position(), Approval: message.Single,
			Required: []message.RequiredSignature{{Algorithm: authority.Ed25519, Key: sign.Fingerprint()}},
		},
		Content: seal.Content{Items: []seal.Item{item}},
		Keys:    []authority.PublicKey{to, own},
	}
	if f.context != nil {
		f.context(&d.Context)
	}
	if f.content != nil {
		f.content(&d.Content)
	}
	if f.keys != nil {
		d.Keys = f.keys
	}
	env, err := seal.New(context.Background(), d, w.mx.ring, rand.Reader)
	w.must(err)
	return env
}

// quiet checks that the receiving side has stored no message.
func (w *world) quiet() {
	w.t.Helper()
	all, err := w.jm.List(context.Background(), w.jm.actor(), exchange.Filter{})
	w.must(err)
	if len(all) != 0 {
		w.t.Errorf("something was stored: %+v", all)
	}
}

func (w *world) receive(from authority.Node, envelope []byte) ([]byte, error) {
	return w.jm.Receive(context.Background(), from, envelope)
}

// rejection is the code of a signed rejection, or a failed test.
func (w *world) rejection(receipt []byte, err error, h message.Header) string {
	w.t.Helper()
	w.must(err)
	r, err := seal.VerifyReceipt(receipt, h, func(fp authority.Fingerprint) (authority.Node, authority.PublicKey, error) {
		holder, _ := w.current.Load().At(w.now()).Holder(fp)
		return holder.Owner.Node(), holder.Public, nil
	})
	w.must(err)
	if r.Stages[0].Stage != message.Rejected {
		w.t.Fatalf("stage %s, want a rejection", r.Stages[0].Stage)
	}
	return r.Stages[0].Code
}

// TestUnsignedRefusals: faults that no verified signature covers, or that pass, are unsigned errors and store nothing.
// PROTOCOL 8.3, 10.3.
func TestUnsignedRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		make func() (authority.Node, []byte)
		kind fault.Kind
		code string
	}{
		{"wrong network", func() (authority.Node, []byte) {
			return w.mx.node, w.forge(forgery{context: func(c *message.Context) { c.Network = "00" + c.Network[2:] }}).Bytes
		}, fault.Invalid, "wrong-network"},
		{"node of another state", func() (authority.Node, []byte) { return w.jm.node, w.forge(forgery{}).Bytes }, fault.Denied, "wrong-node"},
		{"future", func() (authority.Node, []byte) {
			return w.mx.node, w.forge(forgery{context: func(c *message.Context) {
				c.Created, c.Expires = w.now().Add(6*time.Minute), w.now().Add(time.Hour)
			}}).Bytes
		}, fault.Retry, "future"},
		{"directory behind", func() (authority.Node, []byte) {
			return w.mx.node, w.forge(forgery{context: func(c *message.Context) {
				c.Position += 5
				c.Recipients[0].Authority = mustName(t, "jm/new")
			}}).Bytes
		}, fault.Retry, "directory-behind"},
		{"not an envelope", func() (authority.Node, []byte) { return w.mx.node, []byte("hello") }, fault.Invalid, "malformed"},
		{"oversize", func() (authority.Node, []byte) { return w.mx.node, make([]byte, message.MaxEnvelope+1) }, fault.TooLarge, "too-large"},
		{"truncated", func() (authority.Node, []byte) {
			b := w.forge(forgery{}).Bytes
			return w.mx.node, b[:len(b)-10]
		}, fault.Invalid, "malformed"},
		{"wrong body", func() (authority.Node, []byte) {
			return w.mx.node, adopt(t, w.forge(forgery{}), w.forge(forgery{}))
		}, fault.Invalid, "wrong-body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.receive(c.make())
			if !fault.Is(err, c.kind) || fault.CodeOf(err) != c.code {
				t.Errorf("got %v (%s), want %s %s", err, fault.CodeOf(err), c.kind, c.code)
			}
		})
	}
	w.quiet()
}

func mustName(t *testing.T, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// adopt puts the second envelope's body under the first one's signed header.
func adopt(t *testing.T, head, body seal.Envelope) []byte {
	t.Helper()
	var m formatv1.Envelope
	if err := canonical.Unmarshal(head.Bytes, &m, message.MaxEnvelope); err != nil {
		t.Fatal(err)
	}
	m.Sealed = body.Sealed
	return canonical.Marshal(&m)
}

// TestSignedRejections: faults that the sender's own signature covers are final and answered with a signed receipt,
// the same at every repeat. PROTOCOL 8.4.
func TestSignedRejections(t *testing.T) {
	w := newWorld(t)
	other := w.forge(forgery{})
	for _, c := range []struct {
		name, code string
		f          forgery
	}{
		{"expired", "expired", forgery{context: func(c *message.Context) {
			c.Created, c.Expires = w.now().Add(-2*time.Hour), w.now().Add(-time.Hour)
		}}},
		{"not served here", "wrong-addressee", forgery{context: func(c *message.Context) { c.Recipients[0].Authority = mustName(t, "jm/nobody") }}},
		{"unknown sealing key", "unknown-sealing-key", forgery{context: func(c *message.Context) { c.Recipients[0].Key = authority.Fingerprint{1} }}},
		{"answer to nothing", "wrong-item", forgery{context: func(c *message.Context) { c.Kind, c.InReplyTo = message.KindReply, other.Header.ID }}},
		{"unknown conversation", "unknown-conversation", forgery{context: func(c *message.Context) { c.Kind, c.InReplyTo = message.KindClose, other.Header.ID },
			content: func(s *seal.Content) { s.Items[0] = w.item("closing", &formatv1.Closing{}) }}},
		{"item of another type", "wrong-item", forgery{content: func(s *seal.Content) { s.Items[0].Type = "answer" }}},
		{"bad item bytes", "malformed", forgery{content: func(s *seal.Content) { s.Items[0].Body = []byte{0xff} }}},
		{"missing attachment", "wrong-commitment", forgery{context: func(c *message.Context) { c.Attachments = []message.Attachment{{SealedSize: 1}} }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := w.forge(c.f)
			first, err := w.receive(w.mx.node, env.Bytes)
			if code := w.rejection(first, err, env.Header); code != c.code {
				t.Errorf("rejected as %q, want %q", code, c.code)
			}
			again, err := w.receive(w.mx.node, env.Bytes)
			if err != nil || !bytes.Equal(first, again) {
				t.Errorf("the repeat was answered with other bytes: %v", err)
			}
		})
	}
	w.quiet()
}

func (w *world) item(kind string, body *formatv1.Closing) seal.Item {
	it, err := seal.NewItem(kind, body, rand.Reader)
	w.must(err)
	return it
}

// TestStolenBody: a sealed body adopted by an attacker who signs a header of his own around it. PROTOCOL 5.5.
func TestStolenBody(t *testing.T) {
	w := newWorld(t)
	victim := w.forge(forgery{})
	thief := w.forge(forgery{})
	h := thief.Header
	h.SealedSize, h.SealedDigest = victim.Header.SealedSize, victim.Header.SealedDigest
	h.Commitment = victim.Header.Commitment
	raw := h.Marshal()
	sign, err := w.mx.ring.Public(keyring.AuthoritySign(w.mx.name))
	w.must(err)
	value, err := w.mx.ring.Sign(context.Background(), sign.Fingerprint(), authority.ForHeader, raw)
	w.must(err)
	fp := sign.Fingerprint()
	stolen := canonical.Marshal(&formatv1.Envelope{Header: raw, Sealed: victim.Sealed,
		Signatures: []*formatv1.Signature{{Algorithm: authority.Ed25519, Key: fp[:], Value: value}}})
	parsed, err := message.ParseHeader(raw)
	w.must(err)
	receipt, err := w.receive(w.mx.node, stolen)
	if code := w.rejection(receipt, err, parsed); code != "wrong-commitment" {
		t.Errorf("rejected as %q, want wrong-commitment", code)
	}
	w.quiet()
}

// TestSameIDOtherBytes: refused as a conflict, and both signed headers are kept as proof. PROTOCOL 5.8.
func TestSameIDOtherBytes(t *testing.T) {
	w := newWorld(t)
	first := w.forge(forgery{})
	_, err := w.receive(w.mx.node, first.Bytes)
	w.must(err)
	second := w.forge(forgery{context: func(c *message.Context) { c.ID = first.Header.ID }})
	if _, err := w.receive(w.mx.node, second.Bytes); fault.CodeOf(err) != "same-id" || !fault.Is(err, fault.Conflict) {
		t.Fatalf("second message with the ID: %v", err)
	}
	proofs, err := w.jm.conflicts(first.Header.Key())
	w.must(err)
	if len(proofs) != 1 || proofs[0].Digest != second.Header.Digest || len(proofs[0].Header) == 0 {
		t.Errorf("kept as proof: %+v", proofs)
	}
}

// TestRepeatGivesTheSameReceipt: P2; PROTOCOL 8.1, 8.2.
func TestRepeatGivesTheSameReceipt(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	first, err := w.receive(w.mx.node, env.Bytes)
	w.must(err)
	w.jm.restart()
	second, err := w.receive(w.mx.node, env.Bytes)
	w.must(err)
	if !bytes.Equal(first, second) {
		t.Error("the repeat was answered with another receipt")
	}
	all, err := w.jm.List(context.Background(), w.jm.actor(), exchange.Filter{})
	w.must(err)
	if len(all) != 1 {
		t.Errorf("%d requests after a repeat, want 1", len(all))
	}
}

// TestEveryByteOfAnEnvelope: no single changed byte is accepted.
func TestEveryByteOfAnEnvelope(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	for i := range env.Bytes {
		b := bytes.Clone(env.Bytes)
		b[i] ^= 1 << (i % 8)
		if receipt, err := w.receive(w.mx.node, b); err == nil {
			t.Fatalf("byte %d changed and accepted: %d bytes of receipt", i, len(receipt))
		}
	}
	w.quiet()
}

// TestRevokedKeyIsRefused: a new arrival under a revoked key, and from a suspended state. P7; DESIGN 5.
func TestRevokedKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	sign, err := w.mx.ring.Public(keyring.AuthoritySign(w.mx.name))
	w.must(err)
	payload, err := w.draft().RevokeKey(directory.OfAuthority(w.mx.name), sign.Fingerprint(), "stolen")
	w.must(err)
	w.apply(payload, signer{directory.RoleState, w.mx.state})
	if _, err := w.receive(w.mx.node, env.Bytes); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "revoked" {
		t.Errorf("message under a revoked key: %v (%s)", err, fault.CodeOf(err))
	}
	w.quiet()
}

// TestSuspendedStateIsRefused: at the next message, in both directions.
func TestSuspendedStateIsRefused(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	payload, err := w.draft().Suspend(directory.OfState(w.mx.name.State()), w.now().Add(time.Hour), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	if _, err := w.receive(w.mx.node, env.Bytes); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "suspended" {
		t.Errorf("message of a suspended state: %v (%s)", err, fault.CodeOf(err))
	}
	if _, err := w.jm.Create(context.Background(), w.jm.actor(), exchange.Composition{From: w.jm.name, To: w.mx.name, Compose: w.composition().Compose}); !fault.Is(err, fault.Denied) {
		t.Errorf("request to a suspended state: %v", err)
	}
	w.advance(2 * time.Hour)
	late := w.forge(forgery{})
	_, err = w.receive(w.mx.node, late.Bytes)
	w.must(err) // the suspension has lapsed
}

// TestUndeliverableAfterExpiry: 15 minutes after the expiry an unreceipted message is reported, not forgotten.
func TestUndeliverableAfterExpiry(t *testing.T) {
	w := newWorld(t)
	w.jm.stop()
	id := w.sent()
	w.mx.stop()
	w.advance(31 * 24 * time.Hour)
	w.mx.restart()
	w.mx.until(id, state(message.Undeliverable))
}

// TestAttachmentResumes: what is stored whole in chunks is not sent again, a wrong file is never COMPLETE.
// PROTOCOL 6.3, 10.4.
func TestAttachmentResumes(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	var sealed bytes.Buffer
	plain := make([]byte, 3*message.HashChunk)
	key, line, err := seal.SealAttachment(&sealed, bytes.NewReader(plain), rand.Reader)
	w.must(err)
	env := w.forge(forgery{context: func(c *message.Context) { c.Attachments = []message.Attachment{line} },
		content: func(s *seal.Content) { s.Attachments = []seal.AttachmentKey{key} }})
	_, err = w.receive(w.mx.node, env.Bytes)
	w.must(err)
	ref := message.AttachmentRef{Message: env.Header.Key()}
	cut := sealed.Bytes()[:2*message.HashChunk+100]
	st, err := w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 0, bytes.NewReader(cut))
	w.must(err)
	if st.Complete || st.Bytes != 2*message.HashChunk {
		t.Fatalf("after a cut: %+v", st)
	}
	w.jm.restart()
	st, err = w.jm.AttachmentStatus(ctx, w.mx.node, ref)
	w.must(err)
	if st.Bytes != 2*message.HashChunk {
		t.Fatalf("after a restart %d bytes are stored, want %d", st.Bytes, 2*message.HashChunk)
	}
	if _, err := w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 3*message.HashChunk, bytes.NewReader(nil)); fault.CodeOf(err) != "wrong-offset" {
		t.Errorf("a gap: %v", err)
	}
	bad := bytes.Clone(sealed.Bytes()[2*message.HashChunk:])
	bad[5] ^= 1
	if _, err := w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 2*message.HashChunk, bytes.NewReader(bad)); fault.CodeOf(err) != "wrong-chunks" {
		t.Errorf("changed bytes: %v", err)
	}
	if _, err := w.jm.ReceiveAttachment(ctx, w.jm.node, ref, 0, bytes.NewReader(nil)); !fault.Is(err, fault.NotFound) {
		t.Errorf("attachment from another state's node: %v", err)
	}
	st, err = w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 0, bytes.NewReader(append(sealed.Bytes(), 0)))
	if fault.CodeOf(err) != "wrong-chunks" {
		t.Errorf("a byte too many: %+v, %v", st, err)
	}
	st, err = w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 0, bytes.NewReader(sealed.Bytes()))
	w.must(err)
	if !st.Complete || len(st.Receipt) == 0 {
		t.Errorf("whole: %+v", st)
	}
}

// TestRepeatAfterRevocation: what was receipted stays receipted; the sender gets its receipt though its key was revoked
// meanwhile, and a new message under the key is refused. P2.
func TestRepeatAfterRevocation(t *testing.T) {
	w := newWorld(t)
	env, late := w.forge(forgery{}), w.forge(forgery{})
	first, err := w.receive(w.mx.node, env.Bytes)
	w.must(err)
	sign, err := w.mx.ring.Public(keyring.AuthoritySign(w.mx.name))
	w.must(err)
	payload, err := w.draft().RevokeKey(directory.OfAuthority(w.mx.name), sign.Fingerprint(), "stolen")
	w.must(err)
	w.apply(payload, signer{directory.RoleState, w.mx.state})
	again, err := w.receive(w.mx.node, env.Bytes)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("repeat under a key revoked since: %v", err)
	}
	if _, err := w.receive(w.mx.node, late.Bytes); fault.CodeOf(err) != "revoked" {
		t.Errorf("new message under a revoked key: %v", err)
	}
}
