package message

import (
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// AudienceRule says who is entitled to an alert. PROTOCOL 7.2.
type AudienceRule string

// The audience rules.
const (
	// RuleCategory is every authority whose competence for alerts-in covers the category.
	RuleCategory AudienceRule = "category"
	// RuleAllNPC is every national contact point.
	RuleAllNPC AudienceRule = "all-npc"
)

// ParseAudienceRule reads a rule.
func ParseAudienceRule(s string) (AudienceRule, error) {
	if r := AudienceRule(s); r == RuleCategory || r == RuleAllNPC {
		return r, nil
	}
	return "", badAudience("an audience rule is category or all-npc")
}

// Audience says whom an alert to a category goes to. Who that is, is computed from the directory. PROTOCOL 7.2.
type Audience struct {
	Rule AudienceRule
	// States that the publisher chose, in ascending order without repeats; empty is all.
	States []authority.State
	// Position of the directory that it is computed at; from 1.
	Position uint64
}

// ID names the audience of an alert in a category.
func (a Audience) ID(category authority.Category) Digest {
	return AudienceID(category, a.Rule, a.States)
}

// AudienceID names an audience: the chain of its alerts and its epochs. States are in ascending order. PROTOCOL 7.2.
func AudienceID(category authority.Category, rule AudienceRule, states []authority.State) Digest {
	b := []byte("enlace/v1/audience\n" + category.String() + "\n" + string(rule) + "\n")
	for _, s := range states {
		b = append(b, s.String()+"\n"...)
	}
	return DigestOf(b)
}

// ParseAudience checks rule, states and position, and that the category is one that alerts are issued in: a group and a
// name, since a group alone has no subject. Invalid code "audience". PROTOCOL 7.2, 7.4.
func ParseAudience(category authority.Category, rule string, states []string, position uint64) (Audience, error) {
	a := Audience{Position: position}
	var err error
	if a.Rule, err = ParseAudienceRule(rule); err != nil {
		return Audience{}, err
	}
	if len(states) > MaxStates || position == 0 {
		return Audience{}, badAudience("an audience has at most 256 states, and a position of the directory from 1")
	}
	for _, s := range states {
		state, err := authority.ParseState(s)
		if err != nil {
			return Audience{}, err
		}
		a.States = append(a.States, state)
	}
	if !ascending(a.States) {
		return Audience{}, badAudience("the states of an audience stand in ascending order, none twice")
	}
	if category == category.Group() {
		return Audience{}, badAudience("an alert is issued in a category, not in a group of them")
	}
	return a, nil
}

func ascending(states []authority.State) bool {
	for i := range states[min(1, len(states)):] {
		if states[i].String() >= states[i+1].String() {
			return false
		}
	}
	return true
}

// SortStates puts states in the order that an audience wants, each once. The input is left as it is.
func SortStates(states []authority.State) []authority.State {
	out := slices.Clone(states)
	slices.SortFunc(out, func(a, b authority.State) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// StateNames are states as signed formats write them.
func StateNames(states []authority.State) []string {
	var out []string
	for _, s := range states {
		out = append(out, s.String())
	}
	return out
}

func (a Audience) message() *formatv1.Audience {
	return &formatv1.Audience{Rule: string(a.Rule), States: StateNames(a.States), Position: a.Position}
}

// readAudience runs after readWords: what an audience may be hangs on kind and category.
func readAudience(m *formatv1.Context, c *Context) error {
	from := m.GetAudience()
	if from == nil {
		return nil
	}
	if !c.Kind.MayBroadcast() {
		return badAudience("only an alert, its update or its cancellation goes to an audience")
	}
	a, err := ParseAudience(c.Category, from.GetRule(), from.GetStates(), from.GetPosition())
	if err != nil {
		return err
	}
	c.Audience = &a
	return nil
}

func badAudience(say string) error {
	return fault.New(fault.Invalid, "audience", "read audience", say)
}
