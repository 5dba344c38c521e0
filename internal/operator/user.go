package operator

import (
	"context"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// AddUser makes an account, of the caller's authority where none is named.
func (d *Door) AddUser(ctx context.Context, in *operatorv1.AddUserRequest) (*operatorv1.AddUserResponse, error) {
	who := callerFrom(ctx).Principal
	n := people.NewAccount{Password: in.GetPassword()}
	var err error
	if n.User, err = people.ParseUser(in.GetUser()); err != nil {
		return nil, err
	}
	if n.Authority, err = ownOr(who, in.GetAuthority()); err != nil {
		return nil, err
	}
	if n.Roles, err = people.ParseRoles(in.GetRoles()); err != nil {
		return nil, err
	}
	if err := checkPassword(n.Password); err != nil {
		return nil, err
	}
	if err := d.allow(who, policy.UserManage, n.Authority); err != nil {
		return nil, err
	}
	drawn, err := d.people.AddUser(ctx, who, n)
	if err != nil {
		return nil, err
	}
	return &operatorv1.AddUserResponse{Password: drawn}, nil
}

// ListUsers lists the accounts of the caller's state.
func (d *Door) ListUsers(ctx context.Context, _ *operatorv1.ListUsersRequest) (*operatorv1.ListUsersResponse, error) {
	who := callerFrom(ctx).Principal
	if err := d.allow(who, policy.UserManage, who.Authority); err != nil {
		return nil, err
	}
	all, err := d.people.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.ListUsersResponse{}
	for _, a := range all {
		if a.Authority.State() == who.Authority.State() {
			out.Users = append(out.Users, &operatorv1.UserInfo{
				User: a.User.String(), Authority: a.Authority.String(), Roles: texts(a.Roles), Locked: a.Locked, Created: milli(a.Created),
			})
		}
	}
	return out, nil
}

// SetRoles replaces a person's roles; open streams of theirs go by the new ones.
func (d *Door) SetRoles(ctx context.Context, in *operatorv1.SetRolesRequest) (*operatorv1.SetRolesResponse, error) {
	roles, err := people.ParseRoles(in.GetRoles())
	if err != nil {
		return nil, err
	}
	user, err := d.managed(ctx, in.GetUser())
	if err != nil {
		return nil, err
	}
	if err := d.people.SetRoles(ctx, callerFrom(ctx).Principal, user, roles); err != nil {
		return nil, err
	}
	d.ends.tell()
	return &operatorv1.SetRolesResponse{}, nil
}

// LockUser locks an account and ends what it has open, or unlocks it.
func (d *Door) LockUser(ctx context.Context, in *operatorv1.LockUserRequest) (*operatorv1.LockUserResponse, error) {
	user, err := d.managed(ctx, in.GetUser())
	if err != nil {
		return nil, err
	}
	change := d.people.Lock
	if in.GetUnlock() {
		change = d.people.Unlock
	}
	if err := change(ctx, callerFrom(ctx).Principal, user); err != nil {
		return nil, err
	}
	d.ends.tell()
	return &operatorv1.LockUserResponse{}, nil
}

// ResetPassword gives a person a new password and ends their sessions.
func (d *Door) ResetPassword(ctx context.Context, in *operatorv1.ResetPasswordRequest) (*operatorv1.ResetPasswordResponse, error) {
	if err := checkPassword(in.GetPassword()); err != nil {
		return nil, err
	}
	user, err := d.managed(ctx, in.GetUser())
	if err != nil {
		return nil, err
	}
	drawn, err := d.people.ResetPassword(ctx, callerFrom(ctx).Principal, user, in.GetPassword())
	if err != nil {
		return nil, err
	}
	d.ends.tell()
	return &operatorv1.ResetPasswordResponse{Password: drawn}, nil
}

// managed names an account that the caller may manage. Whoever may manage none does not learn which exist.
func (d *Door) managed(ctx context.Context, name string) (people.User, error) {
	user, err := people.ParseUser(name)
	if err != nil {
		return people.User{}, err
	}
	who := callerFrom(ctx).Principal
	if err := d.allow(who, policy.UserManage, who.Authority); err != nil {
		return people.User{}, err
	}
	a, err := d.account(ctx, user)
	if err != nil {
		return people.User{}, err
	}
	return user, d.allow(who, policy.UserManage, a.Authority)
}

func (d *Door) account(ctx context.Context, user people.User) (people.Account, error) {
	all, err := d.people.Accounts(ctx)
	if err != nil {
		return people.Account{}, err
	}
	for _, a := range all {
		if a.User == user {
			return a, nil
		}
	}
	return people.Account{}, fault.New(fault.NotFound, "", "find account", "there is no such user").WithHint("enlace user ls")
}

func checkPassword(s string) error {
	if len(s) > maxPassword {
		return fault.New(fault.TooLarge, "too-large", "read password", "the password is too long")
	}
	return nil
}

// principalOf is an account as it would call.
func principalOf(a people.Account) people.Principal {
	return people.Principal{Name: a.User.String(), User: a.User, Authority: a.Authority, Roles: a.Roles}
}
