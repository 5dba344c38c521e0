package records

import (
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// tx writes on the writer's connection, inside the savepoint of one job; see [ledger.Tx].
type tx struct {
	reader
	w *Writer
}

var _ ledger.Tx = tx{}

// PutMessage implements [ledger.Tx].
func (t tx) PutMessage(m ledger.Message) (bool, error) {
	added, err := t.c.Exec(`INSERT INTO message (id, sender, direction, digest, conversation, reply_to, kind, created, expires, recorded,
		attachments, envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, sender) DO NOTHING`,
		m.Key.ID, m.Key.Sender.String(), string(m.Direction), m.Digest, m.Conversation, m.InReplyTo, string(m.Kind),
		m.Created, m.Expires, m.Recorded, m.Attachments, m.Envelope)
	if err != nil || added == 1 {
		return err == nil, err
	}
	there, err := single(t.c, "message", (*row).digest, "SELECT digest FROM message WHERE id = ? AND sender = ?",
		m.Key.ID, m.Key.Sender.String())
	if err == nil && there != m.Digest {
		err = ledger.SameID()
	}
	return false, err
}

// PutReceipt implements [ledger.Tx]. The update touches a row only where it repeats or completes what stands there.
func (t tx) PutReceipt(r ledger.Receipt) error {
	return t.c.changed(ledger.ReceiptFixed(), `INSERT INTO receipt (id, sender, digest, received, complete) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id, sender) DO UPDATE SET complete = excluded.complete
		WHERE receipt.digest = excluded.digest AND receipt.received = excluded.received
		AND receipt.complete IN (x'', excluded.complete)`,
		r.Key.ID, r.Key.Sender.String(), r.Digest, r.Received, r.Complete)
}

// PutConflict implements [ledger.Tx]. The same header is kept once.
func (t tx) PutConflict(c ledger.Conflict) error {
	return t.c.exec(`INSERT INTO conflict (id, sender, digest, header, signatures, time) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, c.Key.ID, c.Key.Sender.String(), c.Digest, c.Header, c.Signatures, c.Time)
}

// PutDelivery implements [ledger.Tx].
func (t tx) PutDelivery(d ledger.Delivery) error {
	lane := rank(d.Lane)
	if lane < 0 {
		return fault.New(fault.Internal, "", "record delivery", "a delivery has a lane")
	}
	at := deliveryAt(d.Key, d.Node)
	return t.c.exec(`INSERT INTO delivery (id, sender, node, state, attempts, next, lane, last_error, receipt, complete, expires, road)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id, sender, node) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, next = excluded.next,
		lane = excluded.lane, last_error = excluded.last_error, receipt = excluded.receipt, complete = excluded.complete,
		expires = excluded.expires, road = excluded.road`,
		d.Key.ID, d.Key.Sender.String(), d.Node.String(), string(d.State), d.Attempts, orNull(d.Next), lane, at.text("last_error", d.LastError),
		d.Receipt, d.CompleteReceipt, d.Expires, string(d.Road))
}

// PutCase implements [ledger.Tx].
func (t tx) PutCase(c ledger.Case) (int64, error) {
	t.w.at.cases++
	at := caseAt(c.Conversation, c.Own)
	return t.w.at.cases, t.c.exec("INSERT INTO cases ("+caseColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation, own) DO UPDATE SET peer = excluded.peer, side = excluded.side, reference = excluded.reference,
		local_reference = excluded.local_reference, request_kind = excluded.request_kind, category = excluded.category,
		urgency = excluded.urgency, status = excluded.status, state = excluded.state, title = excluded.title,
		author = excluded.author, approver = excluded.approver, created = excluded.created, changed = excluded.changed,
		due = excluded.due, attachments = excluded.attachments, cursor = excluded.cursor`,
		c.Conversation, c.Own.String(), c.Peer.String(), string(c.Side), c.Reference, at.text("local_reference", c.LocalReference),
		c.RequestKind.String(), c.Category.String(), string(c.Urgency), string(c.Status), string(c.State),
		at.text("title", c.Title), at.text("author", c.Author), at.text("approver", c.Approver), c.Created, c.Changed, c.Due, c.Attachments, t.w.at.cases)
}

// NextReference implements [ledger.Tx].
func (t tx) NextReference(own authority.Name, year int) (int, error) {
	return single(t.c, "reference", (*row).number, `INSERT INTO reference (own, year, value) VALUES (?, ?, 1)
		ON CONFLICT (own, year) DO UPDATE SET value = reference.value + 1 RETURNING value`, own.String(), year)
}

// PutDraft implements [ledger.Tx].
func (t tx) PutDraft(d ledger.Draft) error {
	at := draftAt(d.Conversation)
	return t.c.exec(`INSERT INTO draft (conversation, content, digest, author, returned) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (conversation) DO UPDATE SET content = excluded.content, digest = excluded.digest, author = excluded.author,
		returned = excluded.returned`,
		d.Conversation, at.blob("content", d.Content), d.Digest, at.text("author", d.Author), at.text("returned", d.Returned))
}

// DeleteDraft implements [ledger.Tx].
func (t tx) DeleteDraft(conversation message.ID) error {
	return t.c.exec("DELETE FROM draft WHERE conversation = ?", conversation)
}

// PutAttachment implements [ledger.Tx].
func (t tx) PutAttachment(a ledger.Attachment) error {
	conversation := a.Conversation
	if !a.Owner.Draft.IsZero() {
		conversation = a.Owner.Draft
	}
	at := attachmentAt(a.Owner, a.Index)
	return t.c.exec("INSERT INTO attachment ("+attachmentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation, id, sender, number) DO UPDATE SET direction = excluded.direction,
		sealed_size = excluded.sealed_size, root = excluded.root, stored = excluded.stored, state = excluded.state,
		file = excluded.file, meta = excluded.meta`,
		a.Owner.Message.ID, a.Owner.Message.Sender.String(), conversation, int64(a.Index), string(a.Direction),
		int64(a.SealedSize), a.Root, int64(a.Stored), string(a.State), a.File, at.blob("meta", a.Meta))
}

// SetStored implements [ledger.Tx].
func (t tx) SetStored(owner ledger.Owner, index uint32, stored uint64, state ledger.AttachmentState) error {
	where, args := ownedBy(owner)
	args = append([]any{int64(stored), string(state)}, append(args, int64(index))...)
	return t.c.changed(ledger.Absent("attachment"), "UPDATE attachment SET stored = ?, state = ? WHERE "+where+" AND number = ?", args...)
}

// DeleteAttachments implements [ledger.Tx].
func (t tx) DeleteAttachments(owner ledger.Owner) error {
	where, args := ownedBy(owner)
	return t.c.exec("DELETE FROM attachment WHERE "+where, args...)
}

// Append implements [ledger.Tx].
func (t tx) Append(e ledger.Event) (uint64, error) {
	stored, err := t.w.log.Append(e)
	if err != nil {
		return 0, err
	}
	at := eventAt(stored.Sequence)
	return stored.Sequence, t.c.exec("INSERT INTO event (sequence, leaf, hashes, salt, detail) VALUES (?, ?, ?, ?, ?)",
		t.w.part.event+int64(stored.Sequence), at.blob("leaf", stored.Leaf), stored.Hashes, at.blob("salt", stored.Salt), at.blob("detail", stored.Detail))
}

// Checkpoint implements [ledger.Tx].
func (t tx) Checkpoint() (message.Digest, error) {
	c, err := t.w.log.Checkpoint()
	return c.Salted, err
}
