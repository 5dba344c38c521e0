package people

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// NewToken is what a token is made from.
type NewToken struct {
	// Name is its label, in the form of a user name. It need not be unique; the ID is.
	Name      string
	Authority authority.Name
	// Scopes are one or more.
	Scopes []Scope
	// Expires is after now and within Config.TokenLife.
	Expires time.Time
}

// IssueToken makes a token; its secret is shown now and never again. Durable on return. A token that may manage users,
// touch requests, alerts or attachments, or choose what its authority is told of, raises an alarm: it writes and reads
// without a person.
func (d *Desk) IssueToken(ctx context.Context, actor Principal, n NewToken) (string, Token, error) {
	d.write.Lock()
	defer d.write.Unlock()
	now := d.now()
	t, err := n.check(now, d.config.TokenLife)
	if err != nil {
		return "", Token{}, err
	}
	secret, digest, err := newSecret(d.random, tokenPrefix)
	if err != nil {
		return "", Token{}, err
	}
	if t.ID, err = newTokenID(d.random); err != nil {
		return "", Token{}, err
	}
	t.Digest, t.Issuer, t.Created = digest, actor.Author(), now
	event := Event{
		Kind: TokenIssued, Actor: actor.Actor(), Subject: tokenActor(t.ID), Detail: t.Authority.String() + " " + list(t.Scopes),
		Alarm: slices.ContainsFunc(t.Scopes, alarming), At: now,
	}
	if err := d.store.Commit(ctx, Change{Issue: &t, Event: event}); err != nil {
		return "", Token{}, err
	}
	// Stopped here, the token exists and nobody knows its secret; it stands in the list and can be revoked.
	return secret, t, nil
}

func alarming(s Scope) bool {
	switch s {
	case ScopeRequestsRead, ScopeRequestsWrite, ScopeAttachmentsRead, ScopeAttachmentsWrite, ScopeUsersWrite,
		ScopeAlertsRead, ScopeAlertsWrite, ScopeSubscriptionsWrite:
		return true
	}
	return false
}

func (n NewToken) check(now time.Time, longest time.Duration) (Token, error) {
	scopes := slices.Compact(slices.Sorted(slices.Values(n.Scopes)))
	expires := n.Expires.UTC().Truncate(time.Millisecond)
	invalid := func(say string) (Token, error) {
		return Token{}, fault.New(fault.Invalid, "bad-token", "issue token", say)
	}
	switch {
	case !isName(n.Name):
		return invalid("a token's name is 2 to 64 of a-z, 0-9 and inner dots, dashes or underscores")
	case n.Authority.IsZero():
		return invalid("a token needs an authority")
	case len(scopes) == 0:
		return invalid("a token needs a scope")
	case slices.ContainsFunc(scopes, func(s Scope) bool { return s.String() == "" }):
		return invalid("there is no such scope")
	case !expires.After(now):
		return invalid("the token's end is not in the future")
	case expires.After(now.Add(longest)):
		return invalid("the token would live too long: " + longest.String() + " is the most")
	}
	return Token{Name: n.Name, Authority: n.Authority, Scopes: scopes, Expires: expires}, nil
}

// Tokens lists all tokens, ended ones too, oldest first.
func (d *Desk) Tokens(ctx context.Context) ([]Token, error) { return d.store.Tokens(ctx) }

// RevokeToken ends a token, at once and durably. NotFound; revoking twice changes nothing.
func (d *Desk) RevokeToken(ctx context.Context, actor Principal, id TokenID) error {
	d.write.Lock()
	defer d.write.Unlock()
	all, err := d.store.Tokens(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(t Token) bool { return t.ID == id })
	if i < 0 {
		return fault.New(fault.NotFound, "", "revoke token", "there is no such token").WithHint("enlace token ls")
	}
	if !all[i].Revoked.IsZero() {
		return nil
	}
	defer d.live.dropToken(id) // even if the commit's outcome is unknown: the store will be asked
	return d.store.Commit(ctx, Change{
		Revoke: id,
		Event:  Event{Kind: TokenRevoked, Actor: actor.Actor(), Subject: tokenActor(id), At: d.now()},
	})
}
