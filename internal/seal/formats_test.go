package seal

import (
	"bytes"
	"context"
	"testing"
	"testing/cryptotest"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// formatVector is one vector of the formats that room canonical wrote down before there was code for them.
type formatVector struct {
	Name   string         `json:"name"`
	Bytes  vectortest.Hex `json:"bytes"`
	Digest vectortest.Hex `json:"digest"`
	Key    string         `json:"key"`
	Signed vectortest.Hex `json:"signed"`
}

func vectorsOf(t testing.TB, file string) []formatVector {
	t.Helper()
	var all []formatVector
	vectortest.Read(t, file, &all)
	return all
}

func vectorNamed(t testing.TB, file, name string) formatVector {
	t.Helper()
	for _, v := range vectorsOf(t, file) {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("%s.json has no vector %q", file, name)
	return formatVector{}
}

// signed is Signed by a node, whatever the payload.
func (w *world) signed(t testing.TB, node string, purpose authority.Purpose, payload []byte) []byte {
	t.Helper()
	b, err := SignNode(context.Background(), w, signKey(t, node+" sign").Fingerprint(), purpose, payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// roundTrip reads a signed vector, and makes the same bytes of what was read.
func roundTrip[T byNode](t *testing.T, w *world, v formatVector, f form[T]) T {
	t.Helper()
	got, err := f.verify(v.Signed, w.findNode)
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	if stored, err := f.stored(v.Signed); err != nil || !bytes.Equal(stored.Marshal(), v.Bytes) {
		t.Errorf("%s, stored: %v", v.Name, err)
	}
	again, err := f.sign(context.Background(), w, signKey(t, v.Key).Fingerprint(), got)
	if err != nil || !bytes.Equal(got.Marshal(), v.Bytes) || !bytes.Equal(again, v.Signed) {
		t.Errorf("%s is made again as %x, %v", v.Name, again, err)
	}
	return got
}

// PROTOCOL 7.2, 7.3.
func TestVectorsEpochPackage(t *testing.T) {
	w := newWorld(t)
	for _, v := range vectorsOf(t, "epoch-package") {
		if v.Name == "grant of the first" {
			g, err := ParseGrant(v.Bytes)
			if err != nil || !bytes.Equal(g.Marshal(), v.Bytes) {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if p, err := g.Verify(w.findNode); err != nil || p.KeyFingerprint != epochKey(t, "epoch key").Fingerprint() {
				t.Errorf("%s: %+v, %v", v.Name, p, err)
			}
			continue
		}
		p := roundTrip(t, w, v, packageForm())
		if d := p.Digest(); !bytes.Equal(d[:], v.Digest) || p.AudienceID() != audienceOfVectors(t) {
			t.Errorf("%s: digest %s, audience %s", v.Name, d, p.AudienceID())
		}
		if v.Name == "next" && p.Previous != packageOf(t).Digest() {
			t.Error("the next package does not name the first")
		}
	}
}

// audienceOfVectors is the audience that a key request names.
func audienceOfVectors(t testing.TB) message.Digest {
	t.Helper()
	r, err := ParseKeyRequest(vectorNamed(t, "key-request", "newest").Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return r.Audience
}

// PROTOCOL 7.3.
func TestVectorsKeyRequest(t *testing.T) {
	for _, v := range vectorsOf(t, "key-request") {
		r, err := ParseKeyRequest(v.Bytes)
		if err != nil || !bytes.Equal(r.Marshal(), v.Bytes) || (v.Name == "newest") != (r.Epoch == 0) {
			t.Errorf("%s: %+v, %v", v.Name, r, err)
		}
	}
	for name, change := range map[string]func(*formatv1.KeyRequest){
		"no publisher":   func(m *formatv1.KeyRequest) { m.Publisher = "" },
		"no incarnation": func(m *formatv1.KeyRequest) { m.Incarnation = nil },
		"no audience":    func(m *formatv1.KeyRequest) { m.Audience = nil },
	} {
		var m formatv1.KeyRequest
		if err := canonical.Unmarshal(vectorNamed(t, "key-request", "newest").Bytes, &m, message.MaxReceipt); err != nil {
			t.Fatal(err)
		}
		change(&m)
		if _, err := ParseKeyRequest(canonical.Marshal(&m)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// The frames verify and name their alerts, and the alerts are those of the authority. Their age files are words only, so
// each is sealed here for real. PROTOCOL 7.4, 7.5.
func TestVectorsFrame(t *testing.T) {
	w := newWorld(t)
	var previous message.Digest
	for i, name := range []string{"first", "second"} {
		p, err := ParseFrame(vectorNamed(t, "frame", name+" frame").Signed)
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.Verify(w.findNode)
		if err != nil || f.KeyFingerprint != epochKey(t, "epoch key").Fingerprint() {
			t.Fatalf("%s: %+v, %v", name, f, err)
		}
		if f.sealed, err = encryptTo(pad(vectorNamed(t, "frame", name+" alert").Bytes), epochKey(t, "epoch key")); err != nil {
			t.Fatal(err)
		}
		o, err := f.Open(epochKey(t, "epoch key"))
		if err != nil || o.Number != uint64(i+1) || o.Previous != previous {
			t.Fatalf("%s: number %d, %v", name, o.Number, err)
		}
		a, err := o.Verify(w.find)
		if err != nil || a.Header.Audience.ID(a.Header.Category) != audienceOfVectors(t) {
			t.Fatalf("%s: %v", name, err)
		}
		if plain := unpadded(a.plain(o.Salt, o.Number, o.Previous))[4:]; !bytes.Equal(plain, vectorNamed(t, "frame", name+" alert").Bytes) {
			t.Errorf("%s alert is made again as %x", name, plain)
		}
		previous = f.Chain
	}
}

// PROTOCOL 7.5.
func TestVectorsChainIndex(t *testing.T) {
	w := newWorld(t)
	for _, v := range vectorsOf(t, "chain-index") {
		x := roundTrip(t, w, v, indexForm())
		for e, chain := range x.Walk() {
			name := map[uint64]string{1: "first frame", 2: "second frame"}[e.Number]
			f, err := StoredFrame(vectorNamed(t, "frame", name).Signed)
			if err != nil || f.Chain != chain {
				t.Errorf("%s, number %d: chain hash %s, want %s, %v", v.Name, e.Number, chain, f.Chain, err)
			}
		}
		if x.Last() != 2 || x.Audience != audienceOfVectors(t) {
			t.Errorf("%s ends at %d", v.Name, x.Last())
		}
	}
}

// PROTOCOL 8.5.
func TestVectorsCumulativeReceipt(t *testing.T) {
	w := newWorld(t)
	for _, v := range vectorsOf(t, "cumulative-receipt") {
		r := roundTrip(t, w, v, cumulativeForm())
		if want := map[string]uint64{"all of two": 2, "nine with gaps": 9}[v.Name]; r.Position != want {
			t.Errorf("%s: position %d", v.Name, r.Position)
		}
	}
}

// PROTOCOL 7.1.
func TestVectorsControl(t *testing.T) {
	w := newWorld(t)
	v := vectorNamed(t, "control", "envelope")
	p, err := ParseControl(v.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Verify(w.findNode)
	if err != nil || c.Kind != ControlEpochGrant || c.From.String() != publisher || c.SealingKey != sealKey(t, "jm/node/primary seal").Fingerprint() {
		t.Fatalf("%+v, %v", c, err)
	}
	if header := vectorNamed(t, "control", "header"); !bytes.Equal(c.Digest[:], header.Digest) || !bytes.Equal(c.header, header.Bytes) {
		t.Errorf("digest %s", c.Digest)
	}
	for _, v := range vectorsOf(t, "control-receipt") {
		roundTrip(t, w, v, controlReceiptForm())
		r, err := VerifyControlReceipt(v.Signed, c, w.findNode)
		if err != nil || (v.Name == "rejected") != (r.Stage == message.Rejected) {
			t.Errorf("%s: %+v, %v", v.Name, r, err)
		}
	}
}

type sealedFrameVector struct {
	Name   string         `json:"name"`
	Key    vectortest.Hex `json:"epoch_key"`
	Plain  vectortest.Hex `json:"plaintext"`
	Sealed vectortest.Hex `json:"sealed"`
	Chain  vectortest.Hex `json:"chain"`
	Signer string         `json:"signer"`
	Frame  vectortest.Hex `json:"signed"`
}

// An age file is never the same twice, so the recorded one stays and all else is made again around it: the first alert in
// frame.json, sealed for real. PROTOCOL 5.6, 7.3, 7.4.
func TestVectorSealedFrame(t *testing.T) {
	w := newWorld(t)
	key := epochKey(t, "epoch key")
	v := sealedFrameVector{Name: "first", Key: key.Bytes(), Plain: pad(vectorNamed(t, "frame", "first alert").Bytes), Signer: publisher + " sign"}
	if vectortest.Updating() {
		cryptotest.SetGlobalRandom(t, 1) // the same age file as long as library and Go stay as they are
		var err error
		if v.Sealed, err = encryptTo(v.Plain, key); err != nil {
			t.Fatal(err)
		}
	} else {
		v.Sealed = recordedFrame(t).Sealed
	}
	var m formatv1.Frame
	if err := canonical.Unmarshal(vectorNamed(t, "frame", "first frame").Bytes, &m, message.MaxFrame); err != nil {
		t.Fatal(err)
	}
	m.Sealed, v.Chain = v.Sealed, m.GetChain()
	v.Frame = w.signed(t, publisher, authority.ForFrame, canonical.Marshal(&m))
	o, a, err := w.receive(v.Frame, key)
	if err != nil || o.Number != 1 || !bytes.Equal(a.plain(o.Salt, o.Number, o.Previous), v.Plain) {
		t.Errorf("number %d, %v", o.Number, err)
	}
	vectortest.Check(t, "sealed-frame", "the first alert in frame.json, sealed to the epoch key in epoch-package.json and framed",
		[]string{"5.6", "7.3", "7.4"}, []sealedFrameVector{v})
}

// recordedFrame is the same in every process, as fuzz targets want it.
func recordedFrame(t testing.TB) sealedFrameVector {
	t.Helper()
	var all []sealedFrameVector
	vectortest.Read(t, "sealed-frame", &all)
	return all[0]
}
