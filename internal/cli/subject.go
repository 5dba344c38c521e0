package cli

import (
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// subjectSyntax is shown wherever a subject is typed.
const subjectSyntax = "'TYPE;role=ROLE;reason=WHY;ATTRIBUTE[/KIND[/COUNTRY]]=VALUE;...', with \\; for a semicolon in a value"

// parseSubject reads one subject as typed at the command line, such as
//
//	person;role=suspect;reason=driver of the lorry;name=Ana Nuñez;name/alias=La Flaca;identity-number/passport/mx=G1234567
//
// Fields are separated by semicolons; a backslash takes the next character as it is. The first field is the type;
// role, reason, minor and confidence are the subject's own; every other key is an attribute of that type in the list
// subject-attributes, with the kind of value and the country of issue behind slashes. Values are kept as written,
// without the spaces around them.
func parseSubject(s string, w words) (*formatv1.Subject, error) {
	fields, err := splitFields(s)
	if err != nil {
		return nil, err
	}
	out := &formatv1.Subject{Type: strings.TrimSpace(fields[0])}
	if len(w.lists.Codes("subject:"+out.Type)) == 0 {
		return nil, w.badSubject("there is no subject of type " + quoted(out.Type)).WithHint("the types are " + strings.Join(w.subjectTypes(), ", "))
	}
	seen := map[string]bool{}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || value == "" {
			return nil, w.badSubject(quoted(field) + " is not KEY=VALUE")
		}
		if own := ownField(out, key); own != nil {
			if seen[key] {
				return nil, w.badSubject(key + " is given twice")
			}
			seen[key], *own = true, value
			continue
		}
		a, err := w.attribute(out.Type, key, value)
		if err != nil {
			return nil, err
		}
		out.Attributes = append(out.Attributes, a)
	}
	return out, nil
}

// ownField is the field of the subject itself that a key means, or nil.
func ownField(s *formatv1.Subject, key string) *string {
	switch key {
	case "role":
		return &s.Role
	case "reason":
		return &s.Reason
	case "minor":
		return &s.Minor
	case "confidence":
		return &s.Confidence
	}
	return nil
}

func (w words) attribute(subject, key, value string) (*formatv1.Attribute, error) {
	parts := strings.Split(key, "/")
	list := "subject:" + subject
	entry, ok := w.lists.Entry(list, parts[0])
	if !ok || len(parts) > 3 {
		return nil, w.badSubject(quoted(key) + " is not an attribute of a " + subject).
			WithHint("a " + subject + " has " + strings.Join(w.lists.Codes(list), ", ") + "; and role, reason, minor, confidence")
	}
	a := &formatv1.Attribute{Name: parts[0], Value: value}
	if len(parts) > 1 {
		a.Kind = parts[1]
	}
	if len(parts) > 2 {
		a.Country = parts[2]
	}
	if kinds := entry.Fields["kinds"]; a.Kind != "" && kinds != "" && !strings.Contains("|"+kinds+"|", "|"+a.Kind+"|") {
		return nil, w.badSubject(quoted(a.Kind) + " is not a kind of " + a.Name).
			WithHint("the kinds are " + strings.ReplaceAll(kinds, "|", ", "))
	}
	if a.Country != "" && !isCountry(a.Country) {
		return nil, w.badSubject(quoted(a.Country) + " is not a country: two lower-case letters, such as mx")
	}
	return a, nil
}

// isCountry has the shape of ISO 3166 alpha-2 in lower case; the world has more countries than the network members.
func isCountry(s string) bool {
	return len(s) == 2 && 'a' <= s[0] && s[0] <= 'z' && 'a' <= s[1] && s[1] <= 'z'
}

func (w words) subjectTypes() []string {
	var out []string
	for _, name := range w.lists.Names() {
		if t, ok := strings.CutPrefix(name, "subject:"); ok {
			out = append(out, t)
		}
	}
	return out
}

func (words) badSubject(say string) *fault.Error {
	return fault.New(fault.Usage, "malformed-subject", "read subject", say).WithHint("write " + subjectSyntax)
}

// splitFields splits at semicolons and takes the backslashes out. There is always a first field.
func splitFields(s string) ([]string, error) {
	var fields []string
	var field strings.Builder
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			field.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ';':
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteRune(r)
		}
	}
	if escaped {
		return nil, fault.New(fault.Usage, "malformed-subject", "read subject", "a backslash stands at the end").
			WithHint("write \\\\ for a backslash")
	}
	fields = append(fields, field.String())
	if fields[len(fields)-1] == "" && len(fields) > 1 {
		fields = fields[:len(fields)-1] // a semicolon at the end is harmless
	}
	return fields, nil
}

// quoted shows a piece of what was typed, cut and cleaned.
func quoted(s string) string { return "\"" + cut(s, 40) + "\"" }
