package directory

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Role is what a signer signs as. It is part of the label under the signature, so a signature given in one role
// never counts in another. PROTOCOL 4.2.
type Role string

// The roles.
const (
	// RoleState is a key of the state whose entry it is.
	RoleState Role = "state"
	// RoleSteward is one of k stewards who decide together.
	RoleSteward Role = "steward"
	// RoleVerify is the steward who held the statement against the note verbale.
	RoleVerify Role = "verify"
	// RoleCountersign is another steward, after the first.
	RoleCountersign Role = "countersign"
	// RoleNew is a key of a set that takes over: proof that it is held.
	RoleNew Role = "new"
	// RoleConsent is a key of another state, which agrees to a recovery or settles one. PROTOCOL 4.20.
	RoleConsent Role = "consent"
)

const opSign = "check signers"

// SigningPurpose is the label that a signature in this role is made under: authority.Message(purpose, payload) is
// what a private key signs. PROTOCOL 4.2.
func SigningPurpose(role Role) authority.Purpose {
	return authority.ForStatement + authority.Purpose(role)
}

func (r Role) known() bool {
	switch r {
	case RoleState, RoleSteward, RoleVerify, RoleCountersign, RoleNew, RoleConsent:
		return true
	}
	return false
}

// Signature is one signature on a statement.
type Signature struct {
	// Algorithm is "ed25519".
	Algorithm string
	// Key is a hint at the key, never proof.
	Key   authority.Fingerprint
	Role  Role
	Value []byte
}

// Attach makes a signed statement of a payload and its signatures. To add signatures to a statement, attach the old
// ones and the new ones to its payload. It checks nothing: ParseStatement does.
func Attach(payload []byte, signatures ...Signature) []byte {
	m := &formatv1.Signed{Payload: payload}
	for _, s := range signatures {
		m.Signatures = append(m.Signatures, &formatv1.Signature{
			Algorithm: s.Algorithm, Key: bytes.Clone(s.Key[:]), Role: string(s.Role), Value: s.Value})
	}
	return canonical.Marshal(m)
}

func parseSignatures(list []*formatv1.Signature) ([]Signature, error) {
	if len(list) > MaxSignatures {
		return nil, fault.New(fault.TooLarge, "too-many", opRead, fmt.Sprintf("more than %d signatures", MaxSignatures))
	}
	type signer struct {
		key  authority.Fingerprint
		role Role
	}
	seen := make(map[signer]bool, len(list))
	all := make([]Signature, 0, len(list))
	for _, m := range list {
		key, err := authority.ParseFingerprint(m.GetKey())
		if err != nil {
			return nil, err
		}
		s := Signature{Algorithm: m.GetAlgorithm(), Key: key, Role: Role(m.GetRole()), Value: m.GetValue()}
		if s.Algorithm != authority.Ed25519 || !s.Role.known() {
			return nil, wrong("unknown-signature", "a signature has an algorithm or a role that this version does not know")
		}
		if seen[signer{key, s.Role}] {
			return nil, wrong("duplicate-signature", "one key signed twice in one role")
		}
		seen[signer{key, s.Role}] = true
		all = append(all, s)
	}
	return all, nil
}

// panel is the keys whose signatures count in a role.
type panel map[authority.Fingerprint]authority.PublicKey

func panelOf(set KeySet) panel {
	p := make(panel, len(set.Keys))
	for _, k := range set.Keys {
		p[k.Public.Fingerprint()] = k.Public
	}
	return p
}

// demand is how many of which keys must have signed in a role.
type demand struct {
	role  Role
	from  panel
	least int
}

// signedBy verifies every signature and holds them against the demands, which name each role at most once. A
// signature that does not verify, or that nobody asked for, refuses the whole statement: what a statement carries is
// true, or it is not that statement. Errors: Invalid "bad-signature", Denied "signers". PROTOCOL 4.2, 4.5.
func (st Statement) signedBy(demands ...demand) error {
	keys := make([]authority.PublicKey, len(st.signatures))
	for i, s := range st.signatures {
		var err error
		if keys[i], err = signer(s, demands); err != nil {
			return err
		}
	}
	for _, d := range demands {
		if got := st.count(d.role); got < d.least {
			return unsigned(fmt.Sprintf("it needs %d signatures as %s and has %d", d.least, d.role, got))
		}
	}
	return st.verify(keys)
}

// signer is the key that a signature says it is by, if that key may give it.
func signer(s Signature, demands []demand) (authority.PublicKey, error) {
	for _, d := range demands {
		if d.role != s.Role {
			continue
		}
		if key, ok := d.from[s.Key]; ok {
			return key, nil
		}
		return authority.PublicKey{}, unsigned(fmt.Sprintf("a signature as %s is by a key that may not give it", s.Role))
	}
	return authority.PublicKey{}, unsigned(fmt.Sprintf("nobody signs such a statement as %s", s.Role))
}

// verify checks the signatures side by side, each with the key at its place, but for those that were verified ahead.
func (st Statement) verify(keys []authority.PublicKey) error {
	left := st.unproven(keys)
	errs := make([]error, len(left))
	check := func(n int) {
		i := left[n]
		errs[n] = keys[i].Verify(SigningPurpose(st.signatures[i].Role), st.payload, st.signatures[i].Value)
	}
	var others sync.WaitGroup
	for n := 1; n < len(left); n++ {
		others.Go(func() { check(n) })
	}
	if len(left) > 0 {
		check(0)
	}
	others.Wait()
	for _, err := range errs {
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "bad-signature", opSign, "a signature does not verify")
		}
	}
	return nil
}

// count is the number of signatures in a role; parsing made sure that they are by different keys.
func (st Statement) count(role Role) int {
	n := 0
	for _, s := range st.signatures {
		if s.Role == role {
			n++
		}
	}
	return n
}

// by reports whether a key signed, in whatever role.
func (st Statement) by(f authority.Fingerprint) bool {
	return slices.ContainsFunc(st.signatures, func(s Signature) bool { return s.Key == f })
}

// twoPersons refuses a steward who counter-signs what they verified themselves. PROTOCOL 4.5.
func (st Statement) twoPersons() error {
	verified := map[authority.Fingerprint]bool{}
	for _, s := range st.signatures {
		if s.Role == RoleVerify {
			verified[s.Key] = true
		}
	}
	for _, s := range st.signatures {
		if s.Role == RoleCountersign && verified[s.Key] {
			return unsigned("one steward verifies and another counter-signs")
		}
	}
	return nil
}

func unsigned(say string) error { return fault.New(fault.Denied, "signers", opSign, say) }
