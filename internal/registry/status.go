package registry

import (
	"time"

	"github.com/enlace-network/enlace/internal/directory"
)

// Status is how the directory of this node is.
type Status struct {
	// Head is the newest confirmed head; IsZero if there is none yet.
	Head directory.Head
	// Judgement is who stands behind Head; of no head, the zero value.
	Judgement directory.Judgement
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

// Status is how the directory is now.
func (f *Follower) Status() Status {
	freshness, since := f.Freshness()
	return Status{Freshness: freshness, Since: since, Stored: f.log.Size(), Confirmed: f.history.Newest().Position()}
}
