package directory

import (
	"iter"
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
	// After asks for names behind this one alone: the next page. It need not be the name of anybody.
	After string
	// Limit is the most that Find finds; 0 = all. Making the entry of everybody takes longer than finding them.
	Limit int
}

// Find are the active authorities that have one competence which fits the whole query, in order of name.
func (v View) Find(q Query) []AuthorityEntry {
	var found []AuthorityEntry
	for e := range v.Each(q) {
		if found = append(found, e); len(found) == q.Limit {
			break
		}
	}
	return found
}

// Each is Find one by one, whatever the limit: for who leaves some of them out, and stops when there are enough.
func (v View) Each(q Query) iter.Seq[AuthorityEntry] {
	return func(yield func(AuthorityEntry) bool) {
		r := v.s.written()
		for _, i := range r.behind(r.within(r.competent(q), q.State), q.After) {
			// The cheap questions first: at 10,000 authorities most are not competent.
			l := &r.lines[i]
			if (l.said.Hidden && !q.Hidden) || !q.fits(l.said.Competences) {
				continue
			}
			if e, _ := v.Authority(l.name); e.Status == Active && !yield(e) {
				return
			}
		}
	}
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
