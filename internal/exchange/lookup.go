package exchange

import (
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// rotatedFor is how long a rotated key still verifies a new arrival (DESIGN 5).
const rotatedFor = 30 * 24 * time.Hour

// served reports whether this node serves an authority of the current directory.
func (e *Exchange) served(view directory.View, name authority.Name) (bool, error) {
	if err := view.CheckAuthority(name); err != nil {
		return false, err
	}
	node, ok := view.NodeOf(name)
	return ok && node.Node == e.Node, nil
}

// covers reports whether an authority declared competence for a request.
func covers(to directory.AuthorityEntry, c Composition) bool {
	return slices.ContainsFunc(to.Competences, func(comp directory.Competence) bool {
		return len(comp.Categories) == 0 || slices.ContainsFunc(comp.Categories, func(has authority.Category) bool { return has.Covers(c.Category) })
	})
}

// signingKey finds an authority's signing key, in whatever standing: inForce judges that. An unknown key is Retry (our
// directory may be behind).
func (e *Exchange) signingKey(view directory.View) seal.SigningKey {
	return func(fp authority.Fingerprint) (authority.Name, authority.PublicKey, error) {
		h, ok := view.SigningKey(fp)
		name := h.Owner.Name()
		if !ok || name.IsZero() {
			return authority.Name{}, authority.PublicKey{}, fault.New(fault.Retry, "unknown-key", "verify envelope", "the signing key is not in the directory here")
		}
		return name, h.Public, nil
	}
}

// inForce refuses a new arrival under a revoked key, and under one that was rotated long ago. DESIGN 5.
func (e *Exchange) inForce(view directory.View, key authority.Fingerprint) error {
	h, ok := view.SigningKey(key)
	if !ok {
		return fault.New(fault.Retry, "unknown-key", "verify envelope", "the signing key is not in the directory here")
	}
	return e.checkHolder(h)
}

// nodeKey finds a node's signing key, for receipts and hellos.
func (e *Exchange) nodeKey(view directory.View) seal.NodeKey {
	return func(fp authority.Fingerprint) (authority.Node, authority.PublicKey, error) {
		h, ok := view.SigningKey(fp)
		node := h.Owner.Node()
		if !ok || node.IsZero() {
			return authority.Node{}, authority.PublicKey{}, fault.New(fault.Retry, "unknown-key", "verify node signature", "the node's key is not in the directory here")
		}
		return node, h.Public, e.checkHolder(h)
	}
}

func (e *Exchange) checkHolder(h directory.Holder) error {
	switch h.Status {
	case directory.KeyRevoked:
		return fault.New(fault.Denied, "revoked", "verify signature", "the key was revoked")
	case directory.KeyPending:
		return fault.New(fault.Retry, "key-pending", "verify signature", "the key is not in force yet")
	case directory.KeyRotated:
		if e.Clock().Sub(h.Since) > rotatedFor {
			return fault.New(fault.Denied, "rotated", "verify signature", "the key was replaced more than 30 days ago")
		}
	}
	return nil
}

// waiting is Retry where a recipient belongs to this node but may not receive now: a suspension passes, and a signed
// rejection would not. PROTOCOL 8.3.
func (e *Exchange) waiting(view directory.View, h message.Header) error {
	for _, r := range h.Recipients {
		node, ok := view.NodeOf(r.Authority)
		if r.Authority == h.Sender || !ok || node.Node != e.Node {
			continue
		}
		if err := view.CheckAuthority(r.Authority); fault.CodeOf(err) == directory.Suspended.String() {
			return fault.Wrap(err, fault.Retry, "suspended", opReceive, "the addressed authority is suspended")
		}
	}
	return nil
}

// addressees are the recipients of a header that this node serves, the sender aside.
func (e *Exchange) addressees(view directory.View, h message.Header) []message.Recipient {
	var out []message.Recipient
	for _, r := range h.Recipients {
		if r.Authority == h.Sender {
			continue
		}
		if own, err := e.served(view, r.Authority); err == nil && own {
			out = append(out, r)
		}
	}
	return out
}
