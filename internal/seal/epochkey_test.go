package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// The stanza of the vectors' epoch key, as the text of an age header, worked out with another implementation of HKDF and
// ChaCha20-Poly1305. PROTOCOL 7.3.
func TestStanza(t *testing.T) {
	k := epochKey(t, "epoch key")
	fileKey := vectortest.Bytes("file key", fileKeySize)
	s, err := k.wrap(fileKey, vectortest.Bytes("stanza salt", stanzaSaltSize))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %x", s.Type, strings.Join(s.Args, " "), s.Body)
	if want := stanzaVector; got != want {
		t.Errorf("stanza %s\nwant   %s", got, want)
	}
	if back, err := k.Unwrap([]*age.Stanza{s}); err != nil || !bytes.Equal(back, fileKey) {
		t.Errorf("unwraps as %x, %v", back, err)
	}
}

// PROTOCOL 7.3: exactly one stanza, of this type, for this key, in one form.
func TestUnwrapRefuses(t *testing.T) {
	k := epochKey(t, "epoch key")
	for name, change := range map[string]func(*age.Stanza) []*age.Stanza{
		"none":                 func(*age.Stanza) []*age.Stanza { return nil },
		"two":                  func(s *age.Stanza) []*age.Stanza { return []*age.Stanza{s, s} },
		"another beside it":    func(s *age.Stanza) []*age.Stanza { return []*age.Stanza{s, {Type: "X25519"}} },
		"another type":         func(s *age.Stanza) []*age.Stanza { s.Type = "enlace-epoch2"; return []*age.Stanza{s} },
		"one argument":         func(s *age.Stanza) []*age.Stanza { s.Args = s.Args[:1]; return []*age.Stanza{s} },
		"three arguments":      func(s *age.Stanza) []*age.Stanza { s.Args = append(s.Args, "x"); return []*age.Stanza{s} },
		"another key's":        func(s *age.Stanza) []*age.Stanza { s.Args[0] = s.Args[1]; return []*age.Stanza{s} },
		"padded fingerprint":   func(s *age.Stanza) []*age.Stanza { s.Args[0] += "="; return []*age.Stanza{s} },
		"padded salt":          func(s *age.Stanza) []*age.Stanza { s.Args[1] += "=="; return []*age.Stanza{s} },
		"salt in another form": func(s *age.Stanza) []*age.Stanza { s.Args[1] = s.Args[1][:21] + "/"; return []*age.Stanza{s} },
		"line end in the salt": func(s *age.Stanza) []*age.Stanza { s.Args[1] += "\n"; return []*age.Stanza{s} },
		"short salt":           func(s *age.Stanza) []*age.Stanza { s.Args[1] = s.Args[1][:20]; return []*age.Stanza{s} },
		"another salt":         func(s *age.Stanza) []*age.Stanza { s.Args[1] = strings.Repeat("A", 22); return []*age.Stanza{s} },
		"longer body":          func(s *age.Stanza) []*age.Stanza { s.Body = append(s.Body, 0); return []*age.Stanza{s} },
		"changed body":         func(s *age.Stanza) []*age.Stanza { s.Body[0]++; return []*age.Stanza{s} },
	} {
		all, err := k.Wrap(make([]byte, fileKeySize))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Unwrap(change(all[0])); err == nil || got != nil {
			t.Errorf("%s: unwrapped", name)
		}
	}
}

// A file key of another size is none, though the epoch key sealed it. PROTOCOL 7.3.
func TestUnwrapWantsAFileKey(t *testing.T) {
	k := epochKey(t, "epoch key")
	for _, size := range []int{0, 15, 17, 32} {
		all, err := k.Wrap(make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Unwrap(all); fault.CodeOf(err) != "cannot-open" {
			t.Errorf("%d bytes unwrap as %x, %v", size, got, err)
		}
	}
}

// A key is printed by no verb, and each file has a salt of its own. PROTOCOL 7.3.
func TestEpochKey(t *testing.T) {
	k := epochKey(t, "epoch key")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, Grant{Key: k}.Key); got != "[private][private]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if b, err := json.Marshal(Framing{Key: k}); err != nil || bytes.Contains(b, k.Bytes()[:4]) || !bytes.Contains(b, []byte(`"Key":{}`)) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
	a, err := k.Wrap(make([]byte, fileKeySize))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := k.Wrap(make([]byte, fileKeySize)); err != nil || a[0].Args[1] == b[0].Args[1] || len(a) != 1 {
		t.Errorf("two stanzas share a salt, %v", err)
	}
	if k.Fingerprint() == epochKey(t, "epoch key 2").Fingerprint() {
		t.Error("two keys share a fingerprint")
	}
	for _, b := range [][]byte{nil, make([]byte, 31), make([]byte, 33), make([]byte, 32)} {
		if _, err := ParseEpochKey(b); fault.CodeOf(err) != "wrong-key" {
			t.Errorf("%d bytes: %v, want wrong-key", len(b), err)
		}
	}
	if _, err := (EpochKey{}).Wrap(make([]byte, fileKeySize)); err == nil {
		t.Error("no key seals")
	}
	if _, err := NewEpochKey(bytes.NewReader(nil)); !fault.Is(err, fault.Internal) {
		t.Errorf("without randomness: %v", err)
	}
}

func packageOf(t testing.TB) EpochPackage {
	t.Helper()
	var m formatv1.EpochPackage
	if err := canonical.Unmarshal(vectorNamed(t, "epoch-package", "first").Bytes, &m, message.MaxEpochPackage); err != nil {
		t.Fatal(err)
	}
	p, err := parseEpochPackage(canonical.Marshal(&m))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// PROTOCOL 7.2, 7.3.
func TestEpochPackageRefuses(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		change func(*formatv1.EpochPackage)
		code   string
	}{
		"the right one":              {func(*formatv1.EpochPackage) {}, ""},
		"epoch 0":                    {func(m *formatv1.EpochPackage) { m.Epoch = 0 }, "malformed"},
		"first after another":        {func(m *formatv1.EpochPackage) { m.Previous = make([]byte, 32) }, "malformed"},
		"second after nothing":       {func(m *formatv1.EpochPackage) { m.Epoch = 2 }, "malformed"},
		"second after half a digest": {func(m *formatv1.EpochPackage) { m.Epoch, m.Previous = 2, make([]byte, 16) }, "malformed"},
		"another rule":               {func(m *formatv1.EpochPackage) { m.Rule = "everyone" }, "audience"},
		"states out of order":        {func(m *formatv1.EpochPackage) { m.States = []string{"mx", "jm"} }, "audience"},
		"no position":                {func(m *formatv1.EpochPackage) { m.Position = 0 }, "audience"},
		"group alone":                {func(m *formatv1.EpochPackage) { m.Category = "drugs" }, "audience"},
		"no category":                {func(m *formatv1.EpochPackage) { m.Category = "" }, "malformed-name"},
		"no incarnation":             {func(m *formatv1.EpochPackage) { m.Incarnation = nil }, "malformed"},
		"no members":                 {func(m *formatv1.EpochPackage) { m.Members = nil }, "malformed"},
		"no fingerprint":             {func(m *formatv1.EpochPackage) { m.KeyFingerprint = nil }, "malformed"},
		"another publisher":          {func(m *formatv1.EpochPackage) { m.Publisher = "jm/node/primary" }, "bad-signature"},
		"129 restrictions":           {func(m *formatv1.EpochPackage) { m.Restrictions = make([][]byte, message.MaxRestrictions+1) }, "malformed"},
	} {
		var m formatv1.EpochPackage
		if err := canonical.Unmarshal(packageOf(t).Marshal(), &m, message.MaxEpochPackage); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		_, err := VerifyEpochPackage(w.signed(t, publisher, authority.ForEpochPackage, canonical.Marshal(&m)), w.findNode)
		if fault.CodeOf(err) != test.code || (err == nil) != (test.code == "") {
			t.Errorf("%s: %v, want %q", name, err, test.code)
		}
	}
	p := packageOf(t)
	p.Epoch = 0
	if _, err := SignEpochPackage(context.Background(), w, signKey(t, publisher+" sign").Fingerprint(), p); fault.CodeOf(err) != "malformed" {
		t.Errorf("signed what no reader takes: %v", err)
	}
	p = packageOf(t)
	p.Restrictions = [][]byte{make([]byte, message.MaxEpochPackage)}
	if _, err := SignEpochPackage(context.Background(), w, signKey(t, publisher+" sign").Fingerprint(), p); fault.CodeOf(err) != "too-large" {
		t.Errorf("signed what is too large: %v", err)
	}
}

// A grant is taken only with the key that its package names. PROTOCOL 7.3.
func TestGrant(t *testing.T) {
	w := newWorld(t)
	signed, err := SignEpochPackage(context.Background(), w, signKey(t, publisher+" sign").Fingerprint(), packageOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for key, code := range map[string]string{"epoch key": "", "epoch key 2": "wrong-key"} {
		g, err := ParseGrant(Grant{signed, epochKey(t, key)}.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Verify(w.findNode); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", key, err, code)
		}
		if _, err := g.Stored(); fault.CodeOf(err) != code {
			t.Errorf("%s, stored: %v, want %q", key, err, code)
		}
	}
	if _, err := ParseGrant(canonical.Marshal(&formatv1.EpochGrant{Package: signed})); fault.CodeOf(err) != "wrong-key" {
		t.Errorf("without a key: %v", err)
	}
	unsigned := canonical.Marshal(&formatv1.Signed{Payload: packageOf(t).Marshal()})
	if _, err := (Grant{unsigned, epochKey(t, "epoch key")}).Verify(w.findNode); fault.CodeOf(err) != "bad-signature" {
		t.Errorf("an unsigned package: %v", err)
	}
}

// age's own errors stay inside ours. PROTOCOL 7.3.
func TestOtherKeyDoesNotOpen(t *testing.T) {
	sealed, err := encryptTo(pad([]byte("x")), epochKey(t, "epoch key"))
	if err != nil {
		t.Fatal(err)
	}
	var e *fault.Error
	if _, err := unseal(sealed, epochKey(t, "epoch key 2")); !errors.As(err, &e) || e.Code != "cannot-open" {
		t.Errorf("opened: %v", err)
	}
}

const stanzaVector = "enlace-epoch 3gljRHNI4s2hw3NAw0twCTq+ymw4k1EcXIRxRPkRLqw 391RyIucwV3gnAda4zDs7A 96d81bb31ca413dd50f01cbb6a50611676cfa602dc85e0de2394134f4045836f"
