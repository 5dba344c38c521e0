package registry

import (
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/merkle"
)

// logKeys signs heads with the log key that the log itself names at its end: from the entry that rotates the key on, with
// the new one. PROTOCOL 4.17, 11.6.
type logKeys struct {
	tip func() *directory.Snapshot
	of  func(authority.PublicKey) (merkle.Signer, error)
}

// PublicKey is the key of the next head.
func (k logKeys) PublicKey() authority.PublicKey { return k.tip().Hub().LogKey.Public }

// Sign fails where the hub does not hold the key that the log names: a head by another would be no head.
func (k logKeys) Sign(msg []byte) ([]byte, error) {
	signer, err := k.of(k.PublicKey())
	if err != nil {
		return nil, err
	}
	return signer.Sign(msg)
}

// signer is the fixed one, or the one that goes with the log.
func (s *Service) signer() merkle.Signer {
	if s.o.LogKeys == nil {
		return s.o.Signer
	}
	return logKeys{s.book.tip, s.o.LogKeys}
}
