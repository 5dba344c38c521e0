package keyring

import (
	"bytes"
	"crypto/ed25519"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// NoteSigner signs the notes of a log (C2SP signed-note), whose signatures are over the plain text: standard clients
// read them, so they carry no purpose label. It holds one generation of one key.
type NoteSigner struct {
	unprintable
	key *key
}

// NoteSigner is the signer of the current key of a log: NodeEvidence, NodeWitness or HubLog, and no other slot.
// NotFound if the ring has none.
func (r *Ring) NoteSigner(slot Slot) (NoteSigner, error) {
	k := r.chosen(slot)
	if k == nil || (slot != NodeEvidence && slot != NodeWitness && slot != HubLog) {
		return NoteSigner{}, noKey("look up log key")
	}
	return NoteSigner{key: k}, nil
}

// LogSigner is the signer of one HubLog key, of whatever generation; it may have been made after the ring was opened.
// NotFound if the ring does not hold it.
func (r *Ring) LogSigner(public authority.PublicKey) (NoteSigner, error) {
	k := r.find(public.Fingerprint())
	if k == nil || k.Slot != HubLog {
		return NoteSigner{}, noKey("look up log key")
	}
	return NoteSigner{key: k}, nil
}

// PublicKey is the key that verifies the notes.
func (s NoteSigner) PublicKey() authority.PublicKey { return s.key.public }

// Sign is the 64-byte Ed25519 signature over msg. What looks like an encoding with a purpose label is refused
// (Invalid), so that a note can never become a statement or a receipt. PROTOCOL 3.3.
func (s NoteSigner) Sign(msg []byte) ([]byte, error) {
	if bytes.HasPrefix(msg, []byte("DSSEv1 ")) {
		return nil, fault.New(fault.Invalid, "malformed-note", opSign, "these bytes are not a note of a log")
	}
	return ed25519.Sign(s.key.signing, msg), nil
}
