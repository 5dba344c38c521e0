package people

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
)

// Account is a person's record. Times are UTC in whole milliseconds; a zero time is "never".
type Account struct {
	User      User
	Authority authority.Name
	Roles     []Role
	// Password is the argon2id hash in PHC form; never shown.
	Password string
	// Locked is an administrator's lock; waiting after failures is not a lock.
	Locked  bool
	Created time.Time
	// Failures counts wrong passwords since the last login, FailedAt is the time of the last one.
	Failures int
	FailedAt time.Time
}

// Session is a person's login.
type Session struct {
	Digest  Digest
	User    User
	Created time.Time
	// Used is the last use, up to a 24th part of the idle time too early.
	Used time.Time
	// Expires is the absolute end.
	Expires time.Time
}

// Token is a system's access.
type Token struct {
	ID     TokenID
	Digest Digest
	// Name is its label, in the form of a user name.
	Name      string
	Authority authority.Name
	Scopes    []Scope
	// Issuer is the person who issued it, by Principal.Author: what the token writes, they have written.
	Issuer  string
	Created time.Time
	Expires time.Time
	// Revoked is when it was revoked; zero if it was not.
	Revoked time.Time
}

// EventKind is what happened, for the evidence log.
type EventKind string

// The kinds of events.
const (
	AccountCreated  EventKind = "account-created"
	RolesChanged    EventKind = "roles-changed"
	AccountLocked   EventKind = "account-locked"
	AccountUnlocked EventKind = "account-unlocked"
	PasswordReset   EventKind = "password-reset"
	LoggedIn        EventKind = "login"
	LoginFailed     EventKind = "login-failed"
	LoggedOut       EventKind = "logout"
	TokenIssued     EventKind = "token-issued"
	TokenRevoked    EventKind = "token-revoked"
)

// Event is the record of a fact, appended to the evidence log in the fact's transaction (P14).
type Event struct {
	Kind EventKind
	// Actor is who did it: Principal.Actor, "node:bootstrap", or empty where nobody is known (a failed login).
	Actor string
	// Subject is whom or what it concerns: a user name or "token:" and an ID; empty for unknown names.
	Subject string
	// Detail is what a reader needs besides: "mx/fgr user,approver". Slugs and numbers, below 400 bytes, no secret.
	Detail string
	// Alarm asks for somebody's attention: a way around the second person may be in the making (DESIGN 9).
	Alarm bool
	At    time.Time
}

// Change is one write: everything in it happens, with its event, or nothing does. Unset fields ask for nothing.
// Sessions are deleted before one is opened.
type Change struct {
	// Event is appended always.
	Event Event
	// Create adds an account; Conflict if the user exists.
	Create *Account
	// Put replaces an account; NotFound if there is none.
	Put *Account
	// Open adds a session; Conflict if its digest exists.
	Open *Session
	// Keep, with Open and above 0, deletes that user's oldest other sessions by Created, so that Keep remain.
	Keep int
	// Close deletes a session; it is no error if there is none.
	Close *Digest
	// CloseOf deletes all sessions of a user.
	CloseOf User
	// Expired deletes all sessions whose Expires is not after it.
	Expired time.Time
	// Issue adds a token; Conflict if its ID or digest exists.
	Issue *Token
	// Revoke sets a token's Revoked to Event.At; NotFound if there is none, no change of a Revoked already set.
	Revoke TokenID
}

// Store keeps the records. Room ledger implements it; package peopletest holds every implementation to this text.
//
// Errors are of room fault: NotFound and Conflict as said, Retry or Internal for what the store itself cannot do.
// Returned records are the caller's to change.
type Store interface {
	// Account finds an account; NotFound if there is none.
	Account(ctx context.Context, user User) (Account, error)
	// Accounts lists all accounts by user name.
	Accounts(ctx context.Context) ([]Account, error)
	// Session finds a session, ended or not; NotFound if there is none.
	Session(ctx context.Context, d Digest) (Session, error)
	// Token finds a token, ended or not; NotFound if there is none.
	Token(ctx context.Context, d Digest) (Token, error)
	// Tokens lists all tokens, revoked ones too, by Created and then ID.
	Tokens(ctx context.Context) ([]Token, error)
	// Commit makes a change in one transaction; durable on return.
	Commit(ctx context.Context, c Change) error
	// Touch sets a session's Used. It is no fact and needs no event; it need not be durable. No error if there is none.
	Touch(ctx context.Context, d Digest, used time.Time) error
}
