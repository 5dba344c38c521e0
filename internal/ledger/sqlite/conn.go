package sqlite

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
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

// bind takes what [records.Plain] makes of an argument.
func bind(s *sqlite3.Stmt, at int, arg any) error {
	if private, ok := arg.(records.Private); ok {
		return bindPrivate(s, at, private)
	}
	plain, err := records.Plain(arg)
	if err != nil {
		return err
	}
	switch arg := plain.(type) {
	case int64:
		return s.BindInt64(at, arg)
	case string:
		return s.BindText(at, arg)
	case []byte:
		return bindBlob(s, at, arg)
	}
	return s.BindNull(at)
}

// bindPrivate keeps a value as it is: the whole file is encrypted.
func bindPrivate(s *sqlite3.Stmt, at int, arg records.Private) error {
	if arg.Text {
		return s.BindRawText(at, arg.Value)
	}
	return bindBlob(s, at, arg.Value)
}

func bindBlob(s *sqlite3.Stmt, at int, b []byte) error {
	if len(b) == 0 {
		return s.BindZeroBlob(at, 0) // an empty slice would be NULL
	}
	return s.BindBlob(at, b)
}

// Exec implements [records.Conn].
func (c *conn) Exec(query string, args ...any) (int64, error) {
	s, err := c.statement(query, args)
	if err == nil {
		err = s.Exec()
	}
	if err != nil {
		return 0, failed("write ledger", err)
	}
	return c.db.Changes(), nil
}

// Each implements [records.Conn].
func (c *conn) Each(f func(records.Columns) bool, query string, args ...any) error {
	s, err := c.statement(query, args)
	if err != nil {
		return failed("read ledger", err)
	}
	row := columns{s}
	for s.Step() && f(row) {
	}
	return failed("read ledger", errors.Join(s.Err(), s.Reset()))
}

// exec runs a statement that returns no rows.
func (c *conn) exec(query string) error {
	_, err := c.Exec(query)
	return err
}

// number is the one number of a query.
func (c *conn) number(query string) (n int64, err error) {
	err = c.Each(func(row records.Columns) bool { n = row.Integer(0); return true }, query)
	return n, err
}

// columns are those of the row that a statement stands on.
type columns struct{ s *sqlite3.Stmt }

func (c columns) Text(column int) string   { return c.s.ColumnText(column) }
func (c columns) Integer(column int) int64 { return c.s.ColumnInt64(column) }
func (c columns) Blob(column int) []byte   { return c.s.ColumnRawBlob(column) }

func (c columns) Open(column int, _ records.Cell) ([]byte, error) {
	return c.s.ColumnRawBlob(column), nil
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
