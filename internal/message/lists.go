package message

import (
	"embed"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

//go:embed lists/*.csv
var listFiles embed.FS

// Entry is one code of a list: what is stored (Code) and what is shown (Titles by language).
type Entry struct {
	Code   string
	Titles map[authority.Language]string
	// Fields are all columns of the row by name.
	Fields map[string]string
}

// Languages are those in which there is a title, in order of their code.
func (e Entry) Languages() []authority.Language {
	return slices.SortedFunc(maps.Keys(e.Titles), func(a, b authority.Language) int { return strings.Compare(a.String(), b.String()) })
}

// Lists are the lists of codes shipped as data, in four languages (domain.md 4, 5, 8, 11). Which state takes part,
// which category is registered and which treaty binds is asked of the directory; these are names and shapes.
type Lists struct {
	byName map[string]map[string]Entry
	order  map[string][]string
}

// LoadLists reads the shipped lists. They are part of the program, so an error is a defect of the build.
func LoadLists() (Lists, error) {
	l := Lists{byName: map[string]map[string]Entry{}, order: map[string][]string{}}
	for file, key := range map[string]string{
		"request-kinds": "slug", "crime-categories": "slug", "refusal-reasons": "code", "legal-instruments": "code",
		"alert-types": "slug", "alert-actions": "code", "member-states": "alpha2", "enums": "value", "subject-attributes": "attribute",
	} {
		if err := l.load(file, key); err != nil {
			return Lists{}, err
		}
	}
	return l, nil
}

func (l Lists) load(file, key string) error {
	f, err := listFiles.Open("lists/" + file + ".csv")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "load list "+file, "a shipped list is missing")
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 2 {
		return fault.Wrap(err, fault.Internal, "", "load list "+file, "a shipped list cannot be read")
	}
	for _, row := range rows[1:] {
		e := newEntry(rows[0], row, key)
		l.add(listOf(file, e), e)
	}
	return nil
}

// listOf splits the two files that hold several lists: enumerations by name, subject attributes by subject type.
func listOf(file string, e Entry) string {
	switch file {
	case "enums":
		return e.Fields["enum"]
	case "subject-attributes":
		return "subject:" + e.Fields["type"]
	}
	return file
}

func newEntry(columns, row []string, key string) Entry {
	e := Entry{Titles: map[authority.Language]string{}, Fields: map[string]string{}}
	for i, c := range columns {
		e.Fields[c] = row[i]
		for _, prefix := range []string{"title_", "name_"} {
			code, ok := strings.CutPrefix(c, prefix)
			if lang, err := authority.ParseLanguage(code); ok && err == nil {
				e.Titles[lang] = row[i]
			}
		}
	}
	e.Code = e.Fields[key]
	return e
}

func (l Lists) add(list string, e Entry) {
	if l.byName[list] == nil {
		l.byName[list] = map[string]Entry{}
	}
	l.byName[list][e.Code] = e
	l.order[list] = append(l.order[list], e.Code)
}

// With is the lists with one of them replaced by entries, in their order. The lists themselves stay as they are.
func (l Lists) With(list string, entries []Entry) Lists {
	next := Lists{byName: maps.Clone(l.byName), order: maps.Clone(l.order)}
	delete(next.byName, list)
	delete(next.order, list)
	for _, e := range entries {
		next.add(list, e)
	}
	return next
}

// All is every entry of a list, in its order.
func (l Lists) All(list string) []Entry {
	var all []Entry
	for _, code := range l.order[list] {
		all = append(all, l.byName[list][code])
	}
	return all
}

// CheckCategory wants a category of two tokens that is in use, for what is newly said; what was said before under one
// that is in use no longer stays readable. domain.md 5, PROTOCOL 4.18. Invalid "unknown-code", "not-a-category",
// "not-in-use", where the successor is named if there is one.
func (l Lists) CheckCategory(slug string) error {
	refuse := func(code, say string) error { return fault.New(fault.Invalid, code, "look up category", say) }
	e, ok := l.Entry("crime-categories", slug)
	switch {
	case !ok:
		return refuse("unknown-code", "choose one of the list crime-categories")
	case !strings.Contains(slug, "."):
		return refuse("not-a-category", "a group alone is for subscriptions; choose a category of it, such as its .general")
	case e.Fields["status"] == "active":
		return nil
	case e.Fields["successor"] != "":
		return refuse("not-in-use", "the category is not in use any more; use "+e.Fields["successor"])
	}
	return refuse("not-in-use", "the category is not in use")
}

// Has reports whether a list has the code. An unknown list has none.
func (l Lists) Has(list, code string) bool {
	_, ok := l.byName[list][code]
	return ok
}

// Entry is one row of a list.
func (l Lists) Entry(list, code string) (Entry, bool) {
	e, ok := l.byName[list][code]
	return e, ok
}

// Codes lists a list's codes in their order.
func (l Lists) Codes(list string) []string { return slices.Clone(l.order[list]) }

// Names lists the lists.
func (l Lists) Names() []string {
	var out []string
	for n := range l.byName {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Label is what a person is shown for a code: the title in their language, else English, else the code itself.
func (l Lists) Label(list, code string, lang authority.Language) string {
	e, ok := l.byName[list][code]
	if !ok {
		return code
	}
	if t := e.Titles[lang]; t != "" {
		return t
	}
	english, _ := authority.ParseLanguage("en")
	if t := e.Titles[english]; t != "" {
		return t
	}
	return code
}

// CheckCode is nil when the list has the code, and says which list where not.
func (l Lists) CheckCode(list, code string) error {
	if l.Has(list, code) {
		return nil
	}
	return fault.New(fault.Invalid, "unknown-code", "look up code", fmt.Sprintf("the code is not in the list %s", list))
}
