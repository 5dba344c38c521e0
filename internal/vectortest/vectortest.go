// Package vectortest reads and writes the test vectors of PROTOCOL.md, and derives the keys they use.
//
// Every key, salt and identifier in proto/vectors comes from one public seed, so whoever writes another
// implementation can make the same ones; such a key protects nothing and belongs in no ring. Tests call [Check] with
// what the code makes now. It compares with the file, byte for byte, or writes it when the test runs with -update.
//
// Only tests import the package. It imports nothing of ours, so any room's tests may.
package vectortest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// Seed is public.
const Seed = "enlace test vectors 1: public, protects nothing"

// folder is proto/vectors seen from a room.
const folder = "../../proto/vectors"

var update = flag.Bool("update", false, "write the test vectors instead of comparing with them")

// Updating reports whether the vectors are being written.
func Updating() bool { return *update }

// Hex is bytes that are shown as hexadecimal digits.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// Bytes are the first n bytes of SHA-256(Seed, label, 0), SHA-256(Seed, label, 1), ...: seed and label each followed
// by a line end, the counter as 4 bytes, big endian.
func Bytes(label string, n int) []byte {
	var out []byte
	for counter := uint32(0); len(out) < n; counter++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(Seed+"\n"+label+"\n"), counter))
		out = append(out, block[:]...)
	}
	return out[:n]
}

// SigningKey is the Ed25519 key whose seed is Bytes(label, 32).
func SigningKey(label string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(Bytes(label, ed25519.SeedSize))
}

// Public is the public half of SigningKey.
func Public(label string) []byte {
	return SigningKey(label).Public().(ed25519.PublicKey)
}

// Identity is the age hybrid identity whose secret is Bytes(label, 32).
func Identity(label string) *age.HybridIdentity {
	id, err := age.ParseHybridIdentity(strings.ToUpper(bech32("age-secret-key-pq-", Bytes(label, 32))))
	if err != nil {
		panic(err) // 32 bytes always are an identity
	}
	return id
}

// file is what stands in proto/vectors.
type file struct {
	About   string   `json:"about"`
	Clauses []string `json:"clauses"`
	Seed    string   `json:"seed"`
	Vectors any      `json:"vectors"`
}

// Check compares vectors with the file of that name, or writes it.
func Check(t *testing.T, name, about string, clauses []string, vectors any) {
	t.Helper()
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(file{about, clauses, Seed, vectors}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, name, strings.Split(got.String(), "\n"), strings.Split(string(want), "\n"))
}

// compare tells the first line that differs: a whole file would bury it.
func compare(t *testing.T, name string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			t.Errorf("%s.json: %d lines, want %d", name, len(got), len(want))
			return
		}
		if got[i] != want[i] {
			t.Errorf("%s.json line %d:\n got %.300s\nwant %.300s", name, i+1, got[i], want[i])
			return
		}
	}
}

// Read reads the vectors of a file.
func Read(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name+".json"))
	if err == nil {
		err = json.Unmarshal(b, &file{Vectors: into})
	}
	if err != nil {
		t.Fatal(err)
	}
}

const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// bech32 encodes a text of BIP 173; the age library keeps its encoder to itself.
func bech32(prefix string, data []byte) string {
	values := fives(data)
	var expanded []byte
	for _, c := range []byte(prefix) {
		expanded = append(expanded, c>>5)
	}
	expanded = append(expanded, 0)
	for _, c := range []byte(prefix) {
		expanded = append(expanded, c&31)
	}
	sum := checksum(append(append(expanded, values...), make([]byte, 6)...))
	for i := range 6 {
		values = append(values, byte(sum>>(5*(5-i)))&31)
	}
	out := []byte(prefix + "1")
	for _, v := range values {
		out = append(out, alphabet[v])
	}
	return string(out)
}

// fives regroups bytes into values of five bits.
func fives(data []byte) []byte {
	var out []byte
	acc, bits := uint32(0), 0
	for _, b := range data {
		acc, bits = acc<<8|uint32(b), bits+8
		for bits >= 5 {
			bits -= 5
			out = append(out, byte(acc>>bits)&31)
		}
	}
	if bits > 0 {
		out = append(out, byte(acc<<(5-bits))&31)
	}
	return out
}

func checksum(values []byte) uint32 {
	sum := uint32(1)
	for _, v := range values {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	return sum ^ 1
}
