package alert

import (
	"context"
	"slices"

	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	defaultPage = 50
	maxPage     = 500
)

// List returns alerts of the actor's authority, newest change first.
func (d *Desk) List(ctx context.Context, a exchange.Actor, f Filter) ([]Summary, error) {
	if err := d.allow(ctx, a, "alert:list", ledger.Alert{Own: a.Authority, State: f.State}); err != nil {
		return nil, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	q := ledger.AlertFilter{Own: a.Authority, Direction: f.Direction, State: f.State, Type: f.Type, Category: f.Category, BeforeCursor: f.Before}
	if f.State == message.AlertPending {
		q.State, q.Direction = "", ledger.Out // an issued alert whose next version waits is one too
	}
	out := []Summary{}
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		for {
			rows, err := r.Alerts(q)
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, row := range rows {
				s, err := summaryWith(r, row)
				if err != nil {
					return err
				}
				if row.State != unmatched && (f.State != message.AlertPending || s.State == f.State || s.Next == f.State) {
					out = append(out, s)
				}
				if len(out) == limit {
					return nil
				}
			}
			q.BeforeCursor = rows[len(rows)-1].Cursor
		}
	})
	return out, err
}

// summaryWith tells of an issued alert too where its next version stands.
func summaryWith(r ledger.Reader, row ledger.Alert) (Summary, error) {
	s := summaryOf(row)
	if row.Direction != ledger.Out || !row.State.InForce() {
		return s, nil
	}
	x, err := draftOf(r, row)
	if fault.Is(err, fault.NotFound) {
		return s, nil
	}
	s.Next = x.state()
	return s, err
}

// Since returns what changed for the actor's authority after a cursor, oldest change first, opened: nothing is missed, and
// an alert comes again only when something about it has changed. A change that is overtaken by a newer one of the same
// alert is not told apart. received leaves out what the authority issues. upTo is the cursor that it got to, past what was
// left out: continue there. Of an alert's steps it has the last version and the end; Show has all. It is an event for each
// alert, and marks none as read: that is for a person, and would be a change in its turn. Retry where content cannot be
// opened now.
func (d *Desk) Since(ctx context.Context, a exchange.Actor, cursor int64, received bool, limit int) (views []View, upTo int64, err error) {
	if err := d.allow(ctx, a, "alert:list", ledger.Alert{Own: a.Authority}); err != nil {
		return nil, cursor, err
	}
	var rows []ledger.Alert
	upTo = cursor
	err = d.Ledger.View(ctx, func(r ledger.Reader) error {
		rows, upTo, err = ownSince(r, a, cursor, received, max(1, min(limit, maxPage)))
		return err
	})
	if err != nil || len(rows) == 0 {
		return nil, upTo, err
	}
	for _, row := range rows {
		err := d.allow(ctx, a, "alert:show", row)
		if fault.Is(err, fault.Denied) {
			continue // not for this reader
		}
		if err != nil {
			return nil, cursor, err
		}
		v, err := d.look(ctx, row, true)
		if err != nil {
			return nil, cursor, err
		}
		views = append(views, v)
	}
	return views, upTo, d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		for _, v := range views {
			if _, err := tx.Append(d.event("alert-read", a.Account, message.Key{Sender: v.Issuer, ID: v.ID}, message.Digest{}, "watch")); err != nil {
				return err
			}
		}
		return nil
	})
}

// ownSince passes over other authorities' changes, page by page.
func ownSince(r ledger.Reader, a exchange.Actor, cursor int64, received bool, limit int) ([]ledger.Alert, int64, error) {
	var out []ledger.Alert
	for {
		page, err := r.AlertsSince(cursor, ledger.MaxPage)
		if err != nil || len(page) == 0 {
			return out, cursor, err
		}
		for _, row := range page {
			cursor = row.Cursor
			if row.Own == a.Authority && row.State != unmatched && (!received || row.Direction == ledger.In) {
				out = append(out, row)
			}
			if len(out) == limit {
				return out, cursor, nil
			}
		}
	}
}

// Show opens an alert for an actor. The reading is an event of its own (P14), and a person's first look at a received
// alert marks it as read; both are committed before anything is shown.
func (d *Desk) Show(ctx context.Context, a exchange.Actor, id message.ID) (View, error) {
	row, err := d.shown(ctx, a, id)
	if err != nil {
		return View{}, err
	}
	v, err := d.look(ctx, row, false)
	if err != nil {
		return View{}, err
	}
	marked := false
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		now, err := tx.Alert(row.ID, row.Own)
		if fault.Is(err, fault.NotFound) {
			return nil // a draft that was dropped this moment
		}
		if err != nil {
			return err
		}
		if marked, err = d.markRead(tx, a, now, row.Version); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-read", a.Account, about(row), message.Digest{}, "")))
	})
	if err != nil {
		return View{}, err
	}
	if marked {
		v.Mark = markRead
		d.tell()
	}
	return v, nil
}

// shown reads the row of an alert that an actor may open: as an issued one, or, for who approves, as what is drafted.
func (d *Desk) shown(ctx context.Context, a exchange.Actor, id message.ID) (ledger.Alert, error) {
	row, err := d.row(ctx, a, "alert:show", id)
	if !fault.Is(err, fault.Denied) {
		return row, err
	}
	x, again := d.loadDraft(ctx, a, "alert:show", id)
	if again != nil {
		return ledger.Alert{}, err
	}
	return x.Alert, nil
}

// markRead notes that a person has seen the version that is shown. What is over is not content, and not read.
func (d *Desk) markRead(tx ledger.Tx, a exchange.Actor, row ledger.Alert, version uint32) (bool, error) {
	if row.Direction != ledger.In || a.Token || row.Mark != "" || row.Version != version || !row.State.InForce() {
		return false, nil
	}
	row.Mark, row.Changed = markRead, d.Clock()
	if err := tx.DeleteNudge(row.ID, row.Own); err != nil {
		return false, err
	}
	return true, second(tx.PutAlert(row))
}

// look opens one alert with all that is known of it; newest opens of its messages only its last version and its end, since
// a watch comes by at every change.
func (d *Desk) look(ctx context.Context, row ledger.Alert, newest bool) (View, error) {
	v := View{Summary: summaryOf(row), Locked: row.Direction == ledger.In && row.State.Over()}
	var all []ledger.Message
	var x draft
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if all, err = r.MessagesOf(row.ID); err != nil || row.Direction == ledger.In {
			return err
		}
		x, err = draftOf(r, row)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return View{}, err
	}
	if !x.stored.Conversation.IsZero() {
		if v.Draft, err = draftView(x); err != nil {
			return View{}, err
		}
		if row.Version > 0 {
			v.Next = x.state()
		}
	}
	for _, m := range all {
		if m.Key.Sender != row.Issuer && m.Kind != message.KindAlertFeedback {
			continue // somebody else used the alert's name
		}
		if newest && m.Key != row.Latest && m.Key != row.Ended {
			continue
		}
		if err := d.step(ctx, row, m.Key, &v); err != nil {
			return View{}, err
		}
	}
	return v, nil
}

func draftView(x draft) (*DraftView, error) {
	out := &DraftView{State: x.state(), Composition: x.Composition, Digest: x.digest(), Returned: x.stored.Returned, Author: x.stored.Author}
	for _, row := range x.rows {
		note, key, err := exchange.DraftFile(row)
		if err != nil {
			return nil, err
		}
		out.Attached = append(out.Attached, attachmentView(message.ID{}, row, note, key, row.SealedSize))
	}
	return out, nil
}

// step opens one message of an alert's life. One that is not for this authority is left out.
func (d *Desk) step(ctx context.Context, row ledger.Alert, key message.Key, v *View) error {
	m, err := d.message(ctx, key)
	if err != nil {
		return err
	}
	if env, err := seal.Stored(m.Envelope); err == nil && !env.Header.Addresses(row.Own) {
		return nil
	}
	h, c, err := d.open(ctx, row.Own, m)
	if err == nil {
		err = d.opened(ctx, row, h, c, v)
	}
	if err == nil || fault.Is(err, fault.Retry) {
		return err
	}
	v.Unreadable = fault.CodeOf(err)
	if v.Unreadable == "" {
		v.Unreadable = "unreadable"
	}
	return nil
}

// opened adds what a message says; of an alert or an update that is not the one to be shown, that there was one. What came
// to the node for another authority, after this one was entitled no more, is left out.
func (d *Desk) opened(ctx context.Context, row ledger.Alert, h message.Header, c seal.Content, v *View) error {
	s, err := read(h.Kind, c)
	if err != nil {
		return err
	}
	version := max(s.notice.GetVersion(), s.cancellation.GetVersion())
	if row.Direction == ledger.In && h.Key() != row.Ended {
		if version > row.Version {
			return nil
		}
		if s.cancellation != nil { // not the one that ended it here: its words are for others
			s.cancellation = &formatv1.Cancellation{Reason: s.cancellation.GetReason(), Version: version}
		}
	}
	v.Steps = append(v.Steps, Step{
		Message: h.ID, Kind: h.Kind, Sender: h.Sender, Created: h.Created, Version: version,
		Approval: h.Approval, Digest: h.Digest, Cancellation: s.cancellation, Feedback: s.feedback,
	})
	if s.notice == nil || v.Locked || h.Key() != row.Latest {
		return nil
	}
	return d.shownWhole(ctx, h, c, s, v)
}

// shownWhole adds the content of the version that is to be shown, with its larger files.
func (d *Desk) shownWhole(ctx context.Context, h message.Header, c seal.Content, s said, v *View) error {
	v.Content = Content{Notice: s.notice, Subjects: s.subjects, Files: s.files}
	var rows []ledger.Attachment
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		rows, err = r.AttachmentsOf(ledger.OwnedBy(h.Key()))
		return err
	})
	for i, line := range h.Attachments {
		index, key := uint32(i), c.Attachments[i]
		row := ledger.Attachment{Index: index, Direction: ledger.In, SealedSize: line.SealedSize, State: ledger.AttachmentSpooled}
		stored := uint64(0)
		if at := slices.IndexFunc(rows, func(x ledger.Attachment) bool { return x.Index == index }); at >= 0 {
			row = rows[at]
			stored = d.Exchange.Stored(row)
		}
		v.Attached = append(v.Attached, attachmentView(h.ID, row, s.note(index), key, stored))
	}
	return err
}
