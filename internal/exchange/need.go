package exchange

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Keys are the private keys of this node, behind their fingerprints. Kind Retry when the keyring is away.
type Keys interface {
	seal.Signer
	seal.Opener
}

// Directory is the verified snapshot this node routes by.
type Directory interface {
	Load() *directory.Snapshot
	// Freshness is "fresh", "degraded" or "stale" (DESIGN 6); a stale directory refuses sending.
	Freshness(now time.Time) (string, time.Time)
}

// Courier carries bytes to another node. Errors of kind Retry are passing; others may be so too (the peer's directory
// can be behind), so the sender goes on trying until the message expires, only more slowly.
type Courier interface {
	// Deliver hands over an envelope and returns the peer's signed receipt, unverified.
	Deliver(ctx context.Context, to directory.NodeEntry, envelope []byte) ([]byte, error)
	// AttachmentStatus returns what the peer has safely stored.
	AttachmentStatus(ctx context.Context, to directory.NodeEntry, a message.AttachmentRef) (message.Stored, error)
	// PushAttachment sends the sealed bytes from an offset on, and returns what the peer has stored and, when all
	// attachments of the message are whole, its signed receipt, unverified.
	PushAttachment(ctx context.Context, to directory.NodeEntry, a message.AttachmentRef, offset uint64, src io.Reader) (message.Stored, error)
}

// Peers is how others are greeted and asked for what this node has lost. What comes is unverified. PROTOCOL 9.7, 10.12.
type Peers interface {
	// Meet greets a node now, however lately it was greeted.
	Meet(ctx context.Context, to directory.NodeEntry) error
	// GiveBack yields what a node gives back, from one of its cursors on.
	GiveBack(ctx context.Context, from directory.NodeEntry, since time.Time, after uint64) iter.Seq2[message.Returned, error]
	// PullAttachment is the sealed bytes of an attachment that the node sent; the caller closes it.
	PullAttachment(ctx context.Context, from directory.NodeEntry, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error)
}

// roads is a courier that knows how a node can be reached now: "direct", "collect", or "" where it cannot.
type roads interface {
	Road(node authority.Node) string
}

// Alerts is who knows what a directed message of an alert means; the room that keeps alerts.
type Alerts interface {
	// Judge looks at an opened message of a verified sender before any transaction: the code of a rejection, or "". An
	// error is passing. PROTOCOL 8.4.
	Judge(h message.Header, c seal.Content) (code string, err error)
	// Admit records what it means for authorities of this node, in the transaction that stores it; or the code of a
	// rejection, which stores nothing.
	Admit(tx ledger.Tx, h message.Header, c seal.Content, to []authority.Name) (code string, err error)
	// Admitted is told after the commit.
	Admitted(h message.Header)
}

// Gate decides whether an actor may do something to an item. Kind Denied with the reason in words where not.
type Gate interface {
	Allow(ctx context.Context, a Actor, action string, r Resource) error
}

// Resource is what the gate knows of the item that is acted on.
type Resource struct {
	// Own is the authority of this node whose item it is.
	Own authority.Name
	// Author is the account that wrote it; empty for received items.
	Author  string
	State   message.State
	Urgency message.Urgency
	Side    message.Side
	// FourEyes: sending needs a second person.
	FourEyes bool
}

// Actor is who acts: an account or a token of this node, as the door has authenticated it.
type Actor struct {
	// Account is the user or token name; it is written into events and never leaves the node.
	Account   string
	Authority authority.Name
	Roles     []string
	Scopes    []string
	// Token is true for a system's token.
	Token bool
	// Author is whose work it counts as where two persons are wanted; empty = Account. A token's is whoever issued it.
	Author string
}

func (a Actor) author() string {
	if a.Author != "" {
		return a.Author
	}
	return a.Account
}
