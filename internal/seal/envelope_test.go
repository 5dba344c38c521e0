package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Each recipient, the sender too, reads what was said; nobody else does. PROTOCOL 1.5, 5.1, 5.6.
func TestEveryRecipientOpens(t *testing.T) {
	w := newWorld(t)
	env := w.envelope(t, "jm/jcf")
	for _, r := range env.Header.Recipients {
		got, c, err := w.take(env.Bytes, r.Key)
		if err != nil {
			t.Fatalf("%s: %v", r.Authority, err)
		}
		if got.Header.Digest != env.Header.Digest || !bytes.Equal(got.Bytes, env.Bytes) || len(c.Items) != 2 {
			t.Errorf("%s reads something else", r.Authority)
		}
		var q formatv1.Ask
		if err := c.Items[1].Read("ask", &q); err != nil || q.GetQuestion() != "Who is this?" {
			t.Errorf("%s reads %v, %v", r.Authority, &q, err)
		}
	}
	if _, _, err := w.take(env.Bytes, sealKey(t, "br/pf seal").Fingerprint()); fault.CodeOf(err) != "cannot-open" {
		t.Errorf("an authority not addressed: %v, want cannot-open", err)
	}
	if bytes.Contains(env.Bytes, []byte("PLANTED")) {
		t.Error("the envelope shows its content")
	}
	if n := bytes.Count(env.Sealed, []byte("-> mlkem768x25519 ")); n != 2 {
		t.Errorf("%d stanzas, want one for each recipient", n)
	}
}

// Every single byte of an envelope changed is refused before anything of it is believed. PROTOCOL 5.4.
func TestEveryByteOfAnEnvelope(t *testing.T) {
	w := newWorld(t)
	env := w.envelope(t, "jm/jcf")
	for i := range env.Bytes {
		for _, flip := range []byte{0x01, 0x80} {
			b := bytes.Clone(env.Bytes)
			b[i] ^= flip
			p, err := ParseEnvelope(b)
			if err == nil {
				_, err = p.Verify(w.find)
			}
			if err == nil {
				t.Fatalf("byte %d of %d changed by %#x: accepted", i, len(b), flip)
			}
		}
	}
	for n := range env.Bytes {
		if p, err := ParseEnvelope(env.Bytes[:n]); err == nil {
			if _, err := p.Verify(w.find); err == nil {
				t.Fatalf("cut to %d bytes: accepted", n)
			}
		}
	}
}

// PROTOCOL 5.4: exactly the required signatures, each the sender's own, each over the header under its label.
func TestSignatures(t *testing.T) {
	w := newWorld(t)
	second := signKey(t, "mx/fgr sign 2")
	w.signing[second.Fingerprint()], w.owners[second.Fingerprint()], w.publics[second.Fingerprint()] = "mx/fgr sign 2", "mx/fgr", second
	env := w.seal(t, contextOf(t, []string{"jm/jcf"}, "mx/fgr sign", "mx/fgr sign 2"), someContent(t))
	to := env.Header.Recipients[0].Key
	if _, _, err := w.take(env.Bytes, to); err != nil {
		t.Fatal(err)
	}
	var whole formatv1.Envelope
	if err := canonical.Unmarshal(env.Bytes, &whole, message.MaxEnvelope); err != nil {
		t.Fatal(err)
	}
	header := whole.GetHeader()
	for name, test := range map[string]struct {
		change func(*formatv1.Envelope)
		code   string
	}{
		"in another order":        {func(m *formatv1.Envelope) { slices.Reverse(m.Signatures) }, ""},
		"all stripped":            {func(m *formatv1.Envelope) { m.Signatures = nil }, "bad-signature"},
		"first stripped":          {func(m *formatv1.Envelope) { m.Signatures = m.Signatures[1:] }, "bad-signature"},
		"second stripped":         {func(m *formatv1.Envelope) { m.Signatures = m.Signatures[:1] }, "bad-signature"},
		"first instead of second": {func(m *formatv1.Envelope) { m.Signatures[1] = m.Signatures[0] }, "bad-signature"},
		"first once more":         {func(m *formatv1.Envelope) { m.Signatures = append(m.Signatures, m.Signatures[0]) }, "bad-signature"},
		"a foreign one added": {func(m *formatv1.Envelope) {
			m.Signatures = append(m.Signatures, w.signature(t, "br/pf sign", authority.ForHeader, header))
		}, "bad-signature"},
		"a foreign one instead": {func(m *formatv1.Envelope) {
			m.Signatures[1] = w.signature(t, "br/pf sign", authority.ForHeader, header)
		}, "bad-signature"},
		"under a receipt's label": {func(m *formatv1.Envelope) {
			m.Signatures[1] = w.signature(t, "mx/fgr sign 2", authority.ForReceipt, header)
		}, "bad-signature"},
		"of another header": {func(m *formatv1.Envelope) {
			m.Signatures[1] = w.signature(t, "mx/fgr sign 2", authority.ForHeader, []byte("x"))
		}, "bad-signature"},
		"values swapped": {func(m *formatv1.Envelope) {
			m.Signatures[0].Value, m.Signatures[1].Value = m.Signatures[1].Value, m.Signatures[0].Value
		}, "bad-signature"},
		"another algorithm's name": {func(m *formatv1.Envelope) { m.Signatures[0].Algorithm = "ml-dsa-65" }, "bad-signature"},
		"a role":                   {func(m *formatv1.Envelope) { m.Signatures[0].Role = "state" }, "bad-signature"},
		"a short hint":             {func(m *formatv1.Envelope) { m.Signatures[0].Key = []byte{1} }, "malformed-key"},
		"an unknown key":           {func(m *formatv1.Envelope) { m.Signatures[0].Key = make([]byte, 32) }, "unknown-key"},
		"a sealing key":            {func(m *formatv1.Envelope) { m.Signatures[0].Key = to[:] }, "bad-signature"},
		"nine":                     {func(m *formatv1.Envelope) { m.Signatures = slices.Repeat(m.Signatures[:1], 9) }, "bad-signature"},
	} {
		_, _, err := w.take(changed(t, env.Bytes, test.change), to)
		if fault.CodeOf(err) != test.code || (test.code == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
}

// A required signature named twice would leave a place for a foreign one. PROTOCOL 5.4.
func TestRequiredTwice(t *testing.T) {
	w := newWorld(t)
	env := w.seal(t, contextOf(t, []string{"jm/jcf"}, "mx/fgr sign", "mx/fgr sign"), someContent(t))
	b := changed(t, env.Bytes, func(m *formatv1.Envelope) {
		m.Signatures[1] = w.signature(t, "br/pf sign", authority.ForHeader, m.GetHeader())
	})
	if _, _, err := w.take(b, env.Header.Recipients[0].Key); fault.CodeOf(err) != "required-signatures" {
		t.Errorf("got %v, want required-signatures", err)
	}
}

// A header that requires an algorithm this version does not know is refused. PROTOCOL 5.4.
func TestUnknownRequiredAlgorithm(t *testing.T) {
	w := newWorld(t)
	c := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign")
	c.Required[0].Algorithm = "ml-dsa-65"
	env := w.seal(t, c, someContent(t))
	b := changed(t, env.Bytes, func(m *formatv1.Envelope) { m.Signatures[0].Algorithm = authority.Ed25519 })
	if _, _, err := w.take(b, env.Header.Recipients[0].Key); fault.CodeOf(err) != "bad-signature" {
		t.Errorf("got %v, want bad-signature", err)
	}
}

// Who signs as another authority is refused, though the key is known. PROTOCOL 5.4.
func TestSenderOwnsTheKey(t *testing.T) {
	w := newWorld(t)
	env := w.seal(t, contextOf(t, []string{"jm/jcf"}, "br/pf sign"), someContent(t))
	if _, _, err := w.take(env.Bytes, env.Header.Recipients[0].Key); fault.CodeOf(err) != "bad-signature" {
		t.Errorf("got %v, want bad-signature", err)
	}
}

// The answer of the directory about a key decides; nothing is parsed for a key it refuses. PROTOCOL 5.4.
func TestDirectoryRefusesTheKey(t *testing.T) {
	w := newWorld(t)
	p, err := ParseEnvelope(w.envelope(t, "jm/jcf").Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"revoked", "unknown-key"} {
		_, err := p.Verify(func(authority.Fingerprint) (authority.Name, authority.PublicKey, error) {
			return authority.Name{}, authority.PublicKey{}, fault.New(fault.Denied, code, "find key", "no")
		})
		if fault.CodeOf(err) != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

// A sealed body under a header that it was not made for is refused, whoever signs that header. PROTOCOL 5.5.
func TestStolenBody(t *testing.T) {
	w := newWorld(t)
	good := w.envelope(t, "jm/jcf")
	thief := contextOf(t, []string{"jm/jcf"}, "br/pf sign")
	thief.Sender, thief.Recipients[1].Authority = nameOf(t, "br/pf"), nameOf(t, "br/pf")
	later := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign")
	later.Expires = later.Expires.AddDate(0, 1, 0)
	for name, c := range map[string]message.Context{"another sender": thief, "another expiry": later} {
		h := good.Header
		h.Context, h.ContextBytes = c, c.Marshal()
		env, err := sign(context.Background(), h, good.Sealed, w)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.take(env.Bytes, h.Recipients[0].Key); fault.CodeOf(err) != "wrong-commitment" || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want wrong-commitment", name, err)
		}
	}
}

// PROTOCOL 5.4: the body is the one that the header names.
func TestOtherBody(t *testing.T) {
	w := newWorld(t)
	good, other := w.envelope(t, "jm/jcf"), w.envelope(t, "jm/jcf")
	for name, sealed := range map[string][]byte{"of another envelope": other.Sealed, "none": nil, "longer": append(bytes.Clone(good.Sealed), 0), "shorter": good.Sealed[:len(good.Sealed)-1]} {
		b := changed(t, good.Bytes, func(m *formatv1.Envelope) { m.Sealed = sealed })
		if _, _, err := w.take(b, good.Header.Recipients[0].Key); fault.CodeOf(err) != "wrong-body" {
			t.Errorf("%s: %v, want wrong-body", name, err)
		}
	}
}

// PROTOCOL 1.2, 1.3, 5.1.
func TestParseEnvelopeRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.envelope(t, "jm/jcf").Bytes
	for name, test := range map[string]struct {
		b    []byte
		code string
	}{
		"nothing":         {nil, "bad-signature"},
		"junk":            {bytes.Repeat([]byte{0xff}, 100), "malformed"},
		"unknown field":   {append(bytes.Clone(good), 0x22, 1, 'x'), "unknown-field"},
		"a byte more":     {append(bytes.Clone(good), 0), "malformed"},
		"parts reordered": {reordered(t, good), "not-canonical"},
		"huge":            {make([]byte, message.MaxEnvelope+1), "too-large"},
		"huge header":     {changed(t, good, func(m *formatv1.Envelope) { m.Header = make([]byte, message.MaxHeader+1) }), "too-large"},
		"huge body":       {changed(t, good, func(m *formatv1.Envelope) { m.Sealed = make([]byte, message.MaxSealedBody+1) }), "too-large"},
	} {
		if _, err := ParseEnvelope(test.b); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

// reordered writes the sealed body before the header.
func reordered(t *testing.T, b []byte) []byte {
	t.Helper()
	var header, rest []byte
	header = changed(t, b, func(m *formatv1.Envelope) { m.Signatures, m.Sealed = nil, nil })
	rest = changed(t, b, func(m *formatv1.Envelope) { m.Header = nil })
	return append(rest, header...)
}

// A header that the sender signed and that breaks a rule is refused as what it is. PROTOCOL 5.2, 5.4.
func TestSignedButMalformedHeader(t *testing.T) {
	w := newWorld(t)
	good := w.envelope(t, "jm/jcf")
	b := changed(t, good.Bytes, func(m *formatv1.Envelope) {
		m.Header = append(m.Header, 0x2a, 1, 'x') // an unknown field, signed
		m.Signatures = []*formatv1.Signature{w.signature(t, "mx/fgr sign", authority.ForHeader, m.GetHeader())}
	})
	if _, _, err := w.take(b, good.Header.Recipients[0].Key); fault.CodeOf(err) != "unknown-field" {
		t.Errorf("got %v, want unknown-field", err)
	}
}

// bodyOf makes an envelope whose sealed plaintext is exactly this, with the commitment of the content given.
func (w *world) bodyOf(t *testing.T, plain []byte, commitTo Content) Envelope {
	t.Helper()
	c := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign")
	var keys []authority.PublicKey
	for _, r := range c.Recipients {
		keys = append(keys, w.publics[r.Key])
	}
	sealed, err := encrypt(plain, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := message.Header{Context: c, ContextBytes: c.Marshal(), SealedSize: uint64(len(sealed)), SealedDigest: message.DigestOf(sealed)}
	h.Commitment = commitTo.Commitment(h.ContextBytes)
	env, err := sign(context.Background(), h, sealed, w)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// What the sender's own signature covers and is wrong has a code for the rejection. PROTOCOL 5.5, 5.6, 8.4.
func TestWrongBodies(t *testing.T) {
	w := newWorld(t)
	good := someContent(t)
	plain := good.marshal()
	with := func(change func(*Content)) []byte {
		c := someContent(t)
		change(&c)
		return c.marshal()
	}
	edit := func(i int, b byte) []byte {
		out := bytes.Clone(plain)
		out[i] = b
		return out
	}
	for name, test := range map[string]struct {
		plain []byte
		code  string
	}{
		"the right one":         {plain, ""},
		"empty":                 {nil, "malformed-body"},
		"three bytes":           {plain[:3], "malformed-body"},
		"length beyond the end": {edit(0, 0xff), "malformed-body"},
		"padding not zero":      {edit(len(plain)-1, 1), "malformed-body"},
		"a byte too much":       {append(bytes.Clone(plain), 0), "malformed-body"},
		"a byte too little":     {plain[:len(plain)-1], "malformed-body"},
		"unpadded":              {unpadded(plain), "malformed-body"},
		"not a content":         {padded([]byte{0xff, 0xff}), "malformed"},
		"unknown field":         {padded([]byte{0x22, 1, 'x'}), "unknown-field"},
		"short context salt":    {with(func(c *Content) { c.ContextSalt = c.ContextSalt[1:] }), "malformed-body"},
		"short item salt":       {with(func(c *Content) { c.Items[0].Salt = nil }), "malformed-body"},
		"same leaf, other type": {with(sameLeaf), "malformed-body"},
		"no type":               {with(func(c *Content) { c.Items[0].Type = "" }), "malformed-body"},
		"1,025 items":           {with(func(c *Content) { c.Items = slices.Repeat(c.Items[:1], message.MaxItems+1) }), "malformed-body"},
		"65 attachments":        {with(func(c *Content) { c.Attachments = make([]AttachmentKey, message.MaxAttachments+1) }), "malformed-body"},
		"an item changed":       {with(func(c *Content) { c.Items[0].Body[5]++ }), "wrong-commitment"},
		"an item less":          {with(func(c *Content) { c.Items = c.Items[:1] }), "wrong-commitment"},
		"items in other order":  {with(func(c *Content) { slices.Reverse(c.Items) }), "wrong-commitment"},
		"another salt":          {with(func(c *Content) { c.Items[1].Salt = c.ContextSalt }), "wrong-commitment"},
		"an attachment more":    {with(func(c *Content) { c.Attachments = []AttachmentKey{{Salt: make([]byte, saltSize)}} }), "wrong-commitment"},
	} {
		env := w.bodyOf(t, test.plain, good)
		_, _, err := w.take(env.Bytes, env.Header.Recipients[0].Key)
		if fault.CodeOf(err) != test.code || (test.code != "" && !fault.Is(err, fault.Invalid)) {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
}

// sameLeaf moves the first byte of a body into the type: a line end, as most messages begin. The leaf stays the same, so
// the commitment cannot tell.
func sameLeaf(c *Content) {
	i := &c.Items[0]
	if i.Body[0] != '\n' {
		panic("the body begins with another byte")
	}
	i.Type, i.Body = i.Type+"\n", i.Body[1:]
}

// A body that commits to attachments which the header does not list is refused, commitment or not. PROTOCOL 5.5.
func TestManifestAndKeysAgree(t *testing.T) {
	w := newWorld(t)
	c := someContent(t, AttachmentKey{Salt: make([]byte, saltSize), Identity: "none"})
	env := w.bodyOf(t, c.marshal(), c)
	if _, _, err := w.take(env.Bytes, env.Header.Recipients[0].Key); fault.CodeOf(err) != "wrong-commitment" {
		t.Errorf("got %v, want wrong-commitment", err)
	}
}

// PROTOCOL 8.4.
func TestDamagedAgeFile(t *testing.T) {
	w := newWorld(t)
	good := w.envelope(t, "jm/jcf")
	for name, at := range map[string]int{"header": 30, "payload": len(good.Sealed) - 5} {
		sealed := bytes.Clone(good.Sealed)
		sealed[at] ^= 1
		h := good.Header
		h.SealedDigest = message.DigestOf(sealed)
		env, err := sign(context.Background(), h, sealed, w)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.take(env.Bytes, h.Recipients[0].Key); fault.CodeOf(err) != "cannot-open" {
			t.Errorf("%s: %v, want cannot-open", name, err)
		}
	}
}

// A keyring that is away is no fault of the message. PROTOCOL 8.3.
func TestOpenerAway(t *testing.T) {
	env := newWorld(t).envelope(t, "jm/jcf")
	_, err := env.Open(context.Background(), away{}, env.Header.Recipients[0].Key)
	if !fault.Is(err, fault.Retry) {
		t.Errorf("got %v, want retry", err)
	}
}

type away struct{}

func (away) Open(context.Context, authority.Fingerprint, io.Reader) (io.Reader, error) {
	return nil, fault.New(fault.Retry, "keyring-away", "open", "the keyring is away")
}

func (away) Sign(context.Context, authority.Fingerprint, authority.Purpose, []byte) ([]byte, error) {
	return nil, fault.New(fault.Retry, "keyring-away", "sign", "the keyring is away")
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	c := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign")
	keys := []authority.PublicKey{sealKey(t, "jm/jcf seal"), sealKey(t, "mx/fgr seal")}
	large := someContent(t)
	large.Items[0].Body = make([]byte, message.MaxSealedBody)
	wide := c
	wide.RelatedTo = slices.Repeat([]message.ID{c.ID}, 1000)
	garbage, err := authority.ParsePublicKey(authority.AgeHybrid, []byte("age1pq1"+string(bytes.Repeat([]byte("q"), 1500))))
	if err != nil {
		t.Fatal(err)
	}
	draft := func(c message.Context, content Content, keys []authority.PublicKey) Draft {
		return Draft{Context: c, Content: content, Keys: keys, Known: &Recipients{}}
	}
	for name, test := range map[string]struct {
		draft  Draft
		signer Signer
		random io.Reader
		kind   fault.Kind
	}{
		"large body":     {draft(c, large, keys), w, rand.Reader, fault.TooLarge},
		"large header":   {draft(wide, someContent(t), keys), w, rand.Reader, fault.TooLarge},
		"signing key":    {draft(c, someContent(t), []authority.PublicKey{signKey(t, "jm/jcf sign")}), w, rand.Reader, fault.Invalid},
		"garbage key":    {draft(c, someContent(t), []authority.PublicKey{garbage}), w, rand.Reader, fault.Invalid},
		"no recipients":  {draft(c, someContent(t), nil), w, rand.Reader, fault.Internal},
		"keyring away":   {draft(c, someContent(t), keys), away{}, rand.Reader, fault.Retry},
		"no randomness":  {draft(c, someContent(t), keys), w, failing{}, fault.Internal},
		"key not in use": {draft(contextOf(t, []string{"jm/jcf"}, "nobody sign"), someContent(t), keys), w, rand.Reader, fault.NotFound},
	} {
		if _, err := New(context.Background(), test.draft, test.signer, test.random); !fault.Is(err, test.kind) {
			t.Errorf("%s: %v, want %s", name, err, test.kind)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

// No two envelopes of the same words look alike: salts and seal are fresh. PROTOCOL 5.5.
func TestFreshSalts(t *testing.T) {
	w := newWorld(t)
	a, b := w.envelope(t, "jm/jcf"), w.envelope(t, "jm/jcf")
	if a.Header.Commitment == b.Header.Commitment || bytes.Equal(a.Sealed, b.Sealed) {
		t.Error("two envelopes share commitment or seal")
	}
	one, err := NewItem("ask", &formatv1.Ask{Number: 1}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewItem("ask", &formatv1.Ask{Number: 1}, rand.Reader)
	if err != nil || bytes.Equal(one.Salt, two.Salt) || len(one.Salt) != saltSize {
		t.Errorf("salts %x and %x, %v", one.Salt, two.Salt, err)
	}
}

// PROTOCOL 1.5, 5.8: what is stored is what came, and the proof of a conflict stands without the body.
func TestStoredAndProof(t *testing.T) {
	w := newWorld(t)
	env := w.envelope(t, "jm/jcf")
	stored, err := Stored(env.Bytes)
	if err != nil || stored.Header.Digest != env.Header.Digest || stored.Header.Key() != env.Header.Key() || !bytes.Equal(stored.Bytes, env.Bytes) {
		t.Fatalf("stored reads as %+v, %v", stored.Header, err)
	}
	header, signatures := stored.Proof()
	var m formatv1.Signed
	if err := canonical.Unmarshal(signatures, &m, message.MaxReceipt); err != nil || message.DigestOf(header) != env.Header.Digest {
		t.Fatal(err)
	}
	if err := signKey(t, "mx/fgr sign").Verify(authority.ForHeader, header, m.GetSignatures()[0].GetValue()); err != nil {
		t.Error(err)
	}
	if _, err := Stored([]byte("junk")); err == nil {
		t.Error("junk was read as stored")
	}
}

// FuzzEnvelope: whatever comes, only the envelope that was signed passes.
func FuzzEnvelope(f *testing.F) {
	w := newWorld(f)
	good := recorded(f)
	f.Add([]byte(good.Envelope))
	f.Add(changed(f, good.Envelope, func(m *formatv1.Envelope) { m.Sealed = nil }))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseEnvelope(b)
		if err != nil {
			return
		}
		if _, err := p.Verify(w.find); err == nil && !bytes.Equal(b, good.Envelope) {
			t.Errorf("an envelope nobody made: %x", b)
		}
	})
}

// What is remembered of sealing keys changes nothing but the time it takes.
func TestRecipientsAreRemembered(t *testing.T) {
	known := &Recipients{}
	key := sealKey(t, "jm/jcf seal")
	first, err := known.parse(key)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := known.parse(key); err != nil || second != first {
		t.Errorf("the second time %v, %v", second, err)
	}
	if other, err := known.parse(sealKey(t, "mx/fgr seal")); err != nil || other == first {
		t.Errorf("another key is the same recipient, %v", err)
	}
}
