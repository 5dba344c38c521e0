package alert

import (
	"context"

	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const opPublish = "publish alert"

// Publish submits a draft, the first or the next version: to approval where policy wants two persons, else to those it is
// for. When it returns a message ID, the alert is on stable storage and will reach every member or be named as missing
// (P1). Denied "not-competent" where the directory of now does not say that the issuer may; Invalid "incomplete".
func (d *Desk) Publish(ctx context.Context, a exchange.Actor, id message.ID) (Published, error) {
	x, err := d.loadDraft(ctx, a, "alert:publish", id)
	if err != nil {
		return Published{}, err
	}
	if x.pending {
		return Published{}, wrongState("the alert waits for approval already")
	}
	if err := d.sendable(x); err != nil {
		return Published{}, err
	}
	if d.FourEyes {
		return d.askApproval(ctx, a, x)
	}
	return d.release(ctx, a, x, message.Single)
}

// sendable asks the rules and the directory of now.
func (d *Desk) sendable(x draft) error {
	if !d.view().Competent(x.Own, functionOut, x.Composition.Category) {
		return fault.New(fault.Denied, "not-competent", opPublish, "this authority has not declared in the directory that it issues alerts of the category").
			WithHint("amend the authority's competences with the function alerts-out")
	}
	c, err := d.check(x)
	if err != nil {
		return err
	}
	if !message.Sendable(c.Findings) {
		return unsendable(opPublish, c.Findings)
	}
	return nil
}

func unsendable(op string, fs []message.Finding) error {
	say := "the alert is incomplete: "
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
	return fault.New(fault.Invalid, "incomplete", op, say)
}

func (d *Desk) askApproval(ctx context.Context, a exchange.Actor, seen draft) (Published, error) {
	stored, err := handled(seen.stored, authorOf(a))
	if err != nil {
		return Published{}, err
	}
	if stored, err = remark(stored, true); err != nil {
		return Published{}, err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := d.same(tx, seen)
		if err != nil {
			return err
		}
		if err := tx.PutDraft(stored); err != nil {
			return err
		}
		if row.Version == 0 {
			row.State = message.AlertPending
		}
		row.Changed = d.Clock()
		if _, err := tx.PutAlert(row); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-approval-asked", a.Account, about(row), seen.digest(), "")))
	})
	if err != nil {
		return Published{}, err
	}
	d.tell()
	return Published{State: message.AlertPending}, nil
}

// same reads the row of a draft again, and refuses if anything about the draft is other than it was seen.
func (d *Desk) same(tx ledger.Tx, seen draft) (ledger.Alert, error) {
	row, err := ours(tx, seen.ID, seen.Own)
	if err != nil {
		return ledger.Alert{}, err
	}
	now, err := draftOf(tx, row)
	if fault.Is(err, fault.NotFound) || err == nil && (now.digest() != seen.digest() || now.pending != seen.pending || row.Version != seen.Version || row.State != seen.State) {
		return ledger.Alert{}, fault.New(fault.Conflict, "edited", "change alert", "the draft was changed or published meanwhile").
			WithHint("read it again")
	}
	return row, err
}

// Approve releases a draft that waits. The digest is what the approver was shown; an edit since then voids it.
func (d *Desk) Approve(ctx context.Context, a exchange.Actor, id message.ID, digest message.Digest) (Published, error) {
	x, err := d.loadDraft(ctx, a, "alert:approve", id)
	if err != nil {
		return Published{}, err
	}
	if !x.pending {
		return Published{}, wrongState("the alert does not wait for approval")
	}
	if digest != (message.Digest{}) && digest != x.digest() {
		return Published{}, fault.New(fault.Conflict, "edited", "approve alert", "the alert was changed after it was shown to you").
			WithHint("read it again, then approve")
	}
	if err := d.sendable(x); err != nil {
		return Published{}, err // time has passed since it was submitted
	}
	mark := message.TwoPerson
	if x.resource(a).Author == authorOf(a) {
		mark = message.Single // whatever policy allowed, the receivers are told the truth
	}
	x.Approver = a.Account
	return d.release(ctx, a, x, mark)
}

// maxReason bounds why a draft is sent back, in bytes: it stays in the evidence log.
const maxReason = 4 << 10

// Return sends a draft back to its author with a reason of at most 4 KiB, and says where the draft stands then.
func (d *Desk) Return(ctx context.Context, a exchange.Actor, id message.ID, reason string) (message.AlertState, error) {
	if len(reason) > maxReason {
		return "", fault.New(fault.TooLarge, "too-large", "return alert", "the reason is longer than 4 KiB")
	}
	x, err := d.loadDraft(ctx, a, "alert:return", id)
	if err != nil {
		return "", err
	}
	if !x.pending {
		return "", wrongState("the alert does not wait for approval")
	}
	stored, err := remark(x.stored, false)
	if err != nil {
		return "", err
	}
	stored.Returned = reason
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := d.same(tx, x)
		if err != nil {
			return err
		}
		if err := tx.PutDraft(stored); err != nil {
			return err
		}
		if row.Version == 0 {
			row.State = message.AlertDraft
		}
		row.Changed = d.Clock()
		if _, err := tx.PutAlert(row); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-returned", a.Account, about(row), stored.Digest, reason)))
	})
	if err != nil {
		return "", err
	}
	d.tell()
	return message.AlertDraft, nil
}

// release makes the message of a draft and commits it to its road, with word to those who may know the alert and are
// entitled to it no more.
func (d *Desk) release(ctx context.Context, a exchange.Actor, x draft, approval message.Approval) (Published, error) {
	var p Published
	err := d.again(func() error {
		out, err := d.version(ctx, a, x, approval)
		if err != nil {
			return err
		}
		letters := []outward{out}
		if x.Version > 0 {
			withdrawn, err := d.withdrawals(ctx, a, x.Alert, x.Version+1)
			if err != nil {
				return err
			}
			letters = append(letters, withdrawn...)
		}
		err = d.Ledger.Update(ctx, func(tx ledger.Tx) error { return d.commitVersion(tx, a, x, letters) })
		if err != nil {
			return err
		}
		// If the machine stops here, chain and outbox have the alert, and start-up sends it.
		d.sent(letters)
		p = Published{State: stateAfter(x.Version), Message: out.header.ID, Freshness: out.freshness, Audience: out.audience}
		return nil
	})
	return p, err
}

// again repeats what failed because an audience changed between its preparation and its use.
func (d *Desk) again(f func() error) error {
	err := f()
	for range 3 {
		if fault.CodeOf(err) != "audience-changed" {
			return err
		}
		err = f()
	}
	return err
}

func stateAfter(version uint32) message.AlertState {
	if version == 0 {
		return message.AlertIssued
	}
	return message.AlertUpdated
}

// version makes the message that says a draft.
func (d *Desk) version(ctx context.Context, a exchange.Actor, x draft, approval message.Approval) (outward, error) {
	if !x.ID.IsOf(x.Own) {
		return outward{}, notIssuer() // every receiver would refuse it: the name is another's
	}
	x.Notice.Version, x.Notice.Reference = x.Version+1, x.Reference
	items, err := d.itemsOf(x.Composition)
	if err != nil {
		return outward{}, err
	}
	o := sending{
		Alert: x.Alert, kind: message.KindAlert, to: x.To, states: x.States, urgency: x.Composition.Urgency, approval: approval,
		expires: d.expires(x.Composition, d.Clock()), content: seal.Content{Items: items},
	}
	o.Category, o.Distribution, o.Status = x.Composition.Category, x.Composition.Distribution, x.Composition.Status
	if x.Version > 0 {
		first, err := d.firstOf(ctx, x.Alert)
		if err != nil {
			return outward{}, err
		}
		o.kind, o.inReplyTo, o.to = message.KindAlertUpdate, first.ID, d.reachable(x.To)
	}
	for _, row := range x.rows {
		note, key, err := exchange.DraftFile(row)
		if err != nil {
			return outward{}, err
		}
		if o.content.Items, err = d.item(o.content.Items, itemAttachment, note); err != nil {
			return outward{}, err
		}
		o.content.Attachments = append(o.content.Attachments, key)
		o.manifest = append(o.manifest, message.Attachment{SealedSize: row.SealedSize, Root: row.Root})
	}
	return d.outward(ctx, a, o)
}

// commitVersion is the one fact of a publication.
func (d *Desk) commitVersion(tx ledger.Tx, a exchange.Actor, x draft, letters []outward) error {
	row, err := d.same(tx, x)
	if err != nil {
		return err
	}
	h := letters[0].header
	describe(&row, x.Composition)
	row.State, row.Version, row.Latest = stateAfter(row.Version), row.Version+1, h.Key()
	row.Expires, row.Changed, row.Approver, row.Attachments = h.Expires, d.Clock(), x.Approver, len(x.rows)
	if err := tx.DeleteAttachments(ledger.OwnedByDraft(row.ID)); err != nil {
		return err
	}
	for _, f := range x.rows {
		f.Owner, f.State, f.Meta = ledger.OwnedBy(h.Key()), ledger.AttachmentSpooled, nil
		if err := tx.PutAttachment(f); err != nil {
			return err
		}
	}
	if err := tx.DeleteDraft(row.ID); err != nil {
		return err
	}
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	if err := commitAll(tx, letters); err != nil {
		return err
	}
	kind := "alert-published"
	if h.Kind == message.KindAlertUpdate {
		kind = "alert-updated"
	}
	return second(tx.Append(d.event(kind, a.Account, h.Key(), h.Digest, string(h.Approval))))
}
