package registry

import (
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// maxDebt is how many invalid entries a follower stores beyond the valid ones that came after them: 4 MiB at
	// [directory.MaxStatement] each.
	maxDebt = 64
	// tellEvery is how often at most a person hears of entries that were skipped.
	tellEvery = time.Minute
)

// debt is what the hub's log owes: invalid entries, less one for each valid entry since, never below none. It follows
// from the log alone, so that neither a new session nor a restart forgives any of it.
//
// An invalid entry has to be stored, because every reader must count the same positions (PROTOCOL 4.15), and anybody
// can make one; so without a limit a hostile hub fills the disk. A valid entry takes the keys of members, and each
// holds once.
type debt struct {
	owed uint64 // after the entry at last
	last uint64 // position of the last invalid entry
}

// at is the debt at a position, all entries after the last invalid one being valid.
func (d debt) at(position uint64) uint64 { return d.owed - min(d.owed, position-d.last) }

// with is the debt after an invalid entry at a position.
func (d debt) with(position uint64) debt { return debt{d.at(position-1) + 1, position} }

// skips are the entries skipped since a person was last told.
type skips struct {
	count, first uint64
	reason       error // of the first
	told         time.Time
}

// skipped counts an entry that everyone skips. PROTOCOL 4.15.
func (f *Follower) skipped(position uint64, err error) {
	f.debt = f.debt.with(position)
	if f.skips.count == 0 {
		f.skips.first, f.skips.reason = position, err
	}
	f.skips.count++
}

// tell says how many entries were skipped, once in a while: the hub decides how often that happens. It is called for
// heartbeats too, so what was held back is told then.
func (f *Follower) tell() {
	s, now := f.skips, f.o.Now()
	if s.count == 0 || (now.Sub(s.told) < tellEvery && !now.Before(s.told)) {
		return
	}
	f.o.Log.Error("entries of the directory are not valid and are skipped", zap.Uint64("first", s.first),
		zap.Uint64("entries", s.count), zap.Error(s.reason))
	f.alarm(fault.Wrap(s.reason, fault.Invalid, "invalid-entry", opFollow, "the hub's log has entries that are not valid"))
	f.skips = skips{told: now}
}

// verdict is an entry that may be stored, and what becomes of it.
type verdict struct {
	entry     []byte
	statement directory.Statement
	next      *directory.Snapshot // of the log alone
	refused   error               // why everyone skips it
}

// acceptable are the entries that may be stored, in order, and why no more of them may be. It changes nothing.
func (f *Follower) acceptable(come []arrival) ([]verdict, error) {
	s, owed, size := f.beyond.tip, f.debt, f.log.Size()
	var take []verdict
	for _, a := range come {
		if a.position != size+1 {
			return take, outOfOrder()
		}
		v := judge(s, a.statement)
		if code := fault.CodeOf(v.refused); code == codeJunk || code == codeRules {
			return take, v.refused
		}
		if v.refused != nil && owed.at(size) >= maxDebt {
			return take, invalidEntries()
		}
		size++
		if v.refused != nil {
			owed, v.next = owed.with(size), s.Skip()
		}
		take, s = append(take, v), v.next
	}
	return take, nil
}

// codeJunk is of bytes that no hub may have in its log: it refuses what it cannot read (PROTOCOL 11.3).
const codeJunk = "not-a-statement"

// judge looks at an entry against the log before it, which holds nothing that was only seen (PROTOCOL 4.6). It is
// refused with codeJunk if it must not even be stored.
func judge(s *directory.Snapshot, entry []byte) verdict {
	v := verdict{entry: entry}
	v.statement, v.refused = directory.ParseStatement(entry)
	switch code := fault.CodeOf(v.refused); {
	case len(entry) == 0:
		v.refused = junk(nil)
	case code == "unknown-kind" || code == "unknown-rules":
		// Of a later version, as far as we can tell: it counts a position, and against the debt.
	case v.refused != nil:
		v.refused = junk(v.refused)
	case v.statement.Network() != s.NetworkID():
		v.refused = junk(nil)
	default:
		v.next, v.refused = directory.Apply(s, v.statement)
	}
	return v
}

func junk(cause error) error {
	return fault.Wrap(cause, fault.Denied, codeJunk, opFollow, "the hub sends entries that are no statements of this network").
		WithHint(hintHub)
}

func invalidEntries() error {
	return fault.New(fault.Denied, "invalid-entries", opFollow, "the hub's log has too many entries that nobody accepts").
		WithHint(hintHub)
}

const hintHub = "call the General Secretariat: the hub is broken or in wrong hands"

// doubt marks the hub of this session as one that does what no hub may do: it is asked again at the longest pause only,
// and does not count as heard, until it sends a valid entry or this program starts anew. A person is told once.
//
// Meanwhile the directory at hand stays in force, restrictions still come from peers, and only freshness runs out.
// Nothing here can wedge the node for good: once an honest hub is back whose log is not the one stored here
// ("beyond-log", "invalid-entries", "withheld"), the operator stops the node, deletes directory.log, and starts it. The
// genesis is kept elsewhere in the node's data, and on-sight.log, with the restrictions not logged yet, and the file
// confirmed must stay; the log is fetched and verified anew, and has to come to the confirmed head again. Where all nodes store the same invalid entries, the hub is better rebuilt from any
// node's log, invalid entries included, and nobody has to delete anything.
//
// It is called with mu held.
func (f *Follower) doubt(why error) error {
	if f.doubted[f.hub] {
		return why
	}
	f.doubted[f.hub] = true
	f.o.Log.Error("the hub does what no hub may do and is hardly followed any more", zap.String("hub", f.hub), zap.Error(why))
	f.alarm(why)
	return why
}

// doubts reports whether the hub of this session is doubted.
func (f *Follower) doubts() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doubted[f.hub]
}
