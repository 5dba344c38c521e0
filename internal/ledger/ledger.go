package ledger

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// Ledger is one node's memory. Safe for concurrent use.
//
// Errors of engines, beside those of the methods: Retry "disk-full" when the disk has no room, Retry "storage-failed"
// when it fails in another way (in both cases nothing of the transaction is kept and the ledger goes on working when
// the disk does), Retry "closed" after Close, Internal "damaged" when stored bytes are not what was written.
type Ledger interface {
	// Identity is whose ledger this is.
	Identity() Identity

	// Update runs f in a transaction and commits it together with others that wait. When Update returns nil, all that f
	// wrote is on stable storage. When it returns an error, nothing of f is kept, and no other transaction of the group
	// is touched: an error of f's own comes back as it is; when the commit itself fails, every f of the group gets it.
	//
	// f runs at most once, on the writer's goroutine, one at a time: it must be short, wait for nothing, never call the
	// ledger itself, and not keep its Tx. A context that ends before f starts means f is not run; later it no longer
	// matters, so the answer is never in doubt.
	Update(ctx context.Context, f func(Tx) error) error

	// View runs f over one consistent state that holds everything committed before the call. f must not keep its
	// Reader, nor call Update.
	View(ctx context.Context, f func(Reader) error) error

	// VerifyEvidence recomputes every event's hash, every stored tree hash and every checkpoint of this ledger, of its
	// earlier incarnations too. Code
	// "evidence-broken" with the place where they differ. Takes about 10 µs an event, without stopping writers.
	VerifyEvidence(ctx context.Context) (Evidence, error)

	// Close waits for the transactions that run, signs a last checkpoint and releases the files.
	Close() error
}

// Reader reads one consistent state. Lists are empty, not errors, where nothing is found; single records are
// NotFound.
type Reader interface {
	MessageReader
	DeliveryReader
	CaseReader
	AttachmentReader
	EventReader
	BroadcastReader
	AlertReader
	LifeReader
}

// MessageReader reads messages and what is known of them.
type MessageReader interface {
	Message(key message.Key) (Message, error)
	// MessagesOf lists a conversation in the order of recording, without the envelopes.
	MessagesOf(conversation message.ID) ([]Message, error)
	// ReceiptFor is the receipt this node issued for a message.
	ReceiptFor(key message.Key) (Receipt, error)
	// Conflicts lists the proofs kept for a message key, oldest first.
	Conflicts(key message.Key) ([]Conflict, error)
}

// DeliveryReader reads the way of our messages to other nodes.
type DeliveryReader interface {
	Delivery(key message.Key, node authority.Node) (Delivery, error)
	// DeliveriesOf lists the deliveries of one message by node name.
	DeliveriesOf(key message.Key) ([]Delivery, error)
	// DeliveriesTo lists what waits for one node (Next is set), by lane, then by Next; at most limit.
	DeliveriesTo(node authority.Node, limit int) ([]Delivery, error)
	// Due lists deliveries whose Next is not after now, by lane (immediate first), then by Next; at most limit.
	Due(now time.Time, limit int) ([]Delivery, error)
	// NextDue is the earliest Next of all; zero when nothing waits.
	NextDue() (time.Time, error)
}

// CaseReader reads requests as people see them.
type CaseReader interface {
	Case(conversation message.ID, own authority.Name) (Case, error)
	// CasesOf lists the cases of a conversation by own authority: more than one where several authorities of this node
	// take part in it.
	CasesOf(conversation message.ID) ([]Case, error)
	// Cases lists cases, last changed first.
	Cases(filter CaseFilter) ([]Case, error)
	// CasesSince lists cases changed after cursor, oldest change first, each once with its newest state; at most limit.
	CasesSince(cursor int64, limit int) ([]Case, error)
	// Cursor is the number of the newest change; 0 when there was none.
	Cursor() (int64, error)
	Draft(conversation message.ID) (Draft, error)
}

// AttachmentReader reads what is known of attachments; their bytes are files.
type AttachmentReader interface {
	Attachment(owner Owner, index uint32) (Attachment, error)
	// AttachmentsOf lists the attachments of a message or draft by index.
	AttachmentsOf(owner Owner) ([]Attachment, error)
	// AttachmentsIn lists all attachments of a conversation, drafts first, then by message ID.
	AttachmentsIn(conversation message.ID) ([]Attachment, error)
	// ExpectedFrom is how many sealed bytes a state's authorities have announced that are not here whole yet.
	ExpectedFrom(state authority.State) (uint64, error)
	// NamesFile reports whether an attachment is kept in a file of this name.
	NamesFile(name string) (bool, error)
}

// EventReader reads the evidence log.
type EventReader interface {
	// Events lists events from a number on; at most limit.
	Events(from uint64, limit int) ([]StoredEvent, error)
	// EventCount is how many events there are; numbers start at 0.
	EventCount() (uint64, error)
	// Checkpoints lists stored checkpoints from a sequence number on; at most limit. Sequences start at 1.
	Checkpoints(from uint64, limit int) ([]Checkpoint, error)
	// NewestCheckpoint is NotFound in a ledger that has cited none.
	NewestCheckpoint() (Checkpoint, error)
}

// Tx reads and writes in one transaction; it sees what it has written.
type Tx interface {
	Reader
	BroadcastTx
	AlertTx
	LifeTx

	// PutMessage records a message. It reports false when exactly this message is there already, and Conflict "same-id"
	// when its key is taken by another digest.
	PutMessage(m Message) (added bool, err error)
	// PutReceipt records or completes the receipt of a message. Conflict "receipt-fixed" when it would change bytes that
	// may have been handed out.
	PutReceipt(r Receipt) error
	PutConflict(c Conflict) error
	// PutDelivery records a delivery or replaces it.
	PutDelivery(d Delivery) error
	// PutCase records a case or replaces it, and gives it the next cursor, which it returns.
	PutCase(c Case) (cursor int64, err error)
	// NextReference counts the references of an authority in a year, from 1, without gaps.
	NextReference(own authority.Name, year int) (int, error)
	PutDraft(d Draft) error
	DeleteDraft(conversation message.ID) error
	// PutAttachment records an attachment or replaces it.
	PutAttachment(a Attachment) error
	// SetStored records how many sealed bytes of an attachment are safely on disk; NotFound when it is unknown.
	SetStored(owner Owner, index uint32, stored uint64, state AttachmentState) error
	// DeleteAttachments forgets all attachments of an owner; the files are the caller's.
	DeleteAttachments(owner Owner) error
	// Append adds an event to the evidence log and returns its number.
	Append(e Event) (uint64, error)
	// Checkpoint is the salted hash of the newest checkpoint signed before this commit, for receipts to carry
	// (PROTOCOL 8.1). The checkpoint is stored with this commit. Retry "keyring-away" when it cannot be signed.
	Checkpoint() (message.Digest, error)
}

// Absent is the NotFound of a record that an engine does not hold.
func Absent(what string) error {
	return fault.New(fault.NotFound, "", "read ledger", "there is no such "+what)
}

// SameID is the conflict of a message key that is taken by another digest.
func SameID() error {
	return fault.New(fault.Conflict, "same-id", "record message", "another message with this ID and sender is recorded already")
}

// ReceiptFixed is the conflict of a receipt that was issued and cannot change.
func ReceiptFixed() error {
	return fault.New(fault.Conflict, "receipt-fixed", "record receipt", "another receipt was issued for this message")
}

// SameNumber is the conflict of a number of a chain that is taken.
func SameNumber() error {
	return fault.New(fault.Conflict, "same-number", "record alert", "the number is taken in its chain")
}

// Equivocation is the conflict of an epoch that is recorded with another key.
func Equivocation() error {
	return fault.New(fault.Conflict, "equivocation", "record epoch", "the epoch is recorded with another key")
}

// Issued is the conflict of an alert that is no draft any more and is not forgotten.
func Issued() error {
	return fault.New(fault.Conflict, "issued", "delete draft", "the alert was issued and is kept")
}

// PageSize is the number of rows a list may return for a limit that was asked for.
func PageSize(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}
