package directory

import (
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
)

// Query asks who answers for a matter. Zero fields ask nothing. PROTOCOL 4.12.
type Query struct {
	State authority.State
	// Kind is a request kind.
	Kind     authority.RequestKind
	Category authority.Category
	// Function is one of the closed list: "requests", "alerts-in", ...
	Function string
	// Hidden asks for hidden authorities too: who receives an alert is not who is shown in a search.
	Hidden bool
}

// Find are the active authorities that have one competence which fits the whole query, in order of name.
func (v View) Find(q Query) []AuthorityEntry {
	r := v.s.written()
	var names []authority.Name
	for _, i := range r.within(r.serving[q.Function], q.State) {
		// The cheap question first: at 10,000 authorities most are not competent.
		if l := r.lines[i]; (!l.said.Hidden || q.Hidden) && q.fits(l.said.Competences) {
			names = append(names, l.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found := make([]AuthorityEntry, 0, len(names))
	for _, name := range names {
		if e, _ := v.Authority(name); e.Status == Active {
			found = append(found, e)
		}
	}
	return found
}

func (q Query) fits(competences []Competence) bool {
	if q.Kind == (authority.RequestKind{}) && q.Category.IsZero() && q.Function == "" {
		return true
	}
	return slices.ContainsFunc(competences, func(c Competence) bool { return c.answers(q) })
}

// answers holds one competence against the query. An empty list of categories or kinds is all of them, but alerts are
// nobody's request.
func (c Competence) answers(q Query) bool {
	if q.Function != "" && c.Function != q.Function {
		return false
	}
	if !q.Category.IsZero() && len(c.Categories) > 0 &&
		!slices.ContainsFunc(c.Categories, func(has authority.Category) bool { return has.Covers(q.Category) }) {
		return false
	}
	if q.Kind == (authority.RequestKind{}) {
		return true
	}
	return c.Function != "alerts-in" && c.Function != "alerts-out" && (len(c.Kinds) == 0 || slices.Contains(c.Kinds, q.Kind))
}
