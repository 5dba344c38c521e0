package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	publicWord  = "enlace-key"
	privateWord = "enlace-private-key"
	publicExt   = ".pub"
	// MaxComment bounds the comment of an offline key, in bytes.
	MaxComment = 128
	// maxOffline bounds an offline key file and its plaintext.
	maxOffline = 16 << 10
)

// OfflineKey is one state or steward key, opened. It lives on a machine or stick of its holder, never on a node.
type OfflineKey struct {
	unprintable
	private ed25519.PrivateKey
	public  authority.PublicKey
	comment string
}

// CreateOffline makes a key and stores it at path, locked by the passphrase (at least 12 characters), and its public
// line at path with ".pub" added; both synced on return. It never replaces a file. The comment says whose key it is,
// on one line; it is public.
func CreateOffline(path, comment string, passphrase Passphrase) (*OfflineKey, error) {
	if !isComment(comment) {
		return nil, malformedKeyLine("a key's comment is one line of at most 128 bytes")
	}
	l, err := passphrase.lock()
	if err != nil {
		return nil, err
	}
	if err := l.fitForNew(); err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, notMade(err)
	}
	k, err := newOffline(private, comment)
	if err != nil {
		return nil, err
	}
	sealed, err := encrypt([]byte(keyLine(privateWord, private.Seed(), comment)), l)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, sealed, 0o600); err != nil {
		return nil, err
	}
	// If the machine stops here the key has no public file: Text prints the line again.
	return k, writeNew(path+publicExt, []byte(k.Text()), 0o644)
}

// OpenOffline reads a key made by CreateOffline. Errors as [Open], but for permission bits: the stick it lies on may
// know none.
func OpenOffline(path string, passphrase Passphrase) (*OfflineKey, error) {
	sealed, err := readBounded(path, maxOffline)
	if err != nil {
		return nil, err
	}
	l, err := passphrase.lock()
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(sealed, l)
	if err != nil {
		return nil, err
	}
	seed, comment, ok := parseKeyLine(privateWord, string(plain))
	if !ok || len(seed) != ed25519.SeedSize {
		return nil, damaged(nil, "the file does not hold a state or steward key")
	}
	return newOffline(ed25519.NewKeyFromSeed(seed), comment)
}

// Public is the public key.
func (k *OfflineKey) Public() authority.PublicKey { return k.public }

// Comment is what the holder wrote beside the key.
func (k *OfflineKey) Comment() string { return k.comment }

// Text is the public line, as in the ".pub" file.
func (k *OfflineKey) Text() string { return keyLine(publicWord, k.public.Bytes(), k.comment) }

// Sign signs PAE(purpose, payload). PROTOCOL 3.3.
func (k *OfflineKey) Sign(purpose authority.Purpose, payload []byte) ([]byte, error) {
	return ed25519.Sign(k.private, authority.Message(purpose, payload)), nil
}

// Source is the holder's TLS identity towards the hub, by self-signed certificates; see [SelfSigned].
func (k *OfflineKey) Source(now func() time.Time) *Source {
	return &Source{now: now, issue: func(at time.Time) (*tls.Certificate, error) { return SelfSigned(k.private, at) }}
}

// ParsePublicText reads the public line of a key: its key and comment. A line break may end it; nothing else may
// surround it.
func ParsePublicText(text string) (authority.PublicKey, string, error) {
	b, comment, ok := parseKeyLine(publicWord, text)
	if !ok {
		return authority.PublicKey{}, "", malformedKeyLine("a public key is a line such as: enlace-key ed25519 <base64> <comment>")
	}
	public, err := authority.ParsePublicKey(authority.Ed25519, b)
	return public, comment, err
}

func newOffline(private ed25519.PrivateKey, comment string) (*OfflineKey, error) {
	public, err := authority.ParsePublicKey(authority.Ed25519, private.Public().(ed25519.PublicKey))
	return &OfflineKey{private: private, public: public, comment: comment}, err
}

func keyLine(word string, b []byte, comment string) string {
	line := word + " " + authority.Ed25519 + " " + base64.StdEncoding.EncodeToString(b)
	if comment != "" {
		line += " " + comment
	}
	return line + "\n"
}

// parseKeyLine has one reading for each line: whatever it accepts, keyLine writes again, but for the line break.
func parseKeyLine(word, text string) ([]byte, string, bool) {
	if len(text) > maxOffline {
		return nil, "", false
	}
	text = strings.TrimSuffix(text, "\n")
	text = strings.TrimSuffix(text, "\r")
	rest, ok := strings.CutPrefix(text, word+" "+authority.Ed25519+" ")
	if !ok {
		return nil, "", false
	}
	encoded, comment, commented := strings.Cut(rest, " ")
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	// The decoder skips line breaks inside; a key line has none.
	if err != nil || strings.ContainsAny(encoded, "\r\n") || !isComment(comment) || commented != (comment != "") {
		return nil, "", false
	}
	return b, comment, true
}

// isComment: printable characters, spaces only between words; may be empty.
func isComment(s string) bool {
	if len(s) > MaxComment || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func malformedKeyLine(rule string) error {
	return fault.New(fault.Invalid, "malformed-key", "read public key", rule)
}
