package format

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// mostSubjects is what receivers take of one alert; see message.Bounded.
const mostSubjects = 256

// AlertColumns are the columns of the table of alerts in the order in which WriteAlerts writes them.
func AlertColumns() []string {
	out := []string{columnNumber}
	for _, c := range alertColumns() {
		out = append(out, c.name)
	}
	for _, c := range subjectColumns() {
		out = append(out, c.name)
	}
	return out
}

// ReadAlerts reads a table of alerts (see the package comment for its form), alert by alert. name is the name of the
// file in what goes to report, which must not be nil. An alert is read whole or not at all: a row that cannot be read is
// reported and takes its alert with it. A table without a header that it can read (invalid), of more than 256 MiB
// (too-large), or a failing r ends the sequence with an error. Memory is one alert.
func ReadAlerts(r io.Reader, name string, report func(Problem)) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		t := &tableReader{name: name, report: report}
		for rec, err := range splitTable(r) {
			if err == nil && t.at == nil {
				err = t.header(rec)
				rec = record{}
			}
			if err != nil {
				yield(Alert{}, readError(name, err))
				return
			}
			if done := t.row(rec); done != nil && !yield(*done, nil) {
				return
			}
		}
		if t.at == nil {
			yield(Alert{}, tableError(fault.Invalid, "no-header", "the table is empty"))
			return
		}
		if t.current != nil {
			yield(*t.current, nil)
		}
	}
}

// tableReader gathers the rows of one alert after the other.
type tableReader struct {
	name   string
	report func(Problem)
	// at is where each column stands; nil before the header.
	at    map[string]int
	width int
	// number is the alert of the row before, current what was read of it, nil once one of its rows was refused.
	number  uint64
	current *Alert
	cells   map[string]string
	// lost is the alert of a row that stood on the last line of one that could not be read.
	lost string
}

func (t *tableReader) header(rec record) error {
	if rec.fault != "" {
		return tableError(fault.Invalid, "no-header", "the first row is not the header of a table of alerts")
	}
	at := map[string]int{}
	for i, name := range rec.fields {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := at[name]; twice || !slices.Contains(AlertColumns(), name) {
			return tableError(fault.Invalid, "no-header", "column "+strconv.Itoa(i+1)+" of the first row is unknown or there twice")
		}
		at[name] = i
	}
	if _, ok := at[columnNumber]; !ok {
		return tableError(fault.Invalid, "no-header", "the first row names no column \""+columnNumber+"\"")
	}
	t.at, t.width = at, len(rec.fields)
	return nil
}

// row takes a row in, and hands out the alert before when the row begins another. The zero record is nothing.
func (t *tableReader) row(rec record) *Alert {
	if rec.line == 0 {
		return nil
	}
	number, reason := t.numberOf(rec)
	var done *Alert
	switch {
	case number == 0:
		if t.current != nil {
			reason += "; the alert before it is left out too, for it may be one of its rows"
		}
		t.current = nil
	case number > t.number:
		done = t.current
		t.begin(number)
	case number < t.number:
		reason = "the numbers of the alerts do not ascend"
	}
	if reason == "" && t.current == nil {
		reason = "another row of its alert was not read"
	}
	if reason == "" {
		reason = t.take(rec)
	}
	if reason != "" && number == t.number && t.current != nil {
		reason += "; its alert is left out"
		t.current = nil
	}
	if reason != "" {
		t.report(Problem{t.name, rec.line, reason})
	}
	if rec.fault != "" {
		t.lost = rec.last
	}
	return done
}

func (t *tableReader) begin(number uint64) {
	t.number, t.current, t.cells = number, nil, nil
	if strconv.FormatUint(number, 10) != t.lost {
		t.current = &Alert{AlertCompose: message.AlertCompose{Notice: &formatv1.AlertNotice{Version: 1}}}
	}
}

// numberOf is the number of the row's alert, also of a row that cannot be read where it can be guessed; else 0.
func (t *tableReader) numberOf(rec record) (uint64, string) {
	reason, cell := rec.fault, rec.first
	if reason == "" {
		if len(rec.fields) != t.width {
			reason = "the row has another number of cells than the header"
		}
		if i := t.at[columnNumber]; i < len(rec.fields) {
			cell = rec.fields[i]
		}
	} else if t.at[columnNumber] != 0 {
		return 0, reason
	}
	n, err := strconv.ParseUint(strings.TrimSpace(cell), 10, 63)
	if err != nil || n == 0 {
		return 0, cmp.Or(reason, "the number of the alert is not a positive number")
	}
	return n, reason
}

// take reads the cells of a row into the current alert; the reason where it cannot.
func (t *tableReader) take(rec record) string {
	cell := func(name string) string {
		if i, ok := t.at[name]; ok {
			return unguard(rec.fields[i])
		}
		return ""
	}
	if reason := t.takeAlert(cell); reason != "" {
		return reason
	}
	s := &formatv1.Subject{}
	said := false
	for _, c := range subjectColumns() {
		v := cell(c.name)
		if said = said || v != ""; v != "" && !c.set(s, v) {
			return "the cell " + c.name + " cannot be read"
		}
	}
	if said {
		t.current.Subjects = append(t.current.Subjects, s)
	}
	if len(t.current.Subjects) > mostSubjects {
		return "the alert has more than 256 subjects"
	}
	return ""
}

// takeAlert reads what the first row of an alert says for all. Further rows say it again, or nothing.
func (t *tableReader) takeAlert(cell func(string) string) string {
	first := t.cells == nil
	if first {
		t.cells = map[string]string{}
	}
	for _, c := range alertColumns() {
		v := cell(c.name)
		if first {
			t.cells[c.name] = v
			if v != "" && !c.set(t.current, v) {
				return "the cell " + c.name + " cannot be read"
			}
			continue
		}
		if v != "" && v != t.cells[c.name] {
			return "the cell " + c.name + " differs from that of the alert's first row"
		}
	}
	if unaddressed(*t.current) {
		return "category, urgency, status and distribution must be filled in"
	}
	return ""
}

// unaddressed says whether an alert lacks what nothing may be guessed for.
func unaddressed(a Alert) bool {
	return a.Category.IsZero() || a.Urgency == "" || a.Status == "" || a.Distribution == ""
}

// WriteAlerts writes a table of alerts that ReadAlerts reads back the same, but for the files, which a table does not
// hold, for the alert's own reference and version, which its issuer gives, and for empty elements of lists. Line breaks
// in texts become LF. An alert that a table cannot hold goes to report, which must not be nil, with its place in the
// sequence from 1 as the line, and is left out: one with a row of more than 64 KiB, or with a text that is no text. The
// error is internal where w fails, or too-large for a table of more than 256 MiB.
func WriteAlerts(w io.Writer, alerts iter.Seq[Alert], report func(Problem)) error {
	var t tableWriter
	t.row(AlertColumns())
	place, number, total := 0, uint64(1), 0
	for a := range alerts {
		place++
		begin := t.buffer.Len()
		if reason := t.alert(number, a); reason != "" {
			t.buffer.Truncate(begin)
			report(Problem{"alerts", place, reason})
			continue
		}
		number++
		if total += t.buffer.Len(); total > maxTable {
			return fault.New(fault.TooLarge, "too-large", "write alerts", "a table has at most 256 MiB; write fewer alerts")
		}
		if _, err := t.buffer.WriteTo(w); err != nil {
			return fault.Wrap(err, fault.Internal, "", "write alerts", "the table cannot be written")
		}
	}
	if _, err := t.buffer.WriteTo(w); err != nil {
		return fault.Wrap(err, fault.Internal, "", "write alerts", "the table cannot be written")
	}
	return nil
}

// tableWriter holds the rows of one alert until all of them are known to be good.
type tableWriter struct{ buffer bytes.Buffer }

// row appends a row and returns its size.
func (t *tableWriter) row(cells []string) int {
	begin := t.buffer.Len()
	w := csv.NewWriter(&t.buffer)
	_ = w.Write(cells) // a buffer takes all, and a comma is a fine comma
	w.Flush()
	return t.buffer.Len() - begin
}

// alert appends the rows of an alert; the reason where a table cannot hold it.
func (t *tableWriter) alert(number uint64, a Alert) string {
	if a.Notice == nil || unaddressed(a) || len(a.Subjects) > mostSubjects {
		return "the alert is empty, or has no category, urgency, status or distribution, or more than 256 subjects"
	}
	a.Notice = proto.CloneOf(a.Notice) // reading a cell may fill an empty part in
	scratch := Alert{AlertCompose: message.AlertCompose{Notice: &formatv1.AlertNotice{}}}
	head, reason := cellsOf(alertColumns(), &a, &scratch)
	if reason != "" {
		return reason
	}
	subjects := a.Subjects
	if len(subjects) == 0 {
		subjects = []*formatv1.Subject{{}}
	}
	for i, s := range subjects {
		if i == 1 {
			head = make([]string, len(head))
		}
		tail, reason := cellsOf(subjectColumns(), s, &formatv1.Subject{})
		if reason != "" {
			return reason
		}
		if len(a.Subjects) > 0 && strings.Join(tail, "") == "" {
			return "a subject is empty"
		}
		if t.row(slices.Concat([]string{strconv.FormatUint(number, 10)}, head, tail)) > maxRow {
			return "a row of the alert would be longer than 65,536 bytes"
		}
	}
	return ""
}

// cellsOf writes the cells of a value, and reads each into scratch: what could not be read back is not written.
func cellsOf[T any](columns []column[T], value, scratch *T) ([]string, string) {
	var out []string
	for _, c := range columns {
		cell := strings.ReplaceAll(strings.ReplaceAll(c.get(value), "\r\n", "\n"), "\r", "\n")
		if cell != "" && (!isText(cell) || !c.set(scratch, cell)) {
			return nil, "the cell " + c.name + " could not be read back"
		}
		out = append(out, guard(cell))
	}
	return out, ""
}
