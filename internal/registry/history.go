package registry

import (
	"bytes"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
)

// Base is the directory as confirmed: Current without the restrictions that are in force on sight. PROTOCOL 11.8.
func (f *Follower) Base() *directory.Snapshot { return f.history.Newest() }

// At answers about audiences exactly as the log up to a position does. False if that is beyond what is confirmed, or
// older than the last 64 entries that can change an audience. PROTOCOL 7.3.
func (f *Follower) At(position uint64) (*directory.Snapshot, bool) { return f.history.At(position) }

// Relevant is the position of the newest confirmed log entry that can change an audience.
func (f *Follower) Relevant() uint64 { return f.history.Newest().Changed() }

// Audience is an audience as this node computes it now, as a publisher: with what it attaches to the epoch, so that
// every node on the same log comes to the same members. Errors: those of directory.Compute. PROTOCOL 7.2, 7.3.
func (f *Follower) Audience(category authority.Category, rule directory.Rule, states []authority.State) (directory.Audience, error) {
	base, open := f.sight.basis(f.history)
	return directory.Compute(base, open, f.o.Now(), category, rule, states)
}

// Restrictions are the signed bytes of those in force on sight that are not in the confirmed log, in ascending order of hash;
// not those of keys, which change no audience, nor suspensions that are over. There may be more than an audience can
// carry: Audience takes what one audience needs, at one moment with the log.
func (f *Follower) Restrictions() [][]byte {
	_, open := f.sight.basis(f.history)
	slices.SortStableFunc(open, func(a, b directory.Statement) int {
		x, y := a.Hash(), b.Hash()
		return bytes.Compare(x[:], y[:])
	})
	var all [][]byte
	for _, st := range open {
		if bars(st, f.o.Now()) {
			all = append(all, st.Signed())
		}
	}
	return all
}

// bars reports whether the statement keeps an authority, a node or a state out of audiences.
func bars(st directory.Statement, now time.Time) bool {
	switch body := st.Body().(type) {
	case directory.Revocation:
		return body.Key == authority.Fingerprint{}
	case directory.Suspension:
		return body.End.After(now)
	}
	return true
}
