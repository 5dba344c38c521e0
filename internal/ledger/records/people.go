package records

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/people"
)

// accounts keeps the records of room people in the ledger, so that a change and its event are one transaction.
type accounts struct{ l ledger.Ledger }

var _ people.Store = accounts{}

// People is the store of room people over a ledger whose engine is built on this room.
func People(l ledger.Ledger) people.Store { return accounts{l} }

// ParsePeople reads an event of room people back from the log.
func ParsePeople(e ledger.StoredEvent) (people.Event, error) {
	var d peopleDetail
	if err := json.Unmarshal(e.Detail, &d); err != nil {
		return people.Event{}, fault.Wrap(err, fault.Internal, "damaged", "read ledger", "an event cannot be read")
	}
	return people.Event{Kind: people.EventKind(e.Kind), Actor: e.Actor, Subject: d.Subject, Detail: d.Detail, Alarm: d.Alarm, At: e.Time}, nil
}

// peopleDetail is the detail of an event of room people, in JSON. Actor and kind are the event's own; names of persons
// stand here alone, where they can be purged.
type peopleDetail struct {
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Alarm   bool   `json:"alarm,omitempty"`
}

// viewed reads through the store's ledger.
func viewed[T any](ctx context.Context, a accounts, read func(conn) (T, error)) (T, error) {
	var out T
	err := a.l.View(ctx, func(r ledger.Reader) error {
		var err error
		out, err = read(r.(reader).c)
		return err
	})
	return out, err
}

const accountColumns = `"user", authority, roles, password, locked, created, failures, failed_at`

func accountAt(user people.User) place { return placed("account", user.String(), "") }

func scanAccount(r *row) people.Account {
	a := people.Account{User: parsed(r, r.text(), people.ParseUser), Authority: r.name(), Roles: words(r, people.ParseRoles)}
	a.Password = r.private(accountAt(a.User), "password")
	a.Locked, a.Created, a.Failures, a.FailedAt = r.flag(), r.time(), r.number(), r.time()
	return a
}

// words reads a list kept in one column, with a space between entries.
func words[T any](r *row, parse func([]string) ([]T, error)) []T {
	return parsed(r, r.text(), func(s string) ([]T, error) { return parse(strings.Fields(s)) })
}

func joined[T fmt.Stringer](list []T) string {
	var all []string
	for _, v := range list {
		all = append(all, v.String())
	}
	return strings.Join(all, " ")
}

// Account implements [people.Store].
func (a accounts) Account(ctx context.Context, user people.User) (people.Account, error) {
	return viewed(ctx, a, func(c conn) (people.Account, error) {
		return single(c, "account", scanAccount, "SELECT "+accountColumns+" FROM account WHERE \"user\" = ?", user.String())
	})
}

// Accounts implements [people.Store].
func (a accounts) Accounts(ctx context.Context) ([]people.Account, error) {
	return viewed(ctx, a, func(c conn) ([]people.Account, error) {
		return list(c, scanAccount, "SELECT "+accountColumns+" FROM account ORDER BY \"user\"")
	})
}

// Session implements [people.Store].
func (a accounts) Session(ctx context.Context, d people.Digest) (people.Session, error) {
	scan := func(r *row) people.Session {
		return people.Session{Digest: d, User: parsed(r, r.text(), people.ParseUser), Created: r.time(), Used: r.time(), Expires: r.time()}
	}
	return viewed(ctx, a, func(c conn) (people.Session, error) {
		return single(c, "session", scan, `SELECT "user", created, used, expires FROM session WHERE digest = ?`, d[:])
	})
}

const tokenColumns = `id, digest, name, authority, scopes, issuer, created, expires, revoked`

func tokenAt(id people.TokenID) place { return placed("token", id.String(), "") }

func scanToken(r *row) people.Token {
	t := people.Token{ID: parsed(r, r.text(), people.ParseTokenID)}
	copy(t.Digest[:], r.blob())
	at := tokenAt(t.ID)
	t.Name, t.Authority, t.Scopes, t.Issuer = r.private(at, "name"), r.name(), words(r, people.ParseScopes), r.private(at, "issuer")
	t.Created, t.Expires, t.Revoked = r.time(), r.time(), r.time()
	return t
}

// Token implements [people.Store].
func (a accounts) Token(ctx context.Context, d people.Digest) (people.Token, error) {
	return viewed(ctx, a, func(c conn) (people.Token, error) {
		return single(c, "token", scanToken, "SELECT "+tokenColumns+" FROM token WHERE digest = ?", d[:])
	})
}

// Tokens implements [people.Store].
func (a accounts) Tokens(ctx context.Context) ([]people.Token, error) {
	return viewed(ctx, a, func(c conn) ([]people.Token, error) {
		return list(c, scanToken, "SELECT "+tokenColumns+" FROM token ORDER BY created, id")
	})
}

// Touch implements [people.Store].
func (a accounts) Touch(ctx context.Context, d people.Digest, used time.Time) error {
	return a.l.Update(ctx, func(t ledger.Tx) error {
		return t.(tx).c.exec("UPDATE session SET used = ? WHERE digest = ?", used, d[:])
	})
}

// Commit implements [people.Store].
func (a accounts) Commit(ctx context.Context, change people.Change) error {
	e := change.Event
	detail, err := json.Marshal(peopleDetail{e.Subject, e.Detail, e.Alarm})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "record change", "the event cannot be written")
	}
	return a.l.Update(ctx, func(t ledger.Tx) error {
		c := t.(tx).c
		for _, part := range []func(conn, people.Change) error{putAccounts, closeSessions, openSession, putTokens} {
			if err := part(c, change); err != nil {
				return err
			}
		}
		_, err := t.Append(ledger.Event{Time: e.At, Kind: string(e.Kind), Actor: e.Actor, Detail: detail})
		return err
	})
}

func putAccounts(c conn, change people.Change) error {
	if a := change.Create; a != nil {
		err := c.changed(taken("account"), "INSERT INTO account ("+accountColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			a.User.String(), a.Authority.String(), joined(a.Roles), accountAt(a.User).text("password", a.Password), flag(a.Locked), a.Created, a.Failures, a.FailedAt)
		if err != nil {
			return err
		}
	}
	a := change.Put
	if a == nil {
		return nil
	}
	return c.changed(ledger.Absent("account"), `UPDATE account SET authority = ?, roles = ?, password = ?, locked = ?, created = ?,
		failures = ?, failed_at = ? WHERE "user" = ?`, a.Authority.String(), joined(a.Roles), accountAt(a.User).text("password", a.Password),
		flag(a.Locked), a.Created, a.Failures, a.FailedAt, a.User.String())
}

func closeSessions(c conn, change people.Change) error {
	if change.Close != nil {
		if err := c.exec("DELETE FROM session WHERE digest = ?", change.Close[:]); err != nil {
			return err
		}
	}
	if !change.CloseOf.IsZero() {
		if err := c.exec(`DELETE FROM session WHERE "user" = ?`, change.CloseOf.String()); err != nil {
			return err
		}
	}
	if change.Expired.IsZero() {
		return nil
	}
	return c.exec("DELETE FROM session WHERE expires <= ?", change.Expired)
}

// openSession adds a session and, of the same user's others, keeps the newest.
func openSession(c conn, change people.Change) error {
	s := change.Open
	if s == nil {
		return nil
	}
	err := c.changed(taken("session"), `INSERT INTO session (digest, "user", created, used, expires) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		s.Digest[:], s.User.String(), s.Created, s.Used, s.Expires)
	if err != nil || change.Keep <= 0 {
		return err
	}
	user, digest := s.User.String(), s.Digest[:]
	return c.exec(`DELETE FROM session WHERE "user" = ? AND digest <> ? AND digest NOT IN (SELECT digest FROM session
		WHERE "user" = ? AND digest <> ? ORDER BY created DESC, digest LIMIT ?)`, user, digest, user, digest, change.Keep-1)
}

func putTokens(c conn, change people.Change) error {
	if t := change.Issue; t != nil {
		at := tokenAt(t.ID)
		err := c.changed(taken("token"), "INSERT INTO token ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			t.ID.String(), t.Digest[:], at.text("name", t.Name), t.Authority.String(), joined(t.Scopes), at.text("issuer", t.Issuer), t.Created, t.Expires, t.Revoked)
		if err != nil {
			return err
		}
	}
	if change.Revoke.IsZero() {
		return nil
	}
	return c.changed(ledger.Absent("token"), "UPDATE token SET revoked = CASE WHEN revoked = 0 THEN ? ELSE revoked END WHERE id = ?",
		change.Event.At, change.Revoke.String())
}

func taken(what string) error {
	return fault.New(fault.Conflict, "exists", "record change", "there is such "+what+" already")
}
