package keyring

import (
	"crypto/ed25519"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

func TestNoteSigner(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateNode(epoch))
	must0(t, r.GenerateHub(epoch))
	for _, slot := range []Slot{NodeEvidence, NodeWitness, HubLog} {
		s := must1[NoteSigner](t)(r.NoteSigner(slot))
		note := []byte("log.example\n1\nAAAA\n")
		if !ed25519.Verify(s.PublicKey().Bytes(), note, must1[[]byte](t)(s.Sign(note))) {
			t.Errorf("%s: the signature does not verify", slot)
		}
		_, err := s.Sign(authority.Message(authority.ForReceipt, note))
		check(t, "a receipt as a note of "+string(slot), err, fault.Invalid, "malformed-note")
		if got := must1[authority.PublicKey](t)(r.Public(slot)); got != s.PublicKey() {
			t.Errorf("%s: another public key", slot)
		}
	}
	for _, slot := range []Slot{NodeSign, NodeSeal, NodeBus, LedgerSecret, CA, "x"} {
		_, err := r.NoteSigner(slot)
		check(t, "a note signer of "+string(slot), err, fault.NotFound, "no-key")
	}
}
