package registry

import (
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// Status is how the directory of this node is.
type Status struct {
	// Head is the newest confirmed head; IsZero if there is none yet.
	Head directory.Head
	// Judgement is who stands behind Head; of no head, the zero value.
	Judgement directory.Judgement
	// Latest is who stands behind the last head that this node looked at, confirmed or not.
	Latest directory.Judgement
	// Confirmed is the position up to which the log is in force, Stored the one up to which this node has it.
	Confirmed, Stored uint64
	Freshness         Freshness
	// Since is what the freshness counts from: the quorum time, or where there are no witnesses the last contact with the
	// hub.
	Since time.Time
	// Proofs are those against the hub that nobody has resolved, oldest first.
	Proofs []Proof
	// Omitted is what the hub was to log for 10 minutes and has not.
	Omitted []Omission
	// Halted is why no more of the log comes into force until a person has done something; nil if it does.
	Halted error
}

// Proof is kept where the hub was caught signing what no one log has. PROTOCOL 11.9.
type Proof struct {
	// ID names it, for Resolve.
	ID string `json:"id"`
	// Kind is "fork": two heads that no one log has; or "withheld": one head that covers other entries than were sent.
	Kind string `json:"kind"`
	// Head is what contradicts Other, signed notes; where Other is empty, it contradicts the log that this node was sent.
	Head  []byte `json:"head"`
	Other []byte `json:"other,omitempty"`
	// By and OtherBy say where they came from.
	By      string `json:"by"`
	OtherBy string `json:"other_by,omitempty"`
	// Agreed is the size up to which the log can still come into force.
	Agreed uint64    `json:"agreed"`
	At     time.Time `json:"at"`
}

// Omission is a statement that the hub does not log.
type Omission struct {
	Hash    directory.Hash
	Kind    directory.Kind
	Subject directory.Subject
	// Since is when this node had it first.
	Since time.Time
}

// omittedAfter is how long the hub has for a statement before it counts as omitted. PROTOCOL 10.10.
const omittedAfter = 10 * time.Minute

// Status is how the directory is now.
func (f *Follower) Status() Status {
	freshness, since := f.Freshness()
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{
		Head: f.head, Judgement: f.judged, Latest: f.latest, Confirmed: f.history.Newest().Position(), Stored: f.log.Size(),
		Freshness: freshness, Since: since, Proofs: slices.Clone(f.proofs.all), Omitted: f.omitted(), Halted: f.halted(),
	}
}

// omitted is what the hub was to log long ago.
func (f *Follower) omitted() []Omission {
	all := f.sight.unlogged()
	for _, w := range f.kept.waiting() {
		all = append(all, w.watched)
	}
	var late []Omission
	for _, w := range all {
		if f.o.Now().Sub(w.since) > omittedAfter {
			late = append(late, Omission{w.Hash(), w.Kind(), w.Subject(), w.since})
		}
	}
	return late
}

// halted is why no more comes into force, with mu held.
func (f *Follower) halted() error {
	switch {
	case f.rules != nil:
		return f.rules
	case f.misplaced != nil:
		return f.misplaced
	case f.proofs.forked():
		return fault.New(fault.Denied, "forked", opConfirm, "the hub was caught with two logs: nothing more comes into force until an operator has resolved the proof").
			WithHint(hintHub)
	}
	return nil
}
