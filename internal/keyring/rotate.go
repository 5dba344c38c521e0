package keyring

import (
	"crypto/sha256"
	"os"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// RotateCA adds a generation to the CA. The earlier one stays: its certificates hold until they run out. A daemon that
// runs issues with the new one when its directory has it, see [Ring.Prefer]. NotFound if the ring has no CA.
func (r *Ring) RotateCA(now time.Time) error {
	return r.change(func(c *content) ([]*key, error) {
		old := c.current[CA]
		if old == nil {
			return nil, fault.New(fault.NotFound, "no-key", "rotate key", "the ring has no CA")
		}
		k, err := newIssuer(old.issuing.label(), now)
		if err != nil {
			return nil, err
		}
		return []*key{k}, nil
	})
}

// Declared reports whether the directory has a key of the ring now: public is zero for a CA, der nil for all others.
type Declared func(slot Slot, public authority.PublicKey, der []byte) bool

// Prefer makes every choice of "the current key of a slot" the newest generation that the directory has; if it has none
// of them, the newest that was there when Prefer was called. A key that was made for a rotation is in the file before
// anybody else knows it: until then the one before it serves, and after that it does, without a restart. Call it once,
// before the ring is shared.
func (r *Ring) Prefer(declared Declared) {
	c := r.content.Load()
	r.declared, r.known = declared, make(map[*key]bool, len(c.keys))
	for _, k := range c.keys {
		r.known[k] = true
	}
}

// chosen is the current key of a slot; nil if there is none.
func (r *Ring) chosen(slot Slot) *key {
	c := r.content.Load()
	newest := c.current[slot]
	if r.declared == nil || newest == nil {
		return newest
	}
	r.refresh()
	c = r.content.Load()
	for _, k := range slices.Backward(c.keys) {
		if k.Slot == slot && r.declared(slot, k.public, k.Certificate) {
			return k
		}
	}
	for _, k := range slices.Backward(c.keys) {
		if k.Slot == slot && r.wasKnown(k) {
			return k
		}
	}
	return newest
}

func (r *Ring) wasKnown(k *key) bool {
	for old := range r.known {
		if old.Slot == k.Slot && old.Created == k.Created && old.Private == k.Private {
			return true
		}
	}
	return false
}

// find is the key of a fingerprint, of whatever generation. One that is not here may have been made meanwhile by another
// program, in the file: a rotation while the daemon runs.
func (r *Ring) find(f authority.Fingerprint) *key {
	if k := r.content.Load().byPrint[f]; k != nil {
		return k
	}
	r.refresh()
	return r.content.Load().byPrint[f]
}

// refresh reads the file again if it has changed. What cannot be read, or does not hold all keys that are in use, changes
// nothing: the daemon goes on with what it has.
func (r *Ring) refresh() {
	r.writing.Lock()
	defer r.writing.Unlock()
	info, err := os.Stat(r.path)
	if err != nil || (r.looked != nil && os.SameFile(info, r.looked) && info.ModTime().Equal(r.looked.ModTime())) {
		return
	}
	r.looked = info // a change puts another file in its place
	sealed, err := readOwn(r.path, maxFile)
	if err != nil || sha256.Sum256(sealed) == r.digest {
		return
	}
	plain, err := decrypt(sealed, r.lock)
	if err != nil {
		return
	}
	next, err := parseContent(plain)
	if err != nil || !next.holds(r.content.Load()) {
		return
	}
	r.hold(next, sealed)
}

// holds reports whether no key of another content is missing here.
func (c *content) holds(old *content) bool {
	if len(c.keys) < len(old.keys) {
		return false
	}
	for i, k := range old.keys {
		if c.keys[i].Slot != k.Slot || c.keys[i].Private != k.Private {
			return false
		}
	}
	return true
}
