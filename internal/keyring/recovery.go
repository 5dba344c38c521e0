package keyring

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/fault"
)

// recoveryComment begins the plaintext of a recovery key, so that who opens it with age alone knows what it is.
const recoveryComment = "# Opens the backups of one state's nodes. Keep it, and a copy, away from every one of their machines.\n"

// RecoveryKey is a state's recovery key, opened: what backups are sealed to. It lives with a person, never on a node.
// DESIGN 9.
type RecoveryKey struct {
	unprintable
	identity *age.HybridIdentity
}

// CreateRecovery makes an age hybrid identity and stores it at path, locked by the passphrase (at least 12 characters),
// and its recipient at path with ".pub" added; both synced on return. It never replaces a file. So `age -d -o KEY path`
// and `age -d -i KEY BACKUP` (age 1.3 or later) open a backup without us.
func CreateRecovery(path string, passphrase Passphrase) (*RecoveryKey, error) {
	l, err := passphrase.lock()
	if err != nil {
		return nil, err
	}
	if err := l.fitForNew(); err != nil {
		return nil, err
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "make recovery key", "no key could be made")
	}
	sealed, err := encrypt([]byte(recoveryComment+id.String()+"\n"), l)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, sealed, 0o600); err != nil {
		return nil, err
	}
	k := &RecoveryKey{identity: id}
	// If the machine stops here the key has no public file, and nothing was sealed to it.
	return k, writeNew(path+publicExt, []byte(k.Recipient()+"\n"), 0o644)
}

// OpenRecovery reads a key made by CreateRecovery. Errors as [OpenOffline].
func OpenRecovery(path string, passphrase Passphrase) (*RecoveryKey, error) {
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
	ids, err := age.ParseIdentities(bytes.NewReader(plain))
	if err == nil && len(ids) == 1 {
		if id, ok := ids[0].(*age.HybridIdentity); ok {
			return &RecoveryKey{identity: id}, nil
		}
	}
	return nil, damaged(nil, "the file does not hold a recovery key") // the cause could quote the key
}

// Recipient is the public half, "age1pq1...".
func (k *RecoveryKey) Recipient() string { return k.identity.Recipient().String() }

// Open decrypts what [SealToRecovery] sealed; errors as [Ring.Open]: nothing may be believed before io.EOF.
func (k *RecoveryKey) Open(sealed io.Reader) (io.Reader, error) {
	src := &source{r: sealed}
	plain, err := age.Decrypt(src, k.identity)
	if err != nil {
		return nil, src.explain(err)
	}
	return &opened{src, plain}, nil
}

// SealToRecovery encrypts to a recipient of [RecoveryKey.Recipient] what is written to the result, in constant memory. Only
// Close makes it whole: what was cut off before does not open to its end. Usage "malformed-recipient".
func SealToRecovery(recipient string, dst io.Writer) (io.WriteCloser, error) {
	r, err := age.ParseHybridRecipient(strings.TrimSpace(recipient))
	if err != nil {
		return nil, fault.New(fault.Usage, "malformed-recipient", "seal backup", "the recovery recipient is not an age hybrid recipient").
			WithHint("it is one line that begins with age1pq1, in the .pub file beside the recovery key")
	}
	w, err := age.Encrypt(dst, r)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "seal backup", "the backup could not be sealed")
	}
	return w, nil
}

// Copy is the key file as it is now, locked by an unlock identity made for this copy alone, and the text of the unlock file
// for it: who has both needs neither passphrase nor unlock file of this ring. Both belong inside something sealed.
func (r *Ring) Copy() (keyFile, unlockFile []byte, err error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Internal, "", "copy keys", "no key could be made")
	}
	plain, err := r.content.Load().marshal()
	if err != nil {
		return nil, nil, err
	}
	keyFile, err = encrypt(plain, lock{identity: id, recipient: id.Recipient()})
	return keyFile, fmt.Appendf(nil, "%s%s\n", unlockComment, id), err
}

// Adopt makes a key file at path, which must not exist, of a Copy, locked by unlock from now on; durable on return.
func Adopt(path string, keyFile, unlockFile []byte, unlock Unlock) (*Ring, error) {
	was, err := lockFromIdentity(unlockFile)
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(keyFile, was)
	if err != nil {
		return nil, err
	}
	c, err := parseContent(plain)
	if err != nil {
		return nil, err
	}
	l, err := unlock.fetch()
	if err != nil {
		return nil, err
	}
	if err := l.fitForNew(); err != nil {
		return nil, err
	}
	r := &Ring{path: path, lock: l}
	sealed, err := r.seal(c)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, sealed, 0o600); err != nil {
		return nil, err
	}
	r.hold(c, sealed)
	return r, nil
}
