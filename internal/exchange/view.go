package exchange

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Composition is a request as its author writes it.
type Composition struct {
	From     authority.Name
	To       authority.Name
	Category authority.Category
	Urgency  message.Urgency
	Status   message.OperationalStatus
	// Expires is zero for the default by urgency.
	Expires time.Time
	message.Compose
}

// Sent is the answer to a submission.
type Sent struct {
	State message.State
	// Message is zero while approval is pending.
	Message message.ID
	// Freshness of the directory the message was addressed by.
	Freshness string
}

// Filter narrows a list of requests.
type Filter struct {
	// Side is empty for both.
	Side  message.Side
	State message.State
	// Peer is zero for all.
	Peer  authority.Name
	Limit int
	// Before is the cursor of the previous page; 0 = newest.
	Before int64
}

// Summary is one line of a list.
type Summary struct {
	Conversation message.ID
	Own          authority.Name
	Peer         authority.Name
	Side         message.Side
	Reference    string
	Local        string
	Kind         string
	Category     authority.Category
	Urgency      message.Urgency
	Status       message.OperationalStatus
	State        message.State
	Title        string
	Created      time.Time
	Changed      time.Time
	Due          time.Time
	Attachments  int
	Cursor       int64
}

// View is one request opened: what was said by whom, and what the receipts prove.
type View struct {
	Summary
	message.Compose
	Attachments []AttachmentView
	Steps       []Step
	// Digest is what an approver signs for: SHA-256 of the draft's content; zero once sent.
	Digest message.Digest
}

// AttachmentView is one attachment of a request or answer.
type AttachmentView struct {
	Message message.ID
	Index   uint32
	Note    *formatv1.AttachmentNote
	// Size and Digest of the plaintext.
	Size       uint64
	Digest     message.Digest
	SealedSize uint64
	Stored     uint64
	Complete   bool
}

// Step is one message of the conversation.
type Step struct {
	Message         message.ID
	Kind            message.Kind
	Sender          authority.Name
	Created         time.Time
	Digest          message.Digest
	Approval        message.Approval
	Acknowledgement *formatv1.Acknowledgement
	Answers         []*formatv1.Answer
	Subjects        []*formatv1.Subject
	Refusal         *formatv1.Refusal
	Closing         *formatv1.Closing
	// Deliveries of a message of ours, one per node.
	Deliveries []DeliveryView
	// Receipts that stand for this message: the peer's for ours, ours for the peer's.
	Receipts []ReceiptView
}

// DeliveryView is how far a message of ours has come.
type DeliveryView struct {
	Node      authority.Node
	State     string
	Attempts  int
	Next      time.Time
	LastError string
	// Road is the one on which the receipt came, or that was tried last.
	Road ledger.Road
}

// ReceiptView is one stage of one authority.
type ReceiptView struct {
	Node      authority.Node
	Authority authority.Name
	Stage     message.Stage
	Code      string
	Time      time.Time
	// Verified: the signature was checked against the directory just now.
	Verified bool
}
