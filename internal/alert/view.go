package alert

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Composition is an alert as its author writes it.
type Composition struct {
	// From is zero for the actor's own authority.
	From authority.Name
	// States narrow an audience; none = all.
	States []authority.State
	// To are the authorities of a DIRECTED alert.
	To []authority.Name
	// Expires is zero for the default life, 90 days from its issue; an update keeps the life it has.
	Expires time.Time
	message.AlertCompose
}

// Checked is what a draft lacks and who would receive it.
type Checked struct {
	Findings []message.Finding
	Audience []authority.Name
}

// Published is the answer to a submission.
type Published struct {
	// State is PENDING_APPROVAL while a second person is waited for.
	State message.AlertState
	// Message is zero while approval is pending, and where nobody is left to be told of a cancellation.
	Message   message.ID
	Freshness string
	// Audience is how many authorities it is for.
	Audience int
}

// Summary is one line of a list.
type Summary struct {
	ID message.ID
	// Own is the authority of this node that sees it so.
	Own    authority.Name
	Issuer authority.Name
	// Issued tells an alert of Own from one that came.
	Issued       bool
	State        message.AlertState
	Type         string
	Category     authority.Category
	Urgency      message.Urgency
	Status       message.OperationalStatus
	Distribution message.Distribution
	Reference    string
	Title        string
	Version      uint32
	Mark         string
	// Attachments is how many larger files it has.
	Attachments int
	Created     time.Time
	Changed     time.Time
	Expires     time.Time
	Cursor      int64
	// Next is where the draft of the next version stands, DRAFT or PENDING_APPROVAL; empty where there is none. A list
	// tells it of issued alerts alone.
	Next message.AlertState
}

func summaryOf(row ledger.Alert) Summary {
	return Summary{
		ID: row.ID, Own: row.Own, Issuer: row.Issuer, Issued: row.Direction == ledger.Out, State: row.State, Type: row.Type,
		Category: row.Category, Urgency: row.Urgency, Status: row.Status, Distribution: row.Distribution, Reference: row.Reference,
		Title: row.Title, Version: row.Version, Mark: row.Mark, Attachments: row.Attachments, Created: row.Created,
		Changed: row.Changed, Expires: row.Expires, Cursor: row.Cursor,
	}
}

// Content is what an alert says.
type Content struct {
	Notice   *formatv1.AlertNotice
	Subjects []*formatv1.Subject
	// Files are small ones, inside the alert; Attached are the larger, each a file of its own.
	Files    []*formatv1.File
	Attached []exchange.AttachmentView
}

// View is one alert opened. Of one that is over its receiver gets no content: it is Locked.
type View struct {
	Summary
	Content
	Locked bool
	// Unreadable is the code of why the content does not open; else empty.
	Unreadable string
	// Steps are the messages of its life, in the order of recording.
	Steps []Step
	// Draft is what is being written: the alert itself while it is not issued, later its next version.
	Draft *DraftView
}

// DraftView is a draft with what an approver signs off.
type DraftView struct {
	State message.AlertState
	Composition
	Attached []exchange.AttachmentView
	// Digest covers content and every file.
	Digest message.Digest
	// Returned is the approver's reason when it came back; else empty.
	Returned string
	Author   string
}

// Step is one message of an alert's life.
type Step struct {
	Message  message.ID
	Kind     message.Kind
	Sender   authority.Name
	Created  time.Time
	Version  uint32
	Approval message.Approval
	// Digest is the envelope digest.
	Digest       message.Digest
	Cancellation *formatv1.Cancellation
	Feedback     *formatv1.Feedback
}

// Filter narrows a list of alerts; a zero field does not narrow.
type Filter struct {
	// Direction is ledger's OUT for issued ones, IN for received ones.
	Direction ledger.Direction
	// State PENDING_APPROVAL finds issued alerts too whose next version waits.
	State message.AlertState
	Type  string
	// Category is a category or a group alone.
	Category string
	Limit    int
	// Before is the cursor of the previous page; 0 = newest.
	Before int64
}

// Holder is one node that has an alert of ours or should have it.
type Holder struct {
	Node        authority.Node
	Authorities []authority.Name
	// Alert is the state of the alert there, Latest that of its last update or cancellation, empty where there was none:
	// "RECEIVED", "PASSED_OVER", "REFUSED", "PENDING", "OVERDUE" or "REMOVED".
	Alert  string
	Latest string
	// Code is why it was refused.
	Code string
	// Time is when the newest receipt was signed.
	Time      time.Time
	LastError string
}
