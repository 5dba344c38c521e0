package people

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	secretLen     = 32
	sessionPrefix = "enlace_s_"
	tokenPrefix   = "enlace_t_"
)

// Digest is the SHA-256 of a secret's 32 bytes: what is stored and looked up in its place.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// newSecret draws a secret; its text is for the owner alone.
func newSecret(random io.Reader, prefix string) (string, Digest, error) {
	var b [secretLen]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", Digest{}, noRandomness(err)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b[:]), sha256.Sum256(b[:]), nil
}

// parseSecret reads the text of a secret: its prefix and its digest. There is one text for each secret.
func parseSecret(text string) (string, Digest, error) {
	for _, prefix := range []string{sessionPrefix, tokenPrefix} {
		rest, ok := strings.CutPrefix(text, prefix)
		if !ok || len(rest) != base64.RawURLEncoding.EncodedLen(secretLen) {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(rest)
		// The decoder skips line ends and ignores spare bits: only what we would have written counts.
		if err == nil && base64.RawURLEncoding.EncodeToString(b) == rest {
			return prefix, sha256.Sum256(b), nil
		}
	}
	return "", Digest{}, fault.New(fault.Unauthenticated, "no-session", "authenticate", "this is not the secret of a session or a token").
		WithHint("log in, or use a token as it was shown when issued")
}

func newTokenID(random io.Reader) (TokenID, error) {
	var b [tokenIDLen]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return TokenID{}, noRandomness(err)
	}
	return TokenID{hex.EncodeToString(b[:])}, nil
}

func noRandomness(err error) error {
	return fault.Wrap(err, fault.Internal, "", "draw a secret", "the system gave no randomness")
}
