package authority

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/enlace-network/enlace/internal/fault"
)

// Algorithm names of public keys. PROTOCOL 3.1.
const (
	Ed25519   = "ed25519"
	AgeHybrid = "age-hybrid"
	NKey      = "nkey"
)

// Purpose is the label a signature is bound to, so that a signature made for one format can never be shown as
// another's. PROTOCOL 3.3 lists them all.
type Purpose string

// The purposes of this protocol version.
const (
	ForHeader              Purpose = "enlace/v1/header"
	ForReceipt             Purpose = "enlace/v1/receipt"
	ForHello               Purpose = "enlace/v1/hello"
	ForControl             Purpose = "enlace/v1/control"
	ForControlReceipt      Purpose = "enlace/v1/control-receipt"
	ForEpochPackage        Purpose = "enlace/v1/epoch-package"
	ForFrame               Purpose = "enlace/v1/frame"
	ForChainIndex          Purpose = "enlace/v1/chain-index"
	ForCumulativeReceipt   Purpose = "enlace/v1/cumulative-receipt"
	ForEvidenceCosignature Purpose = "enlace/v1/evidence-cosignature"
	// ForVerifiedDirectory is what a node signs for itself: how far it has verified its own copy of the directory.
	ForVerifiedDirectory Purpose = "enlace/v1/verified-directory"
	// ForStatement is completed by the signer's role: "enlace/v1/statement/state".
	ForStatement Purpose = "enlace/v1/statement/"
)

// Fingerprint is SHA-256 over algorithm, a zero byte and the public key bytes. PROTOCOL 3.2.
type Fingerprint [sha256.Size]byte

// String is 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads the 32 bytes of a fingerprint.
func ParseFingerprint(b []byte) (Fingerprint, error) {
	var f Fingerprint
	if len(b) != len(f) {
		return f, fault.New(fault.Invalid, "malformed-key", "read fingerprint", "a fingerprint is 32 bytes")
	}
	copy(f[:], b)
	return f, nil
}

// PublicKey is a public key with its algorithm; comparable through its fingerprint. The zero value verifies nothing.
type PublicKey struct {
	algorithm string
	bytes     string
}

// ParsePublicKey checks that the bytes have the shape of the algorithm. PROTOCOL 3.1.
func ParsePublicKey(algorithm string, b []byte) (PublicKey, error) {
	key, ok := PublicKey{algorithm, string(b)}, false
	switch algorithm {
	case Ed25519:
		ok = len(b) == ed25519.PublicKeySize
	case AgeHybrid:
		ok = isRecipient(key.bytes)
	case NKey:
		ok = len(b) == 56 // text form of a NATS user public key
	}
	if !ok {
		return PublicKey{}, fault.New(fault.Invalid, "malformed-key", "read public key", "the key does not have the shape of its algorithm")
	}
	return key, nil
}

// isRecipient looks at the shape of an age1pq1 text; seal parses it when it is used. Bech32 may also be written in
// capitals: refused, or one key would have two fingerprints.
func isRecipient(s string) bool {
	return len(s) > 1000 && len(s) < 4096 && strings.HasPrefix(s, "age1pq1") && (isPlain(s) || s == strings.ToLower(s))
}

// isPlain is the short way to the same: such text has no capitals. A large directory asks it 50 million times.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || c-'A' < 26 {
			return false
		}
	}
	return true
}

// Pack has the bytes of keys side by side: keys made one by one, among much else, hold more memory than their own. The
// keys are the same, and hold all of it while one of them is in use.
func Pack(keys []PublicKey) []PublicKey {
	var all strings.Builder
	size := 0
	for _, k := range keys {
		size += len(k.bytes)
	}
	all.Grow(size)
	for _, k := range keys {
		all.WriteString(k.bytes)
	}
	packed, rest := make([]PublicKey, len(keys)), all.String()
	for i, k := range keys {
		packed[i] = PublicKey{k.algorithm, rest[:len(k.bytes)]}
		rest = rest[len(k.bytes):]
	}
	return packed
}

// Algorithm is the key's algorithm name.
func (k PublicKey) Algorithm() string { return k.algorithm }

// Bytes is a copy of the public bytes.
func (k PublicKey) Bytes() []byte { return []byte(k.bytes) }

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k.algorithm == "" }

// Fingerprint identifies the key. PROTOCOL 3.2.
func (k PublicKey) Fingerprint() Fingerprint {
	var room [2 << 10]byte // for all but odd keys, so that nothing is allocated
	b := append(room[:0], k.algorithm...)
	b = append(b, 0)
	return sha256.Sum256(append(b, k.bytes...))
}

// Message is what a signature is computed over: the DSSE pre-authentication encoding of label and bytes. PROTOCOL 3.3.
func Message(purpose Purpose, payload []byte) []byte {
	return dsse.PAE(string(purpose), payload)
}

// Verify checks one signature by k over payload for a purpose. Only Ed25519 keys verify; every other key refuses.
// PROTOCOL 3.3, 3.4.
func (k PublicKey) Verify(purpose Purpose, payload, signature []byte) error {
	if k.algorithm == Ed25519 && len(signature) == ed25519.SignatureSize &&
		ed25519.Verify(ed25519.PublicKey(k.bytes), Message(purpose, payload), signature) {
		return nil
	}
	return fault.New(fault.Invalid, "bad-signature", "verify signature", "the signature does not verify")
}
