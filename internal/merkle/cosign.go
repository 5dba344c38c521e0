package merkle

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// algCosignature is the signature type of a C2SP tlog-cosignature, "cosignature/v1". PROTOCOL 11.6.
const algCosignature = 4

// MaxSignatures is the most signatures of a note, the log's own included: standard clients read no more. PROTOCOL 11.6.
const MaxSignatures = 100

// linePrefix begins a signature line of a note: an em dash and a space.
const linePrefix = "— "

// Cosign is a witness's cosignature of a checkpoint at a time, in whole seconds, as a line of a note. The name is the
// witness's. Whoever calls has stored before what it cosigns. PROTOCOL 11.6, 11.8.
func Cosign(c Checkpoint, name string, signer Signer, at time.Time) ([]byte, error) {
	const op = "cosign checkpoint"
	verifier, err := NewCosignatureVerifier(name, signer.PublicKey())
	if err != nil {
		return nil, err
	}
	seconds := at.Unix()
	value, err := signer.Sign(fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, c.Text()))
	if err != nil {
		return nil, fault.Wrap(err, fault.Retry, "keyring-away", op, "the witness key cannot sign now")
	}
	b := binary.BigEndian.AppendUint32(nil, verifier.KeyHash())
	b = binary.BigEndian.AppendUint64(b, uint64(seconds))
	b = append(b, value...)
	return []byte(linePrefix + name + " " + base64.StdEncoding.EncodeToString(b) + "\n"), nil
}

// NewCosignatureVerifier makes the verifier of a witness's cosignatures, as standard clients have it.
func NewCosignatureVerifier(name string, key authority.PublicKey) (note.Verifier, error) {
	const op, say = "read witness key", "a witness key is an Ed25519 key with the witness's name"
	if key.Algorithm() != authority.Ed25519 || !validOrigin(name) {
		return nil, fault.New(fault.Invalid, "malformed-key", op, say)
	}
	// The hash in the text is not looked at: the verifier computes it.
	text := name + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, key.Bytes()...))
	verifier, err := formats.NewVerifierForCosignatureV1(text)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "malformed-key", op, say)
	}
	return verifier, nil
}

// Signatures are those of a signed note that an Open did not need, in their order.
type Signatures []note.Signature

// Split is a signed checkpoint in its parts, with nothing verified. Errors as ParseCheckpoint.
func Split(signed []byte) (Checkpoint, Signatures, error) {
	if len(signed) > MaxNote {
		return Checkpoint{}, nil, fault.New(fault.TooLarge, "too-large", "read checkpoint", "the signed checkpoint is larger than allowed")
	}
	n, err := note.Open(signed, note.VerifierList())
	if n == nil {
		if unverified, is := err.(*note.UnverifiedNoteError); is {
			n = unverified.Note
		}
	}
	if n == nil {
		return Checkpoint{}, nil, malformed("a signed checkpoint is a note with at least one signature")
	}
	c, err := ParseCheckpoint(n.Text)
	return c, n.UnverifiedSigs, err
}

// Verified is a witness's newest valid cosignature of the checkpoint, and its time by the witness's clock; false if
// there is none. PROTOCOL 11.6.
func (s Signatures) Verified(c Checkpoint, v note.Verifier) (note.Signature, time.Time, bool) {
	var best note.Signature
	var newest time.Time
	found := false
	for _, one := range s {
		if one.Name != v.Name() || one.Hash != v.KeyHash() {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(one.Base64)
		if err != nil || len(b) < 4 || !v.Verify([]byte(c.Text()), b[4:]) {
			continue
		}
		if at, err := formats.CoSigV1Timestamp(one); err == nil && (!found || at.After(newest)) {
			best, newest, found = one, at.UTC(), true
		}
	}
	return best, newest, found
}

// Line is the signature as a line of a note.
func Line(s note.Signature) []byte { return []byte(linePrefix + s.Name + " " + s.Base64 + "\n") }

// ParseLine reads one cosignature line, as [Cosign] writes it; nothing is verified.
func ParseLine(line []byte) (note.Signature, error) {
	name, value, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(string(line), linePrefix), "\n"), " ")
	b, err := base64.StdEncoding.Strict().DecodeString(value)
	// The decoder passes over line ends inside the value: with one, this would be two lines.
	if !ok || err != nil || strings.ContainsAny(value, "\r\n") || len(b) < 5 || len(line) > MaxOrigin+200 || !validOrigin(name) {
		return note.Signature{}, malformed("a cosignature is one line of a note")
	}
	s := note.Signature{Name: name, Hash: binary.BigEndian.Uint32(b), Base64: value}
	if string(Line(s)) != string(line) {
		return note.Signature{}, malformed("a cosignature is one line of a note")
	}
	return s, nil
}
