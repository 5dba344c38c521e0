package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// minPassphrase is the shortest passphrase a new file may be locked with, in bytes.
	minPassphrase = 12
	// minWorkFactor and maxWorkFactor bound scrypt's cost, as powers of two; age reads nothing above the latter.
	minWorkFactor = 10
	maxWorkFactor = 22
	// maxUnlock bounds an unlock file or credential.
	maxUnlock = 64 << 10

	identityPrefix = "AGE-SECRET-KEY-"
	unlockComment  = "# Unlocks one Enlace key file. Keep it off the disk of the data, and keep a copy elsewhere.\n"
)

// Passphrase is what a person types to unlock a key file.
type Passphrase struct {
	unprintable
	text       string
	workFactor int
}

// NewPassphrase holds the text as typed. Whether it is long enough is checked where a file is made with it.
func NewPassphrase(text string) Passphrase { return Passphrase{text: text} }

// WithWorkFactor sets the cost of trying a passphrase against files written from now on to 2^logN, 10 to 22. Leave
// it alone for people: age's own default takes about a second. Lower is for demonstrations and tests.
func (p Passphrase) WithWorkFactor(logN int) Passphrase {
	p.workFactor = logN
	return p
}

// Prompt asks a person for the passphrase.
type Prompt func() (Passphrase, error)

// Unlock says how a key file is unlocked. The secret is fetched only when a ring is made or opened. The zero value
// unlocks nothing.
type Unlock struct {
	unprintable
	path string
	lock func() (lock, error)
}

// lock is the two sides of one secret.
type lock struct {
	identity  age.Identity
	recipient age.Recipient
	// passphrase is set where the secret is one; nil for an identity.
	passphrase *Passphrase
}

// UnlockWith unlocks by a passphrase already known.
func UnlockWith(p Passphrase) Unlock {
	return UnlockBy(func() (Passphrase, error) { return p, nil })
}

// UnlockBy asks for the passphrase when it is needed.
func UnlockBy(prompt Prompt) Unlock {
	return Unlock{lock: func() (lock, error) {
		p, err := prompt()
		if err != nil {
			return lock{}, fault.Wrap(err, fault.Usage, "no-unlock", opUnlock, "no passphrase was given")
		}
		return p.lock()
	}}
}

// UnlockFile unlocks by the age identity in a file, which none but its owner may read.
func UnlockFile(path string) Unlock {
	return Unlock{path: path, lock: func() (lock, error) { return lockFromFile(path) }}
}

// ParseUnlock reads the value of the configuration key keyring.file.unlock:
//
//	file:PATH     an unlock identity file, see [NewUnlockFile]
//	systemd:NAME  the credential NAME of the service ($CREDENTIALS_DIRECTORY/NAME): an age identity or a passphrase
//	prompt        prompt asks for the passphrase; refused where prompt is nil
func ParseUnlock(value string, prompt Prompt) (Unlock, error) {
	kind, rest, _ := strings.Cut(value, ":")
	switch {
	case kind == "file" && rest != "":
		return UnlockFile(rest), nil
	case kind == "systemd" && rest != "" && rest == filepath.Base(rest) && rest != "." && rest != "..":
		return Unlock{lock: func() (lock, error) { return lockFromCredential(rest) }}, nil
	case value == "prompt" && prompt != nil:
		return UnlockBy(prompt), nil
	case value == "prompt":
		return Unlock{}, fault.New(fault.Usage, "no-unlock", "read unlock setting", "there is nobody to ask for the passphrase").
			WithHint("use file:PATH or systemd:NAME for a service")
	}
	return Unlock{}, fault.New(fault.Usage, "malformed-unlock", "read unlock setting", "the unlock setting is not one this program knows").
		WithHint("use file:PATH, systemd:NAME or prompt")
}

// Path is the unlock file for [CheckApart]; empty for every other way to unlock.
func (u Unlock) Path() string { return u.path }

// NewUnlockFile makes an age hybrid identity and stores it in a new file, mode 0600, synced on return. It never
// replaces a file.
func NewUnlockFile(path string) (Unlock, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return Unlock{}, fault.Wrap(err, fault.Internal, "", "make unlock file", "no key could be made")
	}
	if err := writeNew(path, []byte(unlockComment+id.String()+"\n"), 0o600); err != nil {
		return Unlock{}, err
	}
	return UnlockFile(path), nil
}

const opUnlock = "unlock key file"

func (u Unlock) fetch() (lock, error) {
	if u.lock == nil {
		return lock{}, fault.New(fault.Usage, "no-unlock", opUnlock, "nothing says how to unlock the key file").
			WithHint("set keyring.file.unlock")
	}
	return u.lock()
}

func (p Passphrase) lock() (lock, error) {
	if p.workFactor != 0 && (p.workFactor < minWorkFactor || p.workFactor > maxWorkFactor) {
		return lock{}, fault.New(fault.Usage, "work-factor", opUnlock, "the work factor of a passphrase is 10 to 22")
	}
	identity, err := age.NewScryptIdentity(p.text)
	if err != nil {
		return lock{}, fault.New(fault.Usage, "no-unlock", opUnlock, "the passphrase is empty")
	}
	recipient, err := age.NewScryptRecipient(p.text)
	if err != nil {
		return lock{}, fault.New(fault.Usage, "no-unlock", opUnlock, "the passphrase is empty")
	}
	if p.workFactor != 0 {
		recipient.SetWorkFactor(p.workFactor)
	}
	return lock{identity: identity, recipient: recipient, passphrase: &p}, nil
}

// fitForNew refuses to lock a new file with a passphrase that is soon guessed.
func (l lock) fitForNew() error {
	if l.passphrase == nil || len(l.passphrase.text) >= minPassphrase {
		return nil
	}
	return fault.New(fault.Usage, "weak-passphrase", "lock key file", "the passphrase is shorter than 12 characters").
		WithHint("use five or six words chosen by dice")
}

func lockFromFile(path string) (lock, error) {
	b, err := readOwn(path, maxUnlock)
	if err != nil {
		return lock{}, err
	}
	return lockFromIdentity(b)
}

// lockFromCredential does not look at permission bits: the service manager guards the folder, and shows its access
// list as group bits.
func lockFromCredential(name string) (lock, error) {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" {
		return lock{}, fault.New(fault.Usage, "no-unlock", opUnlock, "the service manager passed no credentials").
			WithHint("add LoadCredentialEncrypted= to the unit, or start the program as a service")
	}
	b, err := readBounded(filepath.Join(folder, name), maxUnlock)
	if err != nil {
		return lock{}, err
	}
	if bytes.Contains(b, []byte(identityPrefix)) {
		return lockFromIdentity(b)
	}
	return NewPassphrase(strings.TrimRight(string(b), "\r\n")).lock()
}

func lockFromIdentity(b []byte) (lock, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(b))
	if err == nil && len(ids) == 1 {
		if id, ok := ids[0].(*age.HybridIdentity); ok {
			return lock{identity: id, recipient: id.Recipient()}, nil
		}
	}
	// The cause is not kept: age quotes the line it could not read.
	return lock{}, fault.New(fault.Invalid, "malformed-unlock", opUnlock, "the unlock file does not hold exactly one age hybrid identity").
		WithHint("it is one line that begins with AGE-SECRET-KEY-PQ-1")
}
