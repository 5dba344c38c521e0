package gazette

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

//go:embed words.csv
var wordFile []byte

//go:embed page.html
var page string

// Issue is one printing of the directory. Titles are in its language; lists are printed in the order they have.
type Issue struct {
	// Language is "en", "es", "pt" or "fr".
	Language string
	// Network is the network's ID.
	Network  string
	Position uint64
	// Head is the root of the newest confirmed head, hexadecimal; empty where there is none.
	Head string
	// Quorum is when the witnesses confirmed it; may be zero.
	Quorum time.Time
	// Printed is the time of the answer that this was made from.
	Printed time.Time
	// Freshness is "fresh", "degraded" or "stale".
	Freshness string
	// Cards: the issue has telephone numbers and mailboxes in it.
	Cards  bool
	States []State
}

// State is a member state with its authorities.
type State struct {
	Code, Title, Status, NoteVerbale string
	Until                            time.Time
	// ContactPoint is empty where there is none to be shown; Designated, that the state has one all the same.
	ContactPoint string
	Designated   bool
	// Declared: the state has said which instruments bind it. Else nothing is known of that.
	Declared    bool
	Instruments []Coded
	Authorities []Authority
}

// Coded is a code with its title.
type Coded struct{ Code, Title string }

// Authority is one entry.
type Authority struct {
	Name, Title, Acronym, Type, Status, NoteVerbale, Website string
	// Names are its names in other languages.
	Names                        []string
	Until, Confirmed, StaleSince time.Time
	ContactPoint, Hidden         bool
	Languages                    []string
	Competences                  []Competence
	Requirements                 []Requirement
	Desks                        []Desk
	Notice                       *Notice
}

// Competence is one thing the authority may be asked or told; no categories or kinds are all.
type Competence struct {
	Function               string
	Categories, Kinds      []Coded
	Territory, LegalSource string
}

// Requirement is what requests of a kind need; an empty kind is all.
type Requirement struct {
	Kind        Coded
	Needs       string
	Days        uint32
	Languages   []string
	LegalSource string
}

// Desk is an office. Its telephones and mailbox are empty where no card is to be printed.
type Desk struct {
	Slug, Zone                           string
	Hours, Holidays, Languages           []string
	Phone, Phone24x7, Satellite, Mailbox string
}

// Notice is what an authority says of its availability.
type Notice struct {
	Availability, Text, Fallback string
	Start, End                   time.Time
}

// Write makes the page. Errors: Usage "unknown-language"; else what the writer says.
func Write(w io.Writer, issue Issue) error {
	words, err := load(issue.Language)
	if err != nil {
		return err
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		"word": words.of, "date": date, "moment": moment, "join": func(all []string) string { return strings.Join(all, ", ") },
		"hours": words.hours, "anchor": anchor, "titles": titles, "short": func(s string) string { return s[:min(16, len(s))] },
	}).Parse(page)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "print directory", "the page's pattern cannot be read")
	}
	var b bytes.Buffer
	if err := t.Execute(&b, issue); err != nil {
		return fault.Wrap(err, fault.Internal, "", "print directory", "the page cannot be made")
	}
	_, err = b.WriteTo(w)
	return err
}

// vocabulary is the fixed words of one language.
type vocabulary map[string]string

func load(language string) (vocabulary, error) {
	rows, err := csv.NewReader(bytes.NewReader(wordFile)).ReadAll()
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "print directory", "the list of words cannot be read")
	}
	column := slices.Index(rows[0], language)
	if column < 1 {
		return nil, fault.New(fault.Usage, "unknown-language", "print directory", "the languages are es, en, pt and fr")
	}
	v := vocabulary{}
	for _, row := range rows[1:] {
		v[row[0]] = row[column]
	}
	return v, nil
}

// of is a fixed word; a slug that has none, of a later version, is shown as it is.
func (v vocabulary) of(key string) string {
	if w, ok := v[key]; ok {
		return w
	}
	return key
}

// hours puts the days of a rule into words: "mo-fr 08:00-17:00" is "Mon–Fri 08:00–17:00".
func (v vocabulary) hours(rule string) string {
	days, times, ok := strings.Cut(rule, " ")
	if !ok {
		return rule
	}
	var words []string
	for _, day := range strings.Split(days, "-") {
		words = append(words, v.of(day))
	}
	return strings.Join(words, "–") + " " + strings.ReplaceAll(times, "-", "–")
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// anchor names a place on the page.
func anchor(name string) string { return strings.ReplaceAll(name, "/", "-") }

func titles(all []Coded) string {
	var out []string
	for _, c := range all {
		if c.Title == "" || c.Title == c.Code {
			out = append(out, c.Code)
			continue
		}
		out = append(out, c.Title+" ["+c.Code+"]")
	}
	return strings.Join(out, "; ")
}
