package people

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Config are the limits; a zero field takes its default.
type Config struct {
	// Hash are the argon2id parameters; by default 19 MiB, 2 passes, 1 lane (OWASP's first choice, some 40 ms).
	Hash argon2id.Params
	// SessionLife ends a session after login, SessionIdle after its last use: 12 h and 2 h.
	SessionLife, SessionIdle time.Duration
	// TokenLife is the longest life of a token: 366 days.
	TokenLife time.Duration
	// FailureTime is the least time that a failed login takes, so that it does not tell what was written: 300 ms.
	FailureTime time.Duration
}

// Desk is where people and systems are known. See the package comment.
type Desk struct {
	store  Store
	config Config
	clock  func() time.Time
	gate   *gate
	live   *memory

	// write guards every read-decide-commit of the store, random, and the two fields below.
	write  sync.Mutex
	random io.Reader
	// strangers counts failed logins of unknown names since strangersTold.
	strangers     int
	strangersTold time.Time
}

// New opens a Desk over a store; clock and random are the system's, or a test's.
func New(store Store, config Config, clock func() time.Time, random io.Reader) (*Desk, error) {
	config = withDefaults(config)
	g, err := newGate(config.Hash, random)
	if err != nil {
		return nil, err
	}
	return &Desk{store: store, config: config, clock: clock, gate: g, live: newMemory(), random: random}, nil
}

func withDefaults(c Config) Config {
	if c.Hash == (argon2id.Params{}) {
		c.Hash = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	}
	for _, d := range []struct {
		field   *time.Duration
		initial time.Duration
	}{
		{&c.SessionLife, 12 * time.Hour}, {&c.SessionIdle, 2 * time.Hour},
		{&c.TokenLife, 366 * 24 * time.Hour}, {&c.FailureTime, 300 * time.Millisecond},
	} {
		if *d.field == 0 {
			*d.field = d.initial
		}
	}
	return c
}

// Principal is a caller who has shown who they are.
type Principal struct {
	// Name is the user's name or the token's label.
	Name string
	// User is the person; zero for a token.
	User User
	// TokenID is the token; zero for a person.
	TokenID TokenID
	// IssuedBy is the user who issued the token; empty for a person.
	IssuedBy  string
	Authority authority.Name
	// Roles of a person now; of a token, RoleSystem.
	Roles []Role
	// Scopes of a token; none for a person.
	Scopes []Scope
	// Expires is the absolute end of the session or token.
	Expires time.Time
}

// IsToken reports whether a system calls, not a person.
func (p Principal) IsToken() bool { return !p.TokenID.IsZero() }

// Actor is the caller's unique name in the evidence log and in policy: the user name, or "token:" and the ID, which no
// user name can be.
func (p Principal) Actor() string {
	if p.IsToken() {
		return tokenActor(p.TokenID)
	}
	return p.User.String()
}

// Author is the person who counts as the author of what the caller writes: for a token, whoever issued it, who could
// else write by the token and approve as themself. Empty if nobody is known; then nobody may approve.
func (p Principal) Author() string {
	if p.IsToken() {
		return p.IssuedBy
	}
	return p.User.String()
}

func tokenActor(id TokenID) string { return "token:" + id.String() }

// Authenticate tells who a secret belongs to. Unauthenticated if it is malformed, unknown, ended, revoked, or its
// account is locked. A session's idle time starts again.
func (d *Desk) Authenticate(ctx context.Context, secret string) (Principal, error) {
	prefix, digest, err := parseSecret(secret)
	if err != nil {
		return Principal{}, err
	}
	known, ok := d.live.find(digest)
	if !ok {
		if known, err = d.recall(ctx, prefix, digest); err != nil {
			return Principal{}, err
		}
	}
	now := d.now()
	if !now.Before(known.principal.Expires) || (known.isSession() && now.Sub(known.used) >= d.config.SessionIdle) {
		d.live.drop(digest)
		return Principal{}, ended(prefix)
	}
	if known.isSession() && d.live.use(digest, now, d.config.SessionIdle/24) {
		// Failing leaves an older time of use: after a restart the session may idle out early, never late.
		_ = d.store.Touch(ctx, digest, now)
	}
	p := known.principal
	p.Roles, p.Scopes = slices.Clone(p.Roles), slices.Clone(p.Scopes)
	return p, nil
}

// recall reads a session or a token from the store and remembers it, unless something was dropped meanwhile: then
// what was read may be older than the drop.
func (d *Desk) recall(ctx context.Context, prefix string, digest Digest) (remembered, error) {
	before := d.live.drops()
	read := d.recallSession
	if prefix == tokenPrefix {
		read = d.recallToken
	}
	known, err := read(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		return remembered{}, ended(prefix)
	}
	if err != nil {
		return remembered{}, err
	}
	d.live.keep(digest, known, before)
	return known, nil
}

func (d *Desk) recallSession(ctx context.Context, digest Digest) (remembered, error) {
	s, err := d.store.Session(ctx, digest)
	if err != nil {
		return remembered{}, err
	}
	a, err := d.store.Account(ctx, s.User)
	if err != nil {
		return remembered{}, err
	}
	if a.Locked {
		return remembered{}, ended(sessionPrefix)
	}
	p := Principal{Name: a.User.String(), User: a.User, Authority: a.Authority, Roles: a.Roles, Expires: s.Expires}
	return remembered{principal: p, used: s.Used, saved: s.Used}, nil
}

func (d *Desk) recallToken(ctx context.Context, digest Digest) (remembered, error) {
	t, err := d.store.Token(ctx, digest)
	if err != nil {
		return remembered{}, err
	}
	if !t.Revoked.IsZero() {
		return remembered{}, ended(tokenPrefix)
	}
	p := Principal{
		Name: t.Name, TokenID: t.ID, IssuedBy: t.Issuer, Authority: t.Authority, Roles: []Role{RoleSystem}, Scopes: t.Scopes,
		Expires: t.Expires,
	}
	return remembered{principal: p}, nil
}

// ended is one answer for unknown, expired and revoked.
func ended(prefix string) error {
	if prefix == tokenPrefix {
		return fault.New(fault.Unauthenticated, "no-session", "authenticate", "the token is unknown, expired or revoked").
			WithHint("ask an administrator for a new token")
	}
	return fault.New(fault.Unauthenticated, "no-session", "authenticate", "the session has ended").WithHint("log in again")
}

// now is the time as records keep it.
func (d *Desk) now() time.Time { return d.clock().UTC().Truncate(time.Millisecond) }
