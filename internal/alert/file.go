package alert

import (
	"context"
	"io"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

const opFile = "open file of alert"

func attachmentView(msg message.ID, row ledger.Attachment, note *formatv1.AttachmentNote, key seal.AttachmentKey, stored uint64) exchange.AttachmentView {
	return exchange.AttachmentView{Message: msg, Index: row.Index, Note: note, Size: key.Size, Digest: key.Digest,
		SealedSize: row.SealedSize, Stored: stored, Complete: stored == row.SealedSize}
}

// OpenFile opens a file of the newest version of an alert; of what is drafted while nothing is issued or while it waits for
// approval, since who approves signs off the files too. One that is not here is pulled from the issuer's
// node first, going on where an earlier attempt was cut (Retry "cut"). The last Read fails when the plaintext is not what
// the issuer committed to, so nothing may be believed before io.EOF. The caller closes it.
func (d *Desk) OpenFile(ctx context.Context, a exchange.Actor, id message.ID, index uint32) (io.ReadCloser, exchange.AttachmentView, error) {
	row, err := d.shown(ctx, a, id)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	if row.Direction == ledger.Out {
		drafted, err := d.waits(ctx, row)
		if err != nil {
			return nil, exchange.AttachmentView{}, err
		}
		if drafted {
			return d.openDraftFile(ctx, a, row, index)
		}
	}
	if row.Direction == ledger.In && !row.State.InForce() {
		return nil, exchange.AttachmentView{}, wrongState("the alert is over: the copy here is locked")
	}
	m, err := d.message(ctx, row.Latest)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	h, c, err := d.open(ctx, row.Own, m)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	if int(index) >= len(h.Attachments) {
		return nil, exchange.AttachmentView{}, noFile()
	}
	s, err := read(h.Kind, c)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	file, err := d.whole(ctx, m, h, index)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	return d.openFile(ctx, a, row, file, s.note(index), c.Attachments[index])
}

func noFile() error { return fault.New(fault.NotFound, "", opFile, "the alert has no such file") }

// waits reports whether an alert of ours stands as it is drafted: it was never issued, or its next version was submitted.
func (d *Desk) waits(ctx context.Context, row ledger.Alert) (bool, error) {
	if row.Version == 0 {
		return true, nil
	}
	var x draft
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		x, err = draftOf(r, row)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return x.pending, err
}

func (d *Desk) openDraftFile(ctx context.Context, a exchange.Actor, row ledger.Alert, index uint32) (io.ReadCloser, exchange.AttachmentView, error) {
	var file ledger.Attachment
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		file, err = r.Attachment(ledger.OwnedByDraft(row.ID), index)
		return err
	})
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	note, key, err := exchange.DraftFile(file)
	if err != nil {
		return nil, exchange.AttachmentView{}, err
	}
	row.Latest = message.Key{} // it belongs to no message yet
	return d.openFile(ctx, a, row, file, note, key)
}

func (d *Desk) openFile(ctx context.Context, a exchange.Actor, row ledger.Alert, file ledger.Attachment, note *formatv1.AttachmentNote, key seal.AttachmentKey) (io.ReadCloser, exchange.AttachmentView, error) {
	v := attachmentView(row.Latest.ID, file, note, key, file.SealedSize)
	err := d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		return second(tx.Append(d.event("attachment-read", a.Account, about(row), file.Root, "")))
	})
	if err != nil {
		return nil, v, err
	}
	plain, err := d.Exchange.OpenFile(file, key)
	return plain, v, err
}

// whole is the row of a file that is here whole, after pulling it where it is not. What was directed to us is pushed.
func (d *Desk) whole(ctx context.Context, m ledger.Message, h message.Header, index uint32) (ledger.Attachment, error) {
	var row ledger.Attachment
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Attachment(ledger.OwnedBy(h.Key()), index)
		return err
	})
	if err == nil && (row.Direction == ledger.Out || row.State == ledger.AttachmentComplete) {
		return row, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ledger.Attachment{}, err
	}
	if directed(m) {
		return ledger.Attachment{}, fault.New(fault.Retry, "incomplete", opFile, "the file has not arrived whole yet")
	}
	view := d.view()
	node, ok := view.NodeOf(h.Sender)
	if !ok {
		return ledger.Attachment{}, fault.New(fault.Retry, "no-node", opFile, "the directory names no node of the issuer")
	}
	if err := view.CheckNode(node.Node); err != nil {
		return ledger.Attachment{}, err
	}
	ref := message.AttachmentRef{Message: h.Key(), Index: index}
	return d.Exchange.Fetch(ctx, h, index, func(ctx context.Context, offset uint64) (io.ReadCloser, error) {
		return d.Puller.PullAttachment(ctx, node, ref, offset)
	})
}

// SealedFile answers the pull of a member node: the sealed bytes of a file of an alert of ours, from a whole chunk on. The
// directory of now says whether the node is a member; an alert that is over is given to nobody. The caller closes it.
// NotFound "unknown-attachment", Denied, Conflict "wrong-offset". DESIGN 8.
func (d *Desk) SealedFile(ctx context.Context, from authority.Node, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	missing := fault.New(fault.NotFound, "unknown-attachment", "hand over file", "no alert in force that was published here has this file")
	var m ledger.Message
	var alert ledger.Alert
	var file ledger.Attachment
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if m, err = r.Message(ref.Message); err != nil {
			return err
		}
		if alert, err = r.Alert(m.Conversation, ref.Message.Sender); err != nil {
			return err
		}
		file, err = r.Attachment(ledger.OwnedBy(ref.Message), ref.Index)
		return err
	})
	if fault.Is(err, fault.NotFound) || err == nil && (m.Direction != ledger.Out || !alert.State.InForce()) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	if err := d.Road.May(ctx, from, ref.Message); err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, missing // a directed one: it is pushed to whom it is for
		}
		return nil, err
	}
	return d.Exchange.ReadSealed(file, offset)
}
