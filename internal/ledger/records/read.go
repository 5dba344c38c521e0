package records

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// reader reads over a connection inside a transaction; see [ledger.Reader].
type reader struct{ c conn }

var _ ledger.Reader = reader{}

// NewReader reads over a connection that is in a transaction.
func NewReader(c Conn) ledger.Reader { return reader{conn{c}} }

// single is the one row of a query, or NotFound.
func single[T any](c conn, what string, scan func(*row) T, query string, args ...any) (T, error) {
	var out T
	found, err := c.one(func(r *row) { out = scan(r) }, query, args...)
	if err == nil && !found {
		err = ledger.Absent(what)
	}
	return out, err
}

const messageColumns = `id, sender, seq, direction, digest, conversation, reply_to, kind, created, expires, recorded, attachments`

func scanMessage(r *row) ledger.Message {
	return ledger.Message{
		Key: r.key(), Seq: r.integer(), Direction: ledger.Direction(r.text()), Digest: r.digest(),
		Conversation: r.id(), InReplyTo: r.id(), Kind: message.Kind(r.text()),
		Created: r.time(), Expires: r.time(), Recorded: r.time(), Attachments: r.number(),
	}
}

// Message implements [ledger.MessageReader].
func (t reader) Message(key message.Key) (ledger.Message, error) {
	scan := func(r *row) ledger.Message {
		m := scanMessage(r)
		m.Envelope = r.blob()
		return m
	}
	return single(t.c, "message", scan, "SELECT "+messageColumns+", envelope FROM message WHERE id = ? AND sender = ?",
		key.ID, key.Sender.String())
}

// MessagesOf implements [ledger.MessageReader].
func (t reader) MessagesOf(conversation message.ID) ([]ledger.Message, error) {
	return list(t.c, scanMessage, "SELECT "+messageColumns+" FROM message WHERE conversation = ? ORDER BY seq", conversation)
}

// ReceiptFor implements [ledger.MessageReader].
func (t reader) ReceiptFor(key message.Key) (ledger.Receipt, error) {
	scan := func(r *row) ledger.Receipt {
		return ledger.Receipt{Key: key, Digest: r.digest(), Received: r.blob(), Complete: r.blob()}
	}
	return single(t.c, "receipt", scan, "SELECT digest, received, complete FROM receipt WHERE id = ? AND sender = ?",
		key.ID, key.Sender.String())
}

// Conflicts implements [ledger.MessageReader].
func (t reader) Conflicts(key message.Key) ([]ledger.Conflict, error) {
	scan := func(r *row) ledger.Conflict {
		return ledger.Conflict{Key: key, Digest: r.digest(), Header: r.blob(), Signatures: r.blob(), Time: r.time()}
	}
	return list(t.c, scan, "SELECT digest, header, signatures, time FROM conflict WHERE id = ? AND sender = ? ORDER BY seq",
		key.ID, key.Sender.String())
}

// lanes are the lanes by rank.
var lanes = [...]string{"immediate", "urgent", "routine", "bulk"}

func rank(lane authority.Lane) int { return slices.Index(lanes[:], lane.String()) }

const deliveryColumns = `id, sender, node, state, attempts, coalesce(next, 0), lane, last_error, receipt, complete, expires, road`

func deliveryAt(key message.Key, node authority.Node) place {
	return placed("delivery", key.ID[:], key.Sender.String()+"\x00"+node.String())
}

func scanDelivery(r *row) ledger.Delivery {
	d := ledger.Delivery{
		Key: r.key(), Node: parsed(r, r.text(), authority.ParseNode), State: ledger.DeliveryState(r.text()),
		Attempts: r.number(), Next: r.time(),
	}
	if lane := r.number(); lane >= 0 && lane < len(lanes) {
		d.Lane = parsed(r, lanes[lane], authority.ParseLane)
	}
	d.LastError = r.private(deliveryAt(d.Key, d.Node), "last_error")
	d.Receipt, d.CompleteReceipt, d.Expires, d.Road = r.blob(), r.blob(), r.time(), ledger.Road(r.text())
	return d
}

// Delivery implements [ledger.DeliveryReader].
func (t reader) Delivery(key message.Key, node authority.Node) (ledger.Delivery, error) {
	return single(t.c, "delivery", scanDelivery,
		"SELECT "+deliveryColumns+" FROM delivery WHERE id = ? AND sender = ? AND node = ?",
		key.ID, key.Sender.String(), node.String())
}

// DeliveriesOf implements [ledger.DeliveryReader].
func (t reader) DeliveriesOf(key message.Key) ([]ledger.Delivery, error) {
	return list(t.c, scanDelivery, "SELECT "+deliveryColumns+" FROM delivery WHERE id = ? AND sender = ? ORDER BY node",
		key.ID, key.Sender.String())
}

// DeliveriesTo implements [ledger.DeliveryReader].
func (t reader) DeliveriesTo(node authority.Node, limit int) ([]ledger.Delivery, error) {
	return list(t.c, scanDelivery,
		"SELECT "+deliveryColumns+" FROM delivery WHERE next IS NOT NULL AND node = ? ORDER BY lane, next LIMIT ?",
		node.String(), ledger.PageSize(limit))
}

// Due implements [ledger.DeliveryReader]. It asks lane by lane, so that a long lane of later deliveries is not walked.
func (t reader) Due(now time.Time, limit int) ([]ledger.Delivery, error) {
	var due []ledger.Delivery
	limit = ledger.PageSize(limit)
	for lane := range lanes {
		if len(due) == limit {
			break
		}
		more, err := list(t.c, scanDelivery,
			"SELECT "+deliveryColumns+" FROM delivery WHERE next IS NOT NULL AND lane = ? AND next <= ? ORDER BY next LIMIT ?",
			lane, now, limit-len(due))
		if err != nil {
			return nil, err
		}
		due = append(due, more...)
	}
	return due, nil
}

// NextDue implements [ledger.DeliveryReader].
func (t reader) NextDue() (time.Time, error) {
	var earliest time.Time
	for lane := range lanes {
		next, err := list(t.c, (*row).time, "SELECT next FROM delivery WHERE next IS NOT NULL AND lane = ? ORDER BY next LIMIT 1", lane)
		if err != nil {
			return time.Time{}, err
		}
		if len(next) > 0 && (earliest.IsZero() || next[0].Before(earliest)) {
			earliest = next[0]
		}
	}
	return earliest, nil
}

const caseColumns = `conversation, own, peer, side, reference, local_reference, request_kind, category, urgency, status, state,
	title, author, approver, created, changed, due, attachments, cursor`

func caseAt(conversation message.ID, own authority.Name) place {
	return placed("cases", conversation[:], own.String())
}

func scanCase(r *row) ledger.Case {
	c := ledger.Case{Conversation: r.id(), Own: r.name()}
	at := caseAt(c.Conversation, c.Own)
	c.Peer, c.Side, c.Reference, c.LocalReference = r.name(), message.Side(r.text()), r.text(), r.private(at, "local_reference")
	c.RequestKind, c.Category = parsed(r, r.text(), authority.ParseRequestKind), r.category()
	c.Urgency, c.Status, c.State = message.Urgency(r.text()), message.OperationalStatus(r.text()), message.State(r.text())
	c.Title, c.Author, c.Approver = r.private(at, "title"), r.private(at, "author"), r.private(at, "approver")
	c.Created, c.Changed, c.Due, c.Attachments, c.Cursor = r.time(), r.time(), r.time(), r.number(), r.integer()
	return c
}

// Case implements [ledger.CaseReader].
func (t reader) Case(conversation message.ID, own authority.Name) (ledger.Case, error) {
	return single(t.c, "request", scanCase, "SELECT "+caseColumns+" FROM cases WHERE conversation = ? AND own = ?",
		conversation, own.String())
}

// CasesOf implements [ledger.CaseReader].
func (t reader) CasesOf(conversation message.ID) ([]ledger.Case, error) {
	return list(t.c, scanCase, "SELECT "+caseColumns+" FROM cases WHERE conversation = ? ORDER BY own", conversation)
}

// Cases implements [ledger.CaseReader].
func (t reader) Cases(f ledger.CaseFilter) ([]ledger.Case, error) {
	query, args := "SELECT "+caseColumns+" FROM cases WHERE true", []any(nil)
	narrow := func(condition, value string) {
		if value != "" {
			query, args = query+" AND "+condition, append(args, value)
		}
	}
	narrow("own = ?", f.Own.String())
	narrow("side = ?", string(f.Side))
	narrow("state = ?", string(f.State))
	narrow("peer = ?", f.Peer.String())
	if f.BeforeCursor > 0 {
		query, args = query+" AND cursor < ?", append(args, f.BeforeCursor)
	}
	return list(t.c, scanCase, query+" ORDER BY cursor DESC LIMIT ?", append(args, ledger.PageSize(f.Limit))...)
}

// CasesSince implements [ledger.CaseReader].
func (t reader) CasesSince(cursor int64, limit int) ([]ledger.Case, error) {
	return list(t.c, scanCase, "SELECT "+caseColumns+" FROM cases WHERE cursor > ? ORDER BY cursor LIMIT ?",
		cursor, ledger.PageSize(limit))
}

// Cursor implements [ledger.CaseReader].
func (t reader) Cursor() (int64, error) {
	return single(t.c, "cursor", (*row).integer, "SELECT coalesce(max(cursor), 0) FROM cases")
}

func draftAt(conversation message.ID) place { return placed("draft", conversation[:], "") }

// Draft implements [ledger.CaseReader].
func (t reader) Draft(conversation message.ID) (ledger.Draft, error) {
	at := draftAt(conversation)
	scan := func(r *row) ledger.Draft {
		return ledger.Draft{
			Conversation: conversation, Content: r.privateBlob(at, "content"), Digest: r.digest(),
			Author: r.private(at, "author"), Returned: r.private(at, "returned"),
		}
	}
	return single(t.c, "draft", scan, "SELECT content, digest, author, returned FROM draft WHERE conversation = ?", conversation)
}

const attachmentColumns = `id, sender, conversation, number, direction, sealed_size, root, stored, state, file, meta`

func attachmentAt(o ledger.Owner, index uint32) place {
	id := o.Message.ID
	if !o.Draft.IsZero() {
		id = o.Draft
	}
	return placed("attachment", id[:], fmt.Sprintf("%s\x00%d", o.Message.Sender, index))
}

func scanAttachment(r *row) ledger.Attachment {
	a := ledger.Attachment{Owner: ledger.OwnedBy(r.key()), Conversation: r.id()}
	if a.Owner.Message.ID.IsZero() {
		a.Owner = ledger.OwnedByDraft(a.Conversation)
	}
	a.Index, a.Direction, a.SealedSize, a.Root = uint32(r.integer()), ledger.Direction(r.text()), r.unsigned(), r.digest()
	a.Stored, a.State, a.File, a.Meta = r.unsigned(), ledger.AttachmentState(r.text()), r.text(), r.privateBlob(attachmentAt(a.Owner, a.Index), "meta")
	return a
}

// ownedBy is the condition on the owner of attachments, with its arguments.
func ownedBy(o ledger.Owner) (string, []any) {
	if !o.Draft.IsZero() {
		return "conversation = ? AND id = x''", []any{o.Draft}
	}
	return "id <> x'' AND id = ? AND sender = ?", []any{o.Message.ID, o.Message.Sender.String()}
}

// Attachment implements [ledger.AttachmentReader].
func (t reader) Attachment(owner ledger.Owner, index uint32) (ledger.Attachment, error) {
	where, args := ownedBy(owner)
	return single(t.c, "attachment", scanAttachment, "SELECT "+attachmentColumns+" FROM attachment WHERE "+where+" AND number = ?",
		append(args, int64(index))...)
}

// AttachmentsOf implements [ledger.AttachmentReader].
func (t reader) AttachmentsOf(owner ledger.Owner) ([]ledger.Attachment, error) {
	where, args := ownedBy(owner)
	return list(t.c, scanAttachment, "SELECT "+attachmentColumns+" FROM attachment WHERE "+where+" ORDER BY number", args...)
}

// AttachmentsIn implements [ledger.AttachmentReader].
func (t reader) AttachmentsIn(conversation message.ID) ([]ledger.Attachment, error) {
	return list(t.c, scanAttachment,
		"SELECT "+attachmentColumns+" FROM attachment WHERE conversation = ? ORDER BY id, sender, number", conversation)
}

// ExpectedFrom implements [ledger.AttachmentReader]. An authority's name is its state, a slash and a slug, and the
// character after the slash is the zero.
func (t reader) ExpectedFrom(state authority.State) (uint64, error) {
	var sum uint64
	_, err := t.c.one(func(r *row) { sum = r.unsigned() },
		"SELECT CAST(coalesce(sum(sealed_size), 0) AS BIGINT) FROM attachment WHERE state = 'RECEIVING' AND sender >= ? AND sender < ?",
		state.String()+"/", state.String()+"0")
	return sum, err
}

// NamesFile implements [ledger.AttachmentReader].
func (t reader) NamesFile(name string) (bool, error) {
	return t.c.one(func(*row) {}, "SELECT 1 FROM attachment WHERE file = ? LIMIT 1", name)
}

func eventAt(sequence uint64) place { return placed("event", strconv.FormatUint(sequence, 10), "") }

// scanEvent reads an event out of its leaf, which is what the evidence covers.
func scanEvent(r *row) ledger.StoredEvent {
	sequence := r.unsigned()
	at := eventAt(sequence)
	e := parsed(r, r.privateBlob(at, "leaf"), ledger.ParseLeaf)
	// The row's number: where it is not the leaf's, the verification has to see it.
	e.Sequence = sequence
	e.Hashes, e.Salt, e.Detail = r.blob(), r.privateBlob(at, "salt"), r.privateBlob(at, "detail")
	return e
}

// Events implements [ledger.EventReader].
func (t reader) Events(from uint64, limit int) ([]ledger.StoredEvent, error) {
	p, err := t.part()
	if err != nil {
		return nil, err
	}
	return evidence{t.c, p}.Events(from, limit)
}

// EventCount implements [ledger.EventReader].
func (t reader) EventCount() (uint64, error) {
	p, err := t.part()
	if err != nil {
		return 0, err
	}
	return evidence{t.c, p}.EventCount()
}

const checkpointColumns = `sequence, size, root, note, salted, commitment`

func scanCheckpoint(r *row) ledger.Checkpoint {
	c := ledger.Checkpoint{Sequence: r.unsigned()}
	c.Size = r.integer()
	copy(c.Root[:], r.blob())
	c.Note, c.Salted, c.Commitment = r.blob(), r.digest(), r.blob()
	c.Origin, _, _ = strings.Cut(string(c.Note), "\n")
	return c
}

// Checkpoints implements [ledger.EventReader].
func (t reader) Checkpoints(from uint64, limit int) ([]ledger.Checkpoint, error) {
	p, err := t.part()
	if err != nil {
		return nil, err
	}
	return evidence{t.c, p}.Checkpoints(from, limit)
}

// NewestCheckpoint implements [ledger.EventReader].
func (t reader) NewestCheckpoint() (ledger.Checkpoint, error) {
	p, err := t.part()
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return evidence{t.c, p}.NewestCheckpoint()
}
