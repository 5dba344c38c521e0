package people

import (
	"context"
	"slices"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// NewAccount is what an account is made from.
type NewAccount struct {
	User      User
	Authority authority.Name
	// Roles are one or more, RoleSystem not among them.
	Roles []Role
	// Password may be empty: then the Desk draws one.
	Password string
}

// AddUser creates an account and raises an alarm, since an administrator could make one to approve himself. If no
// password was given, the drawn one comes back, now and never again. Conflict if the user exists; Denied to a token if
// a role is approver or administrator.
func (d *Desk) AddUser(ctx context.Context, actor Principal, n NewAccount) (string, error) {
	if err := mayHandle(actor, n.Roles); err != nil {
		return "", err
	}
	a, drawn, err := d.prepare(ctx, n)
	if err != nil {
		return "", err
	}
	d.write.Lock()
	defer d.write.Unlock()
	a.Created = d.now()
	event := Event{
		Kind: AccountCreated, Actor: actor.Actor(), Subject: a.User.String(), Detail: a.Authority.String() + " " + list(a.Roles),
		Alarm: true, At: a.Created,
	}
	if err := d.store.Commit(ctx, Change{Create: &a, Event: event}); err != nil {
		return "", err
	}
	return drawn, nil
}

// Bootstrap creates the first account, an administrator's, on behalf of whoever sets up the node. Conflict if there is
// any account. The password comes back as with AddUser.
func (d *Desk) Bootstrap(ctx context.Context, n NewAccount) (string, error) {
	if !slices.Contains(n.Roles, RoleAdministrator) {
		return "", fault.New(fault.Invalid, "no-administrator", "create first account", "the first account must be an administrator's")
	}
	a, drawn, err := d.prepare(ctx, n)
	if err != nil {
		return "", err
	}
	d.write.Lock()
	defer d.write.Unlock()
	all, err := d.store.Accounts(ctx)
	if err != nil {
		return "", err
	}
	if len(all) > 0 {
		return "", fault.New(fault.Conflict, "not-first", "create first account", "the node has accounts already").
			WithHint("an administrator adds others: enlace user add")
	}
	a.Created = d.now()
	event := Event{
		Kind: AccountCreated, Actor: "node:bootstrap", Subject: a.User.String(),
		Detail: a.Authority.String() + " " + list(a.Roles), At: a.Created,
	}
	if err := d.store.Commit(ctx, Change{Create: &a, Event: event}); err != nil {
		return "", err
	}
	return drawn, nil
}

// prepare checks a new account and hashes its password, outside the lock.
func (d *Desk) prepare(ctx context.Context, n NewAccount) (Account, string, error) {
	if n.User.IsZero() || n.Authority.IsZero() {
		return Account{}, "", fault.New(fault.Invalid, "incomplete", "create account", "an account needs a user name and an authority")
	}
	roles, err := personal(n.Roles)
	if err != nil {
		return Account{}, "", err
	}
	phc, drawn, err := d.newPassword(ctx, n.User, n.Password)
	if err != nil {
		return Account{}, "", err
	}
	return Account{User: n.User, Authority: n.Authority, Roles: roles, Password: phc}, drawn, nil
}

// mayHandle keeps tokens away from those who decide: a machine that could make an approver, or become one by a new
// password, would be the second person itself.
func mayHandle(actor Principal, roles []Role) error {
	if !actor.IsToken() || !decides(roles) {
		return nil
	}
	return fault.New(fault.Denied, "people-only", "manage accounts", "a token makes, changes and resets no approver or administrator: a person must").
		WithHint("an administrator does it, logged in")
}

// decides reports whether whoever holds the roles could be the second person or make one.
func decides(roles []Role) bool {
	return slices.Contains(roles, RoleApprover) || slices.Contains(roles, RoleAdministrator)
}

// personal checks the roles of a person and gives them sorted, without repeats.
func personal(roles []Role) ([]Role, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(roles)))
	for _, r := range sorted {
		if r.String() == "" {
			return nil, fault.New(fault.Invalid, "malformed-name", "read roles", "there is no such role")
		}
		if r == RoleSystem {
			return nil, fault.New(fault.Invalid, "system-role", "read roles", "the role system belongs to tokens").WithHint("issue a token instead")
		}
	}
	if len(sorted) == 0 {
		return nil, fault.New(fault.Invalid, "no-role", "read roles", "an account needs a role").WithHint("lock an account to take everything away")
	}
	return sorted, nil
}

// newPassword hashes a chosen password, or draws one and returns it second.
func (d *Desk) newPassword(ctx context.Context, user User, password string) (string, string, error) {
	drawn := ""
	if password == "" {
		var err error
		if drawn, err = d.draw(); err != nil {
			return "", "", err
		}
		password = drawn
	}
	normal, err := choose(user, password)
	if err != nil {
		return "", "", err
	}
	phc, err := d.gate.hash(ctx, normal)
	if err != nil {
		return "", "", err
	}
	return phc, drawn, nil
}

func (d *Desk) draw() (string, error) {
	d.write.Lock()
	defer d.write.Unlock()
	return draw(d.random)
}

// Accounts lists all accounts by user name, without their passwords' hashes.
func (d *Desk) Accounts(ctx context.Context) ([]Account, error) {
	all, err := d.store.Accounts(ctx)
	for i := range all {
		all[i].Password = ""
	}
	return all, err
}

// SetRoles replaces a person's roles, on live sessions too. It raises an alarm if they become approver or
// administrator, or change their own. NotFound; Conflict if no administrator would be left; Denied to a token if one of
// the roles is approver or administrator. No change, no event.
func (d *Desk) SetRoles(ctx context.Context, actor Principal, user User, roles []Role) error {
	roles, err := personal(roles)
	if err != nil {
		return err
	}
	if err := mayHandle(actor, roles); err != nil {
		return err
	}
	return d.amend(ctx, user, func(a *Account) (Change, error) {
		if slices.Equal(a.Roles, roles) {
			return Change{}, unchanged{}
		}
		gains := func(r Role) bool { return slices.Contains(roles, r) && !slices.Contains(a.Roles, r) }
		event := Event{
			Kind: RolesChanged, Actor: actor.Actor(), Detail: list(a.Roles) + " to " + list(roles),
			Alarm: gains(RoleApprover) || gains(RoleAdministrator) || actor.Actor() == user.String(),
		}
		a.Roles = roles
		return Change{Event: event}, nil
	})
}

// Lock ends a person's sessions and lets none begin. NotFound; Conflict for the last administrator. Locking twice
// changes nothing.
func (d *Desk) Lock(ctx context.Context, actor Principal, user User) error {
	return d.amend(ctx, user, func(a *Account) (Change, error) {
		if a.Locked {
			return Change{}, unchanged{}
		}
		a.Locked = true
		return Change{CloseOf: user, Event: Event{Kind: AccountLocked, Actor: actor.Actor()}}, nil
	})
}

// Unlock takes back a lock and ends a wait after failed logins. NotFound.
func (d *Desk) Unlock(ctx context.Context, actor Principal, user User) error {
	return d.amend(ctx, user, func(a *Account) (Change, error) {
		if !a.Locked && a.Failures == 0 {
			return Change{}, unchanged{}
		}
		a.Locked = false
		clearFailures(a)
		return Change{Event: Event{Kind: AccountUnlocked, Actor: actor.Actor()}}, nil
	})
}

// ResetPassword gives a person a new password, drawn if empty and then returned, and ends their sessions and waits; a
// lock stays. It raises an alarm: whoever resets a password could act as that person, and so be both the author and the
// second person. NotFound; Denied to a token for an approver or administrator.
func (d *Desk) ResetPassword(ctx context.Context, actor Principal, user User, password string) (string, error) {
	phc, drawn, err := d.newPassword(ctx, user, password)
	if err != nil {
		return "", err
	}
	err = d.amend(ctx, user, func(a *Account) (Change, error) {
		if err := mayHandle(actor, a.Roles); err != nil {
			return Change{}, err
		}
		a.Password = phc
		clearFailures(a)
		return Change{CloseOf: user, Event: Event{Kind: PasswordReset, Actor: actor.Actor(), Alarm: true}}, nil
	})
	if err != nil {
		return "", err
	}
	return drawn, nil
}
