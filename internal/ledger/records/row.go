package records

import (
	"bytes"
	"errors"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
)

// row reads the columns of one row in their order; the first error stays.
type row struct {
	columns Columns
	column  int
	err     error
}

func (r *row) at() int { r.column++; return r.column - 1 }

func (r *row) text() string     { return r.columns.Text(r.at()) }
func (r *row) integer() int64   { return r.columns.Integer(r.at()) }
func (r *row) number() int      { return int(r.integer()) }
func (r *row) unsigned() uint64 { return uint64(r.integer()) }
func (r *row) flag() bool       { return r.integer() != 0 }

// blob is a copy; nil where the column is empty.
func (r *row) blob() []byte { return copied(r.columns.Blob(r.at())) }

func copied(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// private and privateBlob read a private column of a row.
func (r *row) private(at place, column string) string { return string(r.open(at, column)) }

func (r *row) privateBlob(at place, column string) []byte { return copied(r.open(at, column)) }

func (r *row) open(at place, column string) []byte {
	b, err := r.columns.Open(r.at(), Cell{at.table, column, at.row})
	r.err = errors.Join(r.err, err)
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
	return parsed(r, r.columns.Blob(r.at()), message.DigestFromBytes)
}

func (r *row) id() message.ID { return parsed(r, r.columns.Blob(r.at()), message.IDFromBytes) }

func (r *row) name() authority.Name { return parsed(r, r.text(), authority.ParseName) }

func (r *row) node() authority.Node { return parsed(r, r.text(), authority.ParseNode) }

func (r *row) category() authority.Category { return parsed(r, r.text(), authority.ParseCategory) }

func (r *row) fingerprint() authority.Fingerprint {
	return parsed(r, r.columns.Blob(r.at()), authority.ParseFingerprint)
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
