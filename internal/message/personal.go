package message

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Codes with which a receiver refuses an alert that no issuer may send.
const (
	refuseRed      = "tlp-red"
	refusePersonal = "personal-data"
)

// RefuseAlert is what a receiver refuses of an alert that is otherwise well formed, whoever signed it: the code of a
// rejection, or empty. "tlp-red": TLP:RED, or a TLP that this node does not know and so takes for RED, on an alert that
// is not directed to named authorities (domain.md 4.4). "personal-data": a person or an identifying attribute in an
// alert of a type that names none (domain.md 4.9); an attribute that this node does not know is taken for one.
func RefuseAlert(directed bool, notice *formatv1.AlertNotice, subjects []*formatv1.Subject, files []*formatv1.File, lists Lists) string {
	if !directed {
		limits := []*formatv1.Limits{notice.GetLimits()}
		for _, file := range files {
			limits = append(limits, file.GetLimits())
		}
		for _, l := range limits {
			if tlp := l.GetTlp(); tlp != "" && (tlp == "RED" || !lists.Has("tlp", tlp)) {
				return refuseRed
			}
		}
	}
	for _, s := range subjects {
		if why, _ := lists.personal(notice.GetType(), s); why != "" {
			return refusePersonal
		}
	}
	return ""
}

func isPerson(s *formatv1.Subject) bool { return s.GetType() == "person" }

// trendsWithout are the subjects that a trend never has, whatever is said about them.
func trendsWithout() []string {
	return []string{"person", "organisation", "account", "phone", "vehicle"}
}

// personal says why a subject may not stand in an alert of a type, and at which part of it; empty when it may. What
// identifies a person is the column "personal" of the list subject-attributes; what is not there identifies one.
func (l Lists) personal(kind string, s *formatv1.Subject) (why, part string) {
	entry, _ := l.Entry("alert-types", kind)
	rule := entry.Fields["personal_data"]
	switch {
	case rule != "no" && rule != "forbidden":
		return "", ""
	case isPerson(s):
		return "an alert of this type names no person", ""
	case rule == "forbidden" && slices.Contains(trendsWithout(), s.GetType()):
		return "a trend names no person, organisation, account, telephone or vehicle", ""
	}
	for i, a := range s.GetAttributes() {
		if e, ok := l.Entry("subject:"+s.GetType(), a.GetName()); !ok || e.Fields["personal"] != "no" {
			return "an attribute can identify a person, and an alert of this type holds no personal data", fmt.Sprintf(".attributes[%d]", i)
		}
	}
	return "", ""
}

// personalData enforces that some types of alert hold none; domain.md 4.9. A trend's words are searched too.
func (f *findings) personalData(c AlertCompose) {
	for i, s := range c.Subjects {
		if why, part := f.lists.personal(c.Notice.GetType(), s); why != "" {
			f.fail(fmt.Sprintf("subjects[%d]%s", i, part), why)
		}
	}
	entry, _ := f.lists.Entry("alert-types", c.Notice.GetType())
	switch rule := entry.Fields["personal_data"]; {
	case rule == "forbidden":
		f.anonymous(c)
	case rule == "limited" && slices.ContainsFunc(c.Subjects, isPerson):
		f.warn("subjects", "an alert of this type names a person only where it cannot do without")
	}
}

// anonymous searches every text of a trend for what looks like an identifier.
func (f *findings) anonymous(c AlertCompose) {
	n := c.Notice
	if len(n.GetReferences()) > 0 {
		f.fail("references", "a trend points to no notice, warrant or entry of a list")
	}
	f.search("title", n.GetTitle())
	f.search("summary", n.GetSummary())
	f.search("details", n.GetDetails())
	f.search("urgency_reason", n.GetUrgencyReason().GetText())
	f.search("limits", n.GetLimits().GetHandlingText())
	f.search("tags", n.GetTags()...)
	for i, t := range n.GetTexts() {
		f.search(fmt.Sprintf("texts[%d].title", i), t.GetTitle())
		f.search(fmt.Sprintf("texts[%d].summary", i), t.GetSummary())
	}
	for i, p := range n.GetPlaces() {
		f.search(fmt.Sprintf("places[%d]", i), p.GetRegion(), p.GetName(), p.GetKind())
	}
	for i, s := range c.Subjects {
		f.search(fmt.Sprintf("subjects[%d]", i), s.GetReason(), s.GetConfidence())
		for j, a := range s.GetAttributes() {
			f.search(fmt.Sprintf("subjects[%d].attributes[%d]", i, j), a.GetValue(), a.GetKind(), a.GetNote())
		}
	}
	for i, file := range c.Files {
		f.anonymousFile(fmt.Sprintf("files[%d]", i), file)
	}
}

func (f *findings) anonymousFile(field string, file *formatv1.File) {
	f.search(field, file.GetName(), file.GetDescription())
	kind := file.GetMediaType()
	if strings.HasPrefix(kind, "text/") || kind == "application/json" || kind == "application/xml" {
		f.search(field, string(file.GetData()))
		return
	}
	f.warn(field, "nobody but you can see whether this file shows a person; a trend may not")
}

func (f *findings) search(field string, texts ...string) {
	var kinds []string
	for _, text := range texts {
		for _, kind := range identifiers(text) {
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	if len(kinds) > 0 {
		f.fail(field, "a trend holds no personal data, and this looks like "+strings.Join(kinds, " and "))
	}
}

var (
	mailAddress = regexp.MustCompile(`[^\s@<>()",;:]+@[^\s@<>()",;:]+\.[^\s@<>()",;:]+`)
	accountName = regexp.MustCompile(`(?:^|[\s(,;:])@[\pL\d_.]{2,}`)
	netAddress  = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	ibanShape   = regexp.MustCompile(`(?i)\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}`)
	// Digits as people write telephone and identity numbers. A comma does not join: it groups thousands and parts lists.
	digitRun = regexp.MustCompile(`\d(?:(?: ?- ?|[ ./]|[ -]?[()]{1,2} ?|\) \()?\d)+`)
	// Dates and spans of years, the only runs of seven digits and more that a trend is full of.
	datesOnly = regexp.MustCompile(`^` + someDate + `(?: ` + someDate + `)*$`)
	unitValue = regexp.MustCompile(`^\d{1,6}\pL{1,4}$`)
)

const someDate = `(?:(?:19|20)\d\d-[01]\d-[0-3]\d|[0-3]?\d[./-][01]?\d[./-](?:19|20)\d\d|(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d)`

// identifiers names the kinds of identifiers that a text seems to hold. It would rather see one too many: the author
// is there to write "1.5 million" for 1500000.
func identifiers(text string) []string {
	text = plain(text)
	var out []string
	found := func(yes bool, kind string) {
		if yes {
			out = append(out, kind)
		}
	}
	found(mailAddress.MatchString(text), "an e-mail address")
	found(accountName.MatchString(text), "the name of an online account")
	found(netAddress.MatchString(text), "an IP address")
	found(slices.ContainsFunc(ibanShape.FindAllString(text, -1), isIBAN), "an IBAN")
	found(slices.ContainsFunc(digitRun.FindAllString(text, -1), isLongNumber), "a telephone or identity number")
	found(slices.ContainsFunc(tokens(text), isCoded), "the number of a document or account")
	return out
}

// plain undoes the ways in which digits and signs are written differently for the eye or not at all.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case r > '\uff00' && r < '\uff5f': // full-width forms of ASCII
			return r - 0xfee0
		case r > unicode.MaxASCII && unicode.Is(unicode.Nd, r):
			return '0'
		case unicode.Is(unicode.Pd, r), r == '−', r == '_':
			return '-'
		case unicode.Is(unicode.Zs, r), r == '\t':
			return ' '
		}
		return r
	}, text)
}

func digits(s string) int {
	n := 0
	for _, r := range s {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

func isLongNumber(run string) bool { return digits(run) >= 7 && !datesOnly.MatchString(run) }

// tokens are the words of a text, with their inner dashes.
func tokens(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' })
}

// isCoded reports whether a word mixes letters and digits as numbers of passports, plates, accounts and wallets do, and
// as an amount with its unit does not.
func isCoded(token string) bool {
	n := digits(token)
	if n == 0 || !strings.ContainsFunc(token, unicode.IsLetter) {
		return false
	}
	return len(token) >= 20 || n >= 6 && !unitValue.MatchString(token) || n == 5 && !strings.Contains(token, "-") && !unitValue.MatchString(token)
}

// isIBAN computes the check of ISO 7064 (mod 97) over every length that an IBAN can have, for words may follow it.
func isIBAN(s string) bool {
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	for n := 15; n <= min(len(s), 34); n++ {
		rest := 0
		for _, r := range s[4:n] + s[:4] {
			switch {
			case r >= 'A':
				rest = (rest*100 + int(r-'A') + 10) % 97
			default:
				rest = (rest*10 + int(r-'0')) % 97
			}
		}
		if rest == 1 {
			return true
		}
	}
	return false
}
