package sqlite

import (
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// PutAlert implements [ledger.AlertTx].
func (t tx) PutAlert(a ledger.Alert) (int64, error) {
	t.w.at.alerts++
	return t.w.at.alerts, t.c.exec("INSERT OR REPLACE INTO alert ("+alertColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.ID, a.Own.String(), a.Issuer.String(), string(a.Direction), string(a.State), a.Type, a.Category.String(),
		string(a.Urgency), string(a.Status), string(a.Distribution), a.Reference, a.Title, int64(a.Version),
		a.Latest.ID, a.Latest.Sender.String(), a.Ended.ID, a.Ended.Sender.String(), a.Mark, a.Author, a.Approver, a.Attachments,
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
	return t.c.exec("INSERT OR REPLACE INTO subscription ("+subscriptionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		s.ID, s.Own.String(), s.Categories, types, states, string(s.Urgency), s.Status, s.Author, s.Created)
}

// DeleteSubscription implements [ledger.AlertTx].
func (t tx) DeleteSubscription(id message.ID) error {
	return t.c.exec("DELETE FROM subscription WHERE id = ?", id)
}

// PutNudge implements [ledger.AlertTx].
func (t tx) PutNudge(n ledger.Nudge) error {
	return t.c.exec("INSERT OR REPLACE INTO nudge (alert, own, sent, first, next, last_error) VALUES (?, ?, ?, ?, ?, ?)",
		n.Alert, n.Own.String(), n.Sent, n.First, orNull(n.Next), n.LastError)
}

// DeleteNudge implements [ledger.AlertTx].
func (t tx) DeleteNudge(alert message.ID, own authority.Name) error {
	return t.c.exec("DELETE FROM nudge WHERE alert = ? AND own = ?", alert, own.String())
}
