package registry

import "github.com/enlace-network/enlace/internal/directory"

// Vote is the node's cosignature of a head that came from the hub, or why there is none.
func (f *Follower) Vote(h directory.Head) ([]byte, error) { return f.cosign(h) }

// Reread is how often a part of the log was read again to judge a head.
func Reread(f *Follower) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reread
}
