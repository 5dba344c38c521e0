// Package peopletest holds every people.Store to the contract written at that interface. A store's own test calls Run.
package peopletest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/people"
)

// Fixture is one opened store.
type Fixture struct {
	Store people.Store
	// Events reads back all events appended so far, oldest first.
	Events func() ([]people.Event, error)
	// Close ends the use of the store; what was committed stays.
	Close func() error
}

// Run runs the suite. Open opens the store that lies in a directory, empty at first; the suite opens the same
// directory again after closing.
func Run(t *testing.T, open func(t *testing.T, dir string) Fixture) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"empty", (*suite).empty},
		{"accounts", (*suite).accounts},
		{"sessions", (*suite).sessions},
		{"sweeping", (*suite).sweeping},
		{"keeping", (*suite).keeping},
		{"tokens", (*suite).tokens},
		{"all or nothing", (*suite).allOrNothing},
		{"copies", (*suite).copies},
		{"cancelled", (*suite).cancelled},
		{"together", (*suite).together},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := &suite{T: t, dir: dir, open: open, Fixture: open(t, dir)}
			defer func() { s.must(s.Close()) }()
			c.run(s)
		})
	}
}

type suite struct {
	*testing.T
	Fixture
	dir  string
	open func(t *testing.T, dir string) Fixture
}

var start = time.Date(2026, 3, 14, 12, 0, 0, 123_000_000, time.UTC)

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// again closes the store and opens it anew.
func (s *suite) again() {
	s.Helper()
	s.must(s.Close())
	s.Fixture = s.open(s.T, s.dir)
}

func (s *suite) commit(c people.Change) {
	s.Helper()
	s.must(s.Store.Commit(context.Background(), c))
}

func (s *suite) refused(c people.Change, kind fault.Kind) {
	s.Helper()
	before := s.state()
	if err := s.Store.Commit(context.Background(), c); !fault.Is(err, kind) {
		s.Errorf("Commit = %v, want kind %v", err, kind)
	}
	if after := s.state(); !reflect.DeepEqual(before, after) {
		s.Errorf("a refused change changed the store:\n%+v\nbefore:\n%+v", after, before)
	}
}

type state struct {
	accounts []people.Account
	tokens   []people.Token
	events   []people.Event
}

func (s *suite) state() state {
	s.Helper()
	accounts, err := s.Store.Accounts(context.Background())
	s.must(err)
	tokens, err := s.Store.Tokens(context.Background())
	s.must(err)
	events, err := s.Events()
	s.must(err)
	return state{accounts, tokens, events}
}

func (s *suite) user(text string) people.User {
	s.Helper()
	u, err := people.ParseUser(text)
	s.must(err)
	return u
}

func (s *suite) name(text string) authority.Name {
	s.Helper()
	n, err := authority.ParseName(text)
	s.must(err)
	return n
}

func (s *suite) account(user string) people.Account {
	s.Helper()
	return people.Account{
		User: s.user(user), Authority: s.name("mx/fgr"), Roles: []people.Role{people.RoleUser, people.RoleApprover},
		Password: "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA", Created: start,
	}
}

func (s *suite) event(kind people.EventKind, subject string) people.Event {
	return people.Event{Kind: kind, Actor: "root", Subject: subject, Detail: "mx/fgr user,approver", Alarm: true, At: start}
}

func digest(n byte) people.Digest { return people.Digest{0: n, 31: 0xff} }

func (s *suite) session(user string, n byte, created time.Time) people.Session {
	s.Helper()
	return people.Session{Digest: digest(n), User: s.user(user), Created: created, Used: created, Expires: created.Add(12 * time.Hour)}
}

func (s *suite) token(n byte) people.Token {
	s.Helper()
	id, err := people.ParseTokenID(fmt.Sprintf("%016x", n))
	s.must(err)
	return people.Token{
		ID: id, Digest: digest(n), Name: "sap", Authority: s.name("mx/fgr"), Issuer: "root", Created: start,
		Scopes: []people.Scope{people.ScopeRequestsRead, people.ScopeEvidenceRead}, Expires: start.Add(time.Hour),
	}
}

func (s *suite) create(user string) people.Account {
	s.Helper()
	a := s.account(user)
	s.commit(people.Change{Create: &a, Event: s.event(people.AccountCreated, user)})
	return a
}

func (s *suite) same(what string, got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

// live reports which of the sessions 1 to 9 exist.
func (s *suite) live() string {
	s.Helper()
	found := ""
	for n := byte(1); n <= 9; n++ {
		_, err := s.Store.Session(context.Background(), digest(n))
		switch {
		case err == nil:
			found += fmt.Sprint(n)
		case !fault.Is(err, fault.NotFound):
			s.Fatal(err)
		}
	}
	return found
}

func (s *suite) empty() {
	ctx := context.Background()
	_, errAccount := s.Store.Account(ctx, s.user("ana"))
	_, errSession := s.Store.Session(ctx, digest(1))
	_, errToken := s.Store.Token(ctx, digest(1))
	for what, err := range map[string]error{"Account": errAccount, "Session": errSession, "Token": errToken} {
		if !fault.Is(err, fault.NotFound) {
			s.Errorf("%s of an empty store = %v, want NotFound", what, err)
		}
	}
	if got := s.state(); len(got.accounts)+len(got.tokens)+len(got.events) != 0 {
		s.Errorf("an empty store holds %+v", got)
	}
	if err := s.Store.Touch(ctx, digest(1), start); err != nil {
		s.Errorf("Touch of no session = %v, want no error", err)
	}
}

func (s *suite) accounts() {
	ctx := context.Background()
	rosa, ana := s.create("rosa"), s.create("ana")
	s.refused(people.Change{Create: &ana, Event: s.event(people.AccountCreated, "ana")}, fault.Conflict)
	stranger := s.account("nobody")
	s.refused(people.Change{Put: &stranger, Event: s.event(people.RolesChanged, "nobody")}, fault.NotFound)

	ana.Roles, ana.Locked, ana.Authority = []people.Role{people.RoleAuditor}, true, s.name("mx/sat")
	ana.Failures, ana.FailedAt, ana.Password = 7, start.Add(time.Minute), "$argon2id$other"
	quiet := people.Event{Kind: people.LoginFailed, Subject: "ana", At: start.Add(time.Minute)}
	s.commit(people.Change{Put: &ana, Event: quiet})
	s.again()

	got, err := s.Store.Account(ctx, ana.User)
	s.must(err)
	s.same("Account", got, ana)
	after := s.state()
	s.same("Accounts", after.accounts, []people.Account{ana, rosa})
	created := s.event(people.AccountCreated, "rosa")
	s.same("Events", after.events, []people.Event{created, s.event(people.AccountCreated, "ana"), quiet})
}

func (s *suite) sessions() {
	ctx := context.Background()
	s.create("ana")
	s.create("rosa")
	for n, user := range map[byte]string{1: "ana", 2: "ana", 3: "ana", 4: "rosa"} {
		open := s.session(user, n, start)
		s.commit(people.Change{Open: &open, Event: s.event(people.LoggedIn, user)})
	}
	twice := s.session("rosa", 1, start)
	s.refused(people.Change{Open: &twice, Event: s.event(people.LoggedIn, "rosa")}, fault.Conflict)

	used := start.Add(time.Minute)
	s.must(s.Store.Touch(ctx, digest(1), used))
	want := s.session("ana", 1, start)
	want.Used = used
	got, err := s.Store.Session(ctx, digest(1))
	s.must(err)
	s.same("Session", got, want)

	one, absent := digest(2), digest(9)
	s.commit(people.Change{Close: &one, Event: s.event(people.LoggedOut, "ana")})
	s.commit(people.Change{Close: &absent, Event: s.event(people.LoggedOut, "ana")})
	s.must(s.Store.Touch(ctx, one, used))
	s.again()
	s.same("sessions after one was closed", s.live(), "134")
	s.commit(people.Change{CloseOf: s.user("ana"), Event: s.event(people.AccountLocked, "ana")})
	s.again()
	s.same("sessions after all of ana were closed", s.live(), "4")
}

func (s *suite) sweeping() {
	s.create("ana")
	for n := byte(1); n <= 3; n++ {
		open := s.session("ana", n, start.Add(time.Duration(n)*time.Hour))
		s.commit(people.Change{Open: &open, Event: s.event(people.LoggedIn, "ana")})
	}
	open := s.session("ana", 4, start.Add(14*time.Hour))
	s.commit(people.Change{Open: &open, Expired: start.Add(14 * time.Hour), Event: s.event(people.LoggedIn, "ana")})
	s.same("sessions after the sweep", s.live(), "34")
}

func (s *suite) keeping() {
	s.create("ana")
	s.create("rosa")
	other := s.session("rosa", 9, start)
	s.commit(people.Change{Open: &other, Keep: 1, Event: s.event(people.LoggedIn, "rosa")})
	for n := byte(1); n <= 4; n++ {
		open := s.session("ana", n, start.Add(time.Duration(n)*time.Minute))
		s.commit(people.Change{Open: &open, Keep: 2, Event: s.event(people.LoggedIn, "ana")})
	}
	s.same("sessions", s.live(), "349")
	// The one just opened stays even if a clock set back makes it the oldest.
	open := s.session("ana", 5, start)
	s.commit(people.Change{Open: &open, Keep: 2, Event: s.event(people.LoggedIn, "ana")})
	s.same("sessions", s.live(), "459")
}

func (s *suite) tokens() {
	ctx := context.Background()
	first, second := s.token(2), s.token(1)
	second.Created = start.Add(time.Second)
	for _, t := range []people.Token{second, first} {
		s.commit(people.Change{Issue: &t, Event: s.event(people.TokenIssued, "token:"+t.ID.String())})
	}
	sameID, sameDigest := s.token(3), s.token(4)
	sameID.ID, sameDigest.Digest = first.ID, first.Digest
	s.refused(people.Change{Issue: &sameID, Event: s.event(people.TokenIssued, "x")}, fault.Conflict)
	s.refused(people.Change{Issue: &sameDigest, Event: s.event(people.TokenIssued, "x")}, fault.Conflict)
	s.refused(people.Change{Revoke: s.token(7).ID, Event: s.event(people.TokenRevoked, "x")}, fault.NotFound)

	for i := range 2 {
		at := s.event(people.TokenRevoked, "x")
		at.At = start.Add(time.Duration(i+1) * time.Minute)
		s.commit(people.Change{Revoke: first.ID, Event: at})
	}
	first.Revoked = start.Add(time.Minute)
	s.again()
	got, err := s.Store.Token(ctx, first.Digest)
	s.must(err)
	s.same("Token", got, first)
	s.same("Tokens", s.state().tokens, []people.Token{first, second})
}

// allOrNothing puts one impossible part into changes whose other parts are possible.
func (s *suite) allOrNothing() {
	ana := s.create("ana")
	kept := s.session("ana", 1, start)
	issued := s.token(1)
	s.commit(people.Change{Open: &kept, Issue: &issued, Event: s.event(people.LoggedIn, "ana")})
	changed, fresh, nobody := ana, s.account("rosa"), s.account("nobody")
	changed.Locked = true
	open, token := s.session("ana", 2, start), s.token(2)
	all := people.Change{
		Create: &fresh, Put: &changed, Open: &open, Keep: 1, Close: &kept.Digest, CloseOf: ana.User,
		Expired: start.Add(24 * time.Hour), Issue: &token, Revoke: issued.ID, Event: s.event(people.LoggedIn, "ana"),
	}
	for what, spoil := range map[string]func(*people.Change){
		"create": func(c *people.Change) { c.Create = &ana },
		"put":    func(c *people.Change) { c.Put = &nobody },
		"open":   func(c *people.Change) { c.Open, c.Close, c.CloseOf, c.Expired = &kept, nil, people.User{}, time.Time{} },
		"issue":  func(c *people.Change) { c.Issue = &issued },
		"revoke": func(c *people.Change) { c.Revoke = s.token(9).ID },
	} {
		c := all
		spoil(&c)
		kind := fault.Conflict
		if what == "put" || what == "revoke" {
			kind = fault.NotFound
		}
		s.refused(c, kind)
		s.same("sessions after a refused "+what, s.live(), "1")
	}
	s.again()
	s.same("sessions after opening again", s.live(), "1")
	s.same("accounts after opening again", s.state().accounts, []people.Account{ana})
}

// copies changes what the store was given and what it returned; the store must not notice.
func (s *suite) copies() {
	ctx := context.Background()
	a, t := s.account("ana"), s.token(1)
	s.commit(people.Change{Create: &a, Issue: &t, Event: s.event(people.AccountCreated, "ana")})
	a.Roles[0], t.Scopes[0] = people.RoleAdministrator, people.ScopeUsersWrite
	for range 2 {
		got, err := s.Store.Account(ctx, a.User)
		s.must(err)
		s.same("Account", got, s.account("ana"))
		token, err := s.Store.Token(ctx, t.Digest)
		s.must(err)
		s.same("Token", token, s.token(1))
		got.Roles[0], token.Scopes[0] = people.RoleDuty, people.ScopeNodeRead
	}
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a := s.account("ana")
	err := s.Store.Commit(ctx, people.Change{Create: &a, Event: s.event(people.AccountCreated, "ana")})
	accounts := s.state().accounts
	if (err == nil) != (len(accounts) == 1) {
		s.Errorf("Commit under an ended context = %v, and the store holds %d accounts", err, len(accounts))
	}
}

// together commits from several goroutines: of each name one account is made, and one event.
func (s *suite) together() {
	var wg sync.WaitGroup
	errs := make(chan error, 40)
	for i := range 40 {
		a := s.account(fmt.Sprintf("user%d", i%10))
		wg.Go(func() {
			errs <- s.Store.Commit(context.Background(), people.Change{Create: &a, Event: s.event(people.AccountCreated, a.User.String())})
		})
	}
	wg.Wait()
	close(errs)
	made := 0
	for err := range errs {
		if err == nil {
			made++
		} else if !fault.Is(err, fault.Conflict) {
			s.Error(errors.Join(errors.New("neither made nor a conflict"), err))
		}
	}
	after := s.state()
	if made != 10 || len(after.accounts) != 10 || len(after.events) != 10 {
		s.Errorf("made %d accounts, %d stored, %d events; want 10 each", made, len(after.accounts), len(after.events))
	}
}
