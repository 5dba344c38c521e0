package format

import (
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Alert is an alert as a list or a table gives it: what is said, and what of its envelope the foreign form knows. It is
// a draft: message.CheckAlert says what it lacks.
type Alert struct {
	message.AlertCompose
	// States narrow the audience; none is all.
	States []authority.State
	// Expires is zero where the form does not say.
	Expires time.Time
}

// Bounds of message.CheckAlert and message.Bounded that an import keeps to.
const (
	titleCharacters = 120
	titleBytes      = 256
	mostAttributes  = 256
	mostPlaces      = 64
)

// OFACAlerts reads the list in dir as OFAC does, and makes an alert at now of every entry that is listed for narcotics
// trafficking or as a transnational criminal organisation.
func OFACAlerts(dir fs.FS, now time.Time, report func(Problem)) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		for e, err := range OFAC(dir, report) {
			if err != nil {
				yield(Alert{}, err)
				return
			}
			if !e.Organised() {
				continue
			}
			if a, ok := e.Alert(now); ok && !yield(a, nil) {
				return
			}
		}
	}
}

// Alert makes an alert of an entry; false when no programme of the entry has a crime category. It is routine, for
// information only, real, to its category, and holds for message.AlertLife from now.
//
// Its first category is that of the entry's first programme in data/programmes.csv, further ones are secondary. A person
// becomes warning-person, an organisation asset, a vessel or aircraft transport-of-interest. The list is public: TLP and
// PAP are CLEAR, handling is H0. It is graded eu4x4:A4: there is no doubt who published it, and nothing here
// corroborates it. The legal basis is domestic, the law that the details name. Title and reason are in English, names
// as written.
func (e Entry) Alert(now time.Time) (Alert, bool) {
	categories := e.Categories()
	if len(categories) == 0 {
		return Alert{}, false
	}
	n := &formatv1.AlertNotice{
		Type: e.alertType(), Version: 1, Language: "en", Title: shorten(e.Name, titleCharacters, titleBytes), Summary: e.summary(), Details: e.details(),
		Places: e.places(), Severity: "UNKNOWN", Certainty: "UNKNOWN", ActionRequested: "INFORM_ONLY", Evaluation: "eu4x4:A4",
		Limits:     &formatv1.Limits{Handling: []string{"H0"}, Tlp: "CLEAR", Pap: "CLEAR"},
		LegalBasis: []string{"domestic"}, References: []string{fmt.Sprintf("ofac-sdn:%d", e.Number)},
	}
	for _, c := range categories[1:] {
		n.SecondaryCategories = append(n.SecondaryCategories, c.String())
	}
	if e.Type == Individual {
		n.Attestations = []string{"LAWFUL_BASIS", "NECESSARY_AND_PROPORTIONATE", "NEUTRAL", "NO_REFUGEE"}
	}
	return Alert{
		AlertCompose: message.AlertCompose{
			Category: categories[0], Urgency: message.Routine, Status: message.Actual, Distribution: message.ByCategory,
			Notice: n, Subjects: divide(e.Subjects()),
		},
		Expires: now.Add(message.AlertLife),
	}, true
}

func (e Entry) alertType() string {
	switch e.Type {
	case Individual:
		return "warning-person"
	case Entity:
		return "asset"
	}
	return "transport-of-interest"
}

func (e Entry) summary() string {
	text := fmt.Sprintf("This %s is on the list of Specially Designated Nationals of the Office of Foreign Assets Control, United States Treasury; programmes: %s.",
		e.subjectType(), strings.Join(e.Programmes, ", "))
	return shorten(text, 400, 400) + " A listing is a measure of that state, not a finding of the issuer."
}

// details name the laws, since the code of the legal basis says only that there is one.
func (e Entry) details() string {
	out := []string{fmt.Sprintf("Entry %d of the list, name: %s.", e.Number, e.Name)}
	for _, p := range known().programmes {
		if slices.Contains(e.Programmes, p.name) && p.law != "" {
			out = append(out, fmt.Sprintf("%s: %s.", p.name, p.law))
		}
	}
	return strings.Join(append(out, "Other names, addresses and numbers stand with the subject as the list writes them."), "\n")
}

// places are the towns of the addresses, each once, so that a state finds what concerns it.
func (e Entry) places() []*formatv1.Place {
	var out []*formatv1.Place
	seen := map[[2]string]bool{}
	for _, a := range e.Addresses {
		state := known().countries[a.Country]
		city := shorten(a.City, titleCharacters, titleBytes)
		if key := [2]string{state, city}; state != "" && !seen[key] && len(out) < mostPlaces {
			seen[key] = true
			out = append(out, &formatv1.Place{State: state, Name: city, Kind: "address"})
		}
	}
	return out
}

// divide spreads a subject with more attributes than receivers take over several, each of which begins with the name.
func divide(subjects []*formatv1.Subject) []*formatv1.Subject {
	var out []*formatv1.Subject
	for _, s := range subjects {
		rest := s.Attributes
		if len(rest) <= mostAttributes {
			out = append(out, s)
			continue
		}
		name := rest[0]
		for chunk := range slices.Chunk(rest[1:], mostAttributes-1) {
			out = append(out, &formatv1.Subject{
				Type: s.Type, Role: s.Role, Reason: s.Reason, Minor: s.Minor, Confidence: s.Confidence,
				Attributes: append([]*formatv1.Attribute{name}, chunk...),
			})
		}
	}
	return out
}

// shorten cuts a text to so many characters and bytes, with a sign that it was cut. It cuts no character, nor an accent
// off the letter that it stands on.
func shorten(s string, characters, bytes int) string {
	if utf8.RuneCountInString(s) <= characters && len(s) <= bytes {
		return s
	}
	const cut = "…"
	end, n := 0, 0
	for i, r := range s {
		if n >= characters || i > bytes-len(cut) {
			break
		}
		if !unicode.IsMark(r) {
			end = i
		}
		n++
	}
	return strings.TrimSpace(s[:end]) + cut
}
