package postgres

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

// cells seals and opens private values: XChaCha20-Poly1305 with a random nonce, under a key derived from the ledger's
// secret, with table, column and key of the row as associated data. A value in another place does not open.
type cells struct {
	aead   cipher.AEAD
	random io.Reader
}

// cellVersion begins every sealed value.
const cellVersion = 1

func newCells(secret [32]byte, random io.Reader) (*cells, error) {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "enlace/v1/ledger-cells", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "open ledger", "the key of the ledger's columns cannot be derived")
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "open ledger", "the key of the ledger's columns cannot be used")
	}
	return &cells{aead, random}, nil
}

// bound is the associated data of a cell. Table and column are our own words, without zero bytes.
func bound(c records.Cell) []byte { return []byte(c.Table + "\x00" + c.Column + "\x00" + c.Row) }

// seal returns what the column keeps. Empty stays empty: it is no value.
func (s *cells) seal(p records.Private) ([]byte, error) {
	if len(p.Value) == 0 {
		return []byte{}, nil
	}
	head := 1 + s.aead.NonceSize()
	out := make([]byte, head, head+len(p.Value)+s.aead.Overhead())
	out[0] = cellVersion
	if _, err := io.ReadFull(s.random, out[1:]); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "write ledger", "no randomness")
	}
	return s.aead.Seal(out, out[1:head], p.Value, bound(p.Cell)), nil
}

func (s *cells) open(cell records.Cell, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	head := 1 + s.aead.NonceSize()
	if len(sealed) < head || sealed[0] != cellVersion {
		return nil, changed(nil)
	}
	value, err := s.aead.Open(nil, sealed[1:head], sealed[head:], bound(cell))
	if err != nil {
		return nil, changed(err)
	}
	return value, nil
}

func changed(cause error) error {
	return fault.Wrap(cause, fault.Internal, "damaged", "read ledger", "a private column is not what this node has written there")
}
