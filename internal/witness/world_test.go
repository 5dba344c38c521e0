package witness

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	origin = "enlace.5f0c5d0f3f9f0a0f/directory"
	name   = "spiffe://enlace.5f0c5d0f3f9f0a0f/mx/node/primary"
	logKey = seed(1)
)

// A seed signs with a key made from a fixed seed; the zero one is locked.
type seed byte

func (s seed) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(s)}, ed25519.SeedSize))
}

func (s seed) PublicKey() authority.PublicKey {
	return publicKey(s.private().Public().(ed25519.PublicKey))
}

func (s seed) Sign(msg []byte) ([]byte, error) {
	if s == 0 {
		return nil, errors.New("locked")
	}
	return ed25519.Sign(s.private(), msg), nil
}

func publicKey(b []byte) authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, b)
	if err != nil {
		panic(err)
	}
	return key
}

func leaves(from, to int) [][32]byte {
	var out [][32]byte
	for n := from; n < to; n++ {
		out = append(out, sha256.Sum256(fmt.Appendf(nil, "entry %d", n)))
	}
	return out
}

// A history is a copy of the log: the first leaves are everyone's, from fork on they are its own.
type history struct{ fork, size int64 }

func (h history) root(size int64) (tlog.Hash, error) {
	if size > h.size {
		return tlog.Hash{}, errors.New("the copy is not that long")
	}
	var f merkle.Frontier
	for n := range size {
		text := fmt.Sprintf("entry %d", n)
		if n >= h.fork {
			text = "own " + text
		}
		f.Append(tlog.RecordHash([]byte(text)))
	}
	return f.Root(), nil
}

func (h history) at(size int64) merkle.Checkpoint {
	root, err := h.root(size)
	if err != nil {
		panic(err)
	}
	return merkle.Checkpoint{Origin: origin, Size: size, Root: root}
}

func sign(t *testing.T, cp merkle.Checkpoint, key seed) []byte {
	t.Helper()
	signed, err := merkle.Sign(cp, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
