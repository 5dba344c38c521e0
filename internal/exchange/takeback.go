package exchange

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// takeBack verifies one item that a node gives back and stores it with the cursor behind it. What does not hold is counted
// and left; an error is passing, and the item is asked for again. PROTOCOL 10.12.
func (e *Exchange) takeBack(ctx context.Context, from directory.NodeEntry, item message.Returned, row ledger.Return) (ledger.Return, error) {
	row.Cursor, row.Progress = item.Cursor, e.Clock()
	if len(item.Envelope) == 0 {
		return row, e.Ledger.Update(ctx, func(tx ledger.Tx) error { return tx.PutReturn(row) })
	}
	b, err := e.examineBack(ctx, from.Node, item)
	if fault.Is(err, fault.Retry) || fault.Is(err, fault.Internal) {
		return row, err
	}
	if err != nil {
		row.Refused, row.LastError = row.Refused+1, fault.As(err).Say
		return row, e.Ledger.Update(ctx, func(tx ledger.Tx) error {
			if err := tx.PutReturn(row); err != nil {
				return err
			}
			return second(tx.Append(e.event("return-refused", nodeActor, message.Key{}, message.DigestOf(item.Envelope), from.Node.String()+" "+fault.CodeOf(err))))
		})
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		var added bool
		var err error
		if b.sent {
			added, err = e.placeSent(tx, from.Node, b)
		} else {
			added, err = e.placeReceived(tx, b)
		}
		if err != nil {
			return err
		}
		if added && b.sent {
			row.Sent++
		} else if added {
			row.Received++
		}
		return tx.PutReturn(row)
	})
	if err == nil {
		e.tell()
	}
	return row, err
}

// back is an item that holds.
type back struct {
	env  seal.Envelope
	view directory.View
	// sent: it is a message of this node's own; else one that this node has receipted.
	sent bool
	// receipts are in the order in which they were issued, signed their bytes.
	receipts []message.Receipt
	signed   [][]byte
	// stages are what the peer's receipts say of the message, for one that was sent.
	stages []message.StageOf
	served []message.Recipient
	// content is none where the message was rejected.
	content  seal.Content
	rejected bool
	// code is why the message means nothing here any more; it is kept all the same.
	code string
}

// examineBack verifies an item as an arrival is verified, but for what was judged when it was receipted.
func (e *Exchange) examineBack(ctx context.Context, from authority.Node, item message.Returned) (back, error) {
	view := e.Directory.Load().At(e.Clock())
	parsed, err := seal.ParseEnvelope(item.Envelope)
	if err != nil {
		return back{}, err
	}
	env, err := parsed.Verify(view.AuthorityKey)
	if err != nil {
		return back{}, err
	}
	if env.Header.Network != e.Directory.Load().NetworkID() {
		return back{}, fault.New(fault.Invalid, "wrong-network", opRecover, "the message belongs to another network")
	}
	b := back{env: env, view: view, signed: [][]byte{item.Receipt}}
	if len(item.Complete) > 0 {
		b.signed = append(b.signed, item.Complete)
	}
	maker, ok := view.NodeOf(env.Header.Sender)
	b.sent = ok && maker.Node == e.Node
	if !b.sent && from.State() != env.Header.Sender.State() {
		return back{}, fault.New(fault.Denied, "wrong-node", opRecover, "the giving node does not belong to the sender's state")
	}
	if err := e.verifyReceipts(ctx, from, &b); err != nil {
		return back{}, err
	}
	return b, e.openBack(ctx, &b)
}

// verifyReceipts holds the receipts against the directory: our own for what we received, the peer's for what we sent.
func (e *Exchange) verifyReceipts(ctx context.Context, from authority.Node, b *back) error {
	by := e.Node
	if b.sent {
		by = from
	}
	for _, signed := range b.signed {
		r, err := seal.VerifyReceipt(signed, b.env.Header, b.view.NodeKey)
		if err != nil {
			return err
		}
		if r.Node != by {
			return fault.New(fault.Invalid, "wrong-receipt", opRecover, "the receipt is another node's")
		}
		if b.sent {
			stage, err := e.stageOf(r, ledger.Delivery{Node: from}, b.env.Header)
			if err != nil {
				return err
			}
			b.stages = append(b.stages, stage)
		} else if r.Incarnation.Counter >= e.Incarnation.Counter && r.Incarnation != e.Incarnation {
			// Our own key says that there was a life of this node above this one.
			if err := e.learnt(ctx, from, r.Incarnation, signed); err != nil {
				return err
			}
		}
		b.receipts = append(b.receipts, r)
		b.rejected = b.rejected || r.Stages[0].Stage == message.Rejected
	}
	return nil
}

// openBack opens what was not rejected, with the key of one of the authorities that this node serves.
func (e *Exchange) openBack(ctx context.Context, b *back) error {
	h := b.env.Header
	if b.sent {
		for _, r := range h.Recipients {
			if r.Authority == h.Sender {
				b.served = []message.Recipient{r}
			}
		}
	} else {
		b.served = e.addressees(b.view, h)
	}
	if b.rejected && !b.sent {
		return nil
	}
	if len(b.served) == 0 {
		b.code = wrongAddressee // served elsewhere by now
		return nil
	}
	content, err := b.env.Open(ctx, e.Keys, b.served[0].Key)
	switch {
	case fault.Is(err, fault.Retry), fault.Is(err, fault.Internal):
		return err
	case err != nil:
		b.code = codeOf(err)
		return nil
	}
	b.content = content
	if !h.Kind.IsAlert() {
		b.code = e.wellFormed(h, content)
		return nil
	}
	if b.sent {
		return nil
	}
	b.code, err = e.judgeAlert(h, content)
	return err
}

// placeReceived stores a message that this node has receipted before, with exactly these receipts: a repeat is answered with
// the same bytes (P2). It reports whether anything was missing here.
func (e *Exchange) placeReceived(tx ledger.Tx, b back) (bool, error) {
	h := b.env.Header
	r := ledger.Receipt{Key: h.Key(), Digest: h.Digest, Received: b.signed[0]}
	if len(b.signed) > 1 {
		r.Complete = b.signed[1]
	}
	had, err := tx.ReceiptFor(h.Key())
	if err == nil {
		return e.complete(tx, had, r)
	}
	if !fault.Is(err, fault.NotFound) {
		return false, err
	}
	if !b.rejected {
		if err := e.placeMessage(tx, b); err != nil {
			return false, err
		}
	}
	if err := tx.PutReceipt(r); err != nil {
		return false, err
	}
	return true, second(tx.Append(e.event("returned-received", nodeActor, r.Key, message.DigestOf(newest(r)), b.code)))
}

// complete adds the second receipt where only the first is here. Others than those here are left.
func (e *Exchange) complete(tx ledger.Tx, had, r ledger.Receipt) (bool, error) {
	if had.Digest != r.Digest || len(had.Complete) > 0 || len(r.Complete) == 0 || string(had.Received) != string(r.Received) {
		return false, nil
	}
	had.Complete = r.Complete
	if err := tx.PutReceipt(had); err != nil {
		return false, err
	}
	return true, second(tx.Append(e.event("returned-received", nodeActor, r.Key, message.DigestOf(r.Complete), "")))
}

// placeMessage stores a received message and moves or begins its cases, as of when it was receipted. A message whose place
// in its conversation is lost is kept without one.
func (e *Exchange) placeMessage(tx ledger.Tx, b back) error {
	// First what it means, as at an arrival: the rules look at what is there without it.
	if err := e.meaning(tx, b); err != nil {
		return err
	}
	if _, err := tx.PutMessage(recordOf(b.env.Header, b.env.Bytes, ledger.In, b.receipts[0].Time)); err != nil {
		return err
	}
	return e.rowsOf(tx, b.env.Header, ledger.In, ledger.AttachmentReceiving)
}

func (e *Exchange) meaning(tx ledger.Tx, b back) error {
	if b.code != "" {
		return nil
	}
	h := b.env.Header
	if h.Kind.IsAlert() {
		var to []authority.Name
		for _, r := range b.served {
			to = append(to, r.Authority)
		}
		return second(e.Alerts.Admit(tx, h, b.content, to))
	}
	for _, r := range b.served {
		if err := e.caseBack(tx, b, r.Authority, b.receipts[0].Time); err != nil {
			return err
		}
	}
	return nil
}

func (e *Exchange) caseBack(tx ledger.Tx, b back, own authority.Name, at time.Time) error {
	h := b.env.Header
	var c ledger.Case
	var code string
	var err error
	if h.Kind == message.KindRequest {
		if _, err := tx.Case(h.Conversation, own); !fault.Is(err, fault.NotFound) {
			return err
		}
		c = e.newCase(h, b.content, own)
		c.Due = at.Add(h.Urgency.AnswerWithin())
	} else if c, code, err = e.caseOf(tx, h, b.content, own); err != nil || code != "" {
		return err
	}
	c.Changed = at
	return second(tx.PutCase(c))
}

// rowsOf makes the rows of a message's attachments, whose bytes are not here.
func (e *Exchange) rowsOf(tx ledger.Tx, h message.Header, d ledger.Direction, state ledger.AttachmentState) error {
	for i, a := range h.Attachments {
		name, err := e.spoolName()
		if err != nil {
			return err
		}
		err = tx.PutAttachment(ledger.Attachment{Owner: ledger.OwnedBy(h.Key()), Conversation: h.Conversation, Index: uint32(i), Direction: d,
			SealedSize: a.SealedSize, Root: a.Root, State: state, File: name})
		if err != nil {
			return err
		}
	}
	return nil
}

// placeSent stores a message of this node's own with the receipts that prove how far it came, and begins or moves its case.
// It reports whether anything was missing here.
func (e *Exchange) placeSent(tx ledger.Tx, from authority.Node, b back) (bool, error) {
	h := b.env.Header
	_, err := tx.Message(h.Key())
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	if missing := err != nil; missing {
		if err := e.resubmit(tx, b); err != nil {
			return false, err
		}
	}
	row, err := tx.Delivery(h.Key(), from)
	if fault.Is(err, fault.NotFound) {
		row, err = ledger.Delivery{Key: h.Key(), Node: from, State: ledger.Queued, Lane: h.Urgency.Lane(), Expires: h.Expires}, nil
	}
	if err != nil || row.State == ledger.Complete || row.State == ledger.Rejected {
		return false, err
	}
	before := row.State
	for i, stage := range b.stages {
		row = withReceipt(row, stage, b.signed[i], e.Clock().Add(scanEvery))
		if err := e.moveByReceipt(tx, h, stage); err != nil {
			return false, err
		}
	}
	if row.State == before && before == ledger.Delivered {
		return false, nil
	}
	if err := tx.PutDelivery(row); err != nil {
		return false, err
	}
	last := len(b.signed) - 1
	return true, second(tx.Append(e.event("returned-sent", nodeActor, h.Key(), message.DigestOf(b.signed[last]), string(b.stages[last].Stage))))
}

// resubmit is what Commit did in the life that is over: message, attachments, deliveries to all nodes, and the case. What
// another node than the giver was sent and has not receipted is delivered again by the ordinary code.
func (e *Exchange) resubmit(tx ledger.Tx, b back) error {
	h := b.env.Header
	if _, err := tx.PutMessage(recordOf(h, b.env.Bytes, ledger.Out, h.Created)); err != nil {
		return err
	}
	if err := e.filesBack(tx, h); err != nil {
		return err
	}
	for _, name := range h.RecipientsBut(h.Sender) {
		node, ok := b.view.NodeOf(name)
		if !ok || node.Node == e.Node {
			continue
		}
		if _, err := tx.Delivery(h.Key(), node.Node); !fault.Is(err, fault.NotFound) {
			if err != nil {
				return err
			}
			continue
		}
		err := tx.PutDelivery(ledger.Delivery{Key: h.Key(), Node: node.Node, State: ledger.Queued, Next: e.Clock().Add(scanEvery), Lane: h.Urgency.Lane(), Expires: h.Expires})
		if err != nil {
			return err
		}
	}
	if b.code != "" || h.Kind.IsAlert() {
		return nil
	}
	return e.ownCaseBack(tx, b)
}

// filesBack takes over the files of the draft that the message was made of, where the backup has them.
func (e *Exchange) filesBack(tx ledger.Tx, h message.Header) error {
	if err := e.rowsOf(tx, h, ledger.Out, ledger.AttachmentSpooled); err != nil || len(h.Attachments) == 0 {
		return err
	}
	drafted, err := tx.AttachmentsOf(ledger.OwnedByDraft(h.Conversation))
	if err != nil {
		return err
	}
	for _, d := range drafted {
		for i, a := range h.Attachments {
			if d.Root != a.Root || d.SealedSize != a.SealedSize {
				continue
			}
			d.Owner, d.Index, d.State, d.Meta = ledger.OwnedBy(h.Key()), uint32(i), ledger.AttachmentSpooled, nil
			if err := tx.PutAttachment(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownCaseBack begins or moves the case of a message of our own. A draft that the backup has of it is no draft any more: it
// was sent, and must not be sent again.
func (e *Exchange) ownCaseBack(tx ledger.Tx, b back) error {
	h := b.env.Header
	c, err := tx.Case(h.Conversation, h.Sender)
	switch {
	case fault.Is(err, fault.NotFound) && h.Kind == message.KindRequest:
		c = e.newCase(h, b.content, h.Sender)
		c.Side, c.Peer = message.Requesting, h.RecipientsBut(h.Sender)[0]
		c.Reference = trusted(referenceIn(b.content), h.Sender, c.Peer)
	case fault.Is(err, fault.NotFound):
		return nil // the request is not here: the message is kept by itself
	case err != nil:
		return err
	case h.Kind == message.KindRequest:
		if err := tx.DeleteAttachments(ledger.OwnedByDraft(h.Conversation)); err != nil {
			return err
		}
		if err := tx.DeleteDraft(h.Conversation); err != nil {
			return err
		}
	default:
		next, err := message.Next(c.State, h.Kind, c.Side)
		if err != nil {
			return nil // it stands further than this message brought it
		}
		c.State = next
		if steps, err := readSteps(b.content); err == nil && steps.Acknowledgement != nil {
			c.LocalReference = steps.Acknowledgement.GetLocalReference()
		}
	}
	if h.Kind == message.KindRequest {
		c.State, c.Due, c.Attachments = message.Queued, h.Created.Add(h.Urgency.AnswerWithin()), len(h.Attachments)
	}
	c.Changed = b.receipts[0].Time
	return second(tx.PutCase(c))
}

// referenceIn is the reference that a request of ours carries.
func referenceIn(content seal.Content) string {
	asked := message.Compose{}
	for _, it := range content.Items {
		_ = readItem(it, &asked) // wellFormed has read the same items without error
	}
	return asked.Request.GetReference()
}
