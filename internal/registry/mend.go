package registry

import (
	"context"
	"iter"

	"github.com/enlace-network/enlace/internal/directory"
)

// Heads is what a node says of its directory when it meets another. PROTOCOL 10.9.
type Heads struct {
	// Head is the newest confirmed head, a signed note; empty where there is none.
	Head []byte
	// Unlogged are the hashes of restrictions in force that the log does not have, at most 256.
	Unlogged []directory.Hash
	// Contradiction is a head that contradicts Head; empty where none is known.
	Contradiction []byte
	// By names who said so, for whoever reads a proof later; empty of one's own.
	By string
}

// Want is what to fetch from a peer.
type Want struct {
	// From is the first position of log entries; 0 = none.
	From uint64
	// Restrictions are hashes of statements that are not in the log.
	Restrictions []directory.Hash
}

// IsZero reports whether there is nothing to fetch.
func (w Want) IsZero() bool { return w.From == 0 && len(w.Restrictions) == 0 }

// Entry is a statement as peers give it to each other. Position 0 is a restriction that is not in the log.
type Entry struct {
	Position  uint64
	Statement []byte
}

// Heads is what this node says to a peer.
func (f *Follower) Heads() Heads { return Heads{} }

// Compare says what to fetch from a peer that has theirs. Heads that contradict are kept as proof.
func (f *Follower) Compare(Heads) (Want, error) { return Want{}, nil }

// Give is what a peer asked for; the function, called after the last entry, is the confirmed head that covers them.
func (f *Follower) Give(uint64, []directory.Hash) (iter.Seq2[Entry, error], func() []byte) {
	return func(func(Entry, error) bool) {}, func() []byte { return nil }
}

// Mend takes what a peer gave; head is asked for after the last entry, and may be empty.
func (f *Follower) Mend(context.Context, iter.Seq2[Entry, error], func() []byte) error { return nil }

// HandIn takes a statement that was brought. The outcome is "logged", "on-sight" or "kept".
func (f *Follower) HandIn(context.Context, []byte, ...[]byte) (outcome string, position uint64, err error) {
	return "", 0, nil
}
