package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	epochKeySize = 32
	// fileKeySize is that of every age file.
	fileKeySize    = 16
	stanzaType     = "enlace-epoch"
	stanzaSaltSize = 16
	stanzaInfo     = "enlace/v1/epoch-stanza"
)

// EpochKey seals the alerts of one epoch of an audience, and opens them: every member has it. It is an age recipient and
// an age identity, and prints as "[private]" whatever the verb. The zero value seals and opens nothing. PROTOCOL 7.3.
type EpochKey struct{ key [epochKeySize]byte }

var (
	_ age.Recipient = EpochKey{}
	_ age.Identity  = EpochKey{}
)

// NewEpochKey draws a key.
func NewEpochKey(random io.Reader) (EpochKey, error) {
	var k EpochKey
	if _, err := io.ReadFull(random, k.key[:]); err != nil {
		return EpochKey{}, fault.Wrap(err, fault.Internal, "", "make epoch key", "no randomness")
	}
	return k, nil
}

// ParseEpochKey reads the 32 bytes of a key. Invalid code "wrong-key".
func ParseEpochKey(b []byte) (EpochKey, error) {
	var k EpochKey
	if copy(k.key[:], b); len(b) != epochKeySize || k.IsZero() {
		return EpochKey{}, wrongKey("an epoch key is 32 random bytes")
	}
	return k, nil
}

// Bytes is a copy of the secret.
func (k EpochKey) Bytes() []byte { return append([]byte(nil), k.key[:]...) }

// IsZero reports whether there is no key.
func (k EpochKey) IsZero() bool { return k == EpochKey{} }

// Fingerprint names the key without telling it. PROTOCOL 7.3.
func (k EpochKey) Fingerprint() message.Digest {
	return message.DigestOf(append([]byte("enlace/v1/epoch-key\n"), k.key[:]...))
}

// Format implements fmt.Formatter for all verbs.
func (k EpochKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[private]")) }

// Wrap implements age.Recipient.
func (k EpochKey) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	salt := make([]byte, stanzaSaltSize)
	_, _ = rand.Read(salt) // never fails
	s, err := k.wrap(fileKey, salt)
	return []*age.Stanza{s}, err
}

func (k EpochKey) wrap(fileKey, salt []byte) (*age.Stanza, error) {
	aead, err := k.aead(salt)
	if err != nil {
		return nil, err
	}
	// The nonce may be fixed: a salt, and so the key derived from it, is used once.
	body := aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), fileKey, nil)
	fingerprint := k.Fingerprint()
	text := base64.RawStdEncoding
	return &age.Stanza{Type: stanzaType, Args: []string{text.EncodeToString(fingerprint[:]), text.EncodeToString(salt)}, Body: body}, nil
}

// sealer is the part of cipher.AEAD that a stanza needs.
type sealer interface {
	Seal(dst, nonce, plaintext, additional []byte) []byte
	Open(dst, nonce, ciphertext, additional []byte) ([]byte, error)
}

func (k EpochKey) aead(salt []byte) (sealer, error) {
	if k.IsZero() {
		return nil, fault.New(fault.Internal, "", "use epoch key", "there is no epoch key")
	}
	derived, err := hkdf.Key(sha256.New, k.key[:], salt, stanzaInfo, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "use epoch key", "no key could be derived")
	}
	return chacha20poly1305.New(derived)
}

// Unwrap implements age.Identity. The file has one stanza, and it is for this key: who could add another would have
// readers that the publisher does not know. PROTOCOL 7.3.
func (k EpochKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanzaType || len(stanzas[0].Args) != 2 {
		return nil, wrongStanza("an alert has exactly one stanza, for an epoch key")
	}
	s, fingerprint := stanzas[0], k.Fingerprint()
	if s.Args[0] != base64.RawStdEncoding.EncodeToString(fingerprint[:]) {
		return nil, wrongStanza("the stanza is for another epoch key")
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(s.Args[1])
	if err != nil || len(salt) != stanzaSaltSize || base64.RawStdEncoding.EncodeToString(salt) != s.Args[1] {
		return nil, wrongStanza("the stanza's salt is not 16 bytes")
	}
	if len(s.Body) != fileKeySize+chacha20poly1305.Overhead {
		return nil, wrongStanza("the stanza's body is of another size")
	}
	aead, err := k.aead(salt)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), s.Body, nil)
}

func wrongStanza(say string) error {
	return fault.New(fault.Invalid, "cannot-open", "open alert", say)
}

func wrongKey(say string) error { return fault.New(fault.Invalid, "wrong-key", "read epoch key", say) }
