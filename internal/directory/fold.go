package directory

import (
	"iter"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const opFold = "read directory log"

// Fold applies log entries (signed statements) one after the other to a snapshot; nil begins with the genesis. An entry
// that is not valid is skipped, as everyone skips it, and alarm is told its position and why; alarm may be nil. Errors
// are those of reading the entries, a first entry that founds nothing, and Retry "newer-rules" with the snapshot so far,
// where the reader halts (Snapshot.Rules). Entries are read ahead: see ReadAhead. PROTOCOL 4.15, 4.21.
func Fold(s *Snapshot, entries iter.Seq2[[]byte, error], alarm func(position uint64, err error)) (*Snapshot, error) {
	f := &folding{}
	return f.fold(s, entries, func(next *Snapshot, _ tlog.Hash, refused error) error {
		if refused != nil && alarm != nil {
			alarm(next.position, refused)
		}
		return nil
	})
}

// folding is a log on its way into a snapshot.
type folding struct {
	vouched Vouched
	tip     atomic.Pointer[Snapshot]
}

// fold shows each snapshot that it makes, with the leaf of the entry and why it was skipped.
func (f *folding) fold(s *Snapshot, entries iter.Seq2[[]byte, error], show func(*Snapshot, tlog.Hash, error) error) (*Snapshot, error) {
	a := &ahead{tip: f.tip.Load, vouched: f.vouched}
	if s != nil {
		f.tip.Store(s)
		a.position = s.position
	}
	for r, err := range a.read(entries) {
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "", opFold, "the log could not be read")
		}
		next, refused := f.step(s, r)
		if refused != nil && (s == nil || fault.CodeOf(refused) == codeNewerRules) {
			return s, refused
		}
		s = next
		f.tip.Store(s)
		if err := show(s, r.Leaf, refused); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// step applies one entry, or skips it as everyone does.
func (f *folding) step(s *Snapshot, r Read) (*Snapshot, error) {
	next, err := s.follow(r.Statement, r.Err)
	if err != nil && s != nil {
		next = s.Skip()
	}
	return next, err
}

// follow applies an entry that was read before.
func (s *Snapshot) follow(st Statement, unread error) (*Snapshot, error) {
	// Before anything is said of its form: under newer rules it may have one that nobody here can read. PROTOCOL 4.21.
	if s != nil {
		if err := s.readable(); err != nil {
			return nil, err
		}
	}
	if unread != nil {
		return nil, unread
	}
	return Apply(s, st)
}

// Follow is Apply on the bytes of a log entry.
func Follow(s *Snapshot, entry []byte) (*Snapshot, error) {
	st, err := ParseStatement(entry)
	return s.follow(st, err)
}

// Fold is Fold from the genesis on, remembering. The history must be empty.
func (h *History) Fold(entries iter.Seq2[[]byte, error], alarm func(position uint64, err error)) error {
	_, err := h.FoldVouched(entries, Vouched{}, alarm)
	return err
}

// FoldVouched is Fold for who knows that what is vouched for is true: signatures are not verified there. It gives the
// leaves of the tree, LeafHash of each entry.
//
// The root is computed over the very bytes that are folded. Where it is not the one vouched for, or the log ends or the
// reader halts before, the error is Conflict "not-vouched", alarm was told nothing, and the history is as empty as it
// was: fold again with nothing vouched for. After Retry "newer-rules" history and leaves are the log up to there; after
// any other error there are none.
func (h *History) FoldVouched(entries iter.Seq2[[]byte, error], v Vouched, alarm func(position uint64, err error)) ([]tlog.Hash, error) {
	t := &trial{vouched: v, alarm: alarm}
	f := &folding{vouched: v}
	_, err := f.fold(nil, entries, t.show)
	if err != nil && fault.CodeOf(err) != codeNewerRules {
		return nil, err
	}
	if uint64(len(t.leaves)) < v.Size {
		return nil, notVouched()
	}
	t.history.newest.pack()
	h.adopt(&t.history)
	return t.leaves, err
}

// pack puts sealing keys, most of what a large directory holds, where they hold no more than their own. It is for a
// snapshot that nobody else has seen: records are written to.
func (s *Snapshot) pack() {
	if s == nil {
		return
	}
	var records []*keyRecord
	var keys []authority.PublicKey
	for _, k := range s.keys.all() {
		if k.Purpose == PurposeSeal {
			records, keys = append(records, k), append(keys, k.Public)
		}
	}
	for i, packed := range authority.Pack(keys) {
		records[i].Public = packed
	}
}

// trial is a fold of which nobody hears before what was vouched for turns out to be about these entries.
type trial struct {
	vouched Vouched
	alarm   func(position uint64, err error)
	history History
	edge    merkle.Frontier // up to the size vouched for
	leaves  []tlog.Hash
	refused []refusal // not told yet
}

type refusal struct {
	position uint64
	reason   error
}

func (t *trial) show(s *Snapshot, leaf tlog.Hash, refused error) error {
	t.history.Add(s)
	t.leaves = append(t.leaves, leaf)
	if refused != nil && t.alarm != nil {
		t.refused = append(t.refused, refusal{s.position, refused})
	}
	if s.position <= t.vouched.Size {
		t.edge.Append(leaf)
	}
	if s.position == t.vouched.Size && t.edge.Root() != t.vouched.Root {
		return notVouched()
	}
	if s.position >= t.vouched.Size {
		t.tell()
	}
	return nil
}

func (t *trial) tell() {
	for _, r := range t.refused {
		t.alarm(r.position, r.reason)
	}
	t.refused = t.refused[:0]
}

func notVouched() error {
	return fault.New(fault.Conflict, "not-vouched", opFold, "the entries are not those that were vouched for")
}
