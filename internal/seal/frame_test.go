package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// A member reads what was said, in its place; the frame shows neither content nor number. PROTOCOL 1.5, 7.4, 7.5.
func TestFrame(t *testing.T) {
	w := newWorld(t)
	a := w.newAlert(t, broadcastContext(t), notice(t, 1000))
	framing := framingOf(t)
	first := w.frame(t, a, framing)
	framing.Number, framing.Previous = 2, first.Chain
	second := w.frame(t, a, framing)
	for i, framed := range []Framed{first, second} {
		o, got, err := w.receive(framed.Bytes, framing.Key)
		if err != nil {
			t.Fatal(err)
		}
		if o.Number != uint64(i+1) || !bytes.Equal(o.Salt, framed.Salt) || o.Frame.Chain != framed.Chain || o.Digest != a.Header.Digest {
			t.Errorf("frame %d opens as number %d", i+1, o.Number)
		}
		if got.Header.Digest != a.Header.Digest || !bytes.Equal(got.Header.ContextBytes, a.Header.ContextBytes) {
			t.Errorf("frame %d holds another header", i+1)
		}
		var n formatv1.AlertNotice
		if err := got.Content.Items[0].Read("alert", &n); err != nil || n.GetTitle() != "PLANTED alert, all made up" {
			t.Errorf("frame %d says %v, %v", i+1, &n, err)
		}
		if bytes.Contains(framed.Bytes, []byte("PLANTED")) || bytes.Contains(framed.Bytes, []byte("mx/fgr")) {
			t.Error("the frame shows what it seals")
		}
	}
	if o, _, _ := w.receive(second.Bytes, framing.Key); o.Previous != first.Chain {
		t.Error("the second does not name the first")
	}
}

// An alert that is issued again is the same header, signatures and content in another place. PROTOCOL 7.4.
func TestFrameAgain(t *testing.T) {
	w := newWorld(t)
	framing := framingOf(t)
	o, a, err := w.receive(w.oneFrame(t).Bytes, framing.Key)
	if err != nil {
		t.Fatal(err)
	}
	framing.Epoch, framing.Key, framing.Number, framing.Previous = 2, w.freshKey(t), 2, o.Frame.Chain
	again, err := a.Frame(context.Background(), framing, w, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o2, b, err := w.receive(again.Bytes, framing.Key)
	if err != nil || o2.Number != 2 || o2.Digest != o.Digest || bytes.Equal(o2.Salt, o.Salt) || o2.Frame.Chain == o.Frame.Chain {
		t.Fatalf("issued again: %+v, %v", o2, err)
	}
	h1, s1 := a.Proof()
	h2, s2 := b.Proof()
	if !bytes.Equal(h1, h2) || !bytes.Equal(s1, s2) || !bytes.Equal(a.content, b.content) {
		t.Error("the alert has other bytes the second time")
	}
	// A former member holds old keys: the next epoch stays shut. PROTOCOL 7.3.
	if _, _, err := w.receive(again.Bytes, framingOf(t).Key); fault.CodeOf(err) != "wrong-key" || CoveredBy(err) != ByNobody {
		t.Errorf("with the key of the epoch before: %v, want wrong-key", err)
	}
}

// What is stored is read again without the directory: keys that signed may be revoked by then. PROTOCOL 1.5.
func TestStoredFrame(t *testing.T) {
	w := newWorld(t)
	framed := w.oneFrame(t)
	f, err := StoredFrame(framed.Bytes)
	if err != nil || !bytes.Equal(f.Bytes, framed.Bytes) || f.Publisher.String() != publisher || f.Epoch != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	o, err := f.Open(epochKey(t, "epoch key"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := o.Stored()
	if err != nil || len(a.Content.Items) != 1 || a.Header.Audience == nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := StoredFrame([]byte("junk")); err == nil {
		t.Error("junk was read as stored")
	}
}

// forgedFrames are frames with one thing wrong, the code of it, and whose signature covers the fault.
func forgedFrames(t *testing.T, w *world) map[string]struct {
	change func(*forgery)
	code   string
	cover  Cover
} {
	type c = struct {
		change func(*forgery)
		code   string
		cover  Cover
	}
	other := broadcastContext(t)
	other.ID = idOf(t, "other")
	return map[string]c{
		"the right one": {func(*forgery) {}, "", ByNobody},

		"signed by another node":       {func(f *forgery) { f.by = "jm/node/primary sign" }, "bad-signature", ByNobody},
		"signed by its authority":      {func(f *forgery) { f.by = "mx/fgr sign" }, "malformed-name", ByNobody},
		"another publisher's name":     {func(f *forgery) { f.frame.Publisher = "jm/node/primary" }, "bad-signature", ByNobody},
		"no publisher":                 {func(f *forgery) { f.frame.Publisher = "" }, "malformed-name", ByNobody},
		"no incarnation":               {func(f *forgery) { f.frame.Incarnation = nil }, "malformed", ByNobody},
		"no epoch":                     {func(f *forgery) { f.frame.Epoch = 0 }, "malformed", ByNobody},
		"short fingerprint":            {func(f *forgery) { f.frame.KeyFingerprint = []byte{1} }, "malformed", ByNobody},
		"short chain hash":             {func(f *forgery) { f.chain = []byte{1} }, "malformed", ByNobody},
		"another key's fingerprint":    {func(f *forgery) { f.frame.KeyFingerprint[0]++ }, "wrong-key", ByNobody},
		"from a node of another state": {func(f *forgery) { f.frame.Publisher, f.by = "jm/node/primary", "jm/node/primary sign" }, "wrong-node", ByPublisher},
		"of another network":           {func(f *forgery) { f.frame.Network = "x" }, "wrong-network", ByPublisher},
		"another salt":                 {func(f *forgery) { f.chain = f.frame.GetChain(); f.alert.Salt[0]++ }, "wrong-chain", ByPublisher},
		"another number":               {func(f *forgery) { f.chain = f.frame.GetChain(); f.alert.Number, f.alert.Previous = 2, make([]byte, 32) }, "wrong-chain", ByPublisher},
		"another alert": {func(f *forgery) {
			f.chain = f.frame.GetChain()
			w.resigned(t, f, "mx/fgr sign", headerFor(other, Content{}))
		}, "wrong-chain", ByPublisher},
		"a chain hash of its own":      {func(f *forgery) { f.chain = make([]byte, 32) }, "wrong-chain", ByPublisher},
		"number 0":                     {func(f *forgery) { f.alert.Number = 0 }, "malformed", ByPublisher},
		"number 1 with one before":     {func(f *forgery) { f.alert.Previous = make([]byte, 32) }, "malformed", ByPublisher},
		"number 2 without one before":  {func(f *forgery) { f.alert.Number = 2 }, "malformed", ByPublisher},
		"number 2 with half of it":     {func(f *forgery) { f.alert.Number, f.alert.Previous = 2, make([]byte, 16) }, "malformed", ByPublisher},
		"short salt":                   {func(f *forgery) { f.alert.Salt = f.alert.Salt[1:] }, "malformed", ByPublisher},
		"padding not zero":             {func(f *forgery) { f.plain = pad(canonical.Marshal(f.alert)); f.plain[len(f.plain)-1] = 1 }, "malformed-body", ByPublisher},
		"not padded":                   {func(f *forgery) { f.plain = unpadded(pad(canonical.Marshal(f.alert))) }, "malformed-body", ByPublisher},
		"a byte behind the padding":    {func(f *forgery) { f.plain = append(pad(canonical.Marshal(f.alert)), 0) }, "malformed-body", ByPublisher},
		"nothing sealed":               {func(f *forgery) { f.plain = []byte{} }, "malformed-body", ByPublisher},
		"an unknown field":             {func(f *forgery) { f.plain = pad(append(canonical.Marshal(f.alert), 0x3a, 1, 'x')) }, "unknown-field", ByPublisher},
		"no age file":                  {func(f *forgery) { f.sealed = []byte("stands for an age file") }, "cannot-open", ByPublisher},
		"two stanzas":                  {func(f *forgery) { f.sealed = sealedTwice(t, f) }, "cannot-open", ByPublisher},
		"sealed to another key":        {func(f *forgery) { f.sealed = sealedTo(t, f, epochKey(t, "epoch key 2")) }, "cannot-open", ByPublisher},
		"bytes behind the age file":    {func(f *forgery) { f.sealed = append(sealedTo(t, f, epochKey(t, "epoch key")), 0) }, "cannot-open", ByPublisher},
		"no authority's signature":     {func(f *forgery) { f.alert.Signatures = nil }, "bad-signature", ByPublisher},
		"nine signatures":              {func(f *forgery) { f.alert.Signatures = slices.Repeat(f.alert.Signatures, 9) }, "bad-signature", ByPublisher},
		"one signature twice":          {func(f *forgery) { f.alert.Signatures = slices.Repeat(f.alert.Signatures, 2) }, "bad-signature", ByPublisher},
		"signature changed":            {func(f *forgery) { f.alert.Signatures[0].Value[0]++ }, "bad-signature", ByPublisher},
		"signature of a key not known": {func(f *forgery) { f.alert.Signatures[0].Key[0]++ }, "unknown-key", ByNobody},
		"signed by another authority":  {func(f *forgery) { w.resigned(t, f, "br/pf sign", storedHeader(t, f)) }, "bad-signature", ByPublisher},
		"huge header":                  {func(f *forgery) { f.alert.Header = make([]byte, message.MaxHeader+1) }, "too-large", ByPublisher},
		"a directed header": {func(f *forgery) {
			w.resigned(t, f, "mx/fgr sign", headerFor(contextOf(t, []string{"jm/jcf"}, "mx/fgr sign"), Content{}))
		}, "audience", ByPublisher},
		"recipients and an audience":    {func(f *forgery) { w.resigned(t, f, "mx/fgr sign", headerFor(both(t), Content{})) }, "audience", ByPublisher},
		"a header with a sealed size":   {func(f *forgery) { w.resignedRaw(t, f, func(m *formatv1.Header) { m.SealedSize = 1 }) }, "audience", ByPublisher},
		"a header with a sealed digest": {func(f *forgery) { w.resignedRaw(t, f, func(m *formatv1.Header) { m.SealedDigest = make([]byte, 32) }) }, "audience", ByPublisher},
		"another content": {func(f *forgery) {
			c := notice(t, 11)
			c.ContextSalt = make([]byte, saltSize)
			f.alert.Content = c.canonical()
		}, "wrong-commitment", ByPublisher},
		"no content":                {func(f *forgery) { f.alert.Content = nil }, "malformed-body", ByPublisher},
		"a content with more in it": {func(f *forgery) { f.alert.Content = append(f.alert.Content, 0x22, 1, 'x') }, "unknown-field", ByPublisher},
		"an attachment not listed":  {func(f *forgery) { w.attach(t, f) }, "wrong-commitment", ByAuthority},
	}
}

// storedHeader reads the header of a forgery.
func storedHeader(t *testing.T, f *forgery) message.Header {
	h, err := message.ParseHeader(f.alert.GetHeader())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// both is a context to recipients and an audience.
func both(t *testing.T) message.Context {
	c := broadcastContext(t)
	c.Recipients = contextOf(t, []string{"jm/jcf"}).Recipients
	return c
}

func (w *world) resignedRaw(t *testing.T, f *forgery, change func(*formatv1.Header)) {
	var m formatv1.Header
	if err := canonical.Unmarshal(f.alert.GetHeader(), &m, message.MaxHeader); err != nil {
		t.Fatal(err)
	}
	change(&m)
	f.alert.Header = canonical.Marshal(&m)
	f.alert.Signatures = []*formatv1.Signature{w.signature(t, "mx/fgr sign", authority.ForHeader, f.alert.GetHeader())}
}

// attach has the authority itself commit to an attachment that its header does not list.
func (w *world) attach(t *testing.T, f *forgery) {
	c := notice(t, 10)
	c.ContextSalt = make([]byte, saltSize)
	c.Attachments = []AttachmentKey{{Salt: make([]byte, saltSize), Identity: "none"}}
	w.resigned(t, f, "mx/fgr sign", headerFor(broadcastContext(t), c))
	f.alert.Content = c.canonical()
}

func sealedTo(t *testing.T, f *forgery, keys ...age.Recipient) []byte {
	b, err := encryptTo(pad(canonical.Marshal(f.alert)), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealedTwice adds a reader whom the publisher did not name.
func sealedTwice(t *testing.T, f *forgery) []byte {
	return sealedTo(t, f, epochKey(t, "epoch key"), epochKey(t, "epoch key 2"))
}

// Each thing wrong is refused with its code, and it is known who is to blame. PROTOCOL 5.4, 5.5, 5.6, 7.3, 7.4, 7.5.
func TestForgedFrames(t *testing.T) {
	w := newWorld(t)
	for name, test := range forgedFrames(t, w) {
		_, _, err := w.receive(w.forge(t, test.change), epochKey(t, "epoch key"))
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
		if CoveredBy(err) != test.cover {
			t.Errorf("%s: covered by %d, want %d (%v)", name, CoveredBy(err), test.cover, err)
		}
	}
}

// A header with an audience opens no envelope, whoever signs it. PROTOCOL 5.2, 7.4.
func TestAudienceInEnvelope(t *testing.T) {
	w := newWorld(t)
	c := broadcastContext(t)
	if _, err := New(context.Background(), Draft{Context: c, Content: notice(t, 1)}, w, rand.Reader); fault.CodeOf(err) != "audience" {
		t.Errorf("sealing: %v, want audience", err)
	}
	env, err := sign(context.Background(), headerFor(c, Content{}), []byte("sealed"), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.take(env.Bytes, sealKey(t, "jm/jcf seal").Fingerprint()); fault.CodeOf(err) != "audience" {
		t.Errorf("receiving: %v, want audience", err)
	}
	if _, err := Stored(env.Bytes); fault.CodeOf(err) != "audience" {
		t.Errorf("reading again: %v, want audience", err)
	}
	if _, err := NewAlert(context.Background(), AlertDraft{contextOf(t, []string{"jm/jcf"}, "mx/fgr sign"), notice(t, 1)}, w, rand.Reader); fault.CodeOf(err) != "audience" {
		t.Errorf("a directed alert in a frame: %v, want audience", err)
	}
}

// Every single byte of a frame changed is refused. PROTOCOL 3.4, 7.4.
func TestEveryByteOfAFrame(t *testing.T) {
	w := newWorld(t)
	good := w.oneFrame(t).Bytes
	for i := range good {
		for _, flip := range []byte{0x01, 0x80} {
			b := bytes.Clone(good)
			b[i] ^= flip
			if p, err := ParseFrame(b); err == nil {
				if _, err := p.Verify(w.findNode); err == nil {
					t.Fatalf("byte %d of %d changed by %#x: accepted", i, len(b), flip)
				}
			}
		}
	}
	if _, err := ParseFrame(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte behind the frame: accepted")
	}
	if _, err := ParseFrame(make([]byte, message.MaxFrame+1)); fault.CodeOf(err) != "too-large" {
		t.Errorf("huge: %v, want too-large", err)
	}
}

// The largest alert that may be made fits its frame, and a larger one is refused when it is made. PROTOCOL 1.3, 7.4.
func TestLargestAlert(t *testing.T) {
	w := newWorld(t)
	a := w.newAlert(t, broadcastContext(t), notice(t, message.MaxSealedBody-1000))
	framed := w.frame(t, a, framingOf(t))
	if _, _, err := w.receive(framed.Bytes, epochKey(t, "epoch key")); err != nil || len(framed.Bytes) > message.MaxFrame {
		t.Errorf("%d bytes: %v", len(framed.Bytes), err)
	}
	_, err := NewAlert(context.Background(), AlertDraft{broadcastContext(t), notice(t, message.MaxSealedBody)}, w, rand.Reader)
	if fault.CodeOf(err) != "too-large" {
		t.Errorf("1 MiB and more: %v, want too-large", err)
	}
}

// What no reader would take is not framed. PROTOCOL 7.4, 7.5.
func TestFrameRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.newAlert(t, broadcastContext(t), notice(t, 10))
	for name, change := range map[string]func(*Framing){
		"no number":            func(f *Framing) { f.Number = 0 },
		"no epoch":             func(f *Framing) { f.Epoch = 0 },
		"first after another":  func(f *Framing) { f.Previous[0] = 1 },
		"second after nothing": func(f *Framing) { f.Number = 2 },
		"no key":               func(f *Framing) { f.Key = EpochKey{} },
		"foreign publisher":    func(f *Framing) { f.Publisher = nodeOf(t, "jm/node/primary") },
		"key not here":         func(f *Framing) { f.NodeKey = authority.Fingerprint{} },
	} {
		f := framingOf(t)
		change(&f)
		if out, err := a.Frame(context.Background(), f, w, rand.Reader); err == nil || out.Bytes != nil {
			t.Errorf("%s: framed", name)
		}
	}
	c := broadcastContext(t)
	c.InReplyTo = c.Conversation
	if _, err := NewAlert(context.Background(), AlertDraft{c, notice(t, 1)}, w, rand.Reader); fault.CodeOf(err) != "in-reply-to" {
		t.Errorf("an alert that answers is signed: %v", err)
	}
}

// FuzzFrame: whatever comes, only the alert that was signed passes.
func FuzzFrame(f *testing.F) {
	w := newWorld(f)
	key := epochKey(f, "epoch key")
	good := w.oneFrame(f)
	digest := w.newAlert(f, broadcastContext(f), notice(f, 10)).Header.Digest
	f.Add(good.Bytes)
	f.Add([]byte(strings.Repeat("\x0a", 10)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, _, err := w.receive(b, key); err == nil && (o.Frame.Chain != good.Chain || o.Digest != digest || o.Number != 1) {
			t.Errorf("a frame nobody made: %x", b)
		}
	})
}

// FuzzAlert: what a frame may seal, whoever put it together, is read as the one alert that the authority signed or not at
// all.
func FuzzAlert(f *testing.F) {
	w := newWorld(f)
	a := w.newAlert(f, broadcastContext(f), notice(f, 10))
	f.Add(a.plain(make([]byte, saltSize), 1, message.Digest{}))
	f.Add(a.plain(make([]byte, saltSize), 2, a.Header.Digest))
	stored, err := StoredFrame(w.oneFrame(f).Bytes)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		o, err := stored.unpack(plain)
		if err != nil {
			return
		}
		if got, err := o.Verify(w.find); err == nil && (got.Header.Digest != a.Header.Digest || !bytes.Equal(got.content, a.content)) {
			t.Errorf("an alert nobody signed: %x", plain)
		}
	})
}
