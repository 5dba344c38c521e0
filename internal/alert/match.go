package alert

import (
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// Functions of a competence. PROTOCOL 4.12.
const (
	functionIn  = "alerts-in"
	functionOut = "alerts-out"
)

// entitled reports whether an authority belongs to the audience of a header in the directory of now. PROTOCOL 7.2.
func entitled(view directory.View, name authority.Name, h message.Header) bool {
	if h.Audience == nil {
		return h.Addresses(name)
	}
	if len(h.Audience.States) > 0 && !slices.Contains(h.Audience.States, name.State()) {
		return false
	}
	if h.Audience.Rule == message.RuleAllNPC {
		return isNPC(view, name)
	}
	return view.Competent(name, functionIn, h.Category)
}

func isNPC(view directory.View, name authority.Name) bool {
	entry, ok := view.Authority(name)
	return ok && entry.Status == directory.Active && entry.NationalPointOfContact
}

// pattern is what a subscription says of categories: one, a group ("drugs.>"), or all (">").
type pattern struct{ category authority.Category }

// parsePattern reads a pattern.
func parsePattern(s string) (pattern, error) {
	if s == ">" {
		return pattern{}, nil
	}
	group, wide := strings.CutSuffix(s, ".>")
	c, err := authority.ParseCategory(group)
	if err != nil {
		return pattern{}, err
	}
	if wide != (c == c.Group()) {
		return pattern{}, badPattern()
	}
	return pattern{c}, nil
}

// covers reports whether the pattern has a category.
func (p pattern) covers(c authority.Category) bool {
	return p.category.IsZero() || p.category.Covers(c)
}

// within are the parts of a pattern that an authority is competent to receive; none where it is not at all.
func (p pattern) within(view directory.View, name authority.Name) []pattern {
	entry, ok := view.Authority(name)
	if !ok || entry.Status != directory.Active {
		return nil
	}
	var out []pattern
	for _, c := range entry.Competences {
		switch {
		case c.Function != functionIn:
		case len(c.Categories) == 0:
			return []pattern{p}
		default:
			for _, has := range c.Categories {
				if part, ok := p.narrow(pattern{has}); ok && !slices.Contains(out, part) {
					out = append(out, part)
				}
			}
		}
	}
	return out
}

// narrow is what two patterns have in common: the narrower one, if the wider has it.
func (p pattern) narrow(q pattern) (pattern, bool) {
	switch {
	case p.covers(q.category) && !q.category.IsZero():
		return q, true
	case q.covers(p.category):
		return p, true
	}
	return pattern{}, false
}

// tokens are group and category as a filter of the bus writes them.
func (p pattern) tokens() string {
	switch {
	case p.category.IsZero():
		return "*.*"
	case p.category == p.category.Group():
		return p.category.String() + ".*"
	}
	return p.category.String()
}

// wish is an active subscription of an authority that may act, clamped to its competence.
type wish struct {
	ledger.Subscription
	parts []pattern
}

// wants asks what a subject tells: category and lane.
func (w wish) wants(c authority.Category, u message.Urgency) bool {
	return !u.LowerThan(w.Urgency) && slices.ContainsFunc(w.parts, func(p pattern) bool { return p.covers(c) })
}

// matches asks all of an alert.
func (w wish) matches(h message.Header, s said) bool {
	if !w.wants(h.Category, h.Urgency) {
		return false
	}
	if len(w.Types) > 0 && !slices.Contains(w.Types, s.notice.GetType()) {
		return false
	}
	return len(w.States) == 0 || slices.ContainsFunc(concerned(h, s), func(state string) bool {
		return slices.ContainsFunc(w.States, func(x authority.State) bool { return x.String() == state })
	})
}

// concerned are the states that an alert is about: its issuer's, those of its places, and those of its subjects.
func concerned(h message.Header, s said) []string {
	out := []string{h.Sender.State().String()}
	for _, p := range s.notice.GetPlaces() {
		out = append(out, strings.ToLower(p.GetState()))
	}
	for _, x := range s.subjects {
		for _, a := range x.GetAttributes() {
			out = append(out, strings.ToLower(a.GetCountry()))
		}
	}
	return out
}
