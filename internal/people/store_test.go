package people_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/people/peopletest"
)

// fileStore is a small real store: one JSON file, replaced whole and synced at each change.
type fileStore struct {
	mu   sync.Mutex
	path string
	// failing, while set, is what every Commit answers, before or after the change is on disk.
	failing error
	after   bool
	touched int
	// next runs once, after the next Account was read and before it is returned.
	next func()
}

func openFile(t testing.TB, dir string) *fileStore {
	t.Helper()
	return &fileStore{path: filepath.Join(dir, "people.json")}
}

func TestStoreContract(t *testing.T) {
	peopletest.Run(t, func(t *testing.T, dir string) peopletest.Fixture {
		s := openFile(t, dir)
		return peopletest.Fixture{Store: s, Events: s.events, Close: func() error { return nil }}
	})
}

// book is the content of the file. Names are text there, and parsed again on reading.
type book struct {
	Accounts map[string]accountRow
	Sessions map[string]sessionRow
	Tokens   map[string]tokenRow
	Events   []people.Event
}

type accountRow struct {
	people.Account
	User, Authority string
	Roles           []string
}

type sessionRow struct {
	people.Session
	User string
}

type tokenRow struct {
	people.Token
	ID, Authority string
	Scopes        []string
}

func texts[T interface{ String() string }](all []T) []string {
	var s []string
	for _, v := range all {
		s = append(s, v.String())
	}
	return s
}

func (r accountRow) account() (people.Account, error) {
	a := r.Account
	var errs [3]error
	a.User, errs[0] = people.ParseUser(r.User)
	a.Authority, errs[1] = authority.ParseName(r.Authority)
	a.Roles, errs[2] = people.ParseRoles(r.Roles)
	return a, errors.Join(errs[:]...)
}

func (r sessionRow) session() (people.Session, error) {
	s := r.Session
	user, err := people.ParseUser(r.User)
	s.User = user
	return s, err
}

func (r tokenRow) token() (people.Token, error) {
	t := r.Token
	var errs [3]error
	t.ID, errs[0] = people.ParseTokenID(r.ID)
	t.Authority, errs[1] = authority.ParseName(r.Authority)
	t.Scopes, errs[2] = people.ParseScopes(r.Scopes)
	return t, errors.Join(errs[:]...)
}

func (s *fileStore) read() (book, error) {
	b := book{Accounts: map[string]accountRow{}, Sessions: map[string]sessionRow{}, Tokens: map[string]tokenRow{}}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(data, &b)
}

func (s *fileStore) save(b book) error {
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	f, err := os.Create(s.path + ".new")
	if err != nil {
		return err
	}
	_, errWrite := f.Write(data)
	if err := errors.Join(errWrite, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

func missing(what string) error {
	return fault.New(fault.NotFound, "", "read "+what, "there is no such "+what)
}

func taken(what string) error {
	return fault.New(fault.Conflict, "", "store "+what, "there is such a "+what)
}

// between sets what happens once between the next reading of an account and its use.
func (s *fileStore) between(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = f
}

func (s *fileStore) Account(_ context.Context, user people.User) (people.Account, error) {
	a, next, err := s.account(user)
	if next != nil {
		next()
	}
	return a, err
}

func (s *fileStore) account(user people.User) (people.Account, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.next
	s.next = nil
	b, err := s.read()
	if err != nil {
		return people.Account{}, next, err
	}
	row, ok := b.Accounts[user.String()]
	if !ok {
		return people.Account{}, next, missing("account")
	}
	a, err := row.account()
	return a, next, err
}

func (s *fileStore) Accounts(context.Context) ([]people.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	var all []people.Account
	for _, user := range slices.Sorted(maps.Keys(b.Accounts)) {
		a, err := b.Accounts[user].account()
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func (s *fileStore) Session(_ context.Context, d people.Digest) (people.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.read()
	if err != nil {
		return people.Session{}, err
	}
	row, ok := b.Sessions[d.String()]
	if !ok {
		return people.Session{}, missing("session")
	}
	return row.session()
}

func (s *fileStore) Token(ctx context.Context, d people.Digest) (people.Token, error) {
	all, err := s.Tokens(ctx)
	if err != nil {
		return people.Token{}, err
	}
	i := slices.IndexFunc(all, func(t people.Token) bool { return t.Digest == d })
	if i < 0 {
		return people.Token{}, missing("token")
	}
	return all[i], nil
}

func (s *fileStore) Tokens(context.Context) ([]people.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	var all []people.Token
	for _, row := range b.Tokens {
		t, err := row.token()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b people.Token) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return all, nil
}

func (s *fileStore) Touch(_ context.Context, d people.Digest, used time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched++
	b, err := s.read()
	if err != nil {
		return err
	}
	row, ok := b.Sessions[d.String()]
	if !ok {
		return nil
	}
	row.Used = used
	b.Sessions[d.String()] = row
	return s.save(b)
}

func (s *fileStore) events() ([]people.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.read()
	return b.Events, err
}

func (s *fileStore) fail(err error, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing, s.after = err, after
}

func (s *fileStore) Commit(_ context.Context, c people.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil && !s.after {
		return s.failing
	}
	b, err := s.read()
	if err != nil {
		return err
	}
	for _, apply := range []func(people.Change) error{b.putAccounts, b.putSessions, b.putTokens} {
		if err := apply(c); err != nil {
			return err
		}
	}
	b.Events = append(b.Events, c.Event)
	if err := s.save(b); err != nil {
		return err
	}
	return s.failing
}

func (b book) putAccounts(c people.Change) error {
	row := func(a people.Account) accountRow {
		return accountRow{a, a.User.String(), a.Authority.String(), texts(a.Roles)}
	}
	if c.Create != nil {
		if _, ok := b.Accounts[c.Create.User.String()]; ok {
			return taken("account")
		}
		b.Accounts[c.Create.User.String()] = row(*c.Create)
	}
	if c.Put != nil {
		if _, ok := b.Accounts[c.Put.User.String()]; !ok {
			return missing("account")
		}
		b.Accounts[c.Put.User.String()] = row(*c.Put)
	}
	return nil
}

func (b book) putSessions(c people.Change) error {
	if c.Close != nil {
		delete(b.Sessions, c.Close.String())
	}
	maps.DeleteFunc(b.Sessions, func(_ string, r sessionRow) bool {
		return (!c.CloseOf.IsZero() && r.User == c.CloseOf.String()) || (!c.Expired.IsZero() && !r.Expires.After(c.Expired))
	})
	if c.Open == nil {
		return nil
	}
	if _, ok := b.Sessions[c.Open.Digest.String()]; ok {
		return taken("session")
	}
	if c.Keep > 0 {
		var others []sessionRow
		for _, r := range b.Sessions {
			if r.User == c.Open.User.String() {
				others = append(others, r)
			}
		}
		slices.SortFunc(others, func(a, b sessionRow) int { return b.Created.Compare(a.Created) })
		for _, r := range others[min(len(others), c.Keep-1):] {
			delete(b.Sessions, r.Digest.String())
		}
	}
	b.Sessions[c.Open.Digest.String()] = sessionRow{*c.Open, c.Open.User.String()}
	return nil
}

func (b book) putTokens(c people.Change) error {
	if c.Issue != nil {
		for id, r := range b.Tokens {
			if id == c.Issue.ID.String() || r.Digest == c.Issue.Digest {
				return taken("token")
			}
		}
		b.Tokens[c.Issue.ID.String()] = tokenRow{*c.Issue, c.Issue.ID.String(), c.Issue.Authority.String(), texts(c.Issue.Scopes)}
	}
	if c.Revoke.IsZero() {
		return nil
	}
	row, ok := b.Tokens[c.Revoke.String()]
	if !ok {
		return missing("token")
	}
	if row.Revoked.IsZero() {
		row.Revoked = c.Event.At
	}
	b.Tokens[c.Revoke.String()] = row
	return nil
}
