package cli

import (
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

const opSign = "sign statement"

// signers is what is known of who holds which key, to choose the role of a signature. A signature in the wrong role
// spoils its statement (PROTOCOL 4.2), so where too little is known nothing is signed.
type signers struct {
	// snapshot is nil where no directory was at hand; then a state's keys are those of its admission in the bundle.
	snapshot *directory.Snapshot
	admitted map[authority.State]directory.Admission
}

func newSigners(s *directory.Snapshot, b directory.Bundle) signers {
	admitted := map[authority.State]directory.Admission{}
	for _, st := range b.Statements {
		if a, ok := st.Body().(directory.Admission); ok {
			admitted[st.Subject().State()] = a
		}
	}
	return signers{s, admitted}
}

func among(set directory.KeySet, key authority.Fingerprint) bool {
	return slices.ContainsFunc(set.Keys, func(k directory.Key) bool { return k.Public.Fingerprint() == key })
}

// role is what the key signs this statement as. PROTOCOL 4.5.
func (w signers) role(st directory.Statement, key authority.Fingerprint, now directory.View) (directory.Role, error) {
	switch body := st.Body().(type) {
	case directory.Founding:
		if among(body.Stewards, key) {
			return directory.RoleSteward, nil
		}
		return "", noRole("the genesis does not name this key as a steward's")
	case directory.Admission:
		if among(body.Keys, key) {
			return directory.RoleState, nil
		}
	}
	if w.consenting(st, key, now) {
		return directory.RoleConsent, nil
	}
	if !st.Subject().IsNetwork() && w.ofState(st.Subject().State(), key, now) {
		return directory.RoleState, nil
	}
	steward, err := w.steward(st.Subject().State(), key, now)
	if err != nil {
		return "", err
	}
	if !steward {
		return "", noRole("the key is neither a steward's nor one of the state whose entry it is")
	}
	return stewardRole(st, key)
}

func (w signers) ofState(state authority.State, key authority.Fingerprint, now directory.View) bool {
	if among(w.admitted[state].Keys, key) {
		return true
	}
	if w.snapshot == nil {
		return false
	}
	h, ok := now.Holder(key)
	return ok && h.Purpose == directory.PurposeState && h.Owner.State() == state
}

// steward asks the directory; without one, whoever is not the state, where the state's keys are known, can only be one.
func (w signers) steward(state authority.State, key authority.Fingerprint, now directory.View) (bool, error) {
	if w.snapshot != nil {
		h, ok := now.Holder(key)
		return ok && h.Purpose == directory.PurposeSteward, nil
	}
	if _, known := w.admitted[state]; known {
		return true, nil
	}
	return false, noRole("nothing at hand tells whose key this is").
		WithHint("add --hub with --network, or --log with the genesis; or name the role with --role")
}

// stewardRole is what a steward signs as: the first who declares an entry verified, the next counter-signs.
func stewardRole(st directory.Statement, key authority.Fingerprint) (directory.Role, error) {
	switch st.Kind() {
	case directory.KindAdmitState, directory.KindSuspend, directory.KindReinstate, directory.KindRotateStewards, directory.KindRotateHub,
		directory.KindCategories, directory.KindInstruments, directory.KindRules, directory.KindRecover, directory.KindSettle:
		return directory.RoleSteward, nil
	case directory.KindDeclareAuthority, directory.KindDeclareNode, directory.KindDesignateContactPoint:
		for _, s := range st.Signatures() {
			if s.Role == directory.RoleVerify && s.Key != key {
				return directory.RoleCountersign, nil
			}
		}
		return directory.RoleVerify, nil
	}
	return "", noRole("the state alone signs such a statement")
}

func noRole(say string) *fault.Error { return fault.New(fault.Denied, "no-role", opSign, say) }

// signAll adds the key's signature to every statement that lacks it, and counts them. Nothing is signed if one cannot
// be: half a bundle would be handed in.
func (a *app) signAll(b directory.Bundle, key *keyring.OfflineKey, who signers, fixed directory.Role) (directory.Bundle, int, error) {
	signed, added := directory.Bundle{Cards: b.Cards}, 0
	for _, st := range b.Statements {
		more, changed, err := a.signOne(st, key, who, fixed)
		if err != nil {
			return b, 0, err
		}
		if signed.Statements = append(signed.Statements, more); changed {
			added++
		}
	}
	return signed, added, nil
}

// signOne adds the key's signatures in all its roles, or in the one that was fixed, where they are missing.
func (a *app) signOne(st directory.Statement, key *keyring.OfflineKey, who signers, fixed directory.Role) (directory.Statement, bool, error) {
	roles, changed := []directory.Role{fixed}, false
	if fixed == "" {
		var err error
		if roles, err = who.roles(st, key.Public().Fingerprint(), who.view(a)); err != nil {
			return st, false, err
		}
	}
	for _, role := range roles {
		if hasSigned(st, role, key.Public().Fingerprint()) {
			continue
		}
		more, err := sign(st, key, role)
		if err != nil {
			return st, false, err
		}
		st, changed = more, true
	}
	return st, changed, nil
}

// view is the directory now; the zero View, which is not asked, where there is none.
func (w signers) view(a *app) directory.View {
	if w.snapshot == nil {
		return directory.View{}
	}
	return w.snapshot.At(a.clock())
}

func hasSigned(st directory.Statement, role directory.Role, key authority.Fingerprint) bool {
	return slices.ContainsFunc(st.Signatures(), func(s directory.Signature) bool { return s.Role == role && s.Key == key })
}

func sign(st directory.Statement, key *keyring.OfflineKey, role directory.Role) (directory.Statement, error) {
	value, err := key.Sign(directory.SigningPurpose(role), st.Payload())
	if err != nil {
		return st, err
	}
	return directory.ParseStatement(directory.Attach(st.Payload(), append(st.Signatures(), directory.Signature{
		Algorithm: authority.Ed25519, Key: key.Public().Fingerprint(), Role: role, Value: value,
	})...))
}
