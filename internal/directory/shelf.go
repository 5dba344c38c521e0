package directory

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
)

const alertsIn = "alerts-in"

// roll is every authority as last declared, made when first asked for. Snapshots share it until the next declaration.
type roll struct {
	once  sync.Once
	lines []line // in ascending order of name
	// named are the categories and groups that some competence for alerts names.
	named map[authority.Category]bool
}

type line struct {
	name authority.Name
	said *AuthorityDeclaration
}

// lines are all authorities, in ascending order of name.
func (s *Snapshot) lines() []line {
	s.roll.once.Do(func() { s.roll.fill(s) })
	return s.roll.lines
}

// linesOf are those of one state; of all states for the zero value.
func (s *Snapshot) linesOf(state authority.State) []line {
	lines := s.lines()
	if state.IsZero() {
		return lines
	}
	prefix := state.String() + "/"
	from := sort.Search(len(lines), func(i int) bool { return lines[i].name.String() >= prefix })
	rest := lines[from:]
	return rest[:sort.Search(len(rest), func(i int) bool { return rest[i].name.State() != state })]
}

func (r *roll) fill(s *Snapshot) {
	r.lines = make([]line, 0, s.authorities.size)
	r.named = map[authority.Category]bool{}
	for name, a := range s.authorities.all() {
		r.lines = append(r.lines, line{name, a.said})
		for _, c := range a.said.Competences {
			if c.Function != alertsIn {
				continue
			}
			for _, category := range c.Categories {
				r.named[category] = true
			}
		}
	}
	slices.SortFunc(r.lines, func(a, b line) int { return strings.Compare(a.name.String(), b.name.String()) })
}

// like is a category with the same candidates, one of few however many a stranger asks for: what no competence names
// is covered by those for its group or for all.
func (r *roll) like(category authority.Category) authority.Category {
	switch {
	case r.named[category]:
		return category
	case r.named[category.Group()]:
		return category.Group()
	}
	return authority.Category{}
}

// shelf keeps the answers of one snapshot that do not depend on time. Snapshots share it while nothing changes that
// they depend on.
type shelf struct {
	mu   sync.Mutex
	kept map[ask][]candidate // guarded by mu
}

type ask struct {
	category authority.Category
	rule     Rule
}

// candidate is a member unless a suspension says otherwise.
type candidate struct {
	Member
	// suspended: authority, node or state was; when, the view must look up.
	suspended bool
}

// candidates are those whom the rule asks for and nothing has ended, in ascending order of name.
func (s *Snapshot) candidates(category authority.Category, rule Rule) []candidate {
	lines := s.lines()
	key := ask{rule: rule}
	if rule == ByCategory {
		key.category = s.roll.like(category)
	}
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	if kept, ok := s.shelf.kept[key]; ok {
		return kept
	}
	asked := Query{Function: alertsIn, Category: category}
	var all []candidate
	for _, l := range lines {
		if rule == AllNPC && !l.said.NationalPointOfContact || rule == ByCategory && !asked.fits(l.said.Competences) {
			continue
		}
		if c, ok := s.candidate(l); ok {
			all = append(all, c)
		}
	}
	if s.shelf.kept == nil {
		s.shelf.kept = map[ask][]candidate{}
	}
	s.shelf.kept[key] = all
	return all
}

// candidate is false for whom a retirement or revocation has ended; a state never ends.
func (s *Snapshot) candidate(l line) (candidate, bool) {
	a, _ := s.authorities.get(l.name)
	home, admitted := s.states.get(l.name.State())
	node, known := s.nodes.get(l.said.Node)
	if !admitted || !known || a.limits.ended.happened() || node.limits.ended.happened() {
		return candidate{}, false
	}
	suspended := len(a.limits.suspensions)+len(node.limits.suspensions)+len(home.limits.suspensions) > 0
	return candidate{Member{l.name, l.said.Node}, suspended}, true
}
