package people

import (
	"maps"
	"sync"
	"time"
)

// maxRemembered bounds the memory; when full it is emptied, and the store is asked again.
const maxRemembered = 10_000

// remembered is a live session or token.
type remembered struct {
	principal Principal
	// used is a session's last use, saved the one last written to the store.
	used, saved time.Time
}

func (r remembered) isSession() bool { return !r.principal.IsToken() }

// memory holds what was recently authenticated, so that a call costs no read of the store.
type memory struct {
	mu    sync.Mutex
	known map[Digest]remembered
	// dropped counts the drops, so that a read begun before one does not bring back what it took away.
	dropped uint64
}

func newMemory() *memory { return &memory{known: map[Digest]remembered{}} }

func (m *memory) find(d Digest) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[d]
	return r, ok
}

func (m *memory) drops() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropped
}

// keep remembers, unless anything was dropped since the count was before.
func (m *memory) keep(d Digest, r remembered, before uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropped != before {
		return
	}
	if len(m.known) >= maxRemembered {
		clear(m.known)
	}
	m.known[d] = r
}

// use notes a session's use and reports whether the store should learn of it: at most once in every.
func (m *memory) use(d Digest, now time.Time, every time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[d]
	if !ok {
		return false
	}
	r.used = now
	save := now.Sub(r.saved) >= every
	if save {
		r.saved = now
	}
	m.known[d] = r
	return save
}

func (m *memory) drop(d Digest) {
	m.dropWhere(func(k Digest, _ remembered) bool { return k == d })
}

func (m *memory) dropUser(u User) {
	m.dropWhere(func(_ Digest, r remembered) bool { return r.isSession() && r.principal.User == u })
}

func (m *memory) dropToken(id TokenID) {
	m.dropWhere(func(_ Digest, r remembered) bool { return r.principal.TokenID == id })
}

func (m *memory) dropWhere(gone func(Digest, remembered) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped++
	maps.DeleteFunc(m.known, gone)
}
