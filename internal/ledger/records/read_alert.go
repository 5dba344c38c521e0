package records

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const alertColumns = `id, own, issuer, direction, state, type, category, urgency, status, distribution, reference, title, version,
	latest_id, latest_sender, ended_id, ended_sender, mark, author, approver, attachments, created, changed, expires, cursor`

func alertAt(id message.ID, own authority.Name) place { return placed("alert", id[:], own.String()) }

func scanAlert(r *row) ledger.Alert {
	a := ledger.Alert{ID: r.id(), Own: r.name(), Issuer: r.name()}
	at := alertAt(a.ID, a.Own)
	a.Direction, a.State = ledger.Direction(r.text()), message.AlertState(r.text())
	a.Type, a.Category, a.Urgency, a.Status = r.text(), r.category(), message.Urgency(r.text()), message.OperationalStatus(r.text())
	a.Distribution, a.Reference, a.Title, a.Version = message.Distribution(r.text()), r.text(), r.private(at, "title"), uint32(r.integer())
	a.Latest, a.Ended, a.Mark, a.Author, a.Approver = r.key(), r.key(), r.text(), r.private(at, "author"), r.private(at, "approver")
	a.Attachments, a.Created, a.Changed, a.Expires, a.Cursor = r.number(), r.time(), r.time(), r.time(), r.integer()
	return a
}

// inForce is the condition of [message.AlertState.InForce], as the partial indexes have it.
const inForce = `state IN ('ISSUED', 'UPDATED')`

// Alert implements [ledger.AlertReader].
func (t reader) Alert(id message.ID, own authority.Name) (ledger.Alert, error) {
	return single(t.c, "alert", scanAlert, "SELECT "+alertColumns+" FROM alert WHERE id = ? AND own = ?", id, own.String())
}

// AlertsOf implements [ledger.AlertReader].
func (t reader) AlertsOf(id message.ID) ([]ledger.Alert, error) {
	return list(t.c, scanAlert, "SELECT "+alertColumns+" FROM alert WHERE id = ? ORDER BY own", id)
}

// Alerts implements [ledger.AlertReader].
func (t reader) Alerts(f ledger.AlertFilter) ([]ledger.Alert, error) {
	query, args := "SELECT "+alertColumns+" FROM alert"+among(f), []any(nil)
	narrow := func(condition, value string) {
		if value != "" {
			query, args = query+" AND "+condition, append(args, value)
		}
	}
	narrow("own = ?", f.Own.String())
	narrow("direction = ?", string(f.Direction))
	narrow("state = ?", string(f.State))
	narrow("type = ?", f.Type)
	if f.Category != "" {
		// A category is its group, a point and a name, and the character after the point is the slash.
		query += " AND (category = ? OR category >= ? AND category < ?)"
		args = append(args, f.Category, f.Category+".", f.Category+"/")
	}
	if f.BeforeCursor > 0 {
		query, args = query+" AND cursor < ?", append(args, f.BeforeCursor)
	}
	return list(t.c, scanAlert, query+" ORDER BY cursor DESC LIMIT ?", append(args, ledger.PageSize(f.Limit))...)
}

// among is the index that a list of alerts walks. What is not issued yet is ours alone.
func among(f ledger.AlertFilter) string {
	if f.Direction == ledger.Out || f.Direction == "" && (f.State == message.AlertDraft || f.State == message.AlertPending) {
		return " INDEXED BY alert_out WHERE direction = 'OUT'"
	}
	return " INDEXED BY alert_cursor WHERE true"
}

// AlertsSince implements [ledger.AlertReader].
func (t reader) AlertsSince(cursor int64, limit int) ([]ledger.Alert, error) {
	return list(t.c, scanAlert, "SELECT "+alertColumns+" FROM alert WHERE cursor > ? ORDER BY cursor LIMIT ?",
		cursor, ledger.PageSize(limit))
}

// AlertCursor implements [ledger.AlertReader]. An alert that was deleted has had its number.
func (t reader) AlertCursor() (int64, error) {
	return single(t.c, "cursor", (*row).integer, `SELECT coalesce(max(newest), 0) FROM
		(SELECT max(cursor) AS newest FROM alert UNION ALL SELECT cursor FROM alert_deleted WHERE one = 1) AS each`)
}

// AlertsExpired implements [ledger.AlertReader].
func (t reader) AlertsExpired(now time.Time, limit int) ([]ledger.Alert, error) {
	return list(t.c, scanAlert,
		"SELECT "+alertColumns+" FROM alert WHERE "+inForce+" AND expires > 0 AND expires <= ? ORDER BY expires LIMIT ?",
		now, ledger.PageSize(limit))
}

// NextExpiry implements [ledger.AlertReader].
func (t reader) NextExpiry() (time.Time, error) {
	return t.earliest("SELECT expires FROM alert WHERE " + inForce + " AND expires > 0 ORDER BY expires LIMIT 1")
}

// AlertsIn implements [ledger.AlertReader]. The names of a state's authorities are as in ExpectedFrom.
func (t reader) AlertsIn(state authority.State, category authority.Category) (bool, error) {
	return t.c.one(func(*row) {}, "SELECT 1 FROM alert WHERE "+inForce+` AND direction = 'IN' AND category = ?
		AND issuer >= ? AND issuer < ? LIMIT 1`, category.String(), state.String()+"/", state.String()+"0")
}

const subscriptionColumns = `id, own, categories, types, states, urgency, status, author, created`

func subscriptionAt(id message.ID) place { return placed("subscription", id[:], "") }

func scanSubscription(r *row) ledger.Subscription {
	s := ledger.Subscription{ID: r.id(), Own: r.name(), Categories: r.text(), Types: r.words(), States: r.states()}
	s.Urgency, s.Status = message.Urgency(r.text()), r.text()
	s.Author, s.Created = r.private(subscriptionAt(s.ID), "author"), r.time()
	return s
}

// Subscriptions implements [ledger.AlertReader].
func (t reader) Subscriptions() ([]ledger.Subscription, error) {
	return list(t.c, scanSubscription, "SELECT "+subscriptionColumns+" FROM subscription ORDER BY own, id")
}

// Subscription implements [ledger.AlertReader].
func (t reader) Subscription(id message.ID) (ledger.Subscription, error) {
	return single(t.c, "subscription", scanSubscription, "SELECT "+subscriptionColumns+" FROM subscription WHERE id = ?", id)
}

func nudgeAt(alert message.ID, own authority.Name) place {
	return placed("nudge", alert[:], own.String())
}

// NudgesDue implements [ledger.AlertReader].
func (t reader) NudgesDue(now time.Time, limit int) ([]ledger.Nudge, error) {
	scan := func(r *row) ledger.Nudge {
		n := ledger.Nudge{Alert: r.id(), Own: r.name(), Sent: r.number(), First: r.time(), Next: r.time()}
		n.LastError = r.private(nudgeAt(n.Alert, n.Own), "last_error")
		return n
	}
	return list(t.c, scan, `SELECT alert, own, sent, first, next, last_error FROM nudge
		WHERE next IS NOT NULL AND next <= ? ORDER BY next LIMIT ?`, now, ledger.PageSize(limit))
}

// NextNudge implements [ledger.AlertReader].
func (t reader) NextNudge() (time.Time, error) {
	return t.earliest("SELECT next FROM nudge WHERE next IS NOT NULL ORDER BY next LIMIT 1")
}
