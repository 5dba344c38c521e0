package exchange

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// SealedFile is a sealed file in the spool that no row names yet. If the machine stops now, Sweep removes it at the next
// start.
type SealedFile struct {
	name string
	key  seal.AttachmentKey
	line message.Attachment
}

// SealFile seals a file into the spool. On return file and name are on stable storage. Memory is constant whatever the
// size. The caller commits its Row, or calls DropFile.
func (e *Exchange) SealFile(src io.Reader) (SealedFile, error) {
	file, err := e.createSpool()
	if err != nil {
		return SealedFile{}, err
	}
	key, line, err := seal.SealAttachment(file, src, e.Random)
	if err = closeSpool(file, err); err != nil {
		return SealedFile{}, err
	}
	return SealedFile{baseName(file), key, line}, nil
}

// DropFile removes a file that no row names.
func (e *Exchange) DropFile(f SealedFile) { e.removeSpool(f.name) }

// Row is what the ledger keeps of the file as an attachment of a draft, its note and key with it. It sets the note's
// index.
func (f SealedFile) Row(conversation message.ID, index uint32, note *formatv1.AttachmentNote) ledger.Attachment {
	note.Index = index
	return ledger.Attachment{
		Owner: ledger.OwnedByDraft(conversation), Conversation: conversation, Index: index, Direction: ledger.Out,
		SealedSize: f.line.SealedSize, Root: f.line.Root, Stored: f.line.SealedSize, State: ledger.AttachmentDraft, File: f.name,
		Meta: canonical.Marshal(&formatv1.Content{
			Items:       []*formatv1.Item{{Type: itemAttachment, Body: canonical.Marshal(note)}},
			Attachments: []*formatv1.AttachmentKey{{Salt: f.key.Salt, Digest: f.key.Digest.Bytes(), Size: f.key.Size, Identity: f.key.Identity}},
		}),
	}
}

// View is the file as people see it.
func (f SealedFile) View(index uint32, note *formatv1.AttachmentNote) AttachmentView {
	return AttachmentView{Index: index, Note: note, Size: f.key.Size, Digest: f.key.Digest, SealedSize: f.line.SealedSize, Stored: f.line.SealedSize, Complete: true}
}

// DraftFile reads note and key of a draft's attachment.
func DraftFile(row ledger.Attachment) (*formatv1.AttachmentNote, seal.AttachmentKey, error) {
	var m formatv1.Content
	note := new(formatv1.AttachmentNote)
	if err := canonical.Unmarshal(row.Meta, &m, maxDraft); err != nil {
		return nil, seal.AttachmentKey{}, err
	}
	if err := canonical.Unmarshal(m.GetItems()[0].GetBody(), note, maxDraft); err != nil {
		return nil, seal.AttachmentKey{}, err
	}
	k := m.GetAttachments()[0]
	digest, err := message.DigestFromBytes(k.GetDigest())
	return note, seal.AttachmentKey{Salt: k.GetSalt(), Digest: digest, Size: k.GetSize(), Identity: k.GetIdentity()}, err
}

// Stored is how many sealed bytes of an attachment are here: all, or whole chunks of one that is on its way.
func (e *Exchange) Stored(row ledger.Attachment) uint64 {
	if row.Direction == ledger.Out || row.State == ledger.AttachmentComplete {
		return row.SealedSize
	}
	return e.spooled(row)
}

// OpenFile opens a whole sealed file. The last Read fails when the plaintext is not what the sender committed to, so
// nothing may be believed before io.EOF.
func (e *Exchange) OpenFile(row ledger.Attachment, key seal.AttachmentKey) (io.ReadCloser, error) {
	sealed, err := e.openSpool(row.File, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	plain, err := seal.OpenAttachment(sealed, key)
	if err != nil {
		sealed.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, sealed}, nil
}

// ReadSealed is the sealed bytes of a whole file from an offset on, a multiple of 256 KiB. Conflict "wrong-offset".
func (e *Exchange) ReadSealed(row ledger.Attachment, offset uint64) (io.ReadCloser, error) {
	if offset > row.SealedSize || offset%message.HashChunk != 0 {
		return nil, fault.New(fault.Conflict, "wrong-offset", "read attachment", "a file is read from a whole chunk on")
	}
	f, err := e.openSpool(row.File, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(int64(offset), io.SeekStart); err != nil {
		f.Close()
		return nil, spoolFault(err)
	}
	return f, nil
}

// Pull returns the sealed bytes of a file from an offset on. The caller closes it.
type Pull func(ctx context.Context, offset uint64) (io.ReadCloser, error)

// Fetch makes a file of a received message whole that its sender does not push: it pulls what is missing, from the first
// chunk on that is not here whole. On return the file is synced, its root is that of the signed manifest and the row is
// committed; until then it goes on where it stopped, after a restart too. What is pulled is asked for by our own people,
// one pull at a time for each file (Retry "busy"), and counts against no quota. Retry "cut" where the bytes ended early.
// PROTOCOL 6.3.
func (e *Exchange) Fetch(ctx context.Context, h message.Header, index uint32, pull Pull) (ledger.Attachment, error) {
	const op = "fetch attachment"
	if int(index) >= len(h.Attachments) {
		return ledger.Attachment{}, fault.New(fault.NotFound, "", op, "the message has no such attachment")
	}
	name := fmt.Sprint(h.Sender, h.ID, index)
	if !e.uploads.take(name) {
		return ledger.Attachment{}, fault.New(fault.Retry, "busy", op, "this file is already on its way")
	}
	defer e.uploads.release(name)
	row, err := e.pulledRow(ctx, h, index)
	if err != nil || row.State == ledger.AttachmentComplete {
		return row, err
	}
	offset := e.spooled(row)
	src, err := pull(ctx, offset)
	if err != nil {
		return row, err
	}
	defer src.Close()
	whole, err := e.write(row, offset, src)
	if err != nil {
		return row, err
	}
	if !whole {
		return row, fault.New(fault.Retry, "cut", op, "the file ended before it was whole").WithHint("ask again: it goes on where it stopped")
	}
	row.State, row.Stored = ledger.AttachmentComplete, row.SealedSize
	return row, e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if err := tx.PutAttachment(row); err != nil {
			return err
		}
		return second(tx.Append(e.event("attachment-stored", nodeActor, h.Key(), row.Root, "")))
	})
}

// pulledRow finds the row of a file, or makes it, so that its spool file has a name that outlives a restart. Its state is
// not RECEIVING: no peer may push it, and nothing was announced that has a quota.
func (e *Exchange) pulledRow(ctx context.Context, h message.Header, index uint32) (ledger.Attachment, error) {
	name, err := e.spoolName()
	if err != nil {
		return ledger.Attachment{}, err
	}
	line := h.Attachments[index]
	var row ledger.Attachment
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err = tx.Attachment(ledger.OwnedBy(h.Key()), index)
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		row = ledger.Attachment{
			Owner: ledger.OwnedBy(h.Key()), Conversation: h.Conversation, Index: index, Direction: ledger.In,
			SealedSize: line.SealedSize, Root: line.Root, State: ledger.AttachmentSpooled, File: name,
		}
		return tx.PutAttachment(row)
	})
	if err == nil && row.State == ledger.AttachmentReceiving {
		err = fault.New(fault.Retry, "incomplete", "fetch attachment", "the attachment has not arrived whole yet")
	}
	return row, err
}

// Serves reports whether this node serves an authority that may act now.
func (e *Exchange) Serves(name authority.Name) bool {
	own, err := e.served(e.Directory.Load().At(e.Clock()), name)
	return own && err == nil
}
