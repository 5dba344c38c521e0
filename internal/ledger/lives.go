package ledger

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

// Life is what this node knows of the incarnations of another. PROTOCOL 9.7.
type Life struct {
	Node authority.Node
	// Incarnation is the one with the highest counter that was accepted.
	Incarnation message.Incarnation
	// Hello is the first Signed Hello that said so; Rival one with another random part under the same counter, empty where
	// none came.
	Hello []byte
	Rival []byte
	Since time.Time
}

// RecoveryState is whether a restored node has everything back that it can get.
type RecoveryState string

// The states of a recovery. A ledger that was never restored has none.
const (
	Recovering RecoveryState = "RECOVERING"
	Recovered  RecoveryState = "NORMAL"
)

// Recovery is how this ledger's incarnation began, and whether it is over.
type Recovery struct {
	State RecoveryState
	// Taken is when the copy was made that it was restored from; zero where it began over its own ledger.
	Taken        time.Time
	Began, Ended time.Time
	// Higher is the highest counter of this node that others have shown it; 0 where they know of none above its own.
	Higher uint32
	// Stopped is why this incarnation may send and answer nothing more, "replaced" or "two-incarnations"; empty where it
	// may. Proof is the Signed Hello of another incarnation of this node that says so.
	Stopped string
	Proof   []byte
}

// ReturnState is how far a node has given back what was lost here.
type ReturnState string

// The states of a return.
const (
	ReturnAsked ReturnState = "ASKED"
	ReturnDone  ReturnState = "DONE"
	ReturnNot   ReturnState = "NOT_RETURNED" // not heard from for too long; what it has is not here
)

// Return is what one node has given back in this recovery. PROTOCOL 10.12.
type Return struct {
	Node authority.Node
	// Random is that of the node's incarnation whose Cursor this is.
	Random [8]byte
	// Cursor is the node's own, of the last item that is stored here.
	Cursor uint64
	State  ReturnState
	// Progress is when it last gave something.
	Progress time.Time
	// Received and Sent count messages stored, Refused those that did not hold.
	Received, Sent, Refused int
	LastError               string
}

// LifeReader reads incarnations, of others and of this node.
type LifeReader interface {
	Life(node authority.Node) (Life, error)
	// Lives lists all, by node.
	Lives() ([]Life, error)
	// Recovery is the zero value in a ledger that was never restored.
	Recovery() (Recovery, error)
	// Returns lists the nodes that were asked in the recovery of this incarnation, by name.
	Returns() ([]Return, error)
	// MessagesAfter lists messages recorded after a Seq, in order, without envelopes; at most limit.
	MessagesAfter(seq int64, limit int) ([]Message, error)
	// AttachmentFiles lists attachments by the name of their file, from the one after a name on; at most limit.
	AttachmentFiles(after string, limit int) ([]Attachment, error)
	// Earlier lists the incarnations of this ledger that are over, oldest first.
	Earlier() ([]Identity, error)
}

// LifeTx writes incarnations.
type LifeTx interface {
	// PutLife, PutRecovery and PutReturn record or replace.
	PutLife(l Life) error
	PutRecovery(r Recovery) error
	PutReturn(r Return) error
}

// Begin is how an incarnation above the first begins. PROTOCOL 9.7.
type Begin struct {
	// Random is its random part: where the ledger has it already, nothing is begun.
	Random [8]byte
	// Taken is when the copy was made that the ledger is; zero where it is the ledger itself.
	Taken time.Time
}

// Begun is the first event of an incarnation above the first: its digest is that of the newest commitment of the one
// before, zero where there is none.
func Begun(now time.Time, before Identity, newest *Checkpoint) Event {
	e := Event{Time: now, Kind: "incarnation-begun", Actor: "node", Detail: []byte("after " + before.Origin)}
	if newest != nil {
		e.Digest = message.DigestOf(newest.Commitment)
	}
	return e
}

// Replaced is the refusal of an incarnation that is over, with the code that Recovery.Stopped has.
func Replaced(code string) error {
	if code == "two-incarnations" {
		return fault.New(fault.Denied, code, "open node", "two machines run as this node, restored from one backup").
			WithHint("decide which one goes on, leave the other off, and on that one run: enlace node restore --again --config node.yaml")
	}
	return fault.New(fault.Denied, code, "open node", "this machine was replaced by a restored one").
		WithHint("leave it off; if it is to go on in place of the other: enlace node restore --again --config node.yaml")
}
