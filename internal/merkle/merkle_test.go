package merkle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// A shelf is stored hashes in memory.
type shelf []tlog.Hash

func (s shelf) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at >= int64(len(s)) {
			return nil, errors.New("no such hash")
		}
		out[i] = s[at]
	}
	return out, nil
}

func leaf(n int64) []byte { return []byte(strconv.FormatInt(n, 10)) }

// TestFrontier holds the edge against tlog's own computation from all stored hashes, at every size.
func TestFrontier(t *testing.T) {
	var f Frontier
	var stored, reference shelf
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reference)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Root(); got != want || f.Size() != n {
			t.Fatalf("size %d: root %v of size %d, want %v", n, got, f.Size(), want)
		}
		rebuilt, err := ReadFrontier(n, stored)
		if err != nil || rebuilt.Root() != want || rebuilt.Size() != n {
			t.Fatalf("size %d: rebuilt root %v, %v; want %v", n, rebuilt.Root(), err, want)
		}
		if got, want := int64(len(stored)), tlog.StoredHashIndex(0, n); got != want {
			t.Fatalf("size %d: %d hashes stored, want %d", n, got, want)
		}
		before := f.Clone()
		hashes := f.Append(tlog.RecordHash(leaf(n)))
		if before.Root() != want || before.Size() != n {
			t.Fatalf("size %d: the clone moved", n)
		}
		expected, err := tlog.StoredHashes(n, leaf(n), reference)
		if err != nil {
			t.Fatal(err)
		}
		stored, reference = append(stored, hashes...), append(reference, expected...)
		if len(stored) != len(reference) || stored[len(stored)-1] != reference[len(reference)-1] {
			t.Fatalf("size %d: stored hashes differ", n)
		}
	}
}

func TestReadFrontierRefuses(t *testing.T) {
	if _, err := ReadFrontier(-1, shelf{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("negative size: %v, want invalid", err)
	}
	if _, err := ReadFrontier(5, shelf{}); !fault.Is(err, fault.Internal) {
		t.Errorf("missing hashes: %v, want internal", err)
	}
}

func grow(n int64) (shelf, []Checkpoint) {
	var f Frontier
	var s shelf
	trees := []Checkpoint{{"log", 0, f.Root()}}
	for i := range n {
		s = append(s, f.Append(tlog.RecordHash(leaf(i)))...)
		trees = append(trees, Checkpoint{"log", i + 1, f.Root()})
	}
	return s, trees
}

func TestProofs(t *testing.T) {
	const n = 21
	stored, trees := grow(n)
	for size := int64(1); size <= n; size++ {
		for i := range size {
			proof, err := ProveInclusion(size, i, stored)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckInclusion(proof, trees[size], i, tlog.RecordHash(leaf(i))); err != nil {
				t.Errorf("leaf %d of %d: %v", i, size, err)
			}
			if err := CheckInclusion(proof, trees[size], i, tlog.RecordHash(leaf(i+1))); fault.CodeOf(err) != "not-included" {
				t.Errorf("other leaf at %d of %d: %v, want not-included", i, size, err)
			}
			consistent, err := ProveConsistency(size, i+1, stored)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(consistent, trees[size], trees[i+1]); err != nil {
				t.Errorf("%d begins with %d: %v", size, i+1, err)
			}
			forged := trees[i+1]
			forged.Root[3] ^= 1
			if err := CheckConsistency(consistent, trees[size], forged); fault.CodeOf(err) != "not-consistent" {
				t.Errorf("%d begins with a forged %d: %v, want not-consistent", size, i+1, err)
			}
		}
	}
}

func TestProofsRefuse(t *testing.T) {
	stored, trees := grow(4)
	for _, index := range []int64{-1, 4} {
		if _, err := ProveInclusion(4, index, stored); fault.CodeOf(err) != "out-of-range" {
			t.Errorf("leaf %d of 4: %v, want out-of-range", index, err)
		}
	}
	for _, smaller := range []int64{0, 5} {
		if _, err := ProveConsistency(4, smaller, stored); fault.CodeOf(err) != "out-of-range" {
			t.Errorf("size %d of 4: %v, want out-of-range", smaller, err)
		}
	}
	if _, err := ProveInclusion(8, 1, stored); !fault.Is(err, fault.Internal) {
		t.Errorf("hashes missing: %v, want internal", err)
	}
	other := trees[4]
	other.Origin = "other"
	if err := CheckConsistency(nil, other, trees[4]); fault.CodeOf(err) != "not-consistent" {
		t.Errorf("another log: %v, want not-consistent", err)
	}
}

// A seed signs with a key made from a fixed seed.
type seed byte

func (s seed) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(s)}, ed25519.SeedSize))
}

func (s seed) PublicKey() authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, s.private().Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return key
}

func (s seed) Sign(msg []byte) ([]byte, error) {
	if s == 0 {
		return nil, errors.New("locked")
	}
	return ed25519.Sign(s.private(), msg), nil
}

const origin = "network.example/mx/node/primary/evidence/1-0011223344556677"

func sample() Checkpoint {
	var f Frontier
	f.Append(tlog.RecordHash([]byte("one")))
	f.Append(tlog.RecordHash([]byte("two")))
	return Checkpoint{origin, f.Size(), f.Root()}
}

// TestCheckpoint pins the bytes of text, note and salted hash. PROTOCOL 9.2, 9.3, 9.4.
func TestCheckpoint(t *testing.T) {
	c := sample()
	wantText := origin + "\n2\n" + c.Root.String() + "\n"
	if got := c.Text(); got != wantText {
		t.Errorf("text = %q, want %q", got, wantText)
	}
	signed, err := Sign(c, seed(1))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier(origin, seed(1).PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(signed, verifier); err != nil || got != c {
		t.Errorf("opened = %v, %v; want %v", got, err, c)
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 1
		if got, err := Open(changed, verifier); err == nil {
			t.Fatalf("byte %d changed: opened %v, want an error", i, got)
		}
	}
	const wantSalted = "ba36a488d41064d95ad48bc22ebdde9d5b5af3f7a4a1f9529366168939c65a20"
	if got := SaltedHash([SaltSize]byte{7}, c); hex.EncodeToString(got[:]) != wantSalted {
		t.Errorf("salted hash = %x, want %s", got, wantSalted)
	}
}

func TestSignRefuses(t *testing.T) {
	if _, err := Sign(sample(), seed(0)); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "keyring-away" {
		t.Errorf("locked key: %v, want keyring-away", err)
	}
	if _, err := Sign(Checkpoint{Origin: "with space"}, seed(1)); err == nil {
		t.Error("an origin with a space was signed")
	}
	nkey, err := authority.ParsePublicKey(authority.NKey, make([]byte, 56))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(origin, nkey); fault.CodeOf(err) != "malformed-key" {
		t.Errorf("other kind of key: %v, want malformed-key", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	signed, err := Sign(sample(), seed(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		signed []byte
		origin string
		signer seed
		code   string
	}{
		"another key":    {signed, origin, 2, "bad-signature"},
		"another origin": {signed, "other", 1, "bad-signature"},
		"no note":        {[]byte("x"), origin, 1, "bad-signature"},
		"too large":      {make([]byte, MaxNote+1), origin, 1, "too-large"},
	} {
		verifier, err := NewVerifier(test.origin, test.signer.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(test.signed, verifier); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	root := sample().Root.String()
	for _, text := range []string{
		"", "log\n2\n" + root, "log\n2\n" + root + "\nmore\n", "\n2\n" + root + "\n", "a b\n2\n" + root + "\n",
		"log\n-1\n" + root + "\n", "log\n02\n" + root + "\n", "log\n+2\n" + root + "\n", "log\n2\nAAAA\n", "log\n2\n" + root[:43] + "\n",
	} {
		if c, err := ParseCheckpoint(text); fault.CodeOf(err) != "malformed" {
			t.Errorf("%q = %v, %v; want malformed", text, c, err)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(sample().Text())
	f.Add("log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCheckpoint(text)
		if err == nil && c.Text() != text {
			t.Errorf("%q reads as %v, which writes %q", text, c, c.Text())
		}
	})
}

func FuzzOpen(f *testing.F) {
	signed, err := Sign(sample(), seed(1))
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := NewVerifier(origin, seed(1).PublicKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Open(b, verifier); err == nil && c != sample() {
			t.Errorf("a note nobody signed opens as %v", c)
		}
	})
}
