package directory

import (
	"iter"

	"github.com/enlace-network/enlace/internal/fault"
)

// Fold applies log entries (signed statements) one after the other to a snapshot; nil begins with the genesis. An entry
// that is not valid is skipped, as everyone skips it, and alarm is told its position and why; alarm may be nil. Errors
// are those of reading the entries, a first entry that founds nothing, and Retry "newer-rules" with the snapshot so far,
// where the reader halts (Snapshot.Rules). PROTOCOL 4.15, 4.21.
func Fold(s *Snapshot, entries iter.Seq2[[]byte, error], alarm func(position uint64, err error)) (*Snapshot, error) {
	return fold(s, entries, alarm, func(*Snapshot) {})
}

// fold shows each snapshot that it makes.
func fold(s *Snapshot, entries iter.Seq2[[]byte, error], alarm func(uint64, error), show func(*Snapshot)) (*Snapshot, error) {
	for entry, err := range entries {
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "", "read directory log", "the log could not be read")
		}
		next, err := Follow(s, entry)
		switch {
		case err == nil:
			s = next
		case s == nil || fault.CodeOf(err) == codeNewerRules:
			return s, err
		default:
			s = s.Skip()
			if alarm != nil {
				alarm(s.position, err)
			}
		}
		show(s)
	}
	return s, nil
}

// Follow is Apply on the bytes of a log entry.
func Follow(s *Snapshot, entry []byte) (*Snapshot, error) {
	// Before it is read: under newer rules an entry may have a form that nobody here can read. PROTOCOL 4.21.
	if s != nil {
		if err := s.readable(); err != nil {
			return nil, err
		}
	}
	st, err := ParseStatement(entry)
	if err != nil {
		return nil, err
	}
	return Apply(s, st)
}
