package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// syncEvery is how much of an incoming attachment a power cut can cost (DESIGN 8).
const syncEvery = 16 << 20

func (e *Exchange) attachmentsOf(ctx context.Context, owner ledger.Owner) ([]ledger.Attachment, error) {
	var rows []ledger.Attachment
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		rows, err = r.AttachmentsOf(owner)
		return err
	})
	return rows, err
}

// expectAttachments makes a row for every attachment of an accepted message, each with the name of its file to come.
func (e *Exchange) expectAttachments(tx ledger.Tx, h message.Header) error {
	if err := e.withinQuota(tx, h); err != nil {
		return err
	}
	for i, a := range h.Attachments {
		name, err := e.spoolName()
		if err != nil {
			return err
		}
		err = tx.PutAttachment(ledger.Attachment{
			Owner: ledger.OwnedBy(h.Key()), Conversation: h.Conversation, Index: uint32(i), Direction: ledger.In,
			SealedSize: a.SealedSize, Root: a.Root, State: ledger.AttachmentReceiving, File: name,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withinQuota holds what one state has announced to its quota. Retry: when some of it has come, there is room again. P12.
func (e *Exchange) withinQuota(tx ledger.Tx, h message.Header) error {
	if len(h.Attachments) == 0 {
		return nil
	}
	sum, err := tx.ExpectedFrom(h.Sender.State())
	if err != nil {
		return err
	}
	for _, a := range h.Attachments {
		sum += a.SealedSize
	}
	if sum > e.PeerQuota {
		return fault.New(fault.Retry, "quota", opReceive, "the sender's state has announced more attachments than may be under way at once")
	}
	return nil
}

// attachment finds one attachment that a node may ask about or send: it belongs to a message of its state.
func (e *Exchange) attachment(ctx context.Context, from authority.Node, a message.AttachmentRef) (ledger.Attachment, error) {
	missing := fault.New(fault.NotFound, "unknown-attachment", "receive attachment", "no message that was received here has this attachment")
	if from.State() != a.Message.Sender.State() {
		return ledger.Attachment{}, missing
	}
	if err := e.Directory.Load().At(e.Clock()).CheckAuthority(a.Message.Sender); err != nil {
		return ledger.Attachment{}, err
	}
	rows, err := e.attachmentsOf(ctx, ledger.OwnedBy(a.Message))
	if err != nil {
		return ledger.Attachment{}, err
	}
	for _, row := range rows {
		// What we pull from its issuer is nobody's to push.
		if row.Index == a.Index && row.Direction == ledger.In && row.State != ledger.AttachmentSpooled {
			return row, nil
		}
	}
	return ledger.Attachment{}, missing
}

// AttachmentStatus says how much of an attachment is stored, in whole chunks. PROTOCOL 10.4.
func (e *Exchange) AttachmentStatus(ctx context.Context, from authority.Node, a message.AttachmentRef) (message.Stored, error) {
	if err := e.Ready(); err != nil {
		return message.Stored{}, err
	}
	row, err := e.attachment(ctx, from, a)
	if err != nil {
		return message.Stored{}, err
	}
	if row.State == ledger.AttachmentComplete {
		return e.completed(ctx, row)
	}
	return message.Stored{Bytes: e.spooled(row)}, nil
}

// spooled is the length of the file in whole chunks. After a kill it is ahead of the ledger's count, and the root over
// all chunks decides in the end whether what the disk kept is right.
func (e *Exchange) spooled(row ledger.Attachment) uint64 {
	info, err := os.Stat(filepath.Join(e.Spool, filepath.Base(row.File)))
	if err != nil {
		return 0
	}
	n := uint64(info.Size())
	if n > row.SealedSize {
		return 0
	}
	return n - n%message.HashChunk
}

// completed is the answer for a whole attachment, with the receipt when the message is whole.
func (e *Exchange) completed(ctx context.Context, row ledger.Attachment) (message.Stored, error) {
	out := message.Stored{Bytes: row.SealedSize, Complete: true}
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		rec, err := r.ReceiptFor(row.Owner.Message)
		out.Receipt = rec.Complete
		return err
	})
	return out, err
}

// ReceiveAttachment stores sealed bytes from an offset on, which must be what AttachmentStatus said or less, in whole
// chunks. When it reports Complete, the file is synced, its root matches the signed manifest and the row is committed.
// P3; PROTOCOL 6.3, 10.4.
func (e *Exchange) ReceiveAttachment(ctx context.Context, from authority.Node, a message.AttachmentRef, offset uint64, src io.Reader) (message.Stored, error) {
	if err := e.Ready(); err != nil {
		return message.Stored{}, err
	}
	name := fmt.Sprint(a.Message.Sender, a.Message.ID, a.Index)
	if !e.uploads.take(name) {
		return message.Stored{}, fault.New(fault.Retry, "busy", "receive attachment", "this attachment is already being received")
	}
	defer e.uploads.release(name)
	// Read under the lock: another stream may have just made it complete, and a complete file is never written again.
	row, err := e.attachment(ctx, from, a)
	if err != nil {
		return message.Stored{}, err
	}
	if row.State == ledger.AttachmentComplete {
		return e.completed(ctx, row)
	}
	if offset > e.spooled(row) || offset%message.HashChunk != 0 {
		return message.Stored{}, fault.New(fault.Conflict, "wrong-offset", "receive attachment", "the bytes before this offset are not stored here")
	}
	whole, err := e.write(row, offset, src)
	if err != nil {
		return message.Stored{}, err
	}
	if !whole {
		return message.Stored{Bytes: e.spooled(row)}, nil
	}
	return e.finishAttachment(ctx, row)
}

// write appends to the spool file and reports whether it is whole and right. A file that is whole and wrong is emptied,
// so the sender begins again.
func (e *Exchange) write(row ledger.Attachment, offset uint64, src io.Reader) (bool, error) {
	f, err := e.openSpool(row.File, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return false, err
	}
	defer f.Close()
	hash := seal.NewChunkHash()
	if err := f.Truncate(int64(offset)); err != nil {
		return false, spoolFault(err)
	}
	if _, err := io.CopyBuffer(onlyWriter{hash}, onlyReader{io.LimitReader(f, int64(offset))}, make([]byte, message.HashChunk)); err != nil {
		return false, spoolFault(err)
	}
	// One byte more than the manifest allows is enough to know that it lies.
	limited := io.LimitReader(src, int64(row.SealedSize-offset)+1)
	n, cut := io.CopyBuffer(onlyWriter{io.MultiWriter(&syncing{f: f}, hash)}, onlyReader{limited}, make([]byte, message.HashChunk))
	if err := f.Sync(); err != nil {
		return false, spoolFault(err)
	}
	if uint64(n)+offset < row.SealedSize {
		return false, cutFault(cut)
	}
	if hash.Size() != row.SealedSize || hash.Root() != row.Root {
		_ = f.Truncate(0) // the next status says 0
		return false, fault.New(fault.Retry, "wrong-chunks", "receive attachment", "the bytes are not those of the signed manifest; begin again")
	}
	return true, spoolFault(syncDir(e.Spool))
}

// onlyWriter and onlyReader hide ReadFrom and WriteTo, which would go round the hash or the buffer.
type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }

// cutFault: the end of the sender's stream is an ordinary end; a full disk or a cut is not.
func cutFault(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return spoolFault(err)
}

// syncing syncs a file as it grows, so that a power cut costs at most syncEvery.
type syncing struct {
	f    *os.File
	open int
}

func (s *syncing) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	if s.open += n; err == nil && s.open >= syncEvery {
		s.open = 0
		err = s.f.Sync()
	}
	return n, err
}

// finishAttachment commits a whole attachment, and with the last one the COMPLETE receipt of the message.
func (e *Exchange) finishAttachment(ctx context.Context, row ledger.Attachment) (message.Stored, error) {
	out := message.Stored{Bytes: row.SealedSize, Complete: true}
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row.State, row.Stored = ledger.AttachmentComplete, row.SealedSize
		if err := tx.PutAttachment(row); err != nil {
			return err
		}
		if _, err := tx.Append(e.event("attachment-stored", nodeActor, row.Owner.Message, row.Root, "")); err != nil {
			return err
		}
		var err error
		out.Receipt, err = e.completeMessage(ctx, tx, row.Owner.Message)
		return err
	})
	if err != nil {
		return message.Stored{}, err
	}
	e.tell()
	return out, nil
}

// completeMessage issues the COMPLETE receipt when no attachment of the message is missing any more.
func (e *Exchange) completeMessage(ctx context.Context, tx ledger.Tx, key message.Key) ([]byte, error) {
	rows, err := tx.AttachmentsOf(ledger.OwnedBy(key))
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.State != ledger.AttachmentComplete {
			return nil, nil
		}
	}
	m, err := tx.Message(key)
	if err != nil {
		return nil, err
	}
	rec, err := tx.ReceiptFor(key)
	if err != nil {
		return nil, err
	}
	h, err := e.headerOf(m)
	if err != nil {
		return nil, err
	}
	served := e.addressees(e.Directory.Load().At(e.Clock()), h)
	if len(served) == 0 {
		return nil, fault.New(fault.Retry, "not-served", "complete message", "the addressed authority is not served here any more")
	}
	if rec.Complete, err = e.signReceipt(ctx, tx, h, served, message.Complete, ""); err != nil {
		return nil, err
	}
	if err := tx.PutReceipt(rec); err != nil {
		return nil, err
	}
	return rec.Complete, second(tx.Append(e.event("complete", nodeActor, key, message.DigestOf(rec.Complete), "")))
}

// OpenAttachment opens a whole attachment for an actor. The last Read fails when the plaintext is not what the sender
// committed to, so nothing may be believed before io.EOF.
func (e *Exchange) OpenAttachment(ctx context.Context, a Actor, conversation, msg message.ID, index uint32) (io.ReadCloser, AttachmentView, error) {
	view, err := e.show(ctx, a, "attachment:get", conversation)
	if err != nil {
		return nil, AttachmentView{}, err
	}
	for _, f := range view.files {
		if f.view.Index == index && f.view.Message == msg {
			return e.openFile(ctx, a, f)
		}
	}
	return nil, AttachmentView{}, fault.New(fault.NotFound, "", "open attachment", "the request has no such attachment")
}

func (e *Exchange) openFile(ctx context.Context, a Actor, f file) (io.ReadCloser, AttachmentView, error) {
	if !f.view.Complete {
		return nil, f.view, fault.New(fault.Retry, "incomplete", "open attachment", "the attachment has not arrived whole yet")
	}
	if err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		return second(tx.Append(e.event("attachment-read", a.Account, f.row.Owner.Message, f.row.Root, "")))
	}); err != nil {
		return nil, f.view, err
	}
	plain, err := e.OpenFile(f.row, f.key)
	return plain, f.view, err
}
