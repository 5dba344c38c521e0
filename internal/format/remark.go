package format

import (
	"regexp"
	"strings"
	"unicode"
)

// remark is one part of an entry's remarks, taken apart: "alt. Passport A12 (Peru) issued 1999". Put together again its
// parts hold every letter and digit of what was written.
type remark struct {
	rule rule
	// alt says that the part began with "alt. ", a further value of the same sort.
	alt bool
	// label is the beginning that the rule knows, as written.
	label string
	value string
	// country is a country's name as written; alpha2 is its code where the name is known.
	country, alpha2 string
	// rest is what followed: dates of issue and expiry.
	rest string
}

// note says what the value alone does not: label where it tells more than the attribute's name, an unknown country, rest.
func (r remark) note() string {
	var parts []string
	label := strings.TrimRight(r.label, " :#-")
	if r.rule.dropLabel {
		label = ""
	}
	if r.alt {
		label = strings.TrimSpace("alt. " + label)
	}
	country := r.country
	if r.alpha2 != "" {
		country = ""
	}
	for _, s := range []string{label, country, r.rest} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}

// splitRemarks splits at semicolons and takes away the full stop at the end. A semicolon within parentheses does not
// split, unless the parentheses do not balance.
func splitRemarks(s string) []string {
	nested := strings.Count(s, "(") == strings.Count(s, ")")
	depth := 0
	split := func(c rune) bool {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		return c == ';' && (!nested || depth <= 0)
	}
	var out []string
	for _, part := range strings.FieldsFunc(trimStop(s), split) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// The list ends remarks with a full stop, and writes one stop where an abbreviation comes last: "S.A. DE C.V."
var abbreviated = regexp.MustCompile(`(?i)(^|[^\pL.])((\pL\.){2,}|(LTDA?|INC|CO|CORP|CIA|JR|SR)\.)$`)

func trimStop(s string) string {
	s = strings.TrimSpace(s)
	if abbreviated.MatchString(s) {
		return s
	}
	return strings.TrimSuffix(s, ".")
}

// parse finds the rule for one part and takes the part apart; false when no rule understands it.
func (t tables) parse(listed Type, part string) (remark, bool) {
	r := remark{value: part}
	if rest, ok := strings.CutPrefix(part, "alt. "); ok {
		r.alt, r.value = true, rest
	}
	found, ok := t.match(listed, r.value)
	if !ok {
		return remark{}, false
	}
	r.rule = found
	if found.form != "whole" {
		r.label, r.value = r.value[:len(found.prefix)], strings.TrimLeft(r.value[len(found.prefix):], " :#")
	}
	return t.takeApart(r)
}

func (t tables) match(listed Type, s string) (rule, bool) {
	for _, r := range t.rules {
		if (r.listed == "any" || r.listed == string(listed)) && begins(s, r.prefix) {
			return r, true
		}
	}
	return rule{}, false
}

// begins reports whether s begins with the words of prefix, in whatever case.
func begins(s, prefix string) bool {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return false
	}
	rest := s[len(prefix):]
	return rest == "" || strings.ContainsRune(" :#(", rune(rest[0]))
}

// takeApart applies the form of the rule to the value; the forms are those of data/remarks.csv.
func (t tables) takeApart(r remark) (remark, bool) {
	if r.value == "" {
		return remark{}, false
	}
	switch r.rule.form {
	case "text", "whole":
		return r, true
	case "phone", "date":
		return r, hasDigit(r.value)
	case "country":
		r.alpha2 = t.countries[r.value]
		return r, true
	case "place":
		r.alpha2 = t.countryOf(r.value)
		return r, true
	case "quoted":
		return unquote(r)
	case "number":
		return t.number(r)
	case "asset":
		return asset(r)
	}
	return remark{}, false
}

// A number is followed by the country in parentheses and by dates, each of which may be absent. Parentheses with a
// digit in them belong to the number.
var numbered = regexp.MustCompile(`^(.*?)(?: \(([^()0-9]+)\))?(?:[ ,]+((?:issued|expires|expired)\b.*))?$`)

func (t tables) number(r remark) (remark, bool) {
	m := numbered.FindStringSubmatch(r.value)
	if m == nil || !hasDigit(m[1]) {
		return remark{}, false
	}
	r.value, r.country, r.rest = m[1], m[2], m[3]
	r.alpha2 = t.countries[r.country]
	return r, true
}

// unquote reads 'NAME', which may hold quotes of its own, and keeps what follows as rest.
func unquote(r remark) (remark, bool) {
	inside, ok := strings.CutPrefix(r.value, "'")
	last := strings.LastIndex(inside, "'")
	if !ok || strings.TrimSpace(inside[:max(last, 0)]) == "" {
		return remark{}, false
	}
	r.value, r.rest = inside[:last], strings.TrimSpace(inside[last+1:])
	return r, true
}

// asset reads "XBT 1Boat...": the label is completed by the currency, and the value is the address.
func asset(r remark) (remark, bool) {
	words := strings.Fields(r.value)
	if len(words) < 2 {
		return remark{}, false
	}
	r.label, r.value, r.rest = words[0], words[1], strings.Join(words[2:], " ")
	return r, true
}

// countryOf finds the country at the end of a place: "Culiacan, Sinaloa, Mexico". The longest ending that is a
// country's name wins, for some names hold a comma.
func (t tables) countryOf(place string) string {
	for {
		if code := t.countries[place]; code != "" {
			return code
		}
		_, rest, ok := strings.Cut(place, ",")
		if !ok {
			return ""
		}
		place = strings.TrimSpace(rest)
	}
}

func hasDigit(s string) bool { return strings.ContainsFunc(s, unicode.IsDigit) }

var (
	exactDate = regexp.MustCompile(`^\d{1,2} [A-Z][a-z]{2} \d{4}$`)
	yearOnly  = regexp.MustCompile(`^\d{4}$`)
)

// precision is the kind of a date of birth: "exact", "year" or "approximate".
func precision(date string) string {
	switch {
	case exactDate.MatchString(date):
		return "exact"
	case yearOnly.MatchString(date):
		return "year"
	}
	return "approximate"
}
