package people_test

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/people"
)

const (
	good  = "correct horse battery staple"
	other = "cuatro palabras sin relación"
)

// quick are parameters for tests: real argon2id, little memory.
var quick = argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.UnixMilli(c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(d.Milliseconds()) }
func (c *clock) set(t time.Time)      { c.at.Store(t.UnixMilli()) }

type office struct {
	testing.TB
	ctx   context.Context
	store *fileStore
	desk  *people.Desk
	clock *clock
	root  people.Principal
}

// newOffice opens a desk with an administrator "root" and nobody else.
func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{TB: t, ctx: context.Background(), store: openFile(t, t.TempDir()), clock: &clock{}}
	o.clock.set(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC))
	o.desk = o.open(people.Config{Hash: quick, FailureTime: time.Millisecond})
	_, err := o.desk.Bootstrap(o.ctx, people.NewAccount{
		User: o.user("root"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleAdministrator}, Password: good,
	})
	o.must(err)
	o.root = people.Principal{Name: "root", User: o.user("root"), Authority: o.name("mx/fgr")}
	return o
}

// open starts another desk over the same file, as after a restart.
func (o *office) open(c people.Config) *people.Desk {
	o.Helper()
	d, err := people.New(o.store, c, o.clock.now, rand.Reader)
	o.must(err)
	return d
}

func (o *office) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) user(s string) people.User {
	o.Helper()
	u, err := people.ParseUser(s)
	o.must(err)
	return u
}

func (o *office) name(s string) authority.Name {
	o.Helper()
	n, err := authority.ParseName(s)
	o.must(err)
	return n
}

func (o *office) add(user string, roles ...people.Role) {
	o.Helper()
	_, err := o.desk.AddUser(o.ctx, o.root, people.NewAccount{
		User: o.user(user), Authority: o.name("mx/fgr"), Roles: roles, Password: good,
	})
	o.must(err)
}

func (o *office) login(user, password string) string {
	o.Helper()
	secret, _, err := o.desk.Login(o.ctx, user, password)
	o.must(err)
	return secret
}

func (o *office) want(what string, err error, kind fault.Kind, code string) {
	o.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		o.Errorf("%s: %v, code %q; want kind %v, code %q", what, err, fault.CodeOf(err), kind, code)
	}
}

func (o *office) works(secret string) bool {
	o.Helper()
	_, err := o.desk.Authenticate(o.ctx, secret)
	if err != nil && !fault.Is(err, fault.Unauthenticated) {
		o.Fatal(err)
	}
	return err == nil
}

// last is the newest event, without its time.
func (o *office) last() people.Event {
	o.Helper()
	all, err := o.store.events()
	o.must(err)
	e := all[len(all)-1]
	e.At = time.Time{}
	return e
}

func (o *office) count() int {
	o.Helper()
	all, err := o.store.events()
	o.must(err)
	return len(all)
}

func TestLoginAndLogout(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser, people.RoleApprover)
	secret, session, err := o.desk.Login(o.ctx, "ana", good)
	o.must(err)
	if !strings.HasPrefix(secret, "enlace_s_") || len(secret) != 9+43 {
		t.Errorf("secret has %d characters and begins %q", len(secret), secret[:9])
	}
	if got, want := session.Expires, o.clock.now().Add(12*time.Hour); !got.Equal(want) {
		t.Errorf("Expires = %v, want %v", got, want)
	}
	p, err := o.desk.Authenticate(o.ctx, secret)
	o.must(err)
	if p.Actor() != "ana" || p.IsToken() || p.Authority.String() != "mx/fgr" || len(p.Scopes) != 0 ||
		!slices.Equal(p.Roles, []people.Role{people.RoleUser, people.RoleApprover}) || !p.Expires.Equal(session.Expires) {
		t.Errorf("Authenticate = %+v", p)
	}
	if got, want := o.last(), (people.Event{Kind: people.LoggedIn, Actor: "ana", Subject: "ana"}); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	p.Roles[0] = people.RoleAdministrator
	if again, err := o.desk.Authenticate(o.ctx, secret); err != nil || again.Roles[0] != people.RoleUser {
		t.Errorf("a caller's change reached the desk: %v, %v", again.Roles, err)
	}
	o.desk = o.open(people.Config{Hash: quick, FailureTime: time.Millisecond})
	if !o.works(secret) {
		t.Errorf("the session did not outlive a restart")
	}
	o.must(o.desk.Logout(o.ctx, secret))
	if o.works(secret) {
		t.Errorf("the session works after logout")
	}
	if got, want := o.last(), (people.Event{Kind: people.LoggedOut, Actor: "ana", Subject: "ana"}); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	o.want("second logout", o.desk.Logout(o.ctx, secret), fault.Unauthenticated, "no-session")
}

func TestNothingSecretIsStored(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	token, _, err := o.desk.IssueToken(o.ctx, o.root, people.NewToken{
		Name: "sap", Authority: o.name("mx/fgr"), Scopes: []people.Scope{people.ScopeNodeRead}, Expires: o.clock.now().Add(time.Hour),
	})
	o.must(err)
	_, _, err = o.desk.Login(o.ctx, "my-secret-typed-as-a-name", "x")
	o.want("unknown name", err, fault.Unauthenticated, "wrong-login")
	data, err := os.ReadFile(o.store.path)
	o.must(err)
	for _, planted := range []string{good, secret[9:], token[9:], "my-secret-typed"} {
		if strings.Contains(string(data), planted) {
			t.Errorf("the store holds %.12s...", planted)
		}
	}
	if !strings.Contains(string(data), "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("the store holds no argon2id hash, so this test looked in the wrong place")
	}
	all, err := o.desk.Accounts(o.ctx)
	o.must(err)
	for _, a := range all {
		if a.Password != "" {
			t.Errorf("Accounts shows the hash of %s", a.User)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	o := newOffice(t)
	idle, busy := o.login("root", good), o.login("root", good)
	for range 6 {
		o.clock.pass(119 * time.Minute)
		if !o.works(busy) {
			t.Fatalf("a session in use ended after %v", o.clock.now())
		}
	}
	if o.works(idle) {
		t.Errorf("a session unused for 12 hours works")
	}
	o.clock.pass(5 * time.Minute)
	if !o.works(busy) {
		t.Errorf("the session ended before 12 hours")
	}
	o.clock.pass(time.Minute)
	if o.works(busy) {
		t.Errorf("the session works at 12 hours")
	}
	short := o.login("root", good)
	o.clock.pass(2*time.Hour - time.Millisecond)
	if !o.works(short) {
		t.Errorf("the session ended before two idle hours")
	}
	o.clock.pass(2 * time.Hour)
	if o.works(short) {
		t.Errorf("the session works after two idle hours")
	}
}

func TestUseIsRememberedAcrossRestart(t *testing.T) {
	o := newOffice(t)
	secret := o.login("root", good)
	for range 100 {
		o.clock.pass(time.Minute)
		if !o.works(secret) {
			t.Fatal("the session ended while in use")
		}
	}
	if o.store.touched < 10 || o.store.touched > 25 {
		t.Errorf("100 uses in 100 minutes wrote %d times, want about 20", o.store.touched)
	}
	o.desk = o.open(people.Config{Hash: quick, FailureTime: time.Millisecond})
	o.clock.pass(114 * time.Minute)
	if !o.works(secret) {
		t.Errorf("after a restart the session ended although it was used 114 minutes ago")
	}
}

func TestOldestSessionsMakeRoom(t *testing.T) {
	o := newOffice(t)
	var secrets []string
	for range 18 {
		secrets = append(secrets, o.login("root", good))
		o.clock.pass(time.Second)
		if !o.works(secrets[len(secrets)-1]) {
			t.Fatal("a new session does not work")
		}
	}
	for i, s := range secrets {
		if got, want := o.works(s), i >= 2; got != want {
			t.Errorf("session %d of 18 works: %v, want %v", i+1, got, want)
		}
	}
}

func TestLockIsAtOnce(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	if !o.works(secret) {
		t.Fatal("the session does not work")
	}
	o.must(o.desk.Lock(o.ctx, o.root, o.user("ana")))
	if o.works(secret) {
		t.Errorf("a locked person's session works")
	}
	if got, want := o.last(), (people.Event{Kind: people.AccountLocked, Actor: "root", Subject: "ana"}); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	_, _, err := o.desk.Login(o.ctx, "ana", good)
	o.want("right password", err, fault.Denied, "account-locked")
	_, _, err = o.desk.Login(o.ctx, "ana", "not the password")
	o.want("wrong password", err, fault.Unauthenticated, "wrong-login")
	before := o.count()
	o.must(o.desk.Lock(o.ctx, o.root, o.user("ana")))
	if o.count() != before {
		t.Errorf("locking twice wrote a second event")
	}
	o.must(o.desk.Unlock(o.ctx, o.root, o.user("ana")))
	if o.works(secret) {
		t.Errorf("unlocking brought the old session back")
	}
	o.login("ana", good)
}

func TestRoleChangeIsAtOnce(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	o.works(secret)
	o.must(o.desk.SetRoles(o.ctx, o.root, o.user("ana"), []people.Role{people.RoleApprover, people.RoleUser, people.RoleUser}))
	want := people.Event{Kind: people.RolesChanged, Actor: "root", Subject: "ana", Detail: "user to user,approver", Alarm: true}
	if got := o.last(); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	p, err := o.desk.Authenticate(o.ctx, secret)
	if err != nil || !slices.Equal(p.Roles, []people.Role{people.RoleUser, people.RoleApprover}) {
		t.Errorf("roles of the live session = %v, %v", p.Roles, err)
	}
	o.must(o.desk.SetRoles(o.ctx, o.root, o.user("ana"), []people.Role{people.RoleDuty}))
	if got := o.last(); got.Alarm {
		t.Errorf("event = %+v, want no alarm for roles that approve nothing", got)
	}
	o.must(o.desk.SetRoles(o.ctx, o.root, o.user("root"), []people.Role{people.RoleAdministrator, people.RoleDuty}))
	if got := o.last(); !got.Alarm {
		t.Errorf("event = %+v, want an alarm when administrators change their own roles", got)
	}
	before := o.count()
	o.must(o.desk.SetRoles(o.ctx, o.root, o.user("ana"), []people.Role{people.RoleDuty}))
	if o.count() != before {
		t.Errorf("the same roles again wrote an event")
	}
	for what, roles := range map[string][]people.Role{"none": {}, "system": {people.RoleSystem}, "unknown": {99}} {
		if err := o.desk.SetRoles(o.ctx, o.root, o.user("ana"), roles); !fault.Is(err, fault.Invalid) {
			t.Errorf("roles %s: %v, want Invalid", what, err)
		}
	}
	err = o.desk.SetRoles(o.ctx, o.root, o.user("nobody"), []people.Role{people.RoleDuty})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("roles of nobody: %v, want NotFound", err)
	}
}

func TestLastAdministratorStays(t *testing.T) {
	o := newOffice(t)
	o.want("lock", o.desk.Lock(o.ctx, o.root, o.user("root")), fault.Conflict, "last-administrator")
	o.want("demote", o.desk.SetRoles(o.ctx, o.root, o.user("root"), []people.Role{people.RoleUser}), fault.Conflict, "last-administrator")
	o.add("ana", people.RoleAdministrator)
	o.must(o.desk.Lock(o.ctx, o.root, o.user("ana")))
	o.want("the other is locked", o.desk.Lock(o.ctx, o.root, o.user("root")), fault.Conflict, "last-administrator")
	o.must(o.desk.Unlock(o.ctx, o.root, o.user("ana")))
	o.must(o.desk.Lock(o.ctx, o.root, o.user("root")))
}

func TestResetPassword(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	o.works(secret)
	shown, err := o.desk.ResetPassword(o.ctx, o.root, o.user("ana"), other)
	o.must(err)
	if got, want := o.last(), (people.Event{Kind: people.PasswordReset, Actor: "root", Subject: "ana", Alarm: true}); got != want || shown != "" {
		t.Errorf("event = %+v, shown %q; want %+v and nothing", got, shown, want)
	}
	if o.works(secret) {
		t.Errorf("the session outlived the password")
	}
	_, _, err = o.desk.Login(o.ctx, "ana", good)
	o.want("old password", err, fault.Unauthenticated, "wrong-login")
	o.login("ana", other)
	drawn, err := o.desk.ResetPassword(o.ctx, o.root, o.user("ana"), "")
	o.must(err)
	if len(drawn) != 24 {
		t.Errorf("drawn password has %d characters, want 24", len(drawn))
	}
	o.login("ana", drawn)
	_, err = o.desk.ResetPassword(o.ctx, o.root, o.user("nobody"), other)
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("reset for nobody: %v, want NotFound", err)
	}
}

func TestPasswordRules(t *testing.T) {
	o := newOffice(t)
	add := func(password string) error {
		_, err := o.desk.AddUser(o.ctx, o.root, people.NewAccount{
			User: o.user("maria.fernandez"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleUser}, Password: password,
		})
		return err
	}
	for what, password := range map[string]string{
		"11 characters": "elevenchars", "11 characters in 22 bytes": strings.Repeat("ñ", 11), "257 bytes": strings.Repeat("x", 257),
		"the user name": "maria.fernandez", "the user name shouted": "MARIA.Fernandez", "a control character": good + "\n",
	} {
		o.want(what, add(password), fault.Invalid, "weak-password")
	}
	o.must(add(strings.Repeat("ñ", 128)))
	_, err := o.desk.ResetPassword(o.ctx, o.root, o.user("maria.fernandez"), "contrasen\u0303a de prueba")
	o.must(err)
	o.login("maria.fernandez", "contraseña de prueba") // composed on another keyboard
}

func TestAddUser(t *testing.T) {
	o := newOffice(t)
	n := people.NewAccount{User: o.user("ana"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleDuty, people.RoleUser}}
	drawn, err := o.desk.AddUser(o.ctx, o.root, n)
	o.must(err)
	want := people.Event{Kind: people.AccountCreated, Actor: "root", Subject: "ana", Detail: "mx/fgr user,duty", Alarm: true}
	if got := o.last(); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	o.login("ana", drawn)
	_, err = o.desk.AddUser(o.ctx, o.root, n)
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("the same user again: %v, want Conflict", err)
	}
	for what, spoil := range map[string]func(*people.NewAccount){
		"no user":      func(n *people.NewAccount) { n.User = people.User{} },
		"no authority": func(n *people.NewAccount) { n.Authority = authority.Name{} },
		"no role":      func(n *people.NewAccount) { n.Roles = nil },
		"system role":  func(n *people.NewAccount) { n.Roles = []people.Role{people.RoleUser, people.RoleSystem} },
	} {
		bad := n
		bad.User = o.user("eva")
		spoil(&bad)
		if _, err := o.desk.AddUser(o.ctx, o.root, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", what, err)
		}
	}
	all, err := o.desk.Accounts(o.ctx)
	if err != nil || len(all) != 2 {
		t.Errorf("%d accounts (%v), want root and ana", len(all), err)
	}
}

func TestBootstrapOnlyOnce(t *testing.T) {
	o := newOffice(t)
	n := people.NewAccount{User: o.user("eva"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleAdministrator}}
	_, err := o.desk.Bootstrap(o.ctx, n)
	o.want("second", err, fault.Conflict, "not-first")
	o.store = openFile(t, t.TempDir())
	o.desk = o.open(people.Config{Hash: quick, FailureTime: time.Millisecond})
	user := n
	user.Roles = []people.Role{people.RoleUser}
	_, err = o.desk.Bootstrap(o.ctx, user)
	o.want("no administrator", err, fault.Invalid, "no-administrator")
	drawn, err := o.desk.Bootstrap(o.ctx, n)
	o.must(err)
	want := people.Event{Kind: people.AccountCreated, Actor: "node:bootstrap", Subject: "eva", Detail: "mx/fgr administrator"}
	if got := o.last(); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	o.login("eva", drawn)
}

func TestTokens(t *testing.T) {
	o := newOffice(t)
	n := people.NewToken{
		Name: "sap-gateway", Authority: o.name("mx/sat"), Expires: o.clock.now().Add(time.Hour),
		Scopes: []people.Scope{people.ScopeRequestsWrite, people.ScopeRequestsRead, people.ScopeRequestsRead},
	}
	secret, token, err := o.desk.IssueToken(o.ctx, o.root, n)
	o.must(err)
	if !strings.HasPrefix(secret, "enlace_t_") {
		t.Errorf("secret begins %q", secret[:9])
	}
	want := people.Event{
		Kind: people.TokenIssued, Actor: "root", Subject: "token:" + token.ID.String(), Detail: "mx/sat requests:read,requests:write", Alarm: true,
	}
	if got := o.last(); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	p, err := o.desk.Authenticate(o.ctx, secret)
	o.must(err)
	if !p.IsToken() || p.Name != "sap-gateway" || p.Actor() != "token:"+token.ID.String() || p.Author() != "root" || p.Authority.String() != "mx/sat" ||
		!slices.Equal(p.Roles, []people.Role{people.RoleSystem}) ||
		!slices.Equal(p.Scopes, []people.Scope{people.ScopeRequestsRead, people.ScopeRequestsWrite}) {
		t.Errorf("Authenticate = %+v", p)
	}
	o.want("logout", o.desk.Logout(o.ctx, secret), fault.Invalid, "is-token")
	o.clock.pass(time.Hour - time.Millisecond)
	if !o.works(secret) {
		t.Errorf("the token ended early")
	}
	o.clock.pass(time.Millisecond)
	if o.works(secret) {
		t.Errorf("the token works at its end")
	}

	n.Expires = o.clock.now().Add(time.Hour)
	secret, token, err = o.desk.IssueToken(o.ctx, o.root, n)
	o.must(err)
	o.works(secret)
	o.must(o.desk.RevokeToken(o.ctx, o.root, token.ID))
	if o.works(secret) {
		t.Errorf("a revoked token works")
	}
	if got, want := o.last(), (people.Event{Kind: people.TokenRevoked, Actor: "root", Subject: "token:" + token.ID.String()}); got != want {
		t.Errorf("event = %+v, want %+v", got, want)
	}
	before := o.count()
	o.must(o.desk.RevokeToken(o.ctx, o.root, token.ID))
	if o.count() != before {
		t.Errorf("revoking twice wrote a second event")
	}
	all, err := o.desk.Tokens(o.ctx)
	if err != nil || len(all) != 2 || all[1].Revoked.IsZero() || !all[0].Revoked.IsZero() {
		t.Errorf("Tokens = %+v, %v", all, err)
	}
	unknown, err := people.ParseTokenID("0123456789abcdef")
	o.must(err)
	if err := o.desk.RevokeToken(o.ctx, o.root, unknown); !fault.Is(err, fault.NotFound) {
		t.Errorf("revoking no token: %v, want NotFound", err)
	}
}

func TestTokenAlarms(t *testing.T) {
	o := newOffice(t)
	quiet := []people.Scope{people.ScopeDirectoryRead, people.ScopeNodeRead, people.ScopeEvidenceRead, people.ScopeSubscriptionsRead}
	for s := people.ScopeRequestsRead; s.String() != ""; s++ {
		_, _, err := o.desk.IssueToken(o.ctx, o.root, people.NewToken{
			Name: "sap", Authority: o.name("mx/fgr"), Scopes: []people.Scope{s}, Expires: o.clock.now().Add(time.Hour),
		})
		o.must(err)
		if got, want := o.last().Alarm, !slices.Contains(quiet, s); got != want {
			t.Errorf("token with %s: alarm %v, want %v", s, got, want)
		}
	}
}

// TestTokensMakeNobodyWhoDecides: not by making them, by promoting them, or by a password of theirs.
func TestTokensMakeNobodyWhoDecides(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	o.add("eva", people.RoleApprover)
	secret, _, err := o.desk.IssueToken(o.ctx, o.root, people.NewToken{
		Name: "hr", Authority: o.name("mx/fgr"), Scopes: []people.Scope{people.ScopeUsersWrite}, Expires: o.clock.now().Add(time.Hour),
	})
	o.must(err)
	token, err := o.desk.Authenticate(o.ctx, secret)
	o.must(err)
	before := o.count()
	for _, role := range []people.Role{people.RoleApprover, people.RoleAdministrator} {
		n := people.NewAccount{User: o.user("spy"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleUser, role}}
		_, err := o.desk.AddUser(o.ctx, token, n)
		o.want("add "+role.String(), err, fault.Denied, "people-only")
		o.want("promote to "+role.String(), o.desk.SetRoles(o.ctx, token, o.user("ana"), n.Roles), fault.Denied, "people-only")
	}
	for _, user := range []string{"eva", "root"} {
		_, err := o.desk.ResetPassword(o.ctx, token, o.user(user), other)
		o.want("reset of "+user, err, fault.Denied, "people-only")
		o.login(user, good)
		before++
	}
	if got := o.count(); got != before {
		t.Errorf("%d events, want %d: what was denied left one", got, before)
	}
	_, err = o.desk.AddUser(o.ctx, token, people.NewAccount{User: o.user("luz"), Authority: o.name("mx/fgr"), Roles: []people.Role{people.RoleDuty}})
	o.must(err)
	_, err = o.desk.ResetPassword(o.ctx, token, o.user("ana"), other)
	o.must(err)
}

func TestTokensRefused(t *testing.T) {
	o := newOffice(t)
	now := o.clock.now()
	for what, spoil := range map[string]func(*people.NewToken){
		"bad name":     func(n *people.NewToken) { n.Name = "SAP gateway" },
		"no authority": func(n *people.NewToken) { n.Authority = authority.Name{} },
		"no scope":     func(n *people.NewToken) { n.Scopes = nil },
		"bad scope":    func(n *people.NewToken) { n.Scopes = []people.Scope{99} },
		"ended":        func(n *people.NewToken) { n.Expires = now },
		"for ever":     func(n *people.NewToken) { n.Expires = now.Add(367 * 24 * time.Hour) },
		"no end":       func(n *people.NewToken) { n.Expires = time.Time{} },
	} {
		n := people.NewToken{
			Name: "sap", Authority: o.name("mx/sat"), Scopes: []people.Scope{people.ScopeNodeRead}, Expires: now.Add(time.Hour),
		}
		spoil(&n)
		if secret, _, err := o.desk.IssueToken(o.ctx, o.root, n); secret != "" || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want Invalid", what, err)
		}
	}
	if all, err := o.desk.Tokens(o.ctx); err != nil || len(all) != 0 {
		t.Errorf("refused tokens were stored: %v, %v", all, err)
	}
}

func TestSecretsOfOthersAreRefused(t *testing.T) {
	o := newOffice(t)
	secret := o.login("root", good)
	for what, s := range map[string]string{
		"empty": "", "prefix": "enlace_s_", "as token": "enlace_t_" + secret[9:], "longer": secret + "A", "shorter": secret[:51],
		"no prefix": secret[9:], "line end": secret[:20] + "\n" + secret[21:], "space": secret + " ",
		"unknown": "enlace_s_" + strings.Repeat("A", 43),
	} {
		if o.works(s) {
			t.Errorf("%s: authenticated", what)
		}
	}
	for i := range secret {
		for _, c := range []byte("A_z9") {
			changed := secret[:i] + string(c) + secret[i+1:]
			if changed != secret && o.works(changed) {
				t.Errorf("changed at %d: authenticated", i)
			}
		}
	}
	if !o.works(secret) {
		t.Errorf("the secret itself is refused")
	}
}

// TestDropOnUnknownOutcome: the store fails, once before and once after the change is on disk. Either way the next
// call must be answered from the store.
func TestDropOnUnknownOutcome(t *testing.T) {
	for _, after := range []bool{false, true} {
		o := newOffice(t)
		o.add("ana", people.RoleUser)
		secret := o.login("ana", good)
		o.works(secret)
		o.store.fail(fault.New(fault.Retry, "", "commit", "the disk is full"), after)
		if err := o.desk.Lock(o.ctx, o.root, o.user("ana")); !fault.Is(err, fault.Retry) {
			t.Errorf("Lock = %v, want the store's error", err)
		}
		o.store.fail(nil, false)
		if got, want := o.works(secret), !after; got != want {
			t.Errorf("lock on disk %v: session works %v, want %v", after, got, want)
		}
	}
}

func TestUncountedGuessIsNotAnswered(t *testing.T) {
	o := newOffice(t)
	o.store.fail(fault.New(fault.Retry, "", "commit", "the disk is full"), false)
	secret, _, err := o.desk.Login(o.ctx, "root", good)
	if secret != "" || !fault.Is(err, fault.Retry) {
		t.Errorf("right password with a full disk: %v, want Retry and no secret", err)
	}
	_, _, err = o.desk.Login(o.ctx, "root", "not the password")
	if !fault.Is(err, fault.Retry) {
		t.Errorf("wrong password with a full disk: %v, want Retry", err)
	}
}

func TestOldHashesAreRenewed(t *testing.T) {
	o := newOffice(t)
	stronger := quick
	stronger.Iterations = 2
	o.desk = o.open(people.Config{Hash: stronger, FailureTime: time.Millisecond})
	_, _, err := o.desk.Login(o.ctx, "root", "not the password")
	o.want("wrong password", err, fault.Unauthenticated, "wrong-login")
	a, err := o.store.Account(o.ctx, o.user("root"))
	o.must(err)
	if !strings.Contains(a.Password, ",t=1,") {
		t.Errorf("a wrong password renewed the hash")
	}
	o.login("root", good)
	if a, err = o.store.Account(o.ctx, o.user("root")); err != nil || !strings.Contains(a.Password, ",t=2,") {
		t.Errorf("the hash was not renewed at login (%v)", err)
	}
	o.login("root", good)
}

// TestLockDuringAuthenticate locks while a session is being read: what was read before the lock must not be remembered
// after it.
func TestLockDuringAuthenticate(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	o.store.between(func() { o.must(o.desk.Lock(o.ctx, o.root, o.user("ana"))) })
	if !o.works(secret) {
		t.Fatal("the session was not read before the lock, so this test proves nothing")
	}
	if o.works(secret) {
		t.Errorf("the session came back from memory after the lock")
	}
}

// TestLockedAccountNeedsNoSweep: a session that lies beside a locked account, as after a restore, is worth nothing.
func TestLockedAccountNeedsNoSweep(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	secret := o.login("ana", good)
	a, err := o.store.Account(o.ctx, o.user("ana"))
	o.must(err)
	a.Locked = true
	o.must(o.store.Commit(o.ctx, people.Change{Put: &a, Event: people.Event{Kind: people.AccountLocked, Subject: "ana"}}))
	if o.works(secret) {
		t.Errorf("a locked person's session works")
	}
}

// TestResetDuringLogin resets the password while the old one is being compared.
func TestResetDuringLogin(t *testing.T) {
	o := newOffice(t)
	o.add("ana", people.RoleUser)
	o.store.between(func() {
		_, err := o.desk.ResetPassword(o.ctx, o.root, o.user("ana"), other)
		o.must(err)
	})
	_, _, err := o.desk.Login(o.ctx, "ana", good)
	o.want("old password", err, fault.Unauthenticated, "wrong-login")
	o.login("ana", other)
}

func TestNoRandomnessNoSecret(t *testing.T) {
	o := newOffice(t)
	if _, err := people.New(o.store, people.Config{Hash: quick}, o.clock.now, strings.NewReader("short")); err == nil {
		t.Errorf("a desk opened without randomness")
	}
	d, err := people.New(o.store, people.Config{Hash: quick}, o.clock.now, strings.NewReader("thirteen byte and a few"))
	o.must(err)
	if secret, _, err := d.Login(o.ctx, "root", good); secret != "" || !fault.Is(err, fault.Internal) {
		t.Errorf("Login without randomness = %v, want Internal", err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	o := newOffice(b)
	secret := o.login("root", good)
	for b.Loop() {
		if _, err := o.desk.Authenticate(o.ctx, secret); err != nil {
			b.Fatal(err)
		}
	}
}
