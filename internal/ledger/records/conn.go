package records

import (
	"fmt"
	"math"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// Conn is one connection of an engine, inside a transaction. Not safe for concurrent use.
//
// Arguments are what [Plain] takes. Errors are faults, as [ledger.Ledger] names them.
type Conn interface {
	// Exec runs a statement without rows and tells how many it has changed.
	Exec(query string, args ...any) (changed int64, err error)
	// Each calls f for every row of a query until it returns false. f uses the columns before it returns, and runs no
	// other statement on the connection.
	Each(f func(Columns) bool, query string, args ...any) error
}

// Columns are the columns of one row, numbered from 0.
type Columns interface {
	Text(column int) string
	Integer(column int) int64
	// Blob may be valid for this row only.
	Blob(column int) []byte
	// Open is the value of a private column, as Blob.
	Open(column int, cell Cell) ([]byte, error)
}

// Cell is one column of one row. A private value is bound to its cell: moved to another, it does not open.
type Cell struct{ Table, Column, Row string }

// Private is an argument that an engine seals where others can read its files.
type Private struct {
	Cell Cell
	// Value may be empty: it is then none, and is kept as it is.
	Value []byte
	// Text says that an engine which does not seal keeps it in a column of text.
	Text bool
}

// place is a row, for the cells in it.
type place struct{ table, row string }

// placed names a row by its key. No part of a key but the last holds a zero byte, or all before it are of one length.
func placed[T ~string | ~[]byte](table string, key T, more string) place {
	return place{table, string(key) + "\x00" + more}
}

func (p place) text(column, value string) Private {
	return Private{Cell{p.table, column, p.row}, []byte(value), true}
}

func (p place) blob(column string, value []byte) Private {
	return Private{Cell{p.table, column, p.row}, value, false}
}

// Plain is an argument as one of the four an engine binds: int64, string, []byte (never nil), or nil for NULL. A
// [Private] is the engine's own affair. Invalid "malformed" for a number that no column holds.
func Plain(arg any) (any, error) {
	switch arg := arg.(type) {
	case nil, int64, string:
		return arg, nil
	case int:
		return int64(arg), nil
	case uint64:
		// Others choose numbers too. The highest that a column could hold is left free, for looking beyond all.
		if arg >= math.MaxInt64 {
			return nil, fault.New(fault.Invalid, "malformed", "write ledger", "a number is below 2^63 - 1")
		}
		return int64(arg), nil
	case message.ID:
		if arg.IsZero() {
			return []byte{}, nil
		}
		return arg[:], nil
	case message.Digest:
		return arg[:], nil
	case []byte:
		if arg == nil {
			return []byte{}, nil // nil would be NULL
		}
		return arg, nil
	case time.Time:
		return millis(arg), nil
	}
	return nil, fmt.Errorf("no column takes a %T", arg)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// conn is an engine's connection with what the statements here want of it.
type conn struct{ Conn }

// exec runs a statement that returns no rows.
func (c conn) exec(query string, args ...any) error {
	_, err := c.Exec(query, args...)
	return err
}

// each calls f for every row of a query, until one fails to read.
func (c conn) each(f func(*row), query string, args ...any) error {
	var r row
	err := c.Each(func(columns Columns) bool {
		r.columns, r.column = columns, 0
		f(&r)
		return r.err == nil
	}, query, args...)
	if r.err != nil {
		return fault.Wrap(r.err, fault.Internal, "damaged", "read ledger", "a record of the ledger cannot be read")
	}
	return err
}

// one is each for a query of at most one row; it reports whether there was one.
func (c conn) one(f func(*row), query string, args ...any) (bool, error) {
	found := false
	err := c.each(func(r *row) { found = true; f(r) }, query, args...)
	return found, err
}

// list collects the rows of a query.
func list[T any](c conn, scan func(*row) T, query string, args ...any) ([]T, error) {
	var out []T
	err := c.each(func(r *row) { out = append(out, scan(r)) }, query, args...)
	return out, err
}

// changed is exec, failing with otherwise when no row was written.
func (c conn) changed(otherwise error, query string, args ...any) error {
	n, err := c.Exec(query, args...)
	if err == nil && n == 0 {
		err = otherwise
	}
	return err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
