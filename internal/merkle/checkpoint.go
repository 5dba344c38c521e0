package merkle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// MaxOrigin bounds an origin in bytes.
	MaxOrigin = 255
	// MaxNote bounds a signed checkpoint with all its cosignatures in bytes.
	MaxNote = 64 << 10
	// SaltSize is the length of the salt of a [SaltedHash] in bytes.
	SaltSize = 32
)

// Checkpoint says how large a log is and what its root is. PROTOCOL 9.2.
type Checkpoint struct {
	// Origin names the log for ever: 1 to 255 bytes of printable ASCII without space and plus. It is also the name of
	// the key that signs.
	Origin string
	Size   int64
	Root   tlog.Hash
}

// Text is the C2SP checkpoint: origin, size in decimal and root in base64, each on a line of its own.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// ParseCheckpoint reads exactly what [Checkpoint.Text] writes: extension lines are refused.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(text) > MaxNote || len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, malformed("a checkpoint has three lines: origin, size and root")
	}
	c := Checkpoint{Origin: lines[0]}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, malformed("the size of a log is a number from 0")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, malformed("the root of a log is 32 bytes in base64")
	}
	c.Size, c.Root = size, tlog.Hash(root)
	if !validOrigin(c.Origin) || c.Text() != text {
		return Checkpoint{}, malformed("the checkpoint is not in its single form")
	}
	return c, nil
}

// Signer signs with the private key of a log, wherever that key lives. Sign returns the 64 bytes of an Ed25519
// signature over exactly msg: the note format puts no purpose label around it, so the key must serve logs alone.
type Signer interface {
	PublicKey() authority.PublicKey
	Sign(msg []byte) ([]byte, error)
}

// Sign writes the checkpoint as a note signed by one signer, under the origin as key name. PROTOCOL 9.3.
func Sign(c Checkpoint, signer Signer) ([]byte, error) {
	const op = "sign checkpoint"
	if !validOrigin(c.Origin) || c.Size < 0 {
		return nil, fault.New(fault.Internal, "", op, "the log has no proper origin")
	}
	verifier, err := NewVerifier(c.Origin, signer.PublicKey())
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, noteSigner{verifier, signer})
	if err != nil {
		return nil, fault.Wrap(err, fault.Retry, "keyring-away", op, "the key of the log cannot sign now")
	}
	return signed, nil
}

// noteSigner is a Signer as the note package wants it.
type noteSigner struct {
	verifier note.Verifier
	Signer
}

func (s noteSigner) Name() string    { return s.verifier.Name() }
func (s noteSigner) KeyHash() uint32 { return s.verifier.KeyHash() }

// NewVerifier makes the verifier of notes signed by key under this origin.
func NewVerifier(origin string, key authority.PublicKey) (note.Verifier, error) {
	const op, say = "read log key", "a log key is an Ed25519 key with the log's origin as its name"
	if key.Algorithm() != authority.Ed25519 || !validOrigin(origin) {
		return nil, fault.New(fault.Invalid, "malformed-key", op, say)
	}
	text, err := note.NewEd25519VerifierKey(origin, key.Bytes())
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "malformed-key", op, say)
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "malformed-key", op, say)
	}
	return verifier, nil
}

// Open verifies a signed checkpoint and reads it: the note must bear a valid signature of this verifier and its
// origin must be the verifier's name. Other signatures are neither needed nor looked at. Code "bad-signature" where
// the signature is missing or wrong.
func Open(signed []byte, verifier note.Verifier) (Checkpoint, error) {
	if len(signed) > MaxNote {
		return Checkpoint{}, fault.New(fault.TooLarge, "too-large", "read checkpoint", "the signed checkpoint is larger than allowed")
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fault.Wrap(err, fault.Invalid, "bad-signature", "read checkpoint", "the checkpoint bears no valid signature of its log")
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != verifier.Name() {
		return Checkpoint{}, fault.New(fault.Invalid, "wrong-origin", "read checkpoint", "the checkpoint is of another log")
	}
	return c, nil
}

// SaltedHash commits to a checkpoint without showing how large the log is: SHA-256 over the salt (32 bytes), the
// length of the origin (2 bytes, big endian), the origin, the size (8 bytes, big endian) and the root (32 bytes).
// PROTOCOL 9.4.
func SaltedHash(salt [SaltSize]byte, c Checkpoint) [sha256.Size]byte {
	b := make([]byte, 0, SaltSize+2+len(c.Origin)+8+tlog.HashSize)
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Origin)))
	b = append(b, c.Origin...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Size))
	b = append(b, c.Root[:]...)
	return sha256.Sum256(b)
}

func validOrigin(origin string) bool {
	if origin == "" || len(origin) > MaxOrigin {
		return false
	}
	for i := range len(origin) {
		if c := origin[i]; c <= ' ' || c > '~' || c == '+' {
			return false
		}
	}
	return true
}

func malformed(say string) error {
	return fault.New(fault.Invalid, "malformed", "read checkpoint", say)
}
