package format

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// risky says whether a spreadsheet might take a cell for a formula, which could send what stands beside it anywhere; or
// whether it begins like one that was guarded.
func risky(s string) bool {
	s = strings.TrimLeft(s, " \u00a0")
	for _, begin := range []string{"=", "+", "-", "@", "\t", "\n", "\r", "＝", "＋", "－", "＠", "'"} {
		if strings.HasPrefix(s, begin) {
			return true
		}
	}
	return false
}

// guard puts an apostrophe before a risky cell; unguard takes away what guard puts, and no other apostrophe.
func guard(s string) string {
	if risky(s) {
		return "'" + s
	}
	return s
}

func unguard(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && risky(rest) {
		return rest
	}
	return s
}

// Within a cell, "|" parts the elements of a list. An element of a list of items is "path/path=value~note". A backslash
// takes the next character as it is.
const escapes = `\|~=/`

func escape(s, special string) string {
	var out strings.Builder
	for _, r := range s {
		if strings.ContainsRune(special, r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}

// unescape is false for a backslash at the end, or before a character that needs none.
func unescape(s string) (string, bool) {
	var out strings.Builder
	escaped := false
	for _, r := range s {
		switch {
		case escaped && !strings.ContainsRune(escapes, r):
			return "", false
		case r == '\\' && !escaped:
			escaped = true
			continue
		}
		escaped = false
		out.WriteRune(r)
	}
	return out.String(), !escaped
}

// cut cuts at the first separator that no backslash stands before.
func cut(s string, separator byte) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case separator:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func split(s string, separator byte) []string {
	var out []string
	for {
		before, after, found := cut(s, separator)
		out = append(out, before)
		if !found {
			return out
		}
		s = after
	}
}

// formatList leaves out empty elements: a list cell holds none.
func formatList(list []string) string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, escape(s, `\|`))
		}
	}
	return strings.Join(out, "|")
}

func parseList(s string) ([]string, bool) {
	var out []string
	for _, part := range split(s, '|') {
		element, ok := unescape(part)
		if !ok || element == "" {
			return nil, false
		}
		out = append(out, element)
	}
	return out, true
}

// item is an element of a cell with more to say than one word.
type item struct {
	path        [5]string
	value, note string
}

func formatItems(items []item) string {
	var out []string
	for _, it := range items {
		s := formatPath(it.path) + "=" + escape(it.value, `\|~`)
		if it.note != "" {
			s += "~" + escape(it.note, `\|~`)
		}
		out = append(out, s)
	}
	return strings.Join(out, "|")
}

// formatPath leaves out the empty parts at the end.
func formatPath(path [5]string) string {
	var parts []string
	used := 0
	for i, p := range path {
		parts = append(parts, escape(p, escapes))
		if p != "" {
			used = i + 1
		}
	}
	return strings.Join(parts[:used], "/")
}

func parseItems(s string) ([]item, bool) {
	var out []item
	for _, part := range split(s, '|') {
		it, ok := parseItem(part)
		if !ok {
			return nil, false
		}
		out = append(out, it)
	}
	return out, true
}

func parseItem(s string) (item, bool) {
	left, right, found := cut(s, '=')
	path := split(left, '/')
	var it item
	if !found || len(path) > len(it.path) {
		return item{}, false
	}
	ok := true
	take := func(to *string, s string) {
		clear, fine := unescape(s)
		*to, ok = clear, ok && fine
	}
	for i, p := range path {
		take(&it.path[i], p)
	}
	value, note, _ := cut(right, '~')
	take(&it.value, value)
	take(&it.note, note)
	return it, ok
}

// formatTime is a time in UTC by RFC 3339; parseTime takes a date alone too, and means its first moment.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

var decimal = regexp.MustCompile(`^(-?)(\d{1,3})(?:\.(\d{1,6}))?$`)

// formatDegrees writes millionths of a degree as a decimal number, exactly; empty for 0.
func formatDegrees(millionths int64) string {
	if millionths == 0 {
		return ""
	}
	sign := ""
	if millionths < 0 {
		sign, millionths = "-", -millionths
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%s%d.%06d", sign, millionths/1e6, millionths%1e6), "0"), ".")
}

func parseDegrees(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	m := decimal.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[2]+(m[3] + "000000")[:6], 10, 64)
	if m[1] == "-" {
		n = -n
	}
	return n, err == nil
}
