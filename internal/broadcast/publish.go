package broadcast

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	// conveyBatch is how many frames are handed to the bus before it is asked whether they left.
	conveyBatch = 128
	// conveyPause is how long the conveyor rests while the bus is away, and how far its written cursor may be behind.
	conveyPause = time.Second
)

// Commit gives an alert of ours its number in the chain, frames it and records it, inside the caller's transaction:
// message, link and event, and what it means to other authorities of this node. Conflict "audience-changed" where
// another epoch was made since Prepare: prepare again. PROTOCOL 7.4, 7.5.
func (b *Broadcaster) Commit(ctx context.Context, tx ledger.Tx, r Ready, a seal.Alert) error {
	row, err := tx.Broadcast(r.id)
	if err != nil {
		return err
	}
	if row.Epoch != r.epoch {
		return fault.New(fault.Conflict, "audience-changed", opPublish, "the audience changed meanwhile").WithHint("try again")
	}
	link, err := b.link(ctx, &row, a, r.key, false)
	if err != nil {
		return err
	}
	h := a.Header
	if _, err := tx.PutMessage(recordOf(h, link.Frame, ledger.Out, b.Clock())); err != nil {
		return err
	}
	link.Frame = nil // the message has it
	if _, err := tx.PutLink(link); err != nil {
		return err
	}
	if err := tx.PutBroadcast(row); err != nil {
		return err
	}
	if err := b.inbox.Place(tx, a); err != nil {
		return err
	}
	return second(tx.Append(b.event("published", h.Key(), h.Digest, link.Subject)))
}

// link frames an alert under the next number of an audience, which row is moved on by.
func (b *Broadcaster) link(ctx context.Context, row *ledger.Broadcast, a seal.Alert, key seal.EpochKey, direct bool) (ledger.Link, error) {
	subject, err := message.SubjectOf(a.Header.Context)
	if err != nil {
		return ledger.Link{}, err
	}
	framed, err := a.Frame(ctx, seal.Framing{
		Publisher: b.Node, NodeKey: b.NodeKey(), Incarnation: b.Incarnation, Epoch: row.Epoch, Key: key,
		Number: row.Last + 1, Previous: row.Hash,
	}, b.Keys, b.Random)
	if err != nil {
		return ledger.Link{}, err
	}
	row.Last, row.Hash = row.Last+1, framed.Chain
	return ledger.Link{
		Audience: row.Audience, Number: row.Last, Epoch: row.Epoch, Message: a.Header.Key(), Digest: a.Header.Digest,
		Subject: subject.String(), Salt: framed.Salt, Hash: framed.Chain, Expires: a.Header.Expires,
		Direct: direct || row.Rule == string(message.RuleAllNPC), Frame: framed.Bytes,
	}, nil
}

func recordOf(h message.Header, envelope []byte, d ledger.Direction, now time.Time) ledger.Message {
	return ledger.Message{
		Key: h.Key(), Direction: d, Digest: h.Digest, Conversation: h.Conversation, InReplyTo: h.InReplyTo, Kind: h.Kind,
		Created: h.Created, Expires: h.Expires, Recorded: now, Attachments: len(h.Attachments), Envelope: envelope,
	}
}

// Committed tells bus and members of an alert, after the caller's transaction. If the machine stops before, start-up
// finds the alert behind the cursor of the bus and beyond the receipts of the members.
func (b *Broadcaster) Committed(a seal.Alert) {
	poke(b.conveyor)
	defer b.inbox.Stored(a)
	if a.Header.Audience == nil {
		return
	}
	id := a.Header.Audience.ID(a.Header.Category)
	known, ok := b.keys.audience(id)
	if !ok {
		b.lines.everything() // it was forgotten this moment
		return
	}
	b.lines.news(id, known.nodes, a.Header.Urgency == message.Immediate || a.Header.Audience.Rule == message.RuleAllNPC)
}

// Open opens the stored message of an alert, ours or received.
func (b *Broadcaster) Open(ctx context.Context, m ledger.Message) (seal.Alert, error) {
	f, err := seal.StoredFrame(m.Envelope)
	if err != nil {
		return seal.Alert{}, err
	}
	k, err := b.keyOf(ctx, f.Publisher, f.KeyFingerprint)
	if err != nil {
		return seal.Alert{}, err
	}
	opened, err := f.Open(k.key)
	if err != nil {
		return seal.Alert{}, err
	}
	return opened.Stored()
}

// convey hands to the bus what was recorded, in order, until ctx ends. What the bus loses is found by chain indexes, so
// the cursor may be behind after a crash, and nothing else hangs on it.
func (b *Broadcaster) convey(ctx context.Context) {
	c := conveyed{b: b}
	if err := c.start(ctx); err != nil {
		b.Log.Error("the cursor of the bus cannot be read", zap.Error(err))
	}
	for ctx.Err() == nil {
		more, err := c.batch(ctx)
		if err != nil && !fault.Is(err, fault.Retry) && ctx.Err() == nil {
			b.Log.Error("alerts could not be handed to the bus", zap.Error(err))
		}
		if err == nil && more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.conveyor:
			if err != nil {
				wait(ctx, conveyPause)
			}
		case <-time.After(c.idle(err)):
		}
	}
	c.save(context.WithoutCancel(ctx))
}

// conveyed is how far the bus has been given what there is.
type conveyed struct {
	b             *Broadcaster
	cursor, saved int64
	savedAt       time.Time
}

func (c *conveyed) start(ctx context.Context) error {
	return c.b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		c.cursor, err = r.BusCursor()
		c.saved = c.cursor
		return err
	})
}

// idle is how long to wait for a word.
func (c *conveyed) idle(err error) time.Duration {
	if err != nil || c.cursor != c.saved {
		return conveyPause
	}
	return time.Minute
}

// batch publishes what comes next and reports whether there may be more.
func (c *conveyed) batch(ctx context.Context) (bool, error) {
	var links []ledger.Link
	err := c.b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		links, err = r.LinksAfter(c.cursor, conveyBatch)
		return err
	})
	if err != nil {
		return false, err
	}
	next := c.cursor
	for _, l := range links {
		next = l.Seq
		if !l.Expires.After(c.b.Clock()) {
			continue
		}
		switch err := c.b.Bus.Publish(ctx, l.Subject, l.Frame); {
		case fault.Is(err, fault.Retry), err != nil && ctx.Err() != nil:
			return false, err
		case err != nil:
			// This one does not fit the bus: the chain index brings it by the direct road.
			c.b.Log.Warn("the bus does not take an alert", zap.String("code", fault.CodeOf(err)), zap.Error(err))
		}
	}
	if len(links) > 0 {
		if err := c.b.Bus.Flush(ctx); err != nil {
			return false, err
		}
	}
	c.cursor = next
	// If the machine stops here, what was published since the cursor was saved is published again, which harms nobody.
	if c.cursor != c.saved && c.b.Clock().Sub(c.savedAt) >= conveyPause {
		c.save(ctx)
	}
	return len(links) == conveyBatch, nil
}

func (c *conveyed) save(ctx context.Context) {
	if c.cursor == c.saved {
		return
	}
	err := c.b.Ledger.Update(ctx, func(tx ledger.Tx) error { return tx.SetBusCursor(c.cursor) })
	if err != nil {
		c.b.Log.Warn("the cursor of the bus was not kept", zap.Error(err))
		return
	}
	c.saved, c.savedAt = c.cursor, c.b.Clock()
}

// wait sleeps, or less when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
