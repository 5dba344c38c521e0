package sqlite

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
)

// evidenceKey signs with a key made from a fixed seed.
type evidenceKey byte

func (k evidenceKey) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(k)}, ed25519.SeedSize))
}

func (k evidenceKey) PublicKey() authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, k.private().Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return key
}

func (k evidenceKey) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.private(), msg), nil }

func testConfig(tb testing.TB, dir string) Config {
	tb.Helper()
	node, err := authority.ParseNode("mx/node/primary")
	if err != nil {
		tb.Fatal(err)
	}
	return Config{
		Dir: dir, Key: [32]byte{1, 2, 3}, Network: "network.example", Node: node, Random: rand.Reader,
		Origin: "network.example/mx/node/primary/evidence", Keys: ledger.Keys{Signer: evidenceKey(1), Secret: [32]byte{9}},
		Created: ledger.Event{Time: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC), Kind: "created", Actor: "node"},
	}
}

func openAt(tb testing.TB, cfg Config) *Ledger {
	tb.Helper()
	l, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}
