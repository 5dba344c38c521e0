package registry

import (
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
)

const (
	sightFile = "on-sight.log"
	// sightSpare is how many statements that are done with the file may hold before it is written anew.
	sightSpare = 256
)

// sight keeps the restricting statements that came by other roads than the hub's log, until they are in it. They bind
// across restarts and are brought to the hub. PROTOCOL 4.6.
type sight struct {
	mu   sync.Mutex
	log  *Log                  // guarded by mu
	open []directory.Statement // guarded by mu; not known to be in the log, in the order they came
	news chan struct{}         // a word to who brings them to the hub; holds one
}

// openSight puts what was kept in force again. A statement that no longer holds is left out.
func openSight(folder string, current *directory.Current, sync Sync, notes *zap.Logger) (*sight, error) {
	path := filepath.Join(folder, sightFile)
	log, err := OpenLog(path, sync)
	if err != nil {
		return nil, err
	}
	s := &sight{log: log, news: make(chan struct{}, 1)}
	for entry, err := range log.Entries(1) {
		if err != nil {
			_ = log.Close()
			return nil, err
		}
		if err := s.again(entry, current); err != nil {
			notes.Debug("a restriction kept from before no longer holds", zap.Error(err))
		}
	}
	if log.Size() > uint64(len(s.open)+sightSpare) {
		if err := s.rewrite(path, sync); err != nil {
			_ = s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sight) again(entry []byte, current *directory.Current) error {
	st, err := directory.ParseStatement(entry)
	if err != nil {
		return err
	}
	now := current.Load()
	next, err := directory.Restrict(now, st)
	if err == nil && next.Standing(st) == directory.Unconfirmed {
		s.open = append(s.open, st)
		current.Store(next)
	}
	return err
}

// rewrite leaves out what is done with.
func (s *sight) rewrite(path string, sync Sync) error {
	_ = os.Remove(path + unfinished)
	next, err := OpenLog(path+unfinished, sync)
	if err != nil {
		return err
	}
	for _, st := range s.open {
		if err := next.Append(st.Signed()); err != nil {
			_ = next.Close()
			return err
		}
	}
	if err := os.Rename(path+unfinished, path); err != nil {
		_ = next.Close()
		return broke(err)
	}
	// If the machine stops here one of the two files is in place, and either will do.
	old := s.log
	s.log = next
	_ = old.Close()
	return syncFolder(filepath.Dir(path))
}

// take applies a statement on sight, with nobody else changing what is in force: look, decide, commit, tell. It reports
// whether the statement was news.
func (s *sight) take(st directory.Statement, current *directory.Current) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := current.Load()
	next, err := directory.Restrict(now, st)
	if err != nil || next == now {
		return false, err
	}
	if err := s.log.Append(st.Signed()); err != nil { // commit
		return false, err
	}
	// If the machine stops here the restriction takes effect at the next start.
	s.open = append(s.open, st)
	current.Store(next)
	select {
	case s.news <- struct{}{}:
	default:
	}
	return true, nil
}

// rebase puts the log in force as far as it is known now, and on it again what it does not have: so a restart comes to
// the same. What the log has taken, ended, or does not bear any more, is done with.
func (s *sight) rebase(history *directory.History, current *directory.Current) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := history.Newest()
	var open []directory.Statement
	for _, st := range s.open {
		if next, err := directory.Restrict(now, st); err == nil && next.Standing(st) == directory.Unconfirmed {
			now, open = next, append(open, st)
		}
	}
	s.open = open
	current.Store(now)
}

// basis is the log alone with the statements that it does not have, both of one moment.
func (s *sight) basis(history *directory.History) (*directory.Snapshot, []directory.Statement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return history.Newest(), slices.Clone(s.open)
}

// unlogged are the statements that the hub's log does not have yet.
func (s *sight) unlogged() []directory.Statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open)
}

func (s *sight) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Close()
}
