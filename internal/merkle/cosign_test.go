package merkle

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const witness = "spiffe://network.example/mx/node/primary"

// standard is the signer of C2SP cosignatures by transparency-dev, with the key of a seed. It signs at its own time.
func standard(t *testing.T, name string, key seed) note.Signer {
	t.Helper()
	public := append([]byte{1}, key.PublicKey().Bytes()...)
	verifier, err := note.NewEd25519VerifierKey(name, key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(verifier, "+")[1]
	private := append([]byte{public[0]}, key.private().Seed()...)
	signer, err := formats.NewSignerForCosignatureV1("PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(private))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func cosignatureVerifier(t *testing.T, name string, key seed) note.Verifier {
	t.Helper()
	verifier, err := NewCosignatureVerifier(name, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func cosign(t *testing.T, c Checkpoint, name string, key seed, at time.Time) []byte {
	t.Helper()
	line, err := Cosign(c, name, key, at)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestCosignVector pins the bytes, so that a change here and in the library at once shows. PROTOCOL 11.6.
func TestCosignVector(t *testing.T) {
	got := string(cosign(t, sample(), witness, 3, time.Unix(1_800_000_000, 999)))
	const want = "— spiffe://network.example/mx/node/primary hwOnmAAAAABrSdIAHLeYhkOHKOgzItmKEv134wvc9NtMIC+GpSbBSSbHG82okptxHwGIyvhwLmLCNWxqzaXdQFa2Iza1TWzVWswKDQ==\n"
	if got != want {
		t.Errorf("cosignature = %q, want %q", got, want)
	}
}

// TestCosignStandard holds our cosignatures against another implementation, both ways. PROTOCOL 11.6.
func TestCosignStandard(t *testing.T) {
	c := sample()
	theirs := standard(t, witness, 3)
	signed, err := note.Sign(&note.Note{Text: c.Text()}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	ours := cosignatureVerifier(t, witness, 3)
	if ours.KeyHash() != theirs.KeyHash() || ours.Name() != theirs.Name() {
		t.Errorf("verifier %s %08x, want %s %08x", ours.Name(), ours.KeyHash(), theirs.Name(), theirs.KeyHash())
	}
	got, signatures, err := Split(signed)
	if err != nil || got != c {
		t.Fatalf("split = %v, %v; want %v", got, err, c)
	}
	one, at, ok := signatures.Verified(c, ours)
	if !ok || time.Since(at) > time.Hour || time.Until(at) > time.Hour {
		t.Errorf("theirs by ours: %v at %v", ok, at)
	}
	// Ed25519 has one signature for a message: at their time we come to their bytes.
	if line := cosign(t, c, witness, 3, at); !bytes.Equal(line, Line(one)) || !bytes.HasSuffix(signed, line) {
		t.Errorf("line = %q, want that of\n%s", line, signed)
	}
	vkey := fmt.Sprintf("%s+%08x+%s", witness, ours.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{4}, seed(3).PublicKey().Bytes()...)))
	verifier, err := formats.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	head, err := Sign(c, seed(1))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(append(head, cosign(t, c, witness, 3, time.Unix(5, 0))...), note.VerifierList(verifier)); err != nil || len(n.Sigs) != 1 {
		t.Errorf("ours by theirs: %v", err)
	}
}

// TestVerified has the newest of valid cosignatures count, and no other. PROTOCOL 11.6.
func TestVerified(t *testing.T) {
	c, other := sample(), sample()
	other.Root[5] ^= 1
	head, err := Sign(c, seed(1))
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	for name, test := range map[string]struct {
		lines [][]byte
		want  int64 // 0 = none
	}{
		"none":                  {nil, 0},
		"one":                   {[][]byte{cosign(t, c, witness, 3, at(7))}, 7},
		"newest of three":       {[][]byte{cosign(t, c, witness, 3, at(7)), cosign(t, c, witness, 3, at(9)), cosign(t, c, witness, 3, at(8))}, 9},
		"another key":           {[][]byte{cosign(t, c, witness, 4, at(7))}, 0},
		"another name":          {[][]byte{cosign(t, c, witness+"2", 3, at(7))}, 0},
		"another tree":          {[][]byte{cosign(t, other, witness, 3, at(7))}, 0},
		"the newest is invalid": {[][]byte{cosign(t, c, witness, 3, at(7)), cosign(t, other, witness, 3, at(9))}, 7},
	} {
		signed := append(bytes.Clone(head), bytes.Join(test.lines, nil)...)
		_, signatures, err := Split(signed)
		if err != nil {
			t.Fatal(err)
		}
		_, when, ok := signatures.Verified(c, cosignatureVerifier(t, witness, 3))
		if ok != (test.want > 0) || ok && when.Unix() != test.want {
			t.Errorf("%s: %v at %v, want %d", name, ok, when, test.want)
		}
	}
}

// TestCosignatureBytes changes every byte of a cosignature: none is valid, and a line that reads is written as it was.
func TestCosignatureBytes(t *testing.T) {
	c := sample()
	head, err := Sign(c, seed(1))
	if err != nil {
		t.Fatal(err)
	}
	line := cosign(t, c, witness, 3, time.Unix(7, 0))
	for i := range line {
		changed := bytes.Clone(line)
		changed[i] ^= 1
		if one, err := ParseLine(changed); err == nil && !bytes.Equal(Line(one), changed) {
			t.Errorf("byte %d: %q reads as %q", i, changed, Line(one))
		}
		if _, signatures, err := Split(append(bytes.Clone(head), changed...)); err == nil {
			if _, _, ok := signatures.Verified(c, cosignatureVerifier(t, witness, 3)); ok {
				t.Errorf("byte %d changed: valid", i)
			}
		}
	}
	if one, err := ParseLine(line); err != nil || !bytes.Equal(Line(one), line) {
		t.Errorf("line reads as %v, %v", one, err)
	}
}

func TestCosignRefuses(t *testing.T) {
	if _, err := Cosign(sample(), witness, seed(0), time.Unix(7, 0)); fault.CodeOf(err) != "keyring-away" {
		t.Errorf("locked key: %v, want keyring-away", err)
	}
	for _, name := range []string{"", "with space", "with+plus", "línea", strings.Repeat("x", MaxOrigin+1)} {
		if _, err := Cosign(sample(), name, seed(3), time.Unix(7, 0)); fault.CodeOf(err) != "malformed-key" {
			t.Errorf("name %q: %v, want malformed-key", name, err)
		}
	}
	nkey, err := authority.ParsePublicKey(authority.NKey, make([]byte, 56))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewCosignatureVerifier(witness, nkey); fault.CodeOf(err) != "malformed-key" {
		t.Errorf("other kind of key: %v, want malformed-key", err)
	}
	if _, _, err := Split(make([]byte, MaxNote+1)); fault.CodeOf(err) != "too-large" {
		t.Errorf("large note: %v, want too-large", err)
	}
	if _, _, err := Split([]byte(sample().Text())); fault.CodeOf(err) != "malformed" {
		t.Errorf("no signature: %v, want malformed", err)
	}
	for _, line := range []string{"", "— ", "— a", "— a AAAA\n", "- a AAAAAAA=\n", "— a AAAAAAA=", "— a AAAAAAA=\n\n", "— a AAAAAAA=\n— a AAAAAAA=\n", "— a b AAAAAAA=\n", "— a AAAA\nAAA=\n", "— a AAAA\r\nAAA=\n"} {
		if one, err := ParseLine([]byte(line)); fault.CodeOf(err) != "malformed" {
			t.Errorf("%q = %v, %v; want malformed", line, one, err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	line, err := Cosign(sample(), witness, seed(3), time.Unix(7, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, b []byte) {
		if one, err := ParseLine(b); err == nil && !bytes.Equal(Line(one), b) {
			t.Errorf("%q reads as %q", b, Line(one))
		}
	})
}

func FuzzSplit(f *testing.F) {
	signed, err := Sign(sample(), seed(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, signatures, err := Split(b); err == nil && (len(signatures) == 0 || !bytes.HasPrefix(b, []byte(c.Text()))) {
			t.Errorf("%q splits into %v, %v", b, c, signatures)
		}
	})
}
