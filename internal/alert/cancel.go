package alert

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// Reasons of a cancellation that this room treats apart. domain.md 4.9.
const (
	reasonSuperseded  = "SUPERSEDED"
	reasonNotEntitled = "NOT_ENTITLED"
)

// endAfterExpiry is how long the cancellation of an expired alert is carried.
const endAfterExpiry = 7 * 24 * time.Hour

// Cancel ends an alert at all its holders, at once: it takes one person who answers for the desk, and no competence any
// more, since a wrong alert endangers people. A draft of the next version is dropped with it. An alert that was never
// issued is dropped, and nobody is told.
func (d *Desk) Cancel(ctx context.Context, a exchange.Actor, id message.ID, c *formatv1.Cancellation) (Published, error) {
	var row ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Alert(id, a.Authority)
		return err
	})
	if err == nil && row.State == unmatched {
		err = fault.New(fault.NotFound, "", "cancel alert", "there is no such alert")
	}
	if err != nil {
		return Published{}, err
	}
	if row.Direction != ledger.Out {
		return Published{}, fault.New(fault.Denied, "not-issuer", "cancel alert", "only the authority that issued an alert cancels it")
	}
	if err := d.allow(ctx, a, "alert:cancel", row); err != nil {
		return Published{}, err
	}
	switch {
	case row.Version == 0 && !row.State.Over():
		return d.drop(ctx, a, row)
	case !cancellable(row):
		return Published{}, wrongState("the alert is over")
	}
	c = &formatv1.Cancellation{Reason: c.GetReason(), Text: c.GetText(), Version: row.Version}
	if c.GetReason() == reasonNotEntitled {
		return Published{}, fault.New(fault.Invalid, "incomplete", "cancel alert", "this reason is for single receivers, and is given by the node itself")
	}
	if fs := message.CheckCancellation(c, d.Lists); !message.Sendable(fs) {
		return Published{}, unsendable("cancel alert", fs)
	}
	return d.callOff(ctx, a, row, c)
}

// cancellable: in force, or ended here by the clock alone, which can be wrong: others may have it in force still.
func cancellable(row ledger.Alert) bool {
	return row.Version > 0 && (row.State.InForce() || row.State == message.AlertExpired)
}

// drop forgets a draft that was never issued.
func (d *Desk) drop(ctx context.Context, a exchange.Actor, seen ledger.Alert) (Published, error) {
	err := d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := tx.Alert(seen.ID, seen.Own)
		if err != nil {
			return err
		}
		if row.Version != 0 {
			return wrongState("the alert was published meanwhile")
		}
		if err := dropDraft(tx, row.ID); err != nil {
			return err
		}
		if err := tx.DeleteAlert(row.ID, row.Own); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-dropped", a.Account, about(row), message.Digest{}, "")))
	})
	if err != nil {
		return Published{}, err
	}
	d.tell()
	return Published{State: message.AlertCancelled}, nil
}

// dropDraft forgets what was being written. Its files are swept at the next start.
func dropDraft(tx ledger.Tx, id message.ID) error {
	if err := tx.DeleteAttachments(ledger.OwnedByDraft(id)); err != nil {
		return err
	}
	return tx.DeleteDraft(id)
}

// callOff sends a cancellation by the road that the alert took.
func (d *Desk) callOff(ctx context.Context, a exchange.Actor, row ledger.Alert, c *formatv1.Cancellation) (Published, error) {
	p := Published{State: overBy(c)}
	err := d.again(func() error {
		letters, err := d.cancellations(ctx, a, row, c)
		if err != nil {
			return err
		}
		err = d.Ledger.Update(ctx, func(tx ledger.Tx) error { return d.commitCancel(tx, a, row, p.State, letters) })
		if err != nil {
			return err
		}
		// If the machine stops here, chain and outbox have the cancellation, and start-up sends it.
		d.sent(letters)
		if len(letters) > 0 {
			p.Message, p.Freshness, p.Audience = letters[0].header.ID, letters[0].freshness, letters[0].audience
		}
		return nil
	})
	return p, err
}

// cancellations are the messages that end an alert: one to its audience, and one to each who left it. None where nobody
// is left to be told.
func (d *Desk) cancellations(ctx context.Context, a exchange.Actor, row ledger.Alert, c *formatv1.Cancellation) ([]outward, error) {
	items, err := d.item(nil, itemCancellation, c)
	if err != nil {
		return nil, err
	}
	first, err := d.firstOf(ctx, row)
	if err != nil {
		return nil, err
	}
	o := sending{Alert: row, kind: message.KindAlertCancel, inReplyTo: first.ID, urgency: row.Urgency, approval: message.Single,
		expires: d.until(row), content: seal.Content{Items: items}}
	var out []outward
	if first.Audience != nil {
		o.states = first.Audience.States
	} else if o.to = d.reachable(first.RecipientsBut(first.Sender)); len(o.to) == 0 {
		return nil, nil
	}
	letter, err := d.outward(ctx, a, o)
	switch {
	case err == nil:
		out = append(out, letter)
	case fault.CodeOf(err) != "empty-audience":
		return nil, err
	}
	withdrawn, err := d.withdrawals(ctx, a, row, row.Version)
	return append(out, withdrawn...), err
}

// until is how long the end of an alert is carried: as long as the alert holds, and one that the clock here has ended for
// as long again as a wrong clock may take to be noticed.
func (d *Desk) until(row ledger.Alert) time.Time {
	if now := d.Clock(); !row.Expires.After(now) {
		return now.Add(endAfterExpiry)
	}
	return row.Expires
}

// overBy is the state that a cancellation leads to.
func overBy(c *formatv1.Cancellation) message.AlertState {
	if c.GetReason() == reasonSuperseded {
		return message.AlertSuperseded
	}
	return message.AlertCancelled
}

func (d *Desk) commitCancel(tx ledger.Tx, a exchange.Actor, seen ledger.Alert, to message.AlertState, letters []outward) error {
	row, err := tx.Alert(seen.ID, seen.Own)
	if err != nil {
		return err
	}
	if !cancellable(row) || row.Version != seen.Version {
		return wrongState("the alert was updated or ended meanwhile")
	}
	row.State, row.Changed = to, d.Clock()
	if len(letters) > 0 {
		row.Ended = letters[0].header.Key()
	}
	if err := dropDraft(tx, row.ID); err != nil {
		return err
	}
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	if err := commitAll(tx, letters); err != nil {
		return err
	}
	return second(tx.Append(d.event("alert-cancelled", a.Account, about(row), message.Digest{}, string(to))))
}
