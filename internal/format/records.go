package format

import (
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxTable bounds a table of alerts.
const maxTable = 256 << 20

const byteOrderMark = "\ufeff"

// record is a row of a table, which may go over several lines within quotes. One that cannot be read says why, and holds
// the text before the first comma of its first and of its last line: which may have been a row of its own.
type record struct {
	line        int
	fields      []string
	fault       string
	first, last string
}

// gathering collects the lines of one record.
type gathering struct {
	comma byte
	start int
	end   int
	text  strings.Builder
	open  bool
}

// splitTable splits a table into records. A row that cannot be read ends where it goes wrong: at the end of the line, so that a quote
// left open spoils the rows up to the next quote and no more, and never more than maxRow bytes. Memory is one row.
func splitTable(r io.Reader) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		g := gathering{comma: ','}
		for l, err := range lines(r, maxTable, math.MaxInt) {
			if err != nil {
				yield(record{}, err)
				return
			}
			if l.number == 1 {
				l.text = strings.TrimPrefix(l.text, byteOrderMark)
				g.comma = commaOf(l.text)
			}
			if rec, done := g.add(l); done && !yield(rec, nil) {
				return
			}
		}
		if g.open {
			yield(g.broken("a quote is left open"), nil)
		}
	}
}

// commaOf is what parts the cells: spreadsheets of many countries write a semicolon.
func commaOf(header string) byte {
	if strings.Count(header, ";") > strings.Count(header, ",") {
		return ';'
	}
	return ','
}

// add takes a line in; done when it completed a record, readable or not. A line with nothing on it is no record.
func (g *gathering) add(l line) (record, bool) {
	if !g.open {
		if !l.long && strings.TrimSpace(l.text) == "" {
			return record{}, false
		}
		g.start = l.number
		g.text.Reset()
	}
	if g.open {
		g.text.WriteByte('\n')
	}
	g.end = l.number
	text := l.text
	room := maxRow - 1 - g.text.Len()
	if l.long || len(text) > room {
		g.text.WriteString(text[:max(0, min(len(text), room))])
		return g.broken("the row is too long; it has at most 65,536 bytes"), true
	}
	g.text.WriteString(text)
	open, ok := scan(text, g.comma, g.open)
	if !ok {
		return g.broken("the row is not CSV: a quote is misplaced or left open before"), true
	}
	g.open = open
	if open {
		return record{}, false
	}
	return g.whole(), true
}

func (g *gathering) broken(fault string) record {
	g.open = false
	text := g.text.String()
	begin := func(s string) string {
		s, _, _ = strings.Cut(s, string(g.comma))
		return strings.Trim(s, `"`)
	}
	if g.end > g.start {
		fault = fmt.Sprintf("%s; lines %d to %d are lost with it", fault, g.start+1, g.end)
	}
	return record{line: g.start, fault: fault, first: begin(text), last: begin(text[strings.LastIndexByte(text, '\n')+1:])}
}

func (g *gathering) whole() record {
	text := g.text.String()
	if !isText(text) {
		return g.broken("the row is not UTF-8 text, or holds a control character")
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = rune(g.comma), -1
	fields, err := r.Read()
	if err != nil {
		return g.broken("the row is not CSV")
	}
	return record{line: g.start, fields: fields}
}

// isText allows line breaks and tabs among control characters.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) })
}

// scan follows the quotes of one line by RFC 4180: open says that the last cell goes on in the next line, ok is false
// for a quote where none may stand.
func scan(text string, comma byte, inside bool) (open, ok bool) {
	const begin, bare, quoted, closed = 0, 1, 2, 3
	state := begin
	if inside {
		state = quoted
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case state == quoted && c == '"':
			state = closed
		case state == quoted:
		case state == closed && c == '"', state == begin && c == '"':
			state = quoted
		case c == comma:
			state = begin
		case state == closed, c == '"':
			return false, false
		default:
			state = bare
		}
	}
	return state == quoted, true
}

func tableError(kind fault.Kind, code, say string) error {
	return fault.New(kind, code, "read alerts", say)
}
