package people

import (
	"context"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	freeFailures  = 5               // wrong passwords before an account waits
	firstWait     = 5 * time.Second // doubled by each further one
	longestWait   = 15 * time.Minute
	maxFailures   = 1 << 20     // where counting stops
	maxSessions   = 16          // of one user; the oldest make room
	strangerPause = time.Minute // between events about unknown names
	manyStrangers = 20          // failed logins of unknown names in one event that raise an alarm
)

// Login checks a name and a password as typed and opens a session; the secret is shown now and never again.
//
// Unauthenticated for a wrong name, a wrong password or a waiting account, without telling which and not sooner than
// Config.FailureTime; Denied for the right password of a locked account; Retry if too many log in at once. The
// session, the cleared failures and the event are durable on return.
func (d *Desk) Login(ctx context.Context, name, password string) (string, Session, error) {
	least := time.NewTimer(d.config.FailureTime)
	defer least.Stop()
	secret, session, err := d.login(ctx, name, password)
	if fault.Is(err, fault.Unauthenticated) {
		select {
		case <-least.C:
		case <-ctx.Done():
		}
	}
	return secret, session, err
}

func (d *Desk) login(ctx context.Context, name, password string) (string, Session, error) {
	found, err := d.lookUp(ctx, name)
	if err != nil {
		return "", Session{}, err
	}
	v, err := d.gate.compare(ctx, normalise(password), found.Password)
	if err != nil {
		return "", Session{}, err
	}
	d.write.Lock()
	defer d.write.Unlock()
	if found.User.IsZero() {
		d.noteStranger(ctx)
		return "", Session{}, wrong()
	}
	// Read again: since the comparison began, others may have failed, locked the account or reset the password.
	a, err := d.store.Account(ctx, found.User)
	if err != nil {
		return "", Session{}, err
	}
	if a.Password != found.Password || waits(a, d.now()) {
		return "", Session{}, wrong() // no event: else a flood would fill the log
	}
	if !v.right {
		return "", Session{}, d.noteFailure(ctx, a)
	}
	if a.Locked {
		return "", Session{}, fault.New(fault.Denied, "account-locked", "log in", "the account is locked").WithHint("ask an administrator")
	}
	if v.renewed != "" {
		a.Password = v.renewed
	}
	return d.open(ctx, a)
}

// lookUp finds the account by its name as typed; for a name of nobody, an account without user and with the decoy.
func (d *Desk) lookUp(ctx context.Context, name string) (Account, error) {
	user, err := ParseUser(name)
	if err != nil {
		return Account{Password: d.gate.decoy}, nil
	}
	a, err := d.store.Account(ctx, user)
	if fault.Is(err, fault.NotFound) {
		return Account{Password: d.gate.decoy}, nil
	}
	return a, err
}

// waits reports whether an account takes no password now. A clock set back ends the wait instead of drawing it out.
func waits(a Account, now time.Time) bool {
	return now.Before(a.FailedAt.Add(wait(a.Failures))) && !now.Before(a.FailedAt)
}

// wait is how long an account waits after its last failure.
func wait(failures int) time.Duration {
	if failures < freeFailures {
		return 0
	}
	return min(firstWait<<min(failures-freeFailures, 16), longestWait)
}

func wrong() error {
	return fault.New(fault.Unauthenticated, "wrong-login", "log in", "the user name or the password is not right, or the account waits after failed logins").
		WithHint("wait up to 15 minutes and try again, or ask an administrator to unlock the account")
}

// noteFailure counts a wrong password; the answer is the same whether or not the count was kept.
func (d *Desk) noteFailure(ctx context.Context, a Account) error {
	now := d.now()
	a.Failures, a.FailedAt = min(a.Failures+1, maxFailures), now
	err := d.store.Commit(ctx, Change{
		Put: &a,
		Event: Event{
			Kind: LoginFailed, Subject: a.User.String(), Detail: fmt.Sprintf("failure %d", a.Failures),
			Alarm: a.Failures >= freeFailures, At: now,
		},
	})
	if err != nil {
		return err // not "wrong": an uncounted guess must not look like one
	}
	return wrong()
}

// noteStranger counts a login by a name of nobody. Names are not kept: one may be a password in the wrong field; and
// there is at most one event a minute, because anybody can cause them.
func (d *Desk) noteStranger(ctx context.Context) {
	now := d.now()
	d.strangers++
	if since := now.Sub(d.strangersTold); since >= 0 && since < strangerPause {
		return
	}
	err := d.store.Commit(ctx, Change{Event: Event{
		Kind: LoginFailed, Detail: fmt.Sprintf("unknown names, %d attempts", d.strangers),
		Alarm: d.strangers >= manyStrangers, At: now,
	}})
	if err == nil {
		d.strangers, d.strangersTold = 0, now // else they are told with the next
	}
}

// open commits a login. The caller holds d.write.
func (d *Desk) open(ctx context.Context, a Account) (string, Session, error) {
	secret, digest, err := newSecret(d.random, sessionPrefix)
	if err != nil {
		return "", Session{}, err
	}
	now := d.now()
	s := Session{Digest: digest, User: a.User, Created: now, Used: now, Expires: now.Add(d.config.SessionLife)}
	a.Failures, a.FailedAt = 0, time.Time{}
	defer d.live.dropUser(a.User) // the oldest session may have made room
	err = d.store.Commit(ctx, Change{
		Put: &a, Open: &s, Keep: maxSessions, Expired: now,
		Event: Event{Kind: LoggedIn, Actor: a.User.String(), Subject: a.User.String(), At: now},
	})
	if err != nil {
		return "", Session{}, err
	}
	// Stopped here, the session exists and nobody knows its secret; it expires.
	return secret, s, nil
}

// Logout ends a session, at once and durably. Unauthenticated if there is none; Invalid for a token, which is revoked.
func (d *Desk) Logout(ctx context.Context, secret string) error {
	prefix, digest, err := parseSecret(secret)
	if err != nil {
		return err
	}
	if prefix == tokenPrefix {
		return fault.New(fault.Invalid, "is-token", "log out", "a token has no session to end").WithHint("revoke it: enlace token revoke ID")
	}
	d.write.Lock()
	defer d.write.Unlock()
	s, err := d.store.Session(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		return ended(prefix)
	}
	if err != nil {
		return err
	}
	defer d.live.drop(digest) // even if the commit's outcome is unknown: the store will be asked
	return d.store.Commit(ctx, Change{
		Close: &digest,
		Event: Event{Kind: LoggedOut, Actor: s.User.String(), Subject: s.User.String(), At: d.now()},
	})
}
