package registry

import (
	"os"
	"path/filepath"
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
	log  *Log                           // guarded by mu
	open map[string]directory.Statement // guarded by mu; by their bytes, not known to be in the log
	news chan struct{}                  // a word to who brings them to the hub; holds one
}

// openSight puts what was kept in force again. A statement that no longer holds is left out.
func openSight(folder string, current *directory.Current, sync Sync, notes *zap.Logger) (*sight, error) {
	path := filepath.Join(folder, sightFile)
	log, err := OpenLog(path, sync)
	if err != nil {
		return nil, err
	}
	s := &sight{log: log, open: map[string]directory.Statement{}, news: make(chan struct{}, 1)}
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
	err = current.Update(func(now *directory.Snapshot) (*directory.Snapshot, error) { return directory.Restrict(now, st) })
	if err == nil && current.Load().Standing(st) == directory.Unconfirmed {
		s.open[string(entry)] = st
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
	for entry := range s.open {
		if err := next.Append([]byte(entry)); err != nil {
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

// take applies a statement on sight: look, decide, commit, tell. It reports whether the statement was news.
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
	s.open[string(st.Signed())] = st
	err = current.Update(func(now *directory.Snapshot) (*directory.Snapshot, error) { return directory.Restrict(now, st) })
	select {
	case s.news <- struct{}{}:
	default:
	}
	return true, err
}

// unlogged are the statements that the hub's log does not have yet.
func (s *sight) unlogged(now *directory.Snapshot) []directory.Statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []directory.Statement
	for key, st := range s.open {
		if now.Standing(st) != directory.Unconfirmed {
			delete(s.open, key)
			continue
		}
		all = append(all, st)
	}
	return all
}

func (s *sight) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Close()
}
