package sqlite

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// conn is a connection with the statements it has prepared. Not safe for concurrent use.
type conn struct {
	db         *sqlite3.Conn
	statements map[string]*sqlite3.Stmt
}

// connect opens the database. The key goes in as a pragma: in the file name any code could read it back.
func connect(uri string, key [32]byte) (*conn, error) {
	db, err := sqlite3.Open(uri)
	if err != nil {
		return nil, failed("open ledger", err)
	}
	if err := prepare(db, key); err != nil {
		db.Close()
		return nil, err
	}
	return &conn{db, map[string]*sqlite3.Stmt{}}, nil
}

// prepare unlocks a connection and makes it safe, migrations' included.
func prepare(db *sqlite3.Conn, key [32]byte) error {
	// A connection with a wrong key sees an empty -wal. Closing the last connection would delete it, and with it
	// acknowledged transactions, so no connection may: the writer alone allows it at a clean end.
	if _, err := db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return failed("open ledger", err)
	}
	for _, pragma := range []string{
		"hexkey='" + hex.EncodeToString(key[:]) + "'",
		"synchronous=FULL",
		"busy_timeout=10000",
		"temp_store=MEMORY",
		"cell_size_check=ON",
		"trusted_schema=OFF",
		fmt.Sprintf("wal_autocheckpoint=%d", checkpointPages),
		fmt.Sprintf("journal_size_limit=%d", 2*checkpointPages*pageSize),
	} {
		if err := db.Exec("PRAGMA " + pragma); err != nil {
			return failed("open ledger", err)
		}
	}
	return nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	clear(c.statements)
	return failed("close ledger", errors.Join(append(errs, c.db.Close())...))
}

// statement returns the prepared statement of a query with its arguments bound.
func (c *conn) statement(query string, args []any) (*sqlite3.Stmt, error) {
	s, ok := c.statements[query]
	if !ok {
		var err error
		if s, _, err = c.db.PrepareFlags(query, sqlite3.PREPARE_PERSISTENT); err != nil {
			return nil, err
		}
		c.statements[query] = s
	}
	for i, arg := range args {
		if err := bind(s, i+1, arg); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func bind(s *sqlite3.Stmt, at int, arg any) error {
	switch arg := arg.(type) {
	case nil:
		return s.BindNull(at)
	case int:
		return s.BindInt(at, arg)
	case int64:
		return s.BindInt64(at, arg)
	case uint64:
		// Others choose numbers too. The highest that a column could hold is left free, for looking beyond all.
		if arg >= math.MaxInt64 {
			return fault.New(fault.Invalid, "malformed", "write ledger", "a number is below 2^63 - 1")
		}
		return s.BindInt64(at, int64(arg))
	case string:
		return s.BindText(at, arg)
	case message.ID:
		if arg.IsZero() {
			return s.BindZeroBlob(at, 0)
		}
		return s.BindBlob(at, arg[:])
	case message.Digest:
		return s.BindBlob(at, arg[:])
	case []byte:
		if len(arg) == 0 {
			return s.BindZeroBlob(at, 0) // a nil slice would be NULL
		}
		return s.BindBlob(at, arg)
	case time.Time:
		return s.BindInt64(at, millis(arg))
	}
	return fmt.Errorf("no column takes a %T", arg)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// exec runs a statement that returns no rows.
func (c *conn) exec(query string, args ...any) error {
	s, err := c.statement(query, args)
	if err == nil {
		err = s.Exec()
	}
	return failed("write ledger", err)
}

// each calls f for every row of a query, until one fails to read.
func (c *conn) each(f func(*row), query string, args ...any) error {
	s, err := c.statement(query, args)
	if err != nil {
		return failed("read ledger", err)
	}
	r := row{s: s}
	for r.err == nil && s.Step() {
		r.column = 0
		f(&r)
	}
	err = errors.Join(s.Err(), s.Reset())
	if r.err != nil {
		return fault.Wrap(r.err, fault.Internal, "damaged", "read ledger", "a record of the ledger cannot be read")
	}
	return failed("read ledger", err)
}

// one is each for a query of at most one row; it reports whether there was one.
func (c *conn) one(f func(*row), query string, args ...any) (bool, error) {
	found := false
	err := c.each(func(r *row) { found = true; f(r) }, query, args...)
	return found, err
}

// row reads the columns of one row in their order; the first error stays.
type row struct {
	s      *sqlite3.Stmt
	column int
	err    error
}

func (r *row) at() int { r.column++; return r.column - 1 }

func (r *row) text() string     { return r.s.ColumnText(r.at()) }
func (r *row) integer() int64   { return r.s.ColumnInt64(r.at()) }
func (r *row) number() int      { return int(r.integer()) }
func (r *row) unsigned() uint64 { return uint64(r.integer()) }

// blob is a copy; nil where the column is empty.
func (r *row) blob() []byte {
	b := r.s.ColumnBlob(r.at(), nil)
	if len(b) == 0 {
		return nil
	}
	return b
}

func (r *row) time() time.Time {
	ms := r.integer()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (r *row) digest() message.Digest {
	return parsed(r, r.s.ColumnRawBlob(r.at()), message.DigestFromBytes)
}

func (r *row) id() message.ID { return parsed(r, r.s.ColumnRawBlob(r.at()), message.IDFromBytes) }

func (r *row) name() authority.Name { return parsed(r, r.text(), authority.ParseName) }

func (r *row) node() authority.Node { return parsed(r, r.text(), authority.ParseNode) }

func (r *row) category() authority.Category { return parsed(r, r.text(), authority.ParseCategory) }

func (r *row) fingerprint() authority.Fingerprint {
	return parsed(r, r.s.ColumnRawBlob(r.at()), authority.ParseFingerprint)
}

// names, states and words read lists of [packWords].
func (r *row) names() []authority.Name {
	return parsed(r, r.text(), func(s string) ([]authority.Name, error) { return unpackWords(s, authority.ParseName) })
}

func (r *row) states() []authority.State {
	return parsed(r, r.text(), func(s string) ([]authority.State, error) { return unpackWords(s, authority.ParseState) })
}

func (r *row) words() []string {
	return parsed(r, r.text(), func(s string) ([]string, error) {
		return unpackWords(s, func(w string) (string, error) { return w, nil })
	})
}

// key reads the two columns id and sender.
func (r *row) key() message.Key {
	id := r.id()
	return message.Key{Sender: r.name(), ID: id}
}

// parsed reads a value through its parser; an empty column is the zero value.
func parsed[T any, S string | []byte](r *row, column S, parse func(S) (T, error)) T {
	var zero T
	if len(column) == 0 {
		return zero
	}
	v, err := parse(column)
	r.err = errors.Join(r.err, err)
	return v
}

// failed turns an error of the engine into one of the house. Errors that are ours already stay.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	var ours *fault.Error
	var code sqlite3.ErrorCode
	switch {
	case errors.As(err, &ours):
		return err
	case errors.Is(err, sqlite3.INTERRUPT):
		return context.Canceled
	case errors.Is(err, sqlite3.FULL):
		return fault.Wrap(err, fault.Retry, "disk-full", op, "the disk has no room for the ledger").
			WithHint("free space on the data disk; nothing is lost and work goes on by itself")
	case errors.Is(err, sqlite3.IOERR_DATA), errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		return fault.Wrap(err, fault.Internal, "damaged", op, "the ledger's file is damaged").
			WithHint("stop the node, keep the files and restore the ledger from its backup")
	case errors.As(err, &code) && (code == sqlite3.IOERR || code == sqlite3.BUSY || code == sqlite3.CANTOPEN || code == sqlite3.READONLY):
		return fault.Wrap(err, fault.Retry, "storage-failed", op, "the data disk does not take or give the ledger's bytes").
			WithHint("look at the data disk and its permissions")
	}
	return fault.Wrap(err, fault.Internal, "", op, "the ledger's engine failed")
}
