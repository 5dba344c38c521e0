package merkle

import (
	"crypto"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// vectorKey signs notes with a key of the vectors.
type vectorKey struct{ label string }

func (k vectorKey) PublicKey() authority.PublicKey {
	p, err := authority.ParsePublicKey(authority.Ed25519, vectortest.Public(k.label))
	if err != nil {
		panic(err)
	}
	return p
}

func (k vectorKey) Sign(msg []byte) ([]byte, error) {
	return vectortest.SigningKey(k.label).Sign(nil, msg, crypto.Hash(0))
}

type checkpointVector struct {
	Leaves []vectortest.Hex `json:"leaves"`
	Origin string           `json:"origin"`
	Size   int64            `json:"size"`
	Root   vectortest.Hex   `json:"root"`
	Text   string           `json:"text"`
	Key    string           `json:"key"`
	Note   string           `json:"note"`
	Salt   vectortest.Hex   `json:"salt"`
	Salted vectortest.Hex   `json:"salted_hash"`
}

// PROTOCOL 9.2, 9.3, 9.4.
func TestVectorCheckpoint(t *testing.T) {
	const label = "mx/node/primary evidence"
	const origin = "enlace.5f0c5d0f3f9f0a0f/mx/node/primary/evidence/1-0011223344556677"
	var f Frontier
	var leaves []vectortest.Hex
	var vectors []checkpointVector
	for _, leaf := range []string{"", "one", "two", "three", "four", "five"} {
		if leaf != "" {
			leaves = append(leaves, vectortest.Hex(leaf))
			f.Append(tlog.RecordHash([]byte(leaf)))
		}
		c := Checkpoint{origin, f.Size(), f.Root()}
		note, err := Sign(c, vectorKey{label})
		if err != nil {
			t.Fatal(err)
		}
		salt := [SaltSize]byte(vectortest.Bytes("checkpoint salt", SaltSize))
		salted := SaltedHash(salt, c)
		vectors = append(vectors, checkpointVector{leaves[:len(leaves):len(leaves)], c.Origin, c.Size, c.Root[:], c.Text(), label, string(note), salt[:], salted[:]})
		verifier, err := NewVerifier(origin, vectorKey{label}.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(note, verifier); err != nil || got != c {
			t.Errorf("size %d opens as %v, %v", c.Size, got, err)
		}
	}
	vectortest.Check(t, "checkpoint", "a growing log: root, checkpoint, signed note, salted hash", []string{"9.2", "9.3", "9.4"}, vectors)
}
