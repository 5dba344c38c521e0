package directory

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Rule is who among the authorities an audience is made of. PROTOCOL 7.2.
type Rule string

// The rules.
const (
	// ByCategory is every authority whose competence for alerts covers the category, hidden ones too.
	ByCategory Rule = "category"
	// AllNPC is every national point of contact, whatever the category.
	AllNPC Rule = "all-npc"
)

// Member is an authority of an audience and the node that serves it.
type Member struct {
	Authority authority.Name
	Node      authority.Node
}

// MaxRestrictions is the most restrictions that go with one audience. PROTOCOL 7.3.
const MaxRestrictions = 64

const opAudience = "compute audience"

// Audience are the members in ascending order of name: active authorities of the rule whose node and state are active
// too, of the states named or, where none are, of all. A state without a member is no error while others have some.
//
// Errors: Invalid "audience" (an unknown rule, or no category where the rule needs one), Denied "unknown-state" (one
// was never admitted), Denied "empty-audience". PROTOCOL 7.2.
func (v View) Audience(category authority.Category, rule Rule, states []authority.State) ([]Member, error) {
	if rule != AllNPC && (rule != ByCategory || category.IsZero()) {
		return nil, fault.New(fault.Invalid, "audience", opAudience, "an audience is a category or all national points of contact")
	}
	for _, state := range states {
		if _, ok := v.s.states.get(state); !ok {
			return nil, fault.New(fault.Denied, "unknown-state", opAudience, "a state of the audience is not in the directory")
		}
	}
	members := v.members(category, rule, states)
	if len(members) == 0 {
		return nil, fault.New(fault.Denied, "empty-audience", opAudience, "no authority would receive the alert")
	}
	return members, nil
}

// members is Audience without the refusals.
func (v View) members(category authority.Category, rule Rule, states []authority.State) []Member {
	r := v.s.written()
	places := r.places(category, rule)
	barred := v.barred(r)
	all := make([]Member, 0, len(places))
	var last authority.State
	chosen := len(states) == 0
	for _, i := range places {
		if barred != nil && barred[i] {
			continue
		}
		l := &r.lines[i]
		if len(states) > 0 {
			if state := l.name.State(); state != last { // they come state by state
				last, chosen = state, slices.Contains(states, state)
			}
		}
		if chosen {
			all = append(all, Member{l.name, l.said.Node})
		}
	}
	return all
}

func (v View) active(subject Subject) bool {
	r, known := v.s.record(subject)
	return known && v.member(subject.state, r).Status == Active
}

// MembersDigest is SHA-256 over the members in the order given, which is View.Audience's. PROTOCOL 7.2.
func MembersDigest(members []Member) Hash {
	h := sha256.New()
	line := []byte("enlace/v1/members\n")
	for _, m := range members {
		h.Write(line)
		line = append(append(line[:0], m.Authority.String()...), ' ')
		line = append(append(line, m.Node.String()...), '\n')
	}
	h.Write(line)
	return Hash(h.Sum(nil))
}

// Audience is an audience with all that another node needs to compute the same one. PROTOCOL 7.3.
type Audience struct {
	// Position is that of the log up to which it was computed.
	Position uint64
	// Time is in whole seconds.
	Time time.Time
	// Restrictions are the signed bytes of those, not in the log at Position, that bar somebody who would be a member;
	// in ascending order of hash, at most MaxRestrictions.
	Restrictions [][]byte
	// Members are in ascending order of name.
	Members []Member
}

// Compute makes the audience that a publisher attaches to an epoch. base holds logged entries only; open are
// restrictions in force on sight. Of these it takes those that change the audience, and passes over the ones that base
// has, that are over, or that base's signers do not bear out. Whoever hands the result to Recompute, on the log up to
// the same position, gets the same members.
//
// Errors: those of View.Audience; Retry "too-many" where more than MaxRestrictions would have to be attached: nothing
// is published to those states until the log has caught up. PROTOCOL 7.2, 7.3.
func Compute(base *Snapshot, open []Statement, at time.Time, category authority.Category, rule Rule, states []authority.State) (Audience, error) {
	v := base.At(at)
	a := Audience{Position: base.position, Time: v.Time()}
	var err error
	if a.Members, err = v.Audience(category, rule, states); err != nil {
		return Audience{}, err
	}
	for _, st := range inOrder(open) {
		next, ok := v.without(st, a.Members)
		if !ok {
			continue
		}
		if len(a.Restrictions) == MaxRestrictions {
			return Audience{}, fault.New(fault.Retry, "too-many", opAudience, "too many restrictions of this audience wait to be logged").
				WithHint("publish without the state that has so many, or wait for the hub")
		}
		v, a.Restrictions = next, append(a.Restrictions, st.Signed())
	}
	if len(a.Restrictions) > 0 {
		a.Members, err = v.Audience(category, rule, states)
	}
	return a, err
}

// inOrder is by ascending hash; of one hash, as given.
func inOrder(open []Statement) []Statement {
	sorted := slices.Clone(open)
	slices.SortStableFunc(sorted, func(a, b Statement) int { return slices.Compare(a.hash[:], b.hash[:]) })
	return sorted
}

// without is the view with a restriction, if that bars one of the members who is not barred yet.
func (v View) without(st Statement, members []Member) (View, bool) {
	// The cheap questions first: a signature costs more than all of them.
	touched := slices.ContainsFunc(members, func(m Member) bool { return st.subject.touches(m) })
	if !touched || st.aboutKey() || !v.active(st.subject) {
		return v, false
	}
	next, err := Restrict(v.s, st)
	if err != nil {
		return v, false
	}
	with := View{next, v.now}
	return with, !with.active(st.subject)
}

// touches reports whether the member is barred when the subject is.
func (s Subject) touches(m Member) bool {
	switch {
	case isAuthority(s):
		return s.name == m.Authority
	case isNode(s):
		return s.node == m.Node
	}
	return s.state == m.Authority.State()
}

// aboutKey reports whether the statement ends a key and nobody's membership.
func (st Statement) aboutKey() bool {
	r, ok := st.body.(Revocation)
	return ok && r.Key != (authority.Fingerprint{})
}

// Recompute is the audience as another node computed it: base is the log, and nothing else, up to the position that it
// named; restrictions are the signed bytes that it attached, at is its time. One that base has already, or that is over,
// adds nothing. So does the revocation of a key, which bars no member: which key may sign an attached restriction is
// for the log alone to say, or the order of the restrictions would decide who is a member.
//
// Errors: those of View.Audience; TooLarge "too-many"; Invalid "wrong-restriction" where one is not a restricting
// statement that base bears out. PROTOCOL 7.2, 7.3.
func Recompute(base *Snapshot, restrictions [][]byte, at time.Time, category authority.Category, rule Rule, states []authority.State) ([]Member, error) {
	if len(restrictions) > MaxRestrictions {
		return nil, fault.New(fault.TooLarge, "too-many", opAudience, "more restrictions are attached than an audience may have")
	}
	s := base
	for _, signed := range restrictions {
		next, err := s.attached(signed)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "wrong-restriction", opAudience, "an attached restriction does not hold")
		}
		s = next
	}
	return s.At(at).Audience(category, rule, states)
}

// attached applies a restriction that came with an audience.
func (s *Snapshot) attached(signed []byte) (*Snapshot, error) {
	st, err := ParseStatement(signed)
	if err != nil {
		return nil, err
	}
	next, err := Restrict(s, st)
	if err == nil && st.aboutKey() {
		return s, nil
	}
	return next, err
}
