package format

import (
	"cmp"
	"embed"
	"encoding/csv"
	"slices"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
)

//go:embed data/*.csv
var data embed.FS

// rule is a row of data/remarks.csv: what a remark that begins with prefix, in an entry of type listed ("any" for all),
// says. label "drop" means that the prefix tells no more than the attribute's name does.
//
// Forms: text (all of it), whole (all with the prefix), phone and date (must hold a digit), country (a name), place
// (country at the end), quoted ('...'), number (with country and dates), asset (currency and address).
type rule struct {
	prefix, form, listed string
	attribute, kind      string
	dropLabel            bool
}

// programme is a row of data/programmes.csv: the crime category of a sanctions programme, and whether the programme
// is against narcotics trafficking or organised crime and so selected for import. law is what the programme rests on,
// empty where it is not known.
type programme struct {
	name      string
	category  authority.Category
	organised bool
	law       string
}

type tables struct {
	// rules are ordered by length of prefix, longest first, so the most exact one is found first.
	rules      []rule
	programmes []programme
	// countries maps names as OFAC and others write them to ISO 3166 alpha-2 in lower case.
	countries map[string]string
}

var known = sync.OnceValue(loadTables)

// loadTables reads the tables that are part of the program. It panics where they are malformed: that is a defect of
// the build, found by the first test that runs.
func loadTables() tables {
	t := tables{countries: map[string]string{}}
	for _, r := range records("remarks", 6) {
		t.rules = append(t.rules, rule{r[0], r[1], r[2], r[3], r[4], r[5] == "drop"})
	}
	slices.SortStableFunc(t.rules, func(a, b rule) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	for _, r := range records("countries", 2) {
		t.countries[r[0]] = r[1]
	}
	for _, r := range records("programmes", 4) {
		category, err := authority.ParseCategory(r[1])
		if err != nil {
			panic(err)
		}
		t.programmes = append(t.programmes, programme{r[0], category, r[2] == "yes", r[3]})
	}
	return t
}

// records are the rows of a table behind its header.
func records(name string, width int) [][]string {
	f, err := data.Open("data/" + name + ".csv")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = width
	out, err := r.ReadAll()
	if err != nil {
		panic(err)
	}
	return out[1:]
}
