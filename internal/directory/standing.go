package directory

import (
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// RotatedFor is how long a rotated key still verifies a new arrival. DESIGN 5.
const RotatedFor = 30 * 24 * time.Hour

const opVerify = "verify signature"

// AuthorityKey finds an authority's signing key, in whatever standing: CheckArrival judges that. Retry "unknown-key": the
// directory here may be behind.
func (v View) AuthorityKey(f authority.Fingerprint) (authority.Name, authority.PublicKey, error) {
	h, ok := v.SigningKey(f)
	name := h.Owner.Name()
	if !ok || name.IsZero() {
		return authority.Name{}, authority.PublicKey{}, unknownKey()
	}
	return name, h.Public, nil
}

// NodeKey finds a node's signing key that may sign what arrives now. Errors as AuthorityKey and CheckArrival.
func (v View) NodeKey(f authority.Fingerprint) (authority.Node, authority.PublicKey, error) {
	h, ok := v.SigningKey(f)
	node := h.Owner.Node()
	if !ok || node.IsZero() {
		return authority.Node{}, authority.PublicKey{}, unknownKey()
	}
	return node, h.Public, v.CheckArrival(f)
}

// CheckArrival refuses what arrives under a key: Denied "revoked", Denied "rotated" where it was replaced more than 30
// days ago, Retry "unknown-key" where it is unknown or not in force yet. DESIGN 5.
func (v View) CheckArrival(f authority.Fingerprint) error {
	h, ok := v.SigningKey(f)
	switch {
	case !ok:
		return unknownKey()
	case h.Status == KeyRevoked:
		return fault.New(fault.Denied, "revoked", opVerify, "the key was revoked")
	case h.Status == KeyPending:
		return fault.New(fault.Retry, "unknown-key", opVerify, "the key is not in force yet")
	case h.Status == KeyRotated && v.Time().Sub(h.Since) > RotatedFor:
		return fault.New(fault.Denied, "rotated", opVerify, "the key was replaced more than 30 days ago")
	}
	return nil
}

func unknownKey() error {
	return fault.New(fault.Retry, "unknown-key", opVerify, "the signing key is not in the directory here")
}

// Competent reports whether an active authority has declared a function, such as "alerts-out", for a category.
func (v View) Competent(name authority.Name, function string, category authority.Category) bool {
	entry, ok := v.Authority(name)
	return ok && entry.Status == Active && slices.ContainsFunc(entry.Competences, func(c Competence) bool {
		return c.answers(Query{Function: function, Category: category})
	})
}
