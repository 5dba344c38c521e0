package message

import (
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Kind is the kind of a message; domain.md 4.1.
type Kind string

// The kinds of this version. Later request steps are listed in PROTOCOL 5.3 and refused until they are built.
const (
	KindRequest       Kind = "REQUEST"
	KindAcknowledge   Kind = "ACKNOWLEDGE"
	KindReply         Kind = "REPLY_FINAL"
	KindRefuse        Kind = "REFUSE"
	KindClose         Kind = "CLOSE"
	KindAlert         Kind = "ALERT"
	KindAlertUpdate   Kind = "ALERT_UPDATE"
	KindAlertCancel   Kind = "ALERT_CANCEL"
	KindAlertFeedback Kind = "ALERT_FEEDBACK"
)

// ParseKind reads a kind that this version carries.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case KindRequest, KindAcknowledge, KindReply, KindRefuse, KindClose, KindAlert, KindAlertUpdate, KindAlertCancel, KindAlertFeedback:
		return k, nil
	}
	return "", fault.New(fault.Invalid, "unknown-kind", "read message kind", "this version does not know this kind of message")
}

// IsAlert reports whether the message belongs to an alert: the alert itself, an update, a cancellation, or feedback.
func (k Kind) IsAlert() bool { return k.MayBroadcast() || k == KindAlertFeedback }

// MayBroadcast reports whether a message of this kind may go to an audience. Feedback never does: it is for the issuer.
// PROTOCOL 5.2.
func (k Kind) MayBroadcast() bool {
	return k == KindAlert || k == KindAlertUpdate || k == KindAlertCancel
}

// Begins reports whether a message of this kind begins a conversation and so answers nothing. PROTOCOL 5.3.
func (k Kind) Begins() bool { return k == KindRequest || k == KindAlert }

// Urgency is how soon; domain.md 4.2.
type Urgency string

// The urgencies.
const (
	Routine   Urgency = "ROUTINE"
	Urgent    Urgency = "URGENT"
	Immediate Urgency = "IMMEDIATE"
)

// ParseUrgency reads an urgency.
func ParseUrgency(s string) (Urgency, error) {
	if u := Urgency(s); u == Routine || u == Urgent || u == Immediate {
		return u, nil
	}
	return "", fault.New(fault.Invalid, "unknown-urgency", "read urgency", "an urgency is ROUTINE, URGENT or IMMEDIATE")
}

// rank orders urgencies; higher is sooner.
func (u Urgency) rank() int { return slices.Index([]Urgency{Routine, Urgent, Immediate}, u) }

// LowerThan reports whether u is less urgent than v.
func (u Urgency) LowerThan(v Urgency) bool { return u.rank() < v.rank() }

// OperationalStatus keeps exercise and test traffic apart from the real; domain.md 4.1.
type OperationalStatus string

// The operational statuses.
const (
	Actual   OperationalStatus = "ACTUAL"
	Exercise OperationalStatus = "EXERCISE"
	Test     OperationalStatus = "TEST"
	System   OperationalStatus = "SYSTEM"
)

// ParseOperationalStatus reads an operational status.
func ParseOperationalStatus(s string) (OperationalStatus, error) {
	switch o := OperationalStatus(s); o {
	case Actual, Exercise, Test, System:
		return o, nil
	}
	return "", fault.New(fault.Invalid, "unknown-status", "read operational status", "an operational status is ACTUAL, EXERCISE, TEST or SYSTEM")
}

// Approval is who released a message; domain.md 12.
type Approval string

// The approval marks.
const (
	TwoPerson      Approval = "two-person"
	OtherAuthority Approval = "other-authority"
	Single         Approval = "single"
)

// ParseApproval reads an approval mark.
func ParseApproval(s string) (Approval, error) {
	switch a := Approval(s); a {
	case TwoPerson, OtherAuthority, Single:
		return a, nil
	}
	return "", fault.New(fault.Invalid, "unknown-approval", "read approval mark", "an approval mark is two-person, other-authority or single")
}

// Lane is the delivery lane that an urgency goes in. PROTOCOL 2.8, 7.4.
func (u Urgency) Lane() authority.Lane {
	name := map[Urgency]string{Immediate: "immediate", Urgent: "urgent"}[u]
	if name == "" {
		name = "routine"
	}
	lane, _ := authority.ParseLane(name) // a constant of ours
	return lane
}

// AcknowledgeWithin is the target for a human to take a request on; domain.md 4.2. Working days count as days here:
// desk calendars come with the case work.
func (u Urgency) AcknowledgeWithin() time.Duration {
	switch u {
	case Immediate:
		return time.Hour
	case Urgent:
		return 8 * time.Hour
	}
	return 2 * 24 * time.Hour
}

// AnswerWithin is the target for the answer; domain.md 4.2. Urgent gets the three days of information not held by
// the desk itself, since the sender cannot know which.
func (u Urgency) AnswerWithin() time.Duration {
	switch u {
	case Immediate:
		return 8 * time.Hour
	case Urgent:
		return 3 * 24 * time.Hour
	}
	return 7 * 24 * time.Hour
}

// ExpiresWithin is the default life of a message: the receiver may still take it that long after it was made.
func (u Urgency) ExpiresWithin() time.Duration { return 30 * 24 * time.Hour }
