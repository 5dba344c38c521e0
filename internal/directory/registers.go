package directory

import (
	"cmp"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// The statuses of a category. PROTOCOL 4.18.
const (
	CategoryActive     = "active"
	CategoryProposed   = "proposed"
	CategoryDeprecated = "deprecated"
)

// Category is a registered crime category, or a group of them.
type Category struct {
	Category authority.Category
	// Status is "active", "proposed" or "deprecated".
	Status string
	// Successor is what to use instead of a deprecated one; may be zero.
	Successor authority.Category
	// ICCS is the code in the classification of the United Nations; may be empty.
	ICCS   string
	Titles []Text
}

// Instrument is a registered legal instrument.
type Instrument struct {
	Code   string
	Titles []Text
}

// CategoryList adds categories, or replaces those of the same slug. PROTOCOL 4.18.
type CategoryList struct{ Categories []Category }

// InstrumentList adds instruments, or replaces those of the same code. PROTOCOL 4.18.
type InstrumentList struct{ Instruments []Instrument }

// InstrumentDeclaration is the whole list of what binds a state, by its own word. PROTOCOL 4.18.
type InstrumentDeclaration struct{ Codes []string }

func (CategoryList) isBody()          {}
func (InstrumentList) isBody()        {}
func (InstrumentDeclaration) isBody() {}

func readCategories(r *reading, m *formatv1.Categories) CategoryList {
	r.check(len(m.GetCategories()) > 0, "malformed", "the statement changes nothing")
	r.atMost("categories", len(m.GetCategories()), maxList)
	if r.err != nil {
		return CategoryList{}
	}
	var l CategoryList
	for _, c := range m.GetCategories() {
		l.Categories = append(l.Categories, r.registered(c))
	}
	return l
}

func (r *reading) registered(m *formatv1.Category) Category {
	statuses := []string{CategoryActive, CategoryProposed, CategoryDeprecated}
	r.check(slices.Contains(statuses, m.GetStatus()), "unknown-status", "a category is active, proposed or deprecated")
	r.check(m.GetSuccessor() == "" || m.GetStatus() == CategoryDeprecated, "malformed", "only a deprecated category has a successor")
	r.check(m.GetSuccessor() != m.GetSlug(), "malformed", "a category does not succeed itself")
	c := Category{Category: r.category(m.GetSlug()), Status: m.GetStatus(), ICCS: r.text("ICCS code", m.GetIccsCode(), maxReference), Titles: r.texts(m.GetTitles())}
	if m.GetSuccessor() != "" {
		c.Successor = r.category(m.GetSuccessor())
	}
	return c
}

func (r *reading) category(s string) authority.Category {
	c, err := authority.ParseCategory(s)
	r.note(err)
	return c
}

func readInstruments(r *reading, m *formatv1.Instruments) InstrumentList {
	r.check(len(m.GetInstruments()) > 0, "malformed", "the statement changes nothing")
	r.atMost("instruments", len(m.GetInstruments()), maxList)
	if r.err != nil {
		return InstrumentList{}
	}
	var l InstrumentList
	for _, i := range m.GetInstruments() {
		l.Instruments = append(l.Instruments, Instrument{r.instrument(i.GetCode()), r.texts(i.GetTitles())})
	}
	return l
}

func (r *reading) instrument(code string) string {
	r.check(len(code) <= maxReference && slugShape.MatchString(code), "malformed-name", "the code of an instrument is lower-case letters, digits and single dashes")
	return code
}

func readInstrumentDeclaration(r *reading, m *formatv1.DeclareInstruments) InstrumentDeclaration {
	r.atMost("instruments", len(m.GetCodes()), maxList)
	if r.err != nil {
		return InstrumentDeclaration{}
	}
	for _, code := range m.GetCodes() {
		r.instrument(code)
	}
	// Never nil: to declare that none binds is to declare.
	return InstrumentDeclaration{append([]string{}, m.GetCodes()...)}
}

func (a Category) compare(slug string) int   { return cmp.Compare(a.Category.String(), slug) }
func (a Instrument) compare(code string) int { return cmp.Compare(a.Code, code) }

// placed is the list with one more item at its place, or instead of the one of that name. The list is written to.
func placed[T interface{ compare(string) int }](list []T, name string, one T) []T {
	at, known := slices.BinarySearchFunc(list, name, T.compare)
	if known {
		list[at] = one
		return list
	}
	return slices.Insert(list, at, one)
}

// registerCategories takes the list in its order, so that a group may come in one statement with its categories.
// PROTOCOL 4.18.
func (c *change) registerCategories(n *networkRecord, body CategoryList) error {
	if err := c.st.signedBy(c.next.byQuorum()); err != nil {
		return err
	}
	list := slices.Clone(n.categories)
	for _, one := range body.Categories {
		group := one.Category.Group()
		if _, known := slices.BinarySearchFunc(list, group.String(), Category.compare); !known && group != one.Category {
			return denied("unknown-group", "a group is registered before its categories")
		}
		list = placed(list, one.Category.String(), one)
	}
	n.categories = list
	return nil
}

func (c *change) registerInstruments(n *networkRecord, body InstrumentList) error {
	if err := c.st.signedBy(c.next.byQuorum()); err != nil {
		return err
	}
	list := slices.Clone(n.instruments)
	for _, one := range body.Instruments {
		list = placed(list, one.Code, one)
	}
	n.instruments = list
	return nil
}

// declareInstruments takes a state's word on what binds it. PROTOCOL 4.18.
func (c *change) declareInstruments(body InstrumentDeclaration) error {
	if err := c.st.signedBy(c.next.byState(c.st.subject.state, logged)); err != nil {
		return err
	}
	known := c.next.network.instruments
	for _, code := range body.Codes {
		if _, ok := slices.BinarySearchFunc(known, code, Instrument.compare); !ok && len(known) > 0 {
			return denied("unknown-instrument", "an instrument is not in the network's register")
		}
	}
	return c.putState(func(r *stateRecord) { r.instruments, r.last = body.Codes, c.st.hash })
}

// Categories adds to the register, or replaces what it says. Signers: stewards.
func (d Draft) Categories(body *formatv1.Categories) ([]byte, error) {
	return d.enabling(KindCategories, Subject{}, body)
}

// Instruments adds to the register, or replaces what it says. Signers: stewards.
func (d Draft) Instruments(body *formatv1.Instruments) ([]byte, error) {
	return d.enabling(KindInstruments, Subject{}, body)
}

// DeclareInstruments says which instruments bind a state, all of them. Signers: the state.
func (d Draft) DeclareInstruments(state authority.State, codes []string) ([]byte, error) {
	return d.enabling(KindDeclareInstruments, OfState(state), &formatv1.DeclareInstruments{Codes: codes})
}

// Registered reports whether a category or group may be used: false only where the directory registers categories, and
// not this one or as deprecated. any is false where it registers none at all; then ok is true, and the list that a
// program ships with holds. PROTOCOL 2.5, 4.18.
func (v View) Registered(category authority.Category) (ok, any bool) {
	list := v.s.network.categories
	if len(list) == 0 {
		return true, false
	}
	at, known := slices.BinarySearchFunc(list, category.String(), Category.compare)
	return known && list[at].Status != CategoryDeprecated, true
}

// Categories are the registered ones, in order of slug. PROTOCOL 4.18.
func (v View) Categories() []Category { return v.s.network.categories }

// Instruments are the registered ones, in order of code. PROTOCOL 4.18.
func (v View) Instruments() []Instrument { return v.s.network.instruments }

// InstrumentsOf are the codes of those that bind a state, as it declared them; false if it declared nothing, which is
// not the same as none. PROTOCOL 4.18.
func (v View) InstrumentsOf(state authority.State) ([]string, bool) {
	r, ok := v.s.states.get(state)
	if !ok || r.instruments == nil {
		return nil, false
	}
	return r.instruments, true
}
