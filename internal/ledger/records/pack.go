package records

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
)

// Lists in one column. Words are joined by spaces. Ranges and refusals are unsigned varints: each number as its
// distance from the one before, so that a long list of neighbours stays short.

// unkept is the fault of a value that no column takes: the caller's mistake.
func unkept(what string) error {
	return fault.New(fault.Internal, "", "write ledger", "the ledger does not keep "+what)
}

// packWords joins words that are not empty and hold no space.
func packWords[T ~string](list []T) (string, error) {
	var b strings.Builder
	for i, w := range list {
		if w == "" || strings.ContainsAny(string(w), " \x00") {
			return "", unkept("a list with an empty word or a space in it")
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(w))
	}
	return b.String(), nil
}

// packNames is packWords of names that were parsed.
func packNames[T fmt.Stringer](list []T) (string, error) {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return packWords(words)
}

// unpackWords reads what packWords has written, each word through its parser.
func unpackWords[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for w := range strings.SplitSeq(text, " ") {
		if w == "" {
			return nil, unreadable("a list of words")
		}
		v, err := parse(w)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func unreadable(what string) error {
	return fault.New(fault.Invalid, "malformed", "read ledger", what+" is not as it is written")
}

// packRanges writes ranges in ascending order that neither touch nor overlap.
func packRanges(ranges []ledger.Range) ([]byte, error) {
	var out []byte
	least := uint64(0) // the lowest number the next range may start with
	for _, r := range ranges {
		if r.First < least || r.Last < r.First || r.Last > math.MaxInt64 {
			return nil, unkept("ranges that are out of order, touch or overlap")
		}
		out = binary.AppendUvarint(out, r.First-least)
		out = binary.AppendUvarint(out, r.Last-r.First)
		least = r.Last + 2
	}
	return out, nil
}

func unpackRanges(b []byte) ([]ledger.Range, error) {
	var out []ledger.Range
	u := unpacker{rest: b}
	for least := uint64(0); len(u.rest) > 0; {
		first := u.number(least)
		last := u.number(first)
		if u.failed {
			return nil, unreadable("a list of ranges")
		}
		out = append(out, ledger.Range{First: first, Last: last})
		least = last + 2
	}
	return out, nil
}

// packRefusals writes refusals in ascending order of their numbers.
func packRefusals(list []ledger.Refusal) ([]byte, error) {
	var out []byte
	least := uint64(0)
	for _, r := range list {
		if r.Number < least || r.Number > math.MaxInt64 {
			return nil, unkept("refusals that are out of order")
		}
		out = binary.AppendUvarint(out, r.Number-least)
		out = binary.AppendUvarint(out, uint64(len(r.Code)))
		out = append(out, r.Code...)
		least = r.Number + 1
	}
	return out, nil
}

func unpackRefusals(b []byte) ([]ledger.Refusal, error) {
	var out []ledger.Refusal
	u := unpacker{rest: b}
	for least := uint64(0); len(u.rest) > 0; {
		number := u.number(least)
		code := u.text()
		if u.failed {
			return nil, unreadable("a list of refusals")
		}
		out = append(out, ledger.Refusal{Number: number, Code: code})
		least = number + 1
	}
	return out, nil
}

// unpacker reads from the front of packed bytes; once failed it stays so.
type unpacker struct {
	rest   []byte
	failed bool
}

// number reads a distance from a base; only the shortest form of a varint is one.
func (u *unpacker) number(base uint64) uint64 {
	v, n := binary.Uvarint(u.rest)
	if n <= 0 || n > 1 && u.rest[n-1] == 0 || base > math.MaxInt64 || v > math.MaxInt64-base {
		u.failed, u.rest = true, nil
		return 0
	}
	u.rest = u.rest[n:]
	return base + v
}

func (u *unpacker) text() string {
	n := u.number(0)
	if n > uint64(len(u.rest)) {
		u.failed, u.rest = true, nil
		return ""
	}
	s := string(u.rest[:n])
	u.rest = u.rest[n:]
	return s
}
