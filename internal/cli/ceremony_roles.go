package cli

import (
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
)

// demand is how many of which keys sign in a role, for people to see who is still to be asked. What counts is what the
// directory says when it is handed in.
type demand struct {
	role  directory.Role
	keys  []authority.Fingerprint
	least int
}

func printsOf(set directory.KeySet) []authority.Fingerprint {
	var all []authority.Fingerprint
	for _, k := range set.Keys {
		all = append(all, k.Public.Fingerprint())
	}
	return all
}

// demands are those of PROTOCOL 4.5 for a statement.
func (w signers) demands(st directory.Statement, now directory.View) []demand {
	if f, ok := st.Body().(directory.Founding); ok {
		return []demand{{directory.RoleSteward, printsOf(f.Stewards), len(f.Stewards.Keys)}}
	}
	stewards := printsOf(now.Snapshot().Stewards())
	quorum := demand{directory.RoleSteward, stewards, now.Snapshot().Stewards().Threshold}
	set, _ := newSet(st)
	fresh := demand{directory.RoleNew, printsOf(set), set.Threshold}
	state := w.stateDemand(st.Subject().State(), now)
	switch st.Kind() {
	case directory.KindAdmitState:
		return []demand{quorum, state}
	case directory.KindDeclareAuthority, directory.KindDeclareNode, directory.KindDesignateContactPoint:
		return []demand{state, {directory.RoleVerify, stewards, 1}, {directory.RoleCountersign, stewards, 1}}
	case directory.KindRotateState:
		return []demand{state, fresh}
	case directory.KindRotateStewards:
		return []demand{quorum, fresh}
	case directory.KindRotateHub, directory.KindCategories, directory.KindInstruments, directory.KindRules, directory.KindReinstate:
		return []demand{quorum}
	case directory.KindRecover:
		return []demand{quorum, fresh, w.consents(st, now, func(others int) int { return (others + 2) / 3 })}
	case directory.KindSettle:
		return []demand{quorum, w.consents(st, now, func(others int) int { return others/2 + 1 })}
	case directory.KindVeto:
		state.least = 1
		return []demand{state}
	case directory.KindCompleteRecovery, directory.KindSuspend:
		return nil
	}
	return []demand{state}
}

func (w signers) stateDemand(state authority.State, now directory.View) demand {
	if a, ok := w.admitted[state]; ok {
		return demand{directory.RoleState, printsOf(a.Keys), a.Keys.Threshold}
	}
	if state.IsZero() || w.snapshot == nil {
		return demand{}
	}
	e, _ := now.State(state)
	d := demand{role: directory.RoleState, least: e.Threshold}
	for _, h := range now.Keys(directory.OfState(state)) {
		if h.Status == directory.KeyActive {
			d.keys = append(d.keys, h.Fingerprint)
		}
	}
	return d
}

// consents counts one key of each of some other states. One that signed stands for its state; for the rest no key is
// named.
func (w signers) consents(st directory.Statement, now directory.View, enough func(int) int) demand {
	d, others := demand{role: directory.RoleConsent}, 0
	for _, e := range now.States() {
		if e.State == st.Subject().State() {
			continue
		}
		others++
		for _, h := range now.Keys(directory.OfState(e.State)) {
			if hasSigned(st, directory.RoleConsent, h.Fingerprint) {
				d.keys = append(d.keys, h.Fingerprint)
				break
			}
		}
	}
	d.least = enough(others)
	return d
}

// roles are all that the key signs this statement as; a key that stays in a set signs for the old set and for the new.
// PROTOCOL 4.5.
func (w signers) roles(st directory.Statement, key authority.Fingerprint, now directory.View) ([]directory.Role, error) {
	set, replaces := newSet(st)
	if st.Kind() == directory.KindCompleteRecovery {
		return []directory.Role{directory.RoleNew}, nil // only the recovering keys sign; the directory knows which
	}
	fresh := replaces && among(set, key)
	role, err := w.role(st, key, now)
	switch {
	case !fresh:
		return []directory.Role{role}, err
	case err != nil || role == directory.RoleNew:
		return []directory.Role{directory.RoleNew}, nil
	}
	return []directory.Role{role, directory.RoleNew}, nil
}

// consenting reports whether a key of another state agrees to a recovery, or settles one. PROTOCOL 4.20.
func (w signers) consenting(st directory.Statement, key authority.Fingerprint, now directory.View) bool {
	if w.snapshot == nil || !slices.Contains([]directory.Kind{directory.KindRecover, directory.KindSettle}, st.Kind()) {
		return false
	}
	h, ok := now.Holder(key)
	return ok && h.Purpose == directory.PurposeState && h.Owner.State() != st.Subject().State()
}
