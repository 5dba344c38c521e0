package node

import (
	"bytes"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
)

// declared reports whether the directory has a key of the ring now. A rotation puts the new key into the key file first and
// into the directory after that: in between, the key before it serves.
func (d *daemon) declared(slot keyring.Slot, public authority.PublicKey, der []byte) bool {
	v := d.follower.Current().Load().At(d.Clock())
	if slot == keyring.NodeWitness {
		v = d.follower.Tip().At(d.Clock()) // or the head that brings the new key would wait for its cosignature for ever
	}
	if slot == keyring.CA {
		return slices.ContainsFunc(v.CertificatePool(d.parsed.node.State()), func(c []byte) bool { return bytes.Equal(c, der) })
	}
	h, ok := v.Holder(public.Fingerprint())
	return ok && h.Status == directory.KeyActive
}

// nodeKey tells the node's signing key of the moment; an error if it has none now.
func (d *daemon) nodeKey() (func() authority.Fingerprint, error) {
	first, err := d.ring.Public(keyring.NodeSign)
	if err != nil {
		return nil, err
	}
	return func() authority.Fingerprint {
		if k, err := d.ring.Public(keyring.NodeSign); err == nil {
			return k.Fingerprint()
		}
		return first.Fingerprint()
	}, nil
}

// generations are the keys of a slot that were rotated: what they signed still opens.
func (d *daemon) generations(slot keyring.Slot) []authority.PublicKey {
	var all []authority.PublicKey
	for _, e := range d.ring.Entries() {
		if e.Slot == slot {
			all = append(all, e.Public)
		}
	}
	return all
}
