package alert

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// markRead says that a person of the authority has opened the alert; the other marks are those of a feedback.
const markRead = "READ"

// Feedback tells the issuer what a receiver found: NOT_RELEVANT, NO_HIT or HIT. It may be given again, and after the
// alert's end. When it returns, the message is on stable storage and will be delivered (P1).
func (d *Desk) Feedback(ctx context.Context, a exchange.Actor, id message.ID, f *formatv1.Feedback) (message.ID, error) {
	row, latest, err := d.received(ctx, a, "alert:feedback", id)
	if err != nil {
		return message.ID{}, err
	}
	if fs := message.CheckFeedback(f, d.Lists); !message.Sendable(fs) {
		return message.ID{}, unsendable("give feedback", fs)
	}
	items, err := d.item(nil, itemFeedback, f)
	if err != nil {
		return message.ID{}, err
	}
	first := latest.InReplyTo
	if latest.Kind == message.KindAlert {
		first = latest.Key.ID
	}
	letter, err := d.letter(ctx, a, sending{
		Alert: row, kind: message.KindAlertFeedback, inReplyTo: first, to: []authority.Name{row.Issuer}, urgency: row.Urgency,
		approval: message.Single, content: seal.Content{Items: items},
	})
	if err != nil {
		return message.ID{}, err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error { return d.commitFeedback(tx, a, id, f.GetMark(), letter) })
	if err != nil {
		return message.ID{}, err
	}
	// If the machine stops here, the outbox has the message and start-up delivers it.
	d.sent([]outward{letter})
	return letter.header.ID, nil
}

// received reads an alert that came to an actor's authority, with its newest message.
func (d *Desk) received(ctx context.Context, a exchange.Actor, action string, id message.ID) (ledger.Alert, ledger.Message, error) {
	row, err := d.row(ctx, a, action, id)
	if err != nil {
		return ledger.Alert{}, ledger.Message{}, err
	}
	if row.Direction != ledger.In || row.Version == 0 {
		return ledger.Alert{}, ledger.Message{}, wrongState("this is for alerts that have come from another authority")
	}
	m, err := d.message(ctx, row.Latest)
	return row, m, err
}

func (d *Desk) commitFeedback(tx ledger.Tx, a exchange.Actor, id message.ID, mark string, letter outward) error {
	row, err := tx.Alert(id, a.Authority)
	if err != nil {
		return err
	}
	row.Mark, row.Changed = mark, d.Clock()
	if err := tx.DeleteNudge(row.ID, row.Own); err != nil {
		return err
	}
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	if err := letter.commit(tx); err != nil {
		return err
	}
	return second(tx.Append(d.event("alert-feedback", a.Account, about(row), message.Digest{}, mark)))
}

// row reads an alert of an actor's authority. Another authority's alert, and one that no subscription wanted, does not
// exist for them: NotFound.
func (d *Desk) row(ctx context.Context, a exchange.Actor, action string, id message.ID) (ledger.Alert, error) {
	var row ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Alert(id, a.Authority)
		return err
	})
	if err == nil && row.State == unmatched {
		err = fault.New(fault.NotFound, "", "read alert", "there is no such alert")
	}
	if err != nil {
		return ledger.Alert{}, err
	}
	return row, d.allow(ctx, a, action, row)
}

// message reads a message with its bytes, which lists leave out.
func (d *Desk) message(ctx context.Context, key message.Key) (ledger.Message, error) {
	var m ledger.Message
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		m, err = r.Message(key)
		return err
	})
	return m, err
}
