package operator

import (
	"context"
	"io"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// Alerts is what goes to many. Each call is decided by policy with the alert in hand: Denied with the reason. An alert
// that does not exist or is not the caller's to know is NotFound. What is reported as done is durable.
type Alerts interface {
	AlertIssuing
	AlertReading
	AlertFiles
}

// AlertIssuing is the issuer's side.
type AlertIssuing interface {
	// Create stores a draft and names it for life.
	Create(ctx context.Context, who people.Principal, d *operatorv1.AlertDraft) (message.ID, error)
	// Check lists what a draft lacks and the authorities that would receive it.
	Check(ctx context.Context, who people.Principal, id message.ID) ([]message.Finding, []authority.Name, error)
	// Publish submits a draft, to approval where two persons are wanted.
	Publish(ctx context.Context, who people.Principal, id message.ID) (Published, error)
	// Approve releases what was shown with this digest; a zero digest is the current one.
	Approve(ctx context.Context, who people.Principal, id message.ID, digest message.Digest) (Published, error)
	// Return gives a draft back to its author and says where the alert stands now.
	Return(ctx context.Context, who people.Principal, id message.ID, reason string) (message.AlertState, error)
	// Update drafts the next version, to be published like the first, and says where the alert stands now.
	Update(ctx context.Context, who people.Principal, id message.ID, d *operatorv1.AlertDraft) (message.AlertState, error)
	// Cancel withdraws an alert. The reason is a code of domain 4.9.
	Cancel(ctx context.Context, who people.Principal, id message.ID, reason, text string) (Published, error)
	// Holders says per node of the audience what its signed receipts prove.
	Holders(ctx context.Context, who people.Principal, id message.ID) ([]*operatorv1.Holder, error)
}

// AlertReading is reading, and saying what came of it.
type AlertReading interface {
	// List is newest change first.
	List(ctx context.Context, who people.Principal, f AlertFilter) ([]AlertChange, error)
	// Show opens one alert for somebody who reads it.
	Show(ctx context.Context, who people.Principal, id message.ID) (*operatorv1.GetAlertResponse, error)
	// Since is what changed after a cursor, opened, oldest change first, each alert at most once as it stands now; limit
	// bounds what is opened at once. Received leaves out what the caller's authority issues. UpTo is the cursor that it
	// got to, past what was left out; it is where it began only if nothing changed that who may see. It leaves no mark of
	// reading: that would be a change in its turn. Retry where content cannot be opened now.
	Since(ctx context.Context, who people.Principal, cursor int64, received bool, limit int) (news []AlertNews, upTo int64, err error)
	// Newest is the cursor of the newest change.
	Newest(ctx context.Context) (int64, error)
	// Changed is closed at the next change. Take it before Since.
	Changed() <-chan struct{}
	// Feedback tells the issuer what was found, in the message whose ID it returns; zero where nothing is sent.
	Feedback(ctx context.Context, who people.Principal, id message.ID, f *formatv1.Feedback) (message.ID, error)
}

// AlertFiles moves files that are too large to travel inside an alert.
type AlertFiles interface {
	// AddFile reads src to its end and keeps the file with a draft, or fails and keeps nothing. Durable on return.
	AddFile(ctx context.Context, who people.Principal, id message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error)
	// OpenFile gives the plaintext of a file, pulled from the issuer first where it is not here; reading it fails rather
	// than ends early. Retry while the issuer cannot be reached.
	OpenFile(ctx context.Context, who people.Principal, id message.ID, index uint32) (io.ReadCloser, *operatorv1.AttachmentInfo, error)
}

// Published is the answer to a submission.
type Published struct {
	State message.AlertState
	// Message is zero while approval is pending.
	Message message.ID
	// Freshness is that of the directory the audience was taken from.
	Freshness string
	// Audience is how many authorities it is for.
	Audience int
}

// AlertFilter narrows a list. Zero fields ask nothing.
type AlertFilter struct {
	Direction AlertDirection
	State     message.AlertState
	// Category is one ("drugs.trafficking") or a group ("drugs").
	Category string
	Type     string
	// Limit is 1 to 500.
	Limit int
	// Before is the cursor that the page before ended with.
	Before int64
}

// AlertDirection is on which side of an alert this node stands. The zero value is either.
type AlertDirection uint8

// The directions.
const (
	Issued AlertDirection = iota + 1
	Received
)

// AlertNews is an alert as it stood after its latest change, opened.
type AlertNews struct {
	Cursor int64
	Alert  *operatorv1.GetAlertResponse
}

// AlertChange is an alert as it stood after its latest change.
type AlertChange struct {
	// Cursor numbers changes; later ones are greater.
	Cursor  int64
	Summary *operatorv1.AlertSummary
}

// Subscriptions is which alerts an authority wants. Decided by policy like [Alerts].
type Subscriptions interface {
	// Add wants more: the ID and status of what was added, which may wait for an approver.
	Add(ctx context.Context, who people.Principal, s *operatorv1.Subscription) (id message.ID, status string, err error)
	// Approve confirms one and says its status.
	Approve(ctx context.Context, who people.Principal, id message.ID) (status string, err error)
	// List is those of the caller's authority.
	List(ctx context.Context, who people.Principal) ([]*operatorv1.Subscription, error)
	// Remove ends one.
	Remove(ctx context.Context, who people.Principal, id message.ID) error
}
