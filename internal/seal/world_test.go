package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const networkID = "5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c"

var made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world holds the keys of a few authorities and nodes, by the labels of the test vectors: "mx/fgr sign".
type world struct {
	signing map[authority.Fingerprint]string
	sealing map[authority.Fingerprint]*age.HybridIdentity
	owners  map[authority.Fingerprint]string
	publics map[authority.Fingerprint]authority.PublicKey
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{map[authority.Fingerprint]string{}, map[authority.Fingerprint]*age.HybridIdentity{}, map[authority.Fingerprint]string{}, map[authority.Fingerprint]authority.PublicKey{}}
	for _, owner := range []string{"mx/fgr", "jm/jcf", "br/pf", "jm/node/primary", "br/node/primary", publisher} {
		sign := signKey(t, owner+" sign")
		w.signing[sign.Fingerprint()], w.owners[sign.Fingerprint()], w.publics[sign.Fingerprint()] = owner+" sign", owner, sign
		seal := sealKey(t, owner+" seal")
		w.sealing[seal.Fingerprint()], w.owners[seal.Fingerprint()], w.publics[seal.Fingerprint()] = vectortest.Identity(owner+" seal"), owner, seal
	}
	return w
}

func signKey(t testing.TB, label string) authority.PublicKey {
	t.Helper()
	k, err := authority.ParsePublicKey(authority.Ed25519, vectortest.Public(label))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealKey(t testing.TB, label string) authority.PublicKey {
	t.Helper()
	k, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(vectortest.Identity(label).Recipient().String()))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Sign implements Signer.
func (w *world) Sign(_ context.Context, key authority.Fingerprint, purpose authority.Purpose, payload []byte) ([]byte, error) {
	label, ok := w.signing[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "no-key", "sign", "the key is not here")
	}
	return ed25519.Sign(vectortest.SigningKey(label), authority.Message(purpose, payload)), nil
}

// Open implements Opener.
func (w *world) Open(_ context.Context, key authority.Fingerprint, sealed io.Reader) (io.Reader, error) {
	id, ok := w.sealing[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "no-key", "open", "the key is not here")
	}
	r, err := age.Decrypt(sealed, id)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot-open", "open", "not sealed to this key")
	}
	return r, nil
}

// find is the directory's answer about an authority's key.
func (w *world) find(fp authority.Fingerprint) (authority.Name, authority.PublicKey, error) {
	public, ok := w.publics[fp]
	if !ok {
		return authority.Name{}, authority.PublicKey{}, fault.New(fault.Retry, "unknown-key", "find key", "not in the directory")
	}
	name, err := authority.ParseName(w.owners[fp])
	return name, public, err
}

// findNode is the directory's answer about a node's key.
func (w *world) findNode(fp authority.Fingerprint) (authority.Node, authority.PublicKey, error) {
	public, ok := w.publics[fp]
	if !ok {
		return authority.Node{}, authority.PublicKey{}, fault.New(fault.Retry, "unknown-key", "find key", "not in the directory")
	}
	node, err := authority.ParseNode(w.owners[fp])
	return node, public, err
}

func nameOf(t testing.TB, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func idOf(t testing.TB, label string) message.ID {
	t.Helper()
	id, err := message.NewID(made, bytes.NewReader(vectortest.Bytes(label, 10)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// contextOf is a request of mx/fgr to others, signed by the keys of these labels.
func contextOf(t testing.TB, to []string, signers ...string) message.Context {
	t.Helper()
	category, err := authority.ParseCategory("drugs.trafficking")
	if err != nil {
		t.Fatal(err)
	}
	c := message.Context{
		Network: networkID, ID: idOf(t, "message"), Conversation: idOf(t, "conversation"), Kind: message.KindRequest, Sender: nameOf(t, "mx/fgr"),
		Category: category, Urgency: message.Routine, Status: message.Test, Created: made, Expires: made.Add(30 * 24 * time.Hour), Position: 42, Approval: message.Single,
	}
	for i, name := range append(to, "mx/fgr") {
		c.Recipients = append(c.Recipients, message.Recipient{Authority: nameOf(t, name), Key: sealKey(t, name+" seal").Fingerprint(), Stanza: uint32(i)})
	}
	for _, s := range signers {
		c.Required = append(c.Required, message.RequiredSignature{Algorithm: authority.Ed25519, Key: signKey(t, s).Fingerprint()})
	}
	return c
}

// someContent is a request with one question, and the attachments given.
func someContent(t testing.TB, keys ...AttachmentKey) Content {
	t.Helper()
	c := Content{ContextSalt: vectortest.Bytes("context salt", saltSize), Attachments: keys}
	for i, part := range []struct {
		kind string
		body []byte
	}{
		{"request", canonical.Marshal(&formatv1.Request{Kind: "identify-person", Facts: "PLANTED facts, all made up"})},
		{"ask", canonical.Marshal(&formatv1.Ask{Number: 1, Kind: "identify-person", Question: "Who is this?"})},
	} {
		c.Items = append(c.Items, Item{Salt: vectortest.Bytes("item salt "+string(rune('0'+i)), saltSize), Type: part.kind, Body: part.body})
	}
	return c
}

// envelope is one good envelope for these authorities.
func (w *world) envelope(t testing.TB, to ...string) Envelope {
	t.Helper()
	return w.seal(t, contextOf(t, to, "mx/fgr sign"), someContent(t))
}

func (w *world) seal(t testing.TB, c message.Context, content Content) Envelope {
	t.Helper()
	d := Draft{Context: c, Content: content}
	for _, r := range c.Recipients {
		d.Keys = append(d.Keys, w.publics[r.Key])
	}
	env, err := New(context.Background(), d, w, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// take reads an envelope as a receiver does, up to its content.
func (w *world) take(b []byte, key authority.Fingerprint) (Envelope, Content, error) {
	p, err := ParseEnvelope(b)
	if err != nil {
		return Envelope{}, Content{}, err
	}
	env, err := p.Verify(w.find)
	if err != nil {
		return Envelope{}, Content{}, err
	}
	c, err := env.Open(context.Background(), w, key)
	return env, c, err
}

// changed reads an envelope into its message, changes it, and writes it again.
func changed(t testing.TB, b []byte, change func(*formatv1.Envelope)) []byte {
	t.Helper()
	var m formatv1.Envelope
	if err := canonical.Unmarshal(b, &m, message.MaxEnvelope); err != nil {
		t.Fatal(err)
	}
	change(&m)
	return canonical.Marshal(&m)
}

func (w *world) signature(t testing.TB, label string, purpose authority.Purpose, payload []byte) *formatv1.Signature {
	t.Helper()
	fp := signKey(t, label).Fingerprint()
	value, err := w.Sign(context.Background(), fp, purpose, payload)
	if err != nil {
		t.Fatal(err)
	}
	return &formatv1.Signature{Algorithm: authority.Ed25519, Key: fp[:], Value: value}
}
