package postgres

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

// answerWithin bounds each call to the server. A server that is slower has failed.
const answerWithin = 30 * time.Second

// conn is a connection with the statements it has prepared. Not safe for concurrent use.
type conn struct {
	pg         *pgconn.PgConn
	cells      *cells
	statements map[string]*pgconn.StatementDescription
	// ctx is that of the transaction that runs.
	ctx context.Context
	// warned is set by a warning of the server, such as that a commit was not waited for to the end.
	warned bool
}

var _ records.Conn = (*conn)(nil)

func (c *conn) close() { c.within(func(ctx context.Context) error { return c.pg.Close(ctx) }) }

// within runs a call with its bound.
func (c *conn) within(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.ctx, answerWithin)
	defer cancel()
	return call(ctx)
}

// gone says whether the connection cannot be used any more.
func (c *conn) gone() bool { return c.pg.IsClosed() }

// inside says whether a transaction is open on it.
func (c *conn) inside() bool { return !c.gone() && c.pg.TxStatus() != 'I' }

// command runs statements without arguments, in one round trip, and returns the tag of the last.
func (c *conn) command(sql string) (string, error) {
	var tag string
	err := c.within(func(ctx context.Context) error {
		results, err := c.pg.Exec(ctx, sql).ReadAll()
		if err == nil && len(results) > 0 {
			tag = results[len(results)-1].CommandTag.String()
		}
		return err
	})
	return tag, failed("use ledger", err)
}

// do is command without an answer.
func (c *conn) do(sql string) error {
	_, err := c.command(sql)
	return err
}

// Exec implements [records.Conn].
func (c *conn) Exec(query string, args ...any) (int64, error) {
	var tag pgconn.CommandTag
	err := c.run(query, args, func(r *pgconn.ResultReader) (err error) {
		tag, err = r.Close()
		return err
	})
	return tag.RowsAffected(), failed("write ledger", err)
}

// Each implements [records.Conn].
func (c *conn) Each(f func(records.Columns) bool, query string, args ...any) error {
	return failed("read ledger", c.run(query, args, func(r *pgconn.ResultReader) error {
		for r.NextRow() && f(columns{r.Values(), c.cells}) {
		}
		_, err := r.Close()
		return err
	}))
}

// first is the first column of the one row of a query, as text; found is false where there is none.
func (c *conn) first(query string, args ...any) (value string, found bool, err error) {
	err = c.Each(func(row records.Columns) bool { value, found = row.Text(0), true; return true }, query, args...)
	return value, found, err
}

// number is first of an integer; 0 where there is none.
func (c *conn) number(query string, args ...any) (n int64, found bool, err error) {
	err = c.Each(func(row records.Columns) bool { n, found = row.Integer(0), true; return true }, query, args...)
	return n, found, err
}

// run binds the arguments: integers and texts as text, so that the server makes of them what its column is; blobs as
// they are. Answers come in their binary form.
func (c *conn) run(query string, args []any, read func(*pgconn.ResultReader) error) error {
	values, formats := make([][]byte, len(args)), make([]int16, len(args))
	for i, arg := range args {
		var err error
		if values[i], formats[i], err = c.bind(arg); err != nil {
			return err
		}
	}
	return c.within(func(ctx context.Context) error {
		s, err := c.statement(ctx, query)
		if err != nil {
			return err
		}
		return read(c.pg.ExecPrepared(ctx, s.Name, values, formats, []int16{binaryFormat}))
	})
}

const (
	textFormat   = 0
	binaryFormat = 1
)

func (c *conn) bind(arg any) ([]byte, int16, error) {
	if private, ok := arg.(records.Private); ok {
		sealed, err := c.cells.seal(private)
		return sealed, binaryFormat, err
	}
	plain, err := records.Plain(arg)
	if err != nil {
		return nil, 0, err
	}
	switch plain := plain.(type) {
	case int64:
		return strconv.AppendInt(nil, plain, 10), textFormat, nil
	case string:
		if !utf8.ValidString(plain) || strings.ContainsRune(plain, 0) {
			return nil, 0, fault.New(fault.Invalid, "malformed", "write ledger", "a text is UTF-8 without zero bytes")
		}
		return []byte(plain), textFormat, nil
	case []byte:
		return plain, binaryFormat, nil
	}
	return nil, binaryFormat, nil // NULL
}

// statement prepares a query once for each connection.
func (c *conn) statement(ctx context.Context, query string) (*pgconn.StatementDescription, error) {
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	s, err := c.pg.Prepare(ctx, "s"+strconv.Itoa(len(c.statements)), translate(query), nil)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

// translate writes the SQL of room records as this server reads it.
func translate(query string) string {
	query = strings.ReplaceAll(query, "x''", "''::bytea")
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return withoutHints(b.String())
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// withoutHints leaves out which index SQLite is to walk.
func withoutHints(query string) string {
	for {
		before, after, found := strings.Cut(query, " INDEXED BY ")
		if !found {
			return query
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r == ' ' || r == '\n' || r == '\t' })
		query = before + after[max(end, 0):]
	}
}

// columns are those of one row; NULL reads as zero.
type columns struct {
	values [][]byte
	cells  *cells
}

func (c columns) Text(column int) string { return string(c.values[column]) }

func (c columns) Blob(column int) []byte { return c.values[column] }

func (c columns) Integer(column int) int64 {
	switch b := c.values[column]; len(b) {
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

func (c columns) Open(column int, cell records.Cell) ([]byte, error) {
	return c.cells.open(cell, c.values[column])
}
