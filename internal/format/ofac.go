package format

import (
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// The files of an OFAC folder.
const (
	fileEntries   = "sdn.csv"
	fileAddresses = "add.csv"
	fileAliases   = "alt.csv"
	fileComments  = "sdn_comments.csv"
)

// Type is what an entry is about.
type Type string

// The types of the list. It leaves the column empty for an entity.
const (
	Individual Type = "individual"
	Entity     Type = "entity"
	Vessel     Type = "vessel"
	Aircraft   Type = "aircraft"
)

// Problem is a row that was skipped, and why. Reason is for people and quotes nothing of the row.
type Problem struct {
	File   string
	Line   int
	Reason string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason) }

// Address is a row of add.csv, each part as written, empty where the list says nothing.
type Address struct {
	Street, City, Country, Remark string
}

// Alias is a row of alt.csv. Kind is "a.k.a.", "f.k.a." (formerly) or "n.k.a." (now).
type Alias struct {
	Kind, Name, Remark string
}

// Entry is one listed person, organisation, vessel or aircraft with all rows that belong to it, as written; an absent
// value is empty. Tonnages keep their separators.
type Entry struct {
	// Number identifies the entry for good; OFAC does not reuse it.
	Number       int
	Name         string
	Type         Type
	Programmes   []string
	Title        string
	CallSign     string
	VesselType   string
	Tonnage      string
	GrossTonnage string
	Flag         string
	Owner        string
	Addresses    []Address
	Aliases      []Alias
	// Remarks is the remark column with its overflow appended.
	Remarks string
}

// OFAC reads the list in dir, entry by entry in the order of sdn.csv. A malformed row goes to report, which must not
// be nil, and is skipped; so does a row that belongs to no entry, once the list has been read to its end. A missing or
// oversize file, or a failure to read, ends the sequence with an error and no entry.
//
// The three side files are held in memory, each at most 32 MiB and 200,000 rows; a row, and the
// remarks of one entry, end at 64 KiB.
func OFAC(dir fs.FS, report func(Problem)) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		sides, err := readSides(dir, report)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		seen := map[int]bool{}
		for r, err := range rows(dir, fileEntries, 12, report) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e, reason := parseEntry(r)
			if reason == "" && seen[e.Number] {
				reason = "the number of the entry was used before"
			}
			if reason != "" {
				report(Problem{fileEntries, r.line, reason})
				continue
			}
			seen[e.Number] = true
			if !yield(sides.join(e, report), nil) {
				return
			}
		}
		sides.reportRest(report)
	}
}

func parseEntry(r row) (Entry, string) {
	number, ok := r.number()
	if !ok {
		return Entry{}, "the number of the entry is not a positive number"
	}
	kind, ok := parseType(r.field(2))
	if !ok {
		return Entry{}, "the type is none of individual, vessel, aircraft"
	}
	if r.field(1) == "" {
		return Entry{}, "the name is missing"
	}
	return Entry{
		Number: number, Name: r.field(1), Type: kind, Programmes: parseProgrammes(r.field(3)),
		Title: r.field(4), CallSign: r.field(5), VesselType: r.field(6), Tonnage: r.field(7),
		GrossTonnage: r.field(8), Flag: r.field(9), Owner: r.field(10), Remarks: r.raw(11),
	}, ""
}

func parseType(s string) (Type, bool) {
	if s == "" {
		return Entity, true
	}
	t := Type(s)
	return t, slices.Contains([]Type{Individual, Vessel, Aircraft}, t)
}

// parseProgrammes splits "SDGT] [IFSR", as the list writes more than one.
func parseProgrammes(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, "]") {
		if p = strings.Trim(p, "[ "); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// sides are the rows of the other three files, by entry number. A number leaves its map when its entry has come.
type sides map[string]map[int][]row

func readSides(dir fs.FS, report func(Problem)) (sides, error) {
	s := sides{}
	for _, file := range []struct {
		name  string
		width int
	}{{fileAddresses, 6}, {fileAliases, 5}, {fileComments, 2}} {
		byNumber, err := readSide(dir, file.name, file.width, report)
		if err != nil {
			return nil, err
		}
		s[file.name] = byNumber
	}
	return s, nil
}

func readSide(dir fs.FS, name string, width int, report func(Problem)) (map[int][]row, error) {
	out := map[int][]row{}
	for r, err := range rows(dir, name, width, report) {
		if err != nil {
			return nil, err
		}
		number, ok := r.number()
		if !ok {
			report(Problem{name, r.line, "the number of the entry is not a positive number"})
			continue
		}
		out[number] = append(out[number], r)
	}
	return out, nil
}

func (s sides) take(name string, number int) []row {
	out := s[name][number]
	delete(s[name], number)
	return out
}

func (s sides) join(e Entry, report func(Problem)) Entry {
	for _, r := range s.take(fileAddresses, e.Number) {
		a := Address{Street: r.field(2), City: r.field(3), Country: r.field(4), Remark: r.field(5)}
		if a != (Address{}) {
			e.Addresses = append(e.Addresses, a)
		}
	}
	for _, r := range s.take(fileAliases, e.Number) {
		kind, ok := map[string]string{"aka": "a.k.a.", "fka": "f.k.a.", "nka": "n.k.a."}[r.field(2)]
		if !ok || r.field(3) == "" {
			report(Problem{fileAliases, r.line, "the other name is missing or of a kind that is none of aka, fka, nka"})
			continue
		}
		e.Aliases = append(e.Aliases, Alias{Kind: kind, Name: r.field(3), Remark: r.field(4)})
	}
	for _, r := range s.take(fileComments, e.Number) {
		if len(e.Remarks)+len(r.raw(1)) > maxRow {
			report(Problem{fileComments, r.line, fmt.Sprintf("the remarks of the entry would be longer than %d bytes", maxRow)})
			continue
		}
		// Remarks are cut in the middle of a word, so nothing may come between, and nothing be trimmed before.
		e.Remarks += r.raw(1)
	}
	e.Remarks = strings.TrimSpace(e.Remarks)
	return e
}

// reportRest reports the rows whose entry never came, by file and line.
func (s sides) reportRest(report func(Problem)) {
	for _, name := range []string{fileAddresses, fileAliases, fileComments} {
		var lines []int
		for _, rest := range s[name] {
			for _, r := range rest {
				lines = append(lines, r.line)
			}
		}
		slices.Sort(lines)
		for _, line := range lines {
			report(Problem{name, line, "it belongs to no entry of " + fileEntries})
		}
	}
}

// number reads the entry number in the first field.
func (r row) number() (int, bool) {
	n, err := strconv.ParseUint(r.field(0), 10, 31)
	return int(n), err == nil && n > 0
}
