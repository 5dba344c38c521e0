package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"time"
)

// Visitor is the TLS identity of nobody in particular: a self-signed certificate of a key that is made for it, is held
// in memory alone and dies with the Source. It serves to ask a hub for the genesis, which is public, before one is known.
func Visitor(now func() time.Time) *Source {
	return &Source{now: now, issue: func(at time.Time) (*tls.Certificate, error) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, notMade(err)
		}
		return SelfSigned(private, at)
	}}
}
