package directory

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
)

const alertsIn = "alerts-in"

// roll is every authority as last declared and who of them is told of what, made when first asked for. It says nothing
// of who is barred, so snapshots share it until the next declaration.
type roll struct {
	once  sync.Once
	lines []line // in ascending order of name
	// Places in lines, in ascending order: of all, by what a competence names, and of the national points of contact.
	everybody []int32
	serving   map[matter][]int32
	points    []int32
}

// matter is part of what a competence says: its function, or none for any; and of that function nothing more, a category
// or group, a request kind, or that it names no category or no kind, so has all.
type matter struct {
	function string
	of       aspect
	category authority.Category
	kind     authority.RequestKind
}

type aspect uint8

const (
	whole aspect = iota
	byCategory
	byKind
)

type line struct {
	name authority.Name
	said *AuthorityDeclaration
}

// written is the roll with its lines.
func (s *Snapshot) written() *roll {
	s.roll.once.Do(func() { s.roll.write(s) })
	return s.roll
}

func (r *roll) write(s *Snapshot) {
	r.lines = make([]line, 0, s.authorities.size)
	for _, state := range (View{s: s}).States() {
		for _, name := range state.Authorities {
			a, _ := s.authorities.get(name)
			r.lines = append(r.lines, line{name, a.said})
		}
	}
	// Nearly sorted: x-a-b/desk comes before x-a/desk.
	slices.SortFunc(r.lines, func(a, b line) int { return strings.Compare(a.name.String(), b.name.String()) })
	r.serving = map[matter][]int32{}
	r.everybody = make([]int32, len(r.lines))
	for i, l := range r.lines {
		r.everybody[i] = int32(i)
		if l.said.NationalPointOfContact {
			r.points = append(r.points, int32(i))
		}
		r.place(int32(i), l.said.Competences)
	}
}

func (r *roll) place(i int32, competences []Competence) {
	for _, c := range competences {
		note(r.serving, matter{function: c.Function}, i)
		for _, function := range []string{"", c.Function} {
			for _, category := range orNone(c.Categories) {
				note(r.serving, matter{function, byCategory, category, authority.RequestKind{}}, i)
			}
			for _, kind := range orNone(c.Kinds) {
				note(r.serving, matter{function, byKind, authority.Category{}, kind}, i)
			}
		}
	}
}

// orNone is the list, or the zero value alone: what is named where nothing is.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// note adds a place once.
func note[K comparable](lists map[K][]int32, key K, place int32) {
	list := lists[key]
	if len(list) == 0 || list[len(list)-1] != place {
		lists[key] = append(list, place)
	}
}

// places are those whom the rule asks for, in ascending order.
func (r *roll) places(category authority.Category, rule Rule) []int32 {
	if rule == AllNPC {
		return r.points
	}
	return r.about(alertsIn, category)
}

// about are those with a competence for a category, of a function or, for none, of any.
func (r *roll) about(function string, category authority.Category) []int32 {
	of := func(c authority.Category) []int32 {
		return r.serving[matter{function, byCategory, c, authority.RequestKind{}}]
	}
	all := union(of(authority.Category{}), of(category))
	if group := category.Group(); group != category {
		all = union(all, of(group))
	}
	return all
}

// competent are all who may answer a query, and perhaps others: the shortest list that any part of it leads to. In
// ascending order.
func (r *roll) competent(q Query) []int32 {
	fewest := r.everybody
	if q.Function != "" {
		fewest = r.serving[matter{function: q.Function}]
	}
	if !q.Category.IsZero() {
		fewest = fewer(fewest, r.about(q.Function, q.Category))
	}
	if q.Kind != (authority.RequestKind{}) {
		of := func(k authority.RequestKind) []int32 {
			return r.serving[matter{q.Function, byKind, authority.Category{}, k}]
		}
		fewest = fewer(fewest, union(of(authority.RequestKind{}), of(q.Kind)))
	}
	return fewest
}

func fewer(a, b []int32) []int32 {
	if len(b) < len(a) {
		return b
	}
	return a
}

// behind are the places whose names come after one.
func (r *roll) behind(places []int32, name string) []int32 {
	if name == "" {
		return places
	}
	return places[sort.Search(len(places), func(i int) bool { return r.lines[places[i]].name.String() > name }):]
}

// union merges two ascending lists into another, or into the one that alone has something.
func union(a, b []int32) []int32 {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	both := make([]int32, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			both, a = append(both, a[0]), a[1:]
		case a[0] > b[0]:
			both, b = append(both, b[0]), b[1:]
		default:
			both, a, b = append(both, a[0]), a[1:], b[1:]
		}
	}
	return append(append(both, a...), b...)
}

// of is where the lines of a state begin and end.
func (r *roll) of(state authority.State) (from, to int) {
	prefix := state.String() + "/"
	from = sort.Search(len(r.lines), func(i int) bool { return r.lines[i].name.String() >= prefix })
	rest := r.lines[from:]
	return from, from + sort.Search(len(rest), func(i int) bool { return rest[i].name.State() != state })
}

// within are the places that lie in one state; all of them for the zero value.
func (r *roll) within(places []int32, state authority.State) []int32 {
	if state.IsZero() {
		return places
	}
	from, to := r.of(state)
	begin, _ := slices.BinarySearch(places, int32(from))
	end, _ := slices.BinarySearch(places, int32(to))
	return places[begin:end]
}

// barred marks the places of those who are barred now, themselves, with their node or with their state; nil: nobody is.
func (v View) barred(r *roll) []bool {
	var marks []bool
	for subject := range v.s.limited.all() {
		record, _ := v.s.record(subject)
		if v.condition(record).Status == Active {
			continue
		}
		if marks == nil {
			marks = make([]bool, len(r.lines))
		}
		from, to := r.of(subject.state)
		for i := from; i < to; i++ {
			if subject.touches(Member{r.lines[i].name, r.lines[i].said.Node}) {
				marks[i] = true
			}
		}
	}
	return marks
}
