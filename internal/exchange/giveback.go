package exchange

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// givePage is how many messages are looked through at once.
const givePage = 256

// GiveBack yields the directed messages exchanged with a node, in the order of recording here, from a cursor on: those it
// sent, with the receipts this node gave, and those it has receipted. What was recorded, and receipted, before since is left
// out. A page without any of them moves the cursor on. PROTOCOL 10.12.
func (e *Exchange) GiveBack(ctx context.Context, to authority.Node, since time.Time, after uint64) iter.Seq2[message.Returned, error] {
	return func(yield func(message.Returned, error) bool) {
		for cursor := int64(min(after, 1<<62)); ; {
			var page []ledger.Message
			err := e.Ledger.View(ctx, func(r ledger.Reader) error {
				var err error
				page, err = r.MessagesAfter(cursor, givePage)
				return err
			})
			if err != nil {
				yield(message.Returned{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			for _, m := range page {
				item, err := e.returnOf(ctx, to, since, m)
				if err != nil || len(item.Envelope) > 0 {
					if !yield(item, err) || err != nil {
						return
					}
				}
			}
			cursor = page[len(page)-1].Seq
			if !yield(message.Returned{Cursor: uint64(cursor)}, nil) {
				return
			}
		}
	}
}

// returnOf is one message as it is given back; without envelope where it is not for this node, or not asked for.
func (e *Exchange) returnOf(ctx context.Context, to authority.Node, since time.Time, m ledger.Message) (message.Returned, error) {
	out := message.Returned{Cursor: uint64(m.Seq)}
	var envelope []byte
	view := e.Directory.Load().At(e.Clock())
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if out.Receipt, out.Complete, err = receiptsOf(r, view, to, m); err != nil || len(out.Receipt) == 0 || !recent(m, out, since) {
			return err
		}
		whole, err := r.Message(m.Key)
		envelope = whole.Envelope
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return out, nil
	}
	if _, bad := seal.Stored(envelope); bad == nil {
		out.Envelope = envelope // not a frame
	}
	return out, err
}

// receiptsOf are the receipts of who received a message, where it was exchanged with the node; NotFound or none where not.
func receiptsOf(r ledger.Reader, view directory.View, with authority.Node, m ledger.Message) (first, complete []byte, err error) {
	if m.Direction == ledger.In {
		if maker, ok := view.NodeOf(m.Key.Sender); !ok || maker.Node != with {
			return nil, nil, nil
		}
		own, err := r.ReceiptFor(m.Key)
		return own.Received, own.Complete, err
	}
	d, err := r.Delivery(m.Key, with)
	if len(d.Receipt) == 0 {
		return d.CompleteReceipt, nil, err // it was complete at once
	}
	return d.Receipt, d.CompleteReceipt, err
}

// recent reports whether a message was recorded, or receipted, since a time.
func recent(m ledger.Message, item message.Returned, since time.Time) bool {
	if !m.Recorded.Before(since) {
		return true
	}
	r, err := seal.StoredReceipt(newest(ledger.Receipt{Received: item.Receipt, Complete: item.Complete}))
	return err != nil || !r.Time.Before(since)
}

// SealedOut is the sealed bytes, from an offset on, of an attachment of a message that a node has receipted; NotFound
// "unknown-attachment" for every other. It is for a node that lost them. PROTOCOL 10.8, 10.12.
func (e *Exchange) SealedOut(ctx context.Context, to authority.Node, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	var row ledger.Attachment
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		d, err := r.Delivery(ref.Message, to)
		if err != nil {
			return err
		}
		if len(d.Receipt) == 0 && len(d.CompleteReceipt) == 0 {
			return ledger.Absent("delivery")
		}
		row, err = r.Attachment(ledger.OwnedBy(ref.Message), ref.Index)
		return err
	})
	if fault.Is(err, fault.NotFound) || err == nil && row.Direction != ledger.Out {
		return nil, fault.New(fault.NotFound, "unknown-attachment", "send attachment", "this node sent no such attachment to the caller")
	}
	if err != nil {
		return nil, err
	}
	return e.ReadSealed(row, offset)
}
