package message

import (
	"fmt"

	"github.com/enlace-network/enlace/internal/fault"
)

// State is where a request stands; domain.md 4.7. Both sides compute it from the same messages.
type State string

// The states that exist now; the case work adds the others of domain.md 4.7 between Acknowledged and Answered.
const (
	Draft           State = "DRAFT"
	PendingApproval State = "PENDING_APPROVAL"
	Queued          State = "QUEUED"
	Delivered       State = "DELIVERED"
	Undeliverable   State = "UNDELIVERABLE"
	Acknowledged    State = "ACKNOWLEDGED"
	Answered        State = "ANSWERED"
	Refused         State = "REFUSED"
	Closed          State = "CLOSED"
)

// Side is which end of a request acts.
type Side string

// The sides.
const (
	Requesting Side = "requesting"
	Requested  Side = "requested"
)

// move is one row of the transition table: a message of this kind, by this side, leads from one of these states.
type move struct {
	kind Kind
	side Side
	from []State
	to   State
}

// moves is the part of the table of domain.md 4.7 that messages drive. Queued stands beside Delivered as a source
// because a reply can overtake the receipt of the request it answers: the answer proves the delivery. Acknowledged
// may be skipped: an answer at once is better than a formality.
func moves() []move {
	return []move{
		{KindRequest, Requesting, []State{Draft, PendingApproval}, Queued},
		{KindAcknowledge, Requested, []State{Queued, Undeliverable, Delivered}, Acknowledged},
		{KindReply, Requested, []State{Queued, Undeliverable, Delivered, Acknowledged}, Answered},
		{KindRefuse, Requested, []State{Queued, Undeliverable, Delivered, Acknowledged}, Refused},
		{KindClose, Requesting, []State{Answered, Refused, Undeliverable}, Closed},
	}
}

// Next is the state after a message of this kind from this side, or Conflict code "wrong-state" when the table has no
// such move. A message can never move a request backwards.
func Next(from State, kind Kind, side Side) (State, error) {
	for _, m := range moves() {
		if m.kind != kind || m.side != side {
			continue
		}
		for _, f := range m.from {
			if f == from {
				return m.to, nil
			}
		}
	}
	return "", fault.New(fault.Conflict, "wrong-state", "move request",
		fmt.Sprintf("a request in state %s cannot take %s from the %s side", from, kind, side))
}

// MayFollow reports whether a message that has arrived out of order can still find its place: the step it needs is on
// its way. An answer before its request, a close before the answer.
func MayFollow(from State, kind Kind) bool {
	return kind == KindClose && (from == Delivered || from == Acknowledged)
}

// Final reports whether nothing can follow.
func (s State) Final() bool { return s == Closed }
