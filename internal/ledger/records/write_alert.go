package records

import (
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// PutAlert implements [ledger.AlertTx].
func (t tx) PutAlert(a ledger.Alert) (int64, error) {
	t.w.at.alerts++
	at := alertAt(a.ID, a.Own)
	return t.w.at.alerts, t.c.exec("INSERT INTO alert ("+alertColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id, own) DO UPDATE SET issuer = excluded.issuer, direction = excluded.direction, state = excluded.state,
		type = excluded.type, category = excluded.category, urgency = excluded.urgency, status = excluded.status,
		distribution = excluded.distribution, reference = excluded.reference, title = excluded.title, version = excluded.version,
		latest_id = excluded.latest_id, latest_sender = excluded.latest_sender, ended_id = excluded.ended_id,
		ended_sender = excluded.ended_sender, mark = excluded.mark, author = excluded.author, approver = excluded.approver,
		attachments = excluded.attachments, created = excluded.created, changed = excluded.changed, expires = excluded.expires,
		cursor = excluded.cursor`,
		a.ID, a.Own.String(), a.Issuer.String(), string(a.Direction), string(a.State), a.Type, a.Category.String(),
		string(a.Urgency), string(a.Status), string(a.Distribution), a.Reference, at.text("title", a.Title), int64(a.Version),
		a.Latest.ID, a.Latest.Sender.String(), a.Ended.ID, a.Ended.Sender.String(), a.Mark, at.text("author", a.Author), at.text("approver", a.Approver), a.Attachments,
		a.Created, a.Changed, a.Expires, t.w.at.alerts)
}

// DeleteAlert implements [ledger.AlertTx]. It writes down how far the cursors have come, which the highest of the
// alerts that are left no longer tells.
func (t tx) DeleteAlert(id message.ID, own authority.Name) error {
	err := t.c.exec("INSERT INTO alert_deleted (one, cursor) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor",
		t.w.at.alerts)
	if err != nil {
		return err
	}
	err = t.c.exec("DELETE FROM alert WHERE id = ? AND own = ? AND version = 0 AND state IN ('DRAFT', 'PENDING_APPROVAL')", id, own.String())
	if err != nil {
		return err
	}
	_, err = t.Alert(id, own)
	switch {
	case err == nil:
		return ledger.Issued()
	case fault.Is(err, fault.NotFound):
		return nil
	}
	return err
}

// PutSubscription implements [ledger.AlertTx].
func (t tx) PutSubscription(s ledger.Subscription) error {
	types, err := packWords(s.Types)
	if err != nil {
		return err
	}
	states, err := packNames(s.States)
	if err != nil {
		return err
	}
	return t.c.exec("INSERT INTO subscription ("+subscriptionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET own = excluded.own, categories = excluded.categories, types = excluded.types,
		states = excluded.states, urgency = excluded.urgency, status = excluded.status, author = excluded.author,
		created = excluded.created`,
		s.ID, s.Own.String(), s.Categories, types, states, string(s.Urgency), s.Status,
		subscriptionAt(s.ID).text("author", s.Author), s.Created)
}

// DeleteSubscription implements [ledger.AlertTx].
func (t tx) DeleteSubscription(id message.ID) error {
	return t.c.exec("DELETE FROM subscription WHERE id = ?", id)
}

// PutNudge implements [ledger.AlertTx].
func (t tx) PutNudge(n ledger.Nudge) error {
	return t.c.exec(`INSERT INTO nudge (alert, own, sent, first, next, last_error) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (alert, own) DO UPDATE SET sent = excluded.sent, first = excluded.first, next = excluded.next,
		last_error = excluded.last_error`,
		n.Alert, n.Own.String(), n.Sent, n.First, orNull(n.Next), nudgeAt(n.Alert, n.Own).text("last_error", n.LastError))
}

// DeleteNudge implements [ledger.AlertTx].
func (t tx) DeleteNudge(alert message.ID, own authority.Name) error {
	return t.c.exec("DELETE FROM nudge WHERE alert = ? AND own = ?", alert, own.String())
}
