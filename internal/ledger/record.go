package ledger

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
)

// Identity is whose ledger it is. An engine refuses to open a ledger of another node or network.
type Identity struct {
	// Network is the network's fingerprint or name, as the assembly uses it.
	Network string
	Node    authority.Node
	// Incarnation is made when the ledger is created and never changes. PROTOCOL 9.5.
	Incarnation message.Incarnation
	// Origin names the evidence log of this incarnation. PROTOCOL 9.2.
	Origin string
}

// Direction tells a message of ours from one that came.
type Direction string

// The directions.
const (
	Out Direction = "OUT"
	In  Direction = "IN"
)

// Message is one envelope.
type Message struct {
	Key message.Key
	// Seq is given by the ledger in the order of recording, from 1; ignored on input.
	Seq          int64
	Direction    Direction
	Digest       message.Digest
	Conversation message.ID
	// InReplyTo is zero for the first message of a conversation.
	InReplyTo   message.ID
	Kind        message.Kind
	Created     time.Time
	Expires     time.Time
	Recorded    time.Time
	Attachments int
	// Envelope is the whole canonical envelope with its sealed body. Lists leave it out.
	Envelope []byte
}

// Receipt is what this node has issued for a message that came to it: signed bytes, replayed verbatim, kept for ever.
type Receipt struct {
	Key    message.Key
	Digest message.Digest
	// Received is the receipt of the first decision (RECEIVED or REJECTED); Complete follows when all attachments are
	// whole, and is empty until then.
	Received []byte
	Complete []byte
}

// DeliveryState is how far a message of ours has come on its way to one node.
type DeliveryState string

// The states of a delivery.
const (
	Queued        DeliveryState = "QUEUED"
	Delivered     DeliveryState = "DELIVERED"
	Complete      DeliveryState = "COMPLETE"
	Rejected      DeliveryState = "REJECTED"
	Undeliverable DeliveryState = "UNDELIVERABLE"
)

// Delivery is a message of ours on its way to one node.
type Delivery struct {
	Key      message.Key
	Node     authority.Node
	State    DeliveryState
	Attempts int
	// Next is when something is to be done about it again, whatever the state; zero when nothing is.
	Next time.Time
	Lane authority.Lane
	// LastError is for this node's own people.
	LastError string
	// Receipt and CompleteReceipt are the peer's signed receipts, empty until they came.
	Receipt         []byte
	CompleteReceipt []byte
	Expires         time.Time
	// Road is the one on which the receipt came, or that was tried last; empty before.
	Road Road
}

// Road is a way from node to node. DESIGN 8.
type Road string

// The roads. Bytes and receipts are the same on each.
const (
	Direct  Road = "direct"
	Collect Road = "collect"
	Mailbox Road = "mailbox"
)

// Case is a request as one authority of this node sees it: the line in a list.
type Case struct {
	Conversation message.ID
	Own          authority.Name
	Peer         authority.Name
	Side         message.Side
	// Reference is the requesting side's, LocalReference that of Own where it is another.
	Reference      string
	LocalReference string
	RequestKind    authority.RequestKind
	Category       authority.Category
	Urgency        message.Urgency
	Status         message.OperationalStatus
	State          message.State
	Title          string
	// Author and Approver are accounts of this node; empty on the side that has none.
	Author      string
	Approver    string
	Created     time.Time
	Changed     time.Time
	Due         time.Time
	Attachments int
	// Cursor is the number of the case's last change, given by the ledger in commit order; ignored on input.
	Cursor int64
}

// CaseFilter narrows a list of cases; a zero field does not narrow.
type CaseFilter struct {
	Own   authority.Name
	Side  message.Side
	State message.State
	Peer  authority.Name
	// Limit is 1 to [MaxPage]; 0 means MaxPage.
	Limit int
	// BeforeCursor continues a list: only cases changed before that number.
	BeforeCursor int64
}

// MaxPage bounds every list that takes a limit.
const MaxPage = 1000

// Draft is what is being written, in plain text: the engine's encryption at rest is all that covers it.
type Draft struct {
	Conversation message.ID
	Content      []byte
	Digest       message.Digest
	Author       string
	// Returned is the approver's reason when the draft came back; else empty.
	Returned string
}

// AttachmentState is how far the bytes of an attachment have come.
type AttachmentState string

// The states of an attachment.
const (
	AttachmentDraft     AttachmentState = "DRAFT"     // sealed to the spool, its message not sent
	AttachmentSpooled   AttachmentState = "SPOOLED"   // ours, part of a sent message
	AttachmentReceiving AttachmentState = "RECEIVING" // a peer's, Stored bytes of it here
	AttachmentComplete  AttachmentState = "COMPLETE"  // a peer's, whole and verified
)

// Owner is what an attachment belongs to: a message, or the draft of a conversation. Exactly one is set.
type Owner struct {
	Message message.Key
	Draft   message.ID
}

// OwnedBy is the owner of a message's attachments.
func OwnedBy(key message.Key) Owner { return Owner{Message: key} }

// OwnedByDraft is the owner of a draft's attachments.
func OwnedByDraft(conversation message.ID) Owner { return Owner{Draft: conversation} }

// Attachment is one sealed file.
type Attachment struct {
	Owner        Owner
	Index        uint32
	Conversation message.ID
	Direction    Direction
	// SealedSize and Root are those of the manifest. PROTOCOL 6.3.
	SealedSize uint64
	Root       message.Digest
	// Stored is how many sealed bytes are safely on disk.
	Stored uint64
	State  AttachmentState
	// File is a name inside the attachments directory, never a path.
	File string
	// Meta is the caller's own, such as the attachment note of a draft.
	Meta []byte
}

// Conflict is a second header under a message key that was taken: the proof that its sender signed two.
type Conflict struct {
	Key        message.Key
	Digest     message.Digest
	Header     []byte
	Signatures []byte
	Time       time.Time
}
