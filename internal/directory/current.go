package directory

import (
	"sync"
	"sync/atomic"
)

// Current is the snapshot in force. The zero value holds none.
type Current struct {
	snapshot atomic.Pointer[Snapshot]
	mu       sync.Mutex // held while a new snapshot is made and told
	changed  chan struct{}
}

// Load is the snapshot in force; nil before the first. It never waits.
func (c *Current) Load() *Snapshot { return c.snapshot.Load() }

// Store puts a snapshot in force and wakes who waits for a change.
func (c *Current) Store(s *Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(s)
}

// Update makes the next snapshot from the one in force, with nobody else changing it meanwhile. Where make fails, or
// returns what it was given, nothing changes and nobody is woken. make must not call Store or Update.
func (c *Current) Update(make func(*Snapshot) (*Snapshot, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.snapshot.Load()
	next, err := make(old)
	if err != nil || next == old {
		return err
	}
	c.store(next)
	return nil
}

// store is called with mu held.
func (c *Current) store(s *Snapshot) {
	c.snapshot.Store(s)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Changed is closed at the next change. Take it before Load, or a change between the two goes unnoticed. A suspension
// that lapses is no change: who waits must not be held up by it, and is not.
func (c *Current) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}
