package registry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	sightFile = "on-sight.log"
	sinceFile = "on-sight.since"
	// sightSpare is how many statements that are done with the file may hold before it is written anew.
	sightSpare = 256
)

// sight keeps what is in force on sight, above the confirmed log (PROTOCOL 4.6, 11.8): restrictions of log entries that
// no confirmed head covers yet, which the log keeps, and those that came by other roads, which this keeps in a file of
// its own until they are in the confirmed log. Both bind across restarts.
type sight struct {
	mu   sync.Mutex
	path string
	log  *Log      // guarded by mu
	open []watched // guarded by mu; came by other roads, in the order they came
	tail []placed  // guarded by mu; of the log beyond what is confirmed, in its order
	over []watched // guarded by mu; those of both that are in force now
	// reached is the position up to which the log is stored; guarded by mu
	reached uint64
	late    bool          // guarded by mu; one of tail is of the future, by this clock
	news    chan struct{} // a word to who brings them to the hub; holds one
	now     func() time.Time
}

// watched is a statement and when this node had it first.
type watched struct {
	directory.Statement
	since time.Time
}

// placed is a statement of the log at its position.
type placed struct {
	directory.Statement
	position uint64
}

// openSight reads what was kept. It puts nothing in force: rebase does.
func openSight(folder string, sync Sync, now func() time.Time) (*sight, error) {
	path := filepath.Join(folder, sightFile)
	log, err := OpenLog(path, sync)
	if err != nil {
		return nil, err
	}
	s := &sight{path: path, log: log, now: now, news: make(chan struct{}, 1)}
	since := s.readSince()
	for entry, err := range log.Entries(1) {
		if err != nil {
			_ = log.Close()
			return nil, err
		}
		st, err := directory.ParseStatement(entry)
		if err != nil {
			continue // of a later version of this program
		}
		at, known := since[st.Hash().String()]
		if !known || at.After(now()) {
			at = now()
		}
		s.open = append(s.open, watched{st, at})
	}
	return s, nil
}

// readSince is when each kept statement came. To lose it makes them look newer than they are, no worse.
func (s *sight) readSince() map[string]time.Time {
	since := map[string]time.Time{}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(s.path), sinceFile)); err == nil {
		_ = json.Unmarshal(b, &since)
	}
	return since
}

// writeSince is not synced, for the same reason. It is called with mu held.
func (s *sight) writeSince() {
	since := map[string]time.Time{}
	for _, w := range s.open {
		since[w.Hash().String()] = w.since.UTC().Truncate(time.Second)
	}
	path := filepath.Join(filepath.Dir(s.path), sinceFile)
	if b, err := json.Marshal(since); err == nil && os.WriteFile(path+unfinished, b, 0o600) == nil {
		_ = os.Rename(path+unfinished, path)
	}
}

// tidy writes the file anew where most of what it holds is done with.
func (s *sight) tidy(sync Sync) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Size() <= uint64(len(s.open)+sightSpare) {
		return nil
	}
	_ = os.Remove(s.path + unfinished)
	next, err := OpenLog(s.path+unfinished, sync)
	if err != nil {
		return err
	}
	for _, st := range s.open {
		if err := next.Append(st.Signed()); err != nil {
			_ = next.Close()
			return err
		}
	}
	if err := os.Rename(s.path+unfinished, s.path); err != nil {
		_ = next.Close()
		return broke(err)
	}
	// If the machine stops here one of the two files is in place, and either will do.
	old := s.log
	s.log = next
	_ = old.Close()
	return syncFolder(filepath.Dir(s.path))
}

// take applies a statement on sight, with nobody else changing what is in force: look, decide, commit, tell. It reports
// whether the statement was news.
func (s *sight) take(st directory.Statement, current *directory.Current) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := current.Load()
	next, err := directory.RestrictAt(now, st, s.reached)
	if err != nil || next == now {
		return false, err
	}
	if err := s.log.Append(st.Signed()); err != nil { // commit
		return false, err
	}
	// If the machine stops here the restriction takes effect at the next start.
	w := watched{st, s.now()}
	s.open, s.over = append(s.open, w), append(s.over, w)
	s.writeSince()
	current.Store(next)
	s.tell()
	return true, nil
}

func (s *sight) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// logged takes the restrictions of entries that were just stored, up to a position; they are in force on sight.
func (s *sight) logged(entries []placed, reached uint64, current *directory.Current) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reached = reached
	s.tail = append(s.tail, entries...)
	before := current.Load()
	now := before
	for _, st := range entries {
		now = s.lay(now, watched{st.Statement, s.now()})
	}
	if now != before {
		current.Store(now)
	}
}

// lay puts one statement of the tail over a snapshot, as far as it bears it. It is called with mu held.
func (s *sight) lay(now *directory.Snapshot, w watched) *directory.Snapshot {
	if fault.CodeOf(directory.CheckOnSight(w.Statement, s.now())) == "future" {
		s.late = true
		return now
	}
	next, err := directory.RestrictAt(now, w.Statement, s.reached)
	if err != nil || next == now {
		return now // about what is not in force, or known
	}
	s.over = append(s.over, w)
	return next
}

// rebase moves the confirmed log on, if move is given, and lays what it does not have over it again: so a restart comes
// to the same. What the confirmed log has taken, ended, or does not bear any more, is done with.
func (s *sight) rebase(history *directory.History, current *directory.Current, move func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if move != nil {
		move()
	}
	base := history.Newest()
	s.over, s.late = nil, false
	s.tail = slices.DeleteFunc(s.tail, func(p placed) bool { return p.position <= base.Position() })
	now := base
	for _, st := range s.tail {
		now = s.lay(now, watched{st.Statement, s.now()})
	}
	var open []watched
	for _, w := range s.open {
		next, err := directory.RestrictAt(now, w.Statement, s.reached)
		if waits(err) {
			open = append(open, w)
			continue
		}
		if err != nil || next.Standing(w.Statement) != directory.Unconfirmed {
			continue
		}
		if next != now {
			s.over = append(s.over, w)
		}
		now, open = next, append(open, w)
	}
	if len(open) != len(s.open) {
		s.open = open
		s.writeSince()
	}
	if now != current.Load() {
		current.Store(now)
	}
}

// waits reports whether a statement that once held may hold again when more of the log is in force, as after the log
// was fetched anew.
func waits(err error) bool {
	switch fault.CodeOf(err) {
	case "unknown-subject", "unknown-key", "behind", "too-many":
		return err != nil
	}
	return false
}

// again reports whether a statement of the tail waits for its time to come.
func (s *sight) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.late
}

// basis is the confirmed log alone with the statements in force that it does not have, both of one moment.
func (s *sight) basis(history *directory.History) (*directory.Snapshot, []directory.Statement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return history.Newest(), statements(s.over)
}

func statements(of []watched) []directory.Statement {
	var all []directory.Statement
	for _, w := range of {
		all = append(all, w.Statement)
	}
	return all
}

// unlogged are the statements in force that the hub's log does not have yet, not even unconfirmed.
func (s *sight) unlogged() []watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := map[directory.Hash]bool{}
	for _, p := range s.tail {
		in[p.Hash()] = true
	}
	var all []watched
	for _, w := range s.open {
		if !in[w.Hash()] {
			all = append(all, w)
		}
	}
	return all
}

// known are the statements in force by hash, and those that wait.
func (s *sight) known() map[directory.Hash]directory.Statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[directory.Hash]directory.Statement{}
	for _, p := range s.tail {
		all[p.Hash()] = p.Statement
	}
	for _, w := range s.open {
		all[w.Hash()] = w.Statement
	}
	return all
}

// failed is closed when nothing more can be kept until a restart.
func (s *sight) failed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Failed()
}

func (s *sight) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Close()
}

// notes says what of the kept statements is not in force, once, at the start.
func (s *sight) notes(log *zap.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.open) + len(s.tail) - len(s.over); n > 0 {
		log.Debug("restrictions kept from before are not in force, or known twice", zap.Int("statements", n))
	}
}
