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
	// Places in lines, in ascending order: by category or group that a competence for alerts names (the zero value: it
	// names none, so has all), and of the national points of contact.
	told   map[authority.Category][]int32
	points []int32
	// serving are the places by function of a competence; of all authorities, by none.
	serving map[string][]int32
}

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
	r.told, r.serving = map[authority.Category][]int32{}, map[string][]int32{}
	for i, l := range r.lines {
		if l.said.NationalPointOfContact {
			r.points = append(r.points, int32(i))
		}
		r.place(int32(i), l.said.Competences)
	}
}

func (r *roll) place(i int32, competences []Competence) {
	note(r.serving, "", i)
	for _, c := range competences {
		note(r.serving, c.Function, i)
		if c.Function != alertsIn {
			continue
		}
		if len(c.Categories) == 0 {
			note(r.told, authority.Category{}, i)
		}
		for _, category := range c.Categories {
			note(r.told, category, i)
		}
	}
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
	all := union(r.told[authority.Category{}], r.told[category])
	if group := category.Group(); group != category {
		all = union(all, r.told[group])
	}
	return all
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
