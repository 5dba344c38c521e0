package ledger

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/message"
)

// Chain names one publisher's chain of category alerts: an audience in one incarnation. PROTOCOL 7.2, 7.5.
type Chain struct {
	Publisher   authority.Node
	Incarnation message.Incarnation
	Audience    message.Digest
}

// Epoch is one epoch key of a chain, ours or another publisher's. PROTOCOL 7.3.
type Epoch struct {
	Chain  Chain
	Number uint64
	// Fingerprint of the key.
	Fingerprint message.Digest
	// Package is the Signed EpochPackage.
	Package []byte
	// Sealed is the grant with the key, sealed to this node's key SealedTo: the key itself is never stored.
	Sealed   []byte
	SealedTo authority.Fingerprint
	Recorded time.Time
}

// Broadcast is an audience that this node publishes to, in its own incarnation.
type Broadcast struct {
	Audience message.Digest
	Category authority.Category
	Rule     string
	States   []authority.State
	// Epoch is the newest; 0 before the first.
	Epoch uint64
	// Last is the newest number, Hash its chain hash; 0 and zero before the first.
	Last uint64
	Hash message.Digest
}

// Link is one number of a chain of ours.
type Link struct {
	// Seq is given by the ledger in the order of recording over all audiences, from 1; ignored on input.
	Seq      int64
	Audience message.Digest
	Number   uint64
	Epoch    uint64
	Message  message.Key
	// Digest is the envelope digest.
	Digest  message.Digest
	Subject string
	Salt    []byte
	// Hash is the chain hash of this number.
	Hash    message.Digest
	Expires time.Time
	// Direct keeps it off the bus: it goes by the direct road alone.
	Direct bool
	// Frame is the signed frame. Empty on input where it is the message's own Envelope; filled when asked for.
	Frame []byte
}

// Member is a node of an audience of ours, or one that was.
type Member struct {
	Audience message.Digest
	Node     authority.Node
	// Authorities are those that made it a member, at the newest epoch that it was one of.
	Authorities []authority.Name
	// Removed is when it left the audience; zero while it is in it.
	Removed time.Time
	// First is the first number it is to be given. What was before is not for it.
	First uint64
	// Epoch is the newest epoch whose grant it has receipted.
	Epoch uint64
	// Position is the last number covered by Receipt, its newest Signed CumulativeReceipt.
	Position uint64
	Receipt  []byte
	// Next is when something is to be done about it; zero when nothing is.
	Next     time.Time
	Attempts int
	// LastError is for this node's own people.
	LastError string
}

// Range is numbers from First to Last, both included.
type Range struct{ First, Last uint64 }

// Refusal is a number that was refused, with its code.
type Refusal struct {
	Number uint64
	Code   string
}

// Following is how far this node has come in another publisher's chain.
type Following struct {
	Chain    Chain
	Category authority.Category
	Rule     string
	// First is the lowest number that was ever told: what was before is not ours.
	First uint64
	// Position is the last number that is decided with all before it; Hash its chain hash.
	Position uint64
	Hash     message.Digest
	// Indexed is the last number that a signed index has named. A receipt rests on indexes.
	Indexed uint64
	// Passed and Refused are those of the numbers up to Position, in ascending order; ranges neither touch nor overlap.
	Passed  []Range
	Refused []Refusal
	// Receipt is the newest Signed CumulativeReceipt that was given; ReceiptPosition is what it covers.
	Receipt         []byte
	ReceiptPosition uint64
	Changed         time.Time
}

// EntryState is what became of a number of another publisher's chain.
type EntryState string

// The states of an entry.
const (
	EntryKnown   EntryState = "KNOWN"   // named by an index, and wanted
	EntryStored  EntryState = "STORED"  // its alert is in the inbox
	EntryPassed  EntryState = "PASSED"  // not wanted here
	EntryRefused EntryState = "REFUSED" // it came and does not hold
)

// Entry is one number of another publisher's chain.
type Entry struct {
	Chain  Chain
	Number uint64
	Digest message.Digest
	Salt   []byte
	// Hash and Previous are chain hashes that its frame has told; zero while only an index has named it.
	Hash     message.Digest
	Previous message.Digest
	Subject  string
	State    EntryState
	// Code is why it was refused.
	Code string
	// Seen is when it was first heard of.
	Seen time.Time
}

// Index is a Signed ChainIndex that receipts of this node rest on.
type Index struct {
	Chain       Chain
	First, Last uint64
	Signed      []byte
}

// Held is a frame whose epoch key has not come.
type Held struct {
	// Seq is given by the ledger; ignored on input.
	Seq         int64
	Publisher   authority.Node
	Fingerprint message.Digest
	// Hash is the frame's chain hash: a frame is held once.
	Hash     message.Digest
	Subject  string
	Frame    []byte
	Recorded time.Time
}

// Control is what this node has answered to a control envelope; it is kept until the envelope has expired.
type Control struct {
	From    authority.Node
	ID      message.ID
	Digest  message.Digest
	Receipt []byte
	Expires time.Time
}

// Proof is two signed things of one node that contradict each other.
type Proof struct {
	// Kind is "epoch-package", "chain-entry" or "chain-index".
	Kind string
	Node authority.Node
	// About names what they are both about; one proof is kept for each (Kind, Node, About).
	About         string
	First, Second []byte
	Time          time.Time
}

// BroadcastReader reads the one-to-many road: chains of ours, their audiences, and those that we follow. A number that
// is too high to be stored is found nowhere.
type BroadcastReader interface {
	Epoch(chain Chain, number uint64) (Epoch, error)
	// EpochByKey finds the epoch of a publisher, in any of its incarnations, by the fingerprint of its key; the last recorded
	// where there are several.
	EpochByKey(publisher authority.Node, fingerprint message.Digest) (Epoch, error)
	// NewestEpoch is NotFound where there is none.
	NewestEpoch(chain Chain) (Epoch, error)

	Broadcast(audience message.Digest) (Broadcast, error)
	// Broadcasts lists all audiences of ours by category, then rule.
	Broadcasts() ([]Broadcast, error)
	// Link is a number of a chain of ours, with its frame.
	Link(audience message.Digest, number uint64) (Link, error)
	// LinkOf is the first link of a message of ours, with its frame.
	LinkOf(key message.Key) (Link, error)
	// LinksOf lists the links of a message of ours in order of Seq, without frames: the same alert under more than one
	// number of one or more audiences.
	LinksOf(key message.Key) ([]Link, error)
	// Links lists a chain of ours from a number on, without frames; at most limit.
	Links(audience message.Digest, from uint64, limit int) ([]Link, error)
	// LinksAfter lists what is recorded after seq and not Direct, with frames, in order of Seq; at most limit.
	LinksAfter(seq int64, limit int) ([]Link, error)
	// Member, Members and MembersDue read the nodes of our audiences: those of one by node, due ones by Next and at most
	// limit.
	Member(audience message.Digest, node authority.Node) (Member, error)
	Members(audience message.Digest) ([]Member, error)
	MembersDue(now time.Time, limit int) ([]Member, error)
	// MembersOf lists the audiences of ours that a node is or was a member of, by audience.
	MembersOf(node authority.Node) ([]Member, error)
	// NextMember is the earliest Next of all; zero when nothing waits.
	NextMember() (time.Time, error)
	// BusCursor is the Seq up to which links were handed to the bus; 0 at first.
	BusCursor() (int64, error)

	Following(chain Chain) (Following, error)
	// FollowingOf lists the chains of a publisher that this node follows, all incarnations, the oldest first.
	FollowingOf(publisher authority.Node) ([]Following, error)
	Entry(chain Chain, number uint64) (Entry, error)
	// Entries lists entries of a chain from a number on, in order; at most limit.
	Entries(chain Chain, from uint64, limit int) ([]Entry, error)
	// Indexes lists the signed indexes kept of a chain that name a number or any after it, by First.
	Indexes(chain Chain, from uint64, limit int) ([]Index, error)
	// HeldBytes is how many bytes of frames wait for keys of a publisher.
	HeldBytes(publisher authority.Node) (uint64, error)
	// HeldFor lists frames that wait for a key and were held after a Seq, in order of Seq; at most limit.
	HeldFor(publisher authority.Node, fingerprint message.Digest, after int64, limit int) ([]Held, error)
	// HeldPublishers lists whose keys frames wait for, by name.
	HeldPublishers() ([]authority.Node, error)
	Control(from authority.Node, id message.ID) (Control, error)
	// Proofs lists proofs, last recorded first; at most limit.
	Proofs(limit int) ([]Proof, error)
}

// BroadcastTx writes the one-to-many road. A number of 2^63 - 1 or more is Invalid "malformed", a list that is not as
// its field says Internal.
type BroadcastTx interface {
	// PutEpoch records an epoch, or replaces its Sealed and SealedTo and keeps the rest as it was. Conflict "equivocation" where the epoch has another fingerprint.
	PutEpoch(e Epoch) error
	// PutBroadcast records an audience of ours or replaces it.
	PutBroadcast(b Broadcast) error
	// PutLink records a number; Conflict "same-number" where it is taken.
	PutLink(l Link) (seq int64, err error)
	// PutMember records a member or replaces it.
	PutMember(m Member) error
	SetBusCursor(seq int64) error
	// PutFollowing records a following or replaces it.
	PutFollowing(f Following) error
	// PutEntry records an entry or replaces it.
	PutEntry(e Entry) error
	// PutIndex keeps a signed index; one of the same chain, First and Last is replaced.
	PutIndex(x Index) error
	// PutHeld holds a frame; one that is held already stays as it is.
	PutHeld(h Held) error
	// DeleteHeld forgets a frame; its Seq is not given again.
	DeleteHeld(seq int64) error
	// DeleteHeldBefore forgets frames recorded before a time, and returns how many.
	DeleteHeldBefore(t time.Time) (int, error)
	// PutControl keeps an answer. Conflict "receipt-fixed" where another was given.
	PutControl(c Control) error
	// DeleteControls forgets answers whose envelopes expired before a time, at most limit of them, and returns how many.
	DeleteControls(before time.Time, limit int) (int, error)
	// PutProof keeps a proof; false where one of its (Kind, Node, About) is kept already.
	PutProof(p Proof) (added bool, err error)
}
