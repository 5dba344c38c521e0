package exchange

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Send submits a draft: to approval where two persons are wanted, else to the outbox. When it returns a message ID, the
// sealed message is on stable storage and will be delivered or reported undeliverable (P1).
func (e *Exchange) Send(ctx context.Context, a Actor, conversation message.ID) (Sent, error) {
	d, err := e.loadDraft(ctx, a, "request:send", conversation)
	if err != nil {
		return Sent{}, err
	}
	comp, err := readDraft(d.stored.Content)
	if err != nil {
		return Sent{}, err
	}
	if fs := e.findings(comp); !message.Sendable(fs) {
		return Sent{}, unsendable(fs)
	}
	if e.FourEyes {
		return e.askApproval(ctx, a, d.Case)
	}
	return e.release(ctx, a, d, comp, message.Single)
}

func unsendable(fs []message.Finding) error {
	say := "the request is incomplete: "
	first := true
	for _, f := range fs {
		if f.Level != message.LevelError {
			continue
		}
		if !first {
			say += "; "
		}
		say, first = say+f.Field+": "+f.Text, false
	}
	return fault.New(fault.Invalid, "incomplete", "send request", say).WithHint("`enlace request check` lists everything that is missing")
}

func (e *Exchange) askApproval(ctx context.Context, a Actor, c ledger.Case) (Sent, error) {
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		now, err := tx.Case(c.Conversation, c.Own)
		if err != nil {
			return err
		}
		if now.State != message.Draft {
			return fault.New(fault.Conflict, "wrong-state", "send request", "the request is no longer a draft")
		}
		if err := putHand(tx, a, c.Conversation); err != nil {
			return err
		}
		now.State, now.Changed = message.PendingApproval, e.Clock()
		if _, err := tx.PutCase(now); err != nil {
			return err
		}
		return second(tx.Append(e.event("approval-asked", a.Account, message.Key{Sender: c.Own, ID: c.Conversation}, message.Digest{}, "")))
	})
	if err != nil {
		return Sent{}, err
	}
	e.tell()
	return Sent{State: message.PendingApproval}, nil
}

// Approve releases a draft that waits. The digest is what the approver was shown; an edit since then voids it.
func (e *Exchange) Approve(ctx context.Context, a Actor, conversation message.ID, digest message.Digest) (Sent, error) {
	d, err := e.loadDraft(ctx, a, "request:approve", conversation)
	if err != nil {
		return Sent{}, err
	}
	if d.State != message.PendingApproval {
		return Sent{}, fault.New(fault.Conflict, "wrong-state", "approve request", "the request does not wait for approval")
	}
	if digest != (message.Digest{}) && digest != d.digest() {
		return Sent{}, fault.New(fault.Conflict, "edited", "approve request", "the request was changed after it was shown to you").
			WithHint("read it again, then approve")
	}
	comp, err := readDraft(d.stored.Content)
	if err != nil {
		return Sent{}, err
	}
	if fs := e.findings(comp); !message.Sendable(fs) {
		return Sent{}, unsendable(fs) // time has passed since it was submitted
	}
	author, err := d.authorFor(a)
	if err != nil {
		return Sent{}, err
	}
	mark := message.TwoPerson
	if author == a.author() {
		mark = message.Single // whatever policy allowed, the receiver is told the truth
	}
	d.Approver = a.Account
	return e.release(ctx, a, d, comp, mark)
}

// release makes the envelope of a draft and commits it to the outbox.
func (e *Exchange) release(ctx context.Context, a Actor, d draft, comp Composition, approval message.Approval) (Sent, error) {
	c := d.Case
	comp.Request.Reference = c.Reference
	out := outgoing{from: c.Own, to: []authority.Name{c.Peer}, kind: message.KindRequest, conversation: c.Conversation, approval: approval,
		category: comp.Category, urgency: comp.Urgency, status: comp.Status, expires: comp.Expires}
	var err error
	if out.items, err = e.requestItems(comp); err != nil {
		return Sent{}, err
	}
	if err := e.attach(&out, d.rows); err != nil {
		return Sent{}, err
	}
	p, err := e.compose(ctx, out)
	if err != nil {
		return Sent{}, err
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		return e.commitRequest(tx, a, d, p)
	})
	if err != nil {
		return Sent{}, err
	}
	// If the machine stops here, the outbox has the message and start-up delivers it.
	e.Told(p)
	return Sent{State: message.Queued, Message: p.Header().ID, Freshness: p.Freshness}, nil
}

// commitRequest is the one fact of a submission. The case is read again: a second approver may have been quicker.
func (e *Exchange) commitRequest(tx ledger.Tx, a Actor, seen draft, p Parcel) error {
	c, err := tx.Case(seen.Conversation, seen.Own)
	if err != nil {
		return err
	}
	if c.State != seen.State {
		return fault.New(fault.Conflict, "wrong-state", "send request", "the request was sent or returned meanwhile")
	}
	to, err := message.Next(c.State, message.KindRequest, message.Requesting)
	if err != nil {
		return err
	}
	if c.Attachments != len(seen.rows) {
		return fault.New(fault.Conflict, "edited", "send request", "an attachment was added meanwhile").WithHint("read it again, then send")
	}
	c.State, c.Changed, c.Approver = to, e.Clock(), seen.Approver
	c.Due = e.Clock().Add(c.Urgency.AnswerWithin())
	if err := tx.DeleteAttachments(ledger.OwnedByDraft(c.Conversation)); err != nil {
		return err
	}
	for _, row := range seen.rows {
		row.Owner, row.State, row.Meta = ledger.OwnedBy(p.Header().Key()), ledger.AttachmentSpooled, nil
		if err := tx.PutAttachment(row); err != nil {
			return err
		}
	}
	if err := tx.DeleteDraft(c.Conversation); err != nil {
		return err
	}
	if _, err := tx.PutCase(c); err != nil {
		return err
	}
	return e.Commit(tx, a, p)
}

func recordOf(h message.Header, envelope []byte, d ledger.Direction, now time.Time) ledger.Message {
	return ledger.Message{
		Key: h.Key(), Direction: d, Digest: h.Digest, Conversation: h.Conversation, InReplyTo: h.InReplyTo, Kind: h.Kind,
		Created: h.Created, Expires: h.Expires, Recorded: now, Attachments: len(h.Attachments), Envelope: envelope,
	}
}

func (e *Exchange) requestItems(c Composition) ([]seal.Item, error) {
	parts := []part{{itemRequest, c.Request}}
	for _, q := range c.Asks {
		parts = append(parts, part{itemAsk, q})
	}
	for _, s := range c.Subjects {
		parts = append(parts, part{itemSubject, s})
	}
	return e.itemsOf(parts)
}

// part is a content message on its way to become an item.
type part struct {
	kind string
	body proto.Message
}

func (e *Exchange) itemsOf(parts []part) ([]seal.Item, error) {
	items := make([]seal.Item, 0, len(parts))
	for _, p := range parts {
		if err := message.Bounded(p.body); err != nil {
			return nil, err // the receiver would reject it
		}
		it, err := seal.NewItem(p.kind, p.body, e.Random)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

// attach adds the draft's sealed files to a message: notes as items, keys in the body, sizes and roots in the header.
func (e *Exchange) attach(o *outgoing, rows []ledger.Attachment) error {
	for _, row := range rows {
		note, key, err := DraftFile(row)
		if err != nil {
			return err
		}
		items, err := e.itemsOf([]part{{itemAttachment, note}})
		if err != nil {
			return err
		}
		o.items = append(o.items, items...)
		o.keys = append(o.keys, key)
		o.manifest = append(o.manifest, message.Attachment{SealedSize: row.SealedSize, Root: row.Root})
	}
	return nil
}
