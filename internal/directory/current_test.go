package directory

import (
	"errors"
	"sync"
	"testing"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestCurrent(t *testing.T) {
	w := founded(t)
	var c Current
	if c.Load() != nil {
		t.Error("the zero value holds a snapshot")
	}
	changed := c.Changed()
	c.Store(w.s)
	if !closed(changed) || c.Load() != w.s {
		t.Error("a store told nobody")
	}
	changed = c.Changed()
	failed := errors.New("no")
	if err := c.Update(func(*Snapshot) (*Snapshot, error) { return nil, failed }); err != failed || c.Load() != w.s || closed(changed) {
		t.Errorf("a failed update changed something: %v", err)
	}
	if err := c.Update(func(s *Snapshot) (*Snapshot, error) { return s, nil }); err != nil || closed(changed) {
		t.Errorf("an update to the same woke somebody: %v", err)
	}
	if err := c.Update(func(s *Snapshot) (*Snapshot, error) { return s.Skip(), nil }); err != nil || !closed(changed) {
		t.Errorf("an update told nobody: %v", err)
	}
}

// Updates are not lost to each other.
func TestCurrentUpdates(t *testing.T) {
	var c Current
	c.Store(founded(t).s)
	const writers, each = 8, 100
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := c.Update(func(s *Snapshot) (*Snapshot, error) { return s.Skip(), nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := c.Load().Position(), uint64(1+writers*each); got != want {
		t.Errorf("position %d, want %d", got, want)
	}
}
