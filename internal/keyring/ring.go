package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Ring is the private keys of one node, or of the hub, in one file. It may be used by many goroutines at once. Every
// method that makes a key returns after the file with it is on stable storage.
type Ring struct {
	unprintable
	path    string
	lock    lock
	content atomic.Pointer[content]

	// writing is held by whoever changes the file; readers never wait for it.
	writing sync.Mutex
	// digest is SHA-256 of the file as last read or written; guarded by writing.
	digest [sha256.Size]byte
	// looked is the file as refresh saw it last; guarded by writing.
	looked os.FileInfo

	// declared and known are set by Prefer, before the ring is shared.
	declared Declared
	known    map[*key]bool
}

// Entry is the public side of a key in a ring.
type Entry struct {
	Slot    Slot
	Public  authority.PublicKey
	Created time.Time
	// Current is false for a rotated generation.
	Current bool
}

// Create makes a key file without keys. It refuses (Conflict) a path that exists.
func Create(path string, unlock Unlock) (*Ring, error) {
	l, err := unlock.fetch()
	if err != nil {
		return nil, err
	}
	if err := l.fitForNew(); err != nil {
		return nil, err
	}
	r := &Ring{path: path, lock: l}
	c := newContent(nil)
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

// Open reads a key file. Errors: Unauthenticated "wrong-unlock" where the secret does not fit, Invalid
// "damaged-key-file" where the file is cut or changed, Usage "exposed-file" where others may read it.
func Open(path string, unlock Unlock) (*Ring, error) {
	sealed, err := readOwn(path, maxFile)
	if err != nil {
		return nil, err
	}
	l, err := unlock.fetch()
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(sealed, l)
	if err != nil {
		return nil, err
	}
	c, err := parseContent(plain)
	if err != nil {
		return nil, err
	}
	r := &Ring{path: path, lock: l}
	r.hold(c, sealed)
	return r, nil
}

// GenerateNode makes the keys of a node: signing, sealing, witness, evidence, bus, and the secrets of ledger and
// salts. Conflict if the ring has any of them.
func (r *Ring) GenerateNode(now time.Time) error {
	return r.fill(now, NodeSign, NodeSeal, NodeWitness, NodeEvidence, NodeBus, LedgerSecret, SaltSecret)
}

// GenerateHub makes the keys of the directory hub: log, and operator and accounts of the bus. Conflict if the ring has
// any of them.
func (r *Ring) GenerateHub(now time.Time) error {
	return r.fill(now, HubLog, HubBusOperator, HubBusAccount, HubBusSystem)
}

// CompleteHub makes the keys of the bus that a hub's ring of an earlier version lacks; the file is written only if one
// was missing.
func (r *Ring) CompleteHub(now time.Time) error {
	var missing []Slot
	for _, s := range []Slot{HubBusOperator, HubBusAccount, HubBusSystem} {
		if r.content.Load().current[s] == nil {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return r.fill(now, missing...)
}

// GenerateAuthority makes an authority's signing and sealing key. Conflict if the ring has any of them; see Rotate.
func (r *Ring) GenerateAuthority(name authority.Name, now time.Time) error {
	if name.IsZero() {
		return fault.New(fault.Invalid, "malformed-name", "make keys", "no authority was named")
	}
	return r.fill(now, AuthoritySign(name), AuthoritySeal(name))
}

// Rotate adds a generation to slots that have one and makes it current; all in one write. The earlier generations
// stay: they sign and open for whoever names them by fingerprint. CA and secrets are not rotated here.
func (r *Ring) Rotate(now time.Time, slots ...Slot) error {
	return r.change(func(c *content) ([]*key, error) {
		for _, s := range slots {
			if !s.rotatable() || c.current[s] == nil {
				return nil, fault.New(fault.NotFound, "no-key", "rotate key", "the ring has no such key that can be rotated")
			}
		}
		return generateAll(now, slots)
	})
}

// Public is the current public key of a slot; NotFound for an empty slot, a CA or a secret.
func (r *Ring) Public(slot Slot) (authority.PublicKey, error) {
	k := r.chosen(slot)
	if k == nil || k.public.IsZero() {
		return authority.PublicKey{}, noKey("look up public key")
	}
	return k.public, nil
}

// Entries are all public keys of the ring, rotated ones included, in the order they were made.
func (r *Ring) Entries() []Entry {
	c := r.content.Load()
	var out []Entry
	for _, k := range c.keys {
		if !k.public.IsZero() {
			out = append(out, Entry{k.Slot, k.public, time.Unix(k.Created, 0).UTC(), c.current[k.Slot] == k})
		}
	}
	return out
}

// Secret is a copy of a 32-byte secret, LedgerSecret or SaltSecret; NotFound where the ring has none.
func (r *Ring) Secret(slot Slot) ([]byte, error) {
	k := r.content.Load().current[slot]
	if k == nil || k.secret == nil {
		return nil, noKey("look up secret")
	}
	return slices.Clone(k.secret), nil
}

// Sign signs PAE(purpose, payload) with the Ed25519 key of that fingerprint, of whatever generation. NotFound if the
// ring does not hold it. PROTOCOL 3.3.
func (r *Ring) Sign(ctx context.Context, fp authority.Fingerprint, purpose authority.Purpose, payload []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(err, fault.Retry, "", opSign, "the call was given up")
	}
	k := r.find(fp)
	if k == nil || k.signing == nil {
		return nil, noKey(opSign)
	}
	return ed25519.Sign(k.signing, authority.Message(purpose, payload)), nil
}

const opSign = "sign"

func (r *Ring) fill(now time.Time, slots ...Slot) error {
	return r.change(func(c *content) ([]*key, error) {
		for _, s := range slots {
			if c.current[s] != nil {
				return nil, occupied()
			}
		}
		return generateAll(now, slots)
	})
}

func occupied() error {
	return fault.New(fault.Conflict, "exists", "make keys", "the ring has such a key already").
		WithHint("rotate it instead")
}

func generateAll(now time.Time, slots []Slot) ([]*key, error) {
	keys := make([]*key, 0, len(slots))
	for _, s := range slots {
		k, err := generate(s, now)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// change adds the keys that decide returns: look, decide, commit, tell.
func (r *Ring) change(decide func(*content) ([]*key, error)) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if err := r.unchanged(); err != nil {
		return err
	}
	old := r.content.Load()
	added, err := decide(old)
	if err != nil {
		return err
	}
	next := newContent(slices.Concat(old.keys, added))
	sealed, err := r.seal(next)
	if err != nil {
		return err
	}
	if err := replace(r.path, sealed); err != nil { // commit
		return err
	}
	// If the machine stops here the file has keys nobody heard of: they are listed at the next start, and unused.
	r.hold(next, sealed)
	return nil
}

// unchanged refuses to overwrite what another process wrote since. It narrows the window and does not close it: one
// process at a time owns a data folder.
func (r *Ring) unchanged() error {
	b, err := readOwn(r.path, maxFile)
	if err != nil {
		return err
	}
	if sha256.Sum256(b) != r.digest {
		return fault.New(fault.Conflict, "changed-key-file", "write key file", "another program changed the key file meanwhile").
			WithHint("stop the daemon, then try again")
	}
	return nil
}

func (r *Ring) seal(c *content) ([]byte, error) {
	plain, err := c.marshal()
	if err != nil {
		return nil, err
	}
	return encrypt(plain, r.lock)
}

func (r *Ring) hold(c *content, sealed []byte) {
	r.digest = sha256.Sum256(sealed)
	r.content.Store(c)
}

func noKey(op string) error {
	return fault.New(fault.NotFound, "no-key", op, "the ring does not hold that key")
}
