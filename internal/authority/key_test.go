package authority

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func mustKey(t testing.TB, algorithm string, b []byte) PublicKey {
	t.Helper()
	k, err := ParsePublicKey(algorithm, b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type keyVector struct {
	Label       string         `json:"label,omitempty"`
	Algorithm   string         `json:"algorithm"`
	Public      vectortest.Hex `json:"public"`
	Fingerprint string         `json:"fingerprint"`
}

// PROTOCOL 3.1, 3.2.
func TestVectorFingerprint(t *testing.T) {
	var vectors []keyVector
	for _, v := range []keyVector{
		{"mx/fgr sign", Ed25519, vectortest.Public("mx/fgr sign"), ""},
		{"mx/fgr seal", AgeHybrid, []byte(vectortest.Identity("mx/fgr seal").Recipient().String()), ""},
		{"", NKey, []byte("UB4HRD2ZJDLQLTWNQCWXKVFBAQTDOEGIHVCHIXSYKCDBDPEDIKPZDUVF"), ""},
	} {
		k := mustKey(t, v.Algorithm, v.Public)
		v.Fingerprint = k.Fingerprint().String()
		want := sha256.Sum256([]byte(v.Algorithm + "\x00" + string(v.Public)))
		if v.Fingerprint != hex.EncodeToString(want[:]) {
			t.Errorf("%s: fingerprint %s, want %x", v.Algorithm, v.Fingerprint, want)
		}
		if k.Algorithm() != v.Algorithm || !bytes.Equal(k.Bytes(), v.Public) || k.IsZero() {
			t.Errorf("%s: the key does not give back what it was made of", v.Algorithm)
		}
		vectors = append(vectors, v)
	}
	vectortest.Check(t, "fingerprint", "public keys and their fingerprints", []string{"3.1", "3.2"}, vectors)
}

// PROTOCOL 3.1.
func TestKeyShapes(t *testing.T) {
	recipient := vectortest.Identity("mx/fgr seal").Recipient().String()
	for _, test := range []struct {
		algorithm string
		public    []byte
	}{
		{Ed25519, make([]byte, 31)},
		{Ed25519, make([]byte, 33)},
		{Ed25519, nil},
		{"", make([]byte, 32)},
		{"ED25519", make([]byte, 32)},
		{"ml-dsa", make([]byte, 32)},
		{AgeHybrid, []byte(strings.ToUpper(recipient))}, // the same key under a second fingerprint
		{AgeHybrid, []byte("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")},
		{AgeHybrid, []byte("AGE1PQ1" + recipient[7:])},
		{AgeHybrid, []byte("age1pq1" + strings.ToUpper(recipient[7:]))},
		{AgeHybrid, bytes.Repeat([]byte("a"), 2000)},
		{AgeHybrid, []byte(recipient + strings.Repeat("q", 4096))},
		{NKey, make([]byte, 55)},
	} {
		if k, err := ParsePublicKey(test.algorithm, test.public); fault.CodeOf(err) != "malformed-key" || !k.IsZero() {
			t.Errorf("%q with %d bytes = %v; want malformed-key", test.algorithm, len(test.public), err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := ParseFingerprint(make([]byte, n)); fault.CodeOf(err) != "malformed-key" {
			t.Errorf("a fingerprint of %d bytes: %v", n, err)
		}
	}
}

func purposes() []Purpose {
	return []Purpose{
		ForHeader, ForReceipt, ForHello, ForControl, ForControlReceipt, ForEpochPackage, ForFrame, ForChainIndex,
		ForCumulativeReceipt, ForEvidenceCosignature,
		ForStatement + "state", ForStatement + "steward", ForStatement + "verify", ForStatement + "countersign", ForStatement + "new",
	}
}

type signatureVector struct {
	Key     string         `json:"key"`
	Label   Purpose        `json:"label"`
	Payload vectortest.Hex `json:"payload"`
	Signed  vectortest.Hex `json:"signed_bytes"`
	Value   vectortest.Hex `json:"signature"`
}

// PROTOCOL 3.3, 3.4.
func TestVectorSignature(t *testing.T) {
	private := vectortest.SigningKey("mx/fgr sign")
	public := mustKey(t, Ed25519, vectortest.Public("mx/fgr sign"))
	var vectors []signatureVector
	for _, payload := range [][]byte{nil, []byte("ten bytes.")} {
		for _, p := range purposes() {
			v := signatureVector{Key: "mx/fgr sign", Label: p, Payload: payload}
			v.Signed = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(p), p, len(payload), payload)
			if got := Message(p, payload); !bytes.Equal(got, v.Signed) {
				t.Errorf("PAE(%s, %q) = %q, want %q", p, payload, got, v.Signed)
			}
			v.Value = ed25519.Sign(private, v.Signed)
			if err := public.Verify(p, payload, v.Value); err != nil {
				t.Errorf("%s: %v", p, err)
			}
			vectors = append(vectors, v)
		}
	}
	vectortest.Check(t, "signature", "what a signature covers under each label, and the signature", []string{"3.3", "3.4"}, vectors)
}

// A signature under one label is none under another, whatever the payload says. PROTOCOL 3.3.
func TestLabelsKeepApart(t *testing.T) {
	private := vectortest.SigningKey("mx/fgr sign")
	public := mustKey(t, Ed25519, vectortest.Public("mx/fgr sign"))
	payload := []byte("payload")
	for _, made := range purposes() {
		value := ed25519.Sign(private, Message(made, payload))
		for _, shown := range purposes() {
			if err := public.Verify(shown, payload, value); (err == nil) != (made == shown) {
				t.Errorf("made as %s, shown as %s: %v", made, shown, err)
			}
		}
	}
	text, err := os.ReadFile("../../proto/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range purposes() {
		label := strings.TrimSuffix(string(p), strings.TrimPrefix(string(p), string(ForStatement)))
		if !strings.HasPrefix(string(p), string(ForStatement)) {
			label = string(p)
		}
		if !bytes.Contains(text, []byte("`"+label+"`")) {
			t.Errorf("PROTOCOL.md does not list the label %s", label)
		}
	}
}

// PROTOCOL 3.4: only Ed25519 keys verify, and only what was signed.
func TestVerifyRefuses(t *testing.T) {
	private := vectortest.SigningKey("mx/fgr sign")
	public := mustKey(t, Ed25519, vectortest.Public("mx/fgr sign"))
	payload := []byte("payload")
	good := ed25519.Sign(private, Message(ForHeader, payload))
	for name, test := range map[string]struct {
		key     PublicKey
		payload []byte
		value   []byte
	}{
		"other payload":   {public, []byte("Payload"), good},
		"bare bytes":      {public, payload, ed25519.Sign(private, payload)},
		"cut signature":   {public, payload, good[:63]},
		"long signature":  {public, payload, append(bytes.Clone(good), 0)},
		"no signature":    {public, payload, nil},
		"other key":       {mustKey(t, Ed25519, vectortest.Public("jm/jcf sign")), payload, good},
		"no key":          {PublicKey{}, payload, good},
		"key for sealing": {mustKey(t, AgeHybrid, []byte(vectortest.Identity("mx/fgr seal").Recipient().String())), payload, good},
	} {
		if err := test.key.Verify(ForHeader, test.payload, test.value); fault.CodeOf(err) != "bad-signature" {
			t.Errorf("%s: %v, want bad-signature", name, err)
		}
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if public.Verify(ForHeader, payload, changed) == nil {
			t.Errorf("byte %d of the signature changed: accepted", i)
		}
	}
}

// Packed keys are the same keys.
func TestPack(t *testing.T) {
	one, err := ParsePublicKey(Ed25519, bytes.Repeat([]byte{1}, ed25519.PublicKeySize))
	if err != nil {
		t.Fatal(err)
	}
	long, err := ParsePublicKey(AgeHybrid, append([]byte("age1pq1"), bytes.Repeat([]byte("q"), 1952)...))
	if err != nil {
		t.Fatal(err)
	}
	keys := []PublicKey{long, {}, one, long}
	for i, k := range Pack(keys) {
		if k != keys[i] || k.Fingerprint() != keys[i].Fingerprint() {
			t.Errorf("key %d is another", i)
		}
	}
	if got := Pack(nil); len(got) != 0 {
		t.Errorf("%d keys of none", len(got))
	}
}
