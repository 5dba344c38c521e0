package format

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/enlace-network/enlace/internal/fault"
)

// Limits of one file. The published list has stayed under a tenth of each.
const (
	maxRow  = 64 << 10
	maxRows = 200_000
	maxFile = 32 << 20
)

// row is one line of a headerless CSV file, with its line number counted from 1.
type row struct {
	line   int
	fields []string
}

// field is a value without surrounding space, empty for the list's mark of absence.
func (r row) field(i int) string { return strings.TrimSpace(r.raw(i)) }

// raw is a value with its surrounding space, empty for the list's mark of absence.
func (r row) raw(i int) string {
	if strings.TrimSpace(r.fields[i]) == "-0-" {
		return ""
	}
	return r.fields[i]
}

// rows reads a file line by line. A row is exactly one line: a quote that is left open spoils one row, not the rest of
// the file. Rows that are too long, not CSV, not text or not width fields wide are reported and skipped.
func rows(dir fs.FS, name string, width int, report func(Problem)) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		f, err := dir.Open(name)
		if err != nil {
			yield(row{}, openError(name, err))
			return
		}
		defer f.Close()
		for l, err := range lines(f, maxFile, maxRows) {
			if err != nil {
				yield(row{}, readError(name, err))
				return
			}
			r, reason := parseRow(l, width)
			if reason != "" {
				report(Problem{name, l.number, reason})
				continue
			}
			if r.fields != nil && !yield(r, nil) {
				return
			}
		}
	}
}

// line is one line without its end; long ones are cut off and marked.
type line struct {
	number int
	text   string
	long   bool
}

// lines splits a stream, holding one line of at most maxRow bytes at a time. A stream of more than bytes or rows ends
// with an error.
func lines(f io.Reader, bytes int64, rows int) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		limited := &io.LimitedReader{R: f, N: bytes + 1}
		r := bufio.NewReaderSize(limited, maxRow)
		for n := 1; ; n++ {
			l, err := nextLine(r, n)
			if limited.N <= 0 || n > rows && l.text != "" {
				yield(line{}, fault.New(fault.TooLarge, "too-large", "", "the file is larger than any such list"))
				return
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(line{}, err)
				return
			}
			if !yield(l, nil) || err != nil {
				return
			}
		}
	}
}

func nextLine(r *bufio.Reader, number int) (line, error) {
	b, err := r.ReadSlice('\n')
	l := line{number: number, text: string(bytes.TrimRight(b, "\r\n")), long: errors.Is(err, bufio.ErrBufferFull)}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return l, err
}

// parseRow reads one line. A line with nothing on it is no row and no problem.
func parseRow(l line, width int) (row, string) {
	text := strings.TrimSuffix(l.text, "\x1a")
	switch {
	case l.long:
		return row{}, fmt.Sprintf("the row is longer than %d bytes", maxRow)
	case strings.TrimSpace(text) == "":
		return row{}, ""
	case !utf8.ValidString(text):
		return row{}, "the row is not UTF-8 text"
	case strings.ContainsFunc(text, unicode.IsControl):
		return row{}, "the row holds a control character"
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = width
	fields, err := r.Read()
	if errors.Is(err, csv.ErrFieldCount) {
		return row{}, fmt.Sprintf("the row has %d fields, not %d", len(fields), width)
	}
	if err != nil {
		return row{}, "the row is not CSV: a quote is misplaced or left open"
	}
	return row{line: l.number, fields: fields}, ""
}

func openError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.NotFound, "no-list", "read "+name, "the file is not in the folder").
			WithHint("give a folder with " + strings.Join([]string{fileEntries, fileAddresses, fileAliases, fileComments}, ", "))
	}
	return readError(name, err)
}

func readError(name string, err error) error {
	if e := new(fault.Error); errors.As(err, &e) {
		return fault.New(e.Kind, e.Code, "read "+name, e.Say)
	}
	return fault.Wrap(err, fault.Internal, "", "read "+name, "the file cannot be read")
}
