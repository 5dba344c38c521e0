package operator

import (
	"context"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// Requests is the daily work. Each call is decided by policy with the request in hand: Denied with the reason. A
// request that does not exist or is not the caller's to know is NotFound. What is reported as done is durable.
type Requests interface {
	Drafts
	Replies
	Cases
}

// Drafts is the requesting side before a request leaves.
type Drafts interface {
	// Create stores a draft and names it for life.
	Create(ctx context.Context, who people.Principal, d *operatorv1.Draft) (message.ID, error)
	// Check lists what a draft lacks.
	Check(ctx context.Context, who people.Principal, id message.ID) ([]message.Finding, error)
	// Send submits a draft, to approval where two persons are wanted.
	Send(ctx context.Context, who people.Principal, id message.ID) (Sent, error)
	// Approve releases what was shown with this digest; a zero digest is the current one.
	Approve(ctx context.Context, who people.Principal, id message.ID, digest message.Digest) (Sent, error)
	// Return gives a draft back to its author.
	Return(ctx context.Context, who people.Principal, id message.ID, reason string) error
}

// Replies is what is said on a request that was sent. Each returns the ID of the message it became.
type Replies interface {
	Acknowledge(ctx context.Context, who people.Principal, id message.ID, a *formatv1.Acknowledgement) (message.ID, error)
	Answer(ctx context.Context, who people.Principal, id message.ID, a []*formatv1.Answer, found []*formatv1.Subject) (message.ID, error)
	Refuse(ctx context.Context, who people.Principal, id message.ID, r *formatv1.Refusal) (message.ID, error)
	Close(ctx context.Context, who people.Principal, id message.ID, c *formatv1.Closing) (message.ID, error)
}

// Cases is reading.
type Cases interface {
	// List is newest change first.
	List(ctx context.Context, who people.Principal, f Filter) ([]Change, error)
	// Show opens one request.
	Show(ctx context.Context, who people.Principal, id message.ID) (*operatorv1.GetRequestResponse, error)
	// Since is what changed after a cursor, oldest change first, each request at most once as it stands now; empty
	// only if nothing did that who may see.
	Since(ctx context.Context, who people.Principal, cursor int64, limit int) ([]Change, error)
	// Newest is the cursor of the newest change.
	Newest(ctx context.Context) (int64, error)
	// Changed is closed at the next change. Take it before Since.
	Changed() <-chan struct{}
}

// Sent is the answer to a submission.
type Sent struct {
	State message.State
	// Message is zero while approval is pending.
	Message message.ID
	// Freshness is that of the directory the message was addressed by.
	Freshness string
}

// Filter narrows a list. Zero fields ask nothing.
type Filter struct {
	Side  message.Side
	State message.State
	Peer  authority.Name
	// Limit is 1 to 500.
	Limit int
	// Before is the cursor that the page before ended with.
	Before int64
}

// Change is a request as it stood after its latest change.
type Change struct {
	// Cursor numbers changes; later ones are greater.
	Cursor  int64
	Summary *operatorv1.RequestSummary
}

// Attachments moves files.
type Attachments interface {
	// Add reads src to its end and keeps the file with a draft, or fails and keeps nothing. Durable on return.
	Add(ctx context.Context, who people.Principal, request message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error)
	// Open gives the plaintext of a complete attachment; reading it fails rather than ends early.
	Open(ctx context.Context, who people.Principal, ref AttachmentRef) (io.ReadCloser, *operatorv1.AttachmentInfo, error)
}

// AttachmentRef names one attachment of one message of a request.
type AttachmentRef struct {
	Request message.ID
	// Message is zero for an attachment of a draft.
	Message message.ID
	Index   uint32
}

// Directory is the verified snapshot this node routes by.
type Directory interface {
	// Load is nil before the first snapshot.
	Load() *directory.Snapshot
	// Freshness is "fresh", "degraded" or "stale", and since when the newest head was cosigned.
	Freshness(now time.Time) (string, time.Time)
	// Status is how the node's copy of the log is.
	Status() LogStatus
}

// LogStatus is how far the log is stored and in force here, who stands behind it, and what is wrong with it.
// PROTOCOL 11.6, 11.8, 11.9.
type LogStatus struct {
	// Head is the newest confirmed head; it may be zero. Judgement is who stands behind it.
	Head      directory.Head
	Judgement directory.Judgement
	// Confirmed is the position up to which the log is in force, Stored that up to which this node has it.
	Confirmed, Stored uint64
	// Freshness counts from Since.
	Freshness string
	Since     time.Time
	Proofs    []LogProof
	Omitted   []Omission
	// Halted is why no more comes into force until a person has done something; nil if it does.
	Halted error
}

// LogProof is kept evidence against the hub: two signed notes that contradict each other or, without Other, one that
// contradicts the log as it was sent here.
type LogProof struct {
	ID, Kind    string
	Head, Other []byte
	By, OtherBy string
	Agreed      uint64
	At          time.Time
}

// Omission is a statement that the hub was to log and has not.
type Omission struct {
	Hash    directory.Hash
	Kind    directory.Kind
	Subject directory.Subject
	Since   time.Time
}

// Contacts finds contact cards, which lie beside the log.
type Contacts interface {
	// Card is the card with this hash; NotFound if the node does not hold it.
	Card(ctx context.Context, hash directory.Hash) (directory.Card, error)
}

// Monitor says how the node is.
type Monitor interface {
	Status(ctx context.Context) (*operatorv1.GetStatusResponse, error)
}

// Backups makes backups of the node.
type Backups interface {
	// Backup writes a backup, sealed to the state's recovery key, to dst; it is whole only if no error is returned, and then
	// the evidence log tells of it. Progress is told how many bytes of about how many were read.
	Backup(ctx context.Context, who people.Principal, attachments string, dst io.Writer, progress func(done, about int64)) (*operatorv1.BackupSummary, error)
}
