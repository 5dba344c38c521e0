package registry

import "github.com/enlace-network/enlace/internal/directory"

// Tip is the log as it is stored here, confirmed or not: what a head of that size would say. Nothing is done on its word,
// but that a witness cosigns with the key that the log has at the head: one that a rotation has just declared is in no
// confirmed log before it cosigns. PROTOCOL 11.6, 11.8.
func (f *Follower) Tip() *directory.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beyond.tip
}
