package operator

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// tokenLife is how long a token lives whose issuer did not say.
const tokenLife = 90 * 24 * time.Hour

// maxPassword bounds what is handed to the slow hash.
const maxPassword = 1 << 10

// Login opens a session.
func (d *Door) Login(ctx context.Context, in *operatorv1.LoginRequest) (*operatorv1.LoginResponse, error) {
	if len(in.GetPassword()) > maxPassword || len(in.GetUser()) > maxPassword {
		return nil, fault.New(fault.TooLarge, "too-large", "log in", "name or password is too long")
	}
	secret, session, err := d.people.Login(ctx, in.GetUser(), in.GetPassword())
	if err != nil {
		return nil, err
	}
	return &operatorv1.LoginResponse{Token: secret, Expires: session.Expires.UnixMilli()}, nil
}

// Logout ends the session that makes the call; its open streams end with it.
func (d *Door) Logout(ctx context.Context, _ *operatorv1.LogoutRequest) (*operatorv1.LogoutResponse, error) {
	if err := d.people.Logout(ctx, callerFrom(ctx).secret); err != nil {
		return nil, err
	}
	d.ends.tell()
	return &operatorv1.LogoutResponse{}, nil
}

// WhoAmI tells a caller what the node takes them for.
func (d *Door) WhoAmI(ctx context.Context, _ *operatorv1.WhoAmIRequest) (*operatorv1.WhoAmIResponse, error) {
	who := callerFrom(ctx)
	return &operatorv1.WhoAmIResponse{
		User: who.Name, Authority: who.Authority.String(), Roles: texts(who.Roles), Scopes: texts(who.Scopes),
		Node: d.c.Node.String(), Expires: who.Expires.UnixMilli(),
	}, nil
}

// IssueToken makes a token for a system; the caller's authority and 90 days where nothing is said.
func (d *Door) IssueToken(ctx context.Context, in *operatorv1.IssueTokenRequest) (*operatorv1.IssueTokenResponse, error) {
	who := callerFrom(ctx).Principal
	n := people.NewToken{Name: in.GetName(), Expires: d.c.Now().Add(tokenLife)}
	var err error
	if n.Authority, err = ownOr(who, in.GetAuthority()); err != nil {
		return nil, err
	}
	if n.Scopes, err = people.ParseScopes(in.GetScopes()); err != nil {
		return nil, err
	}
	if in.GetExpires() != 0 {
		n.Expires = time.UnixMilli(in.GetExpires())
	}
	if err := d.allow(who, policy.TokenIssue, n.Authority); err != nil {
		return nil, err
	}
	secret, t, err := d.people.IssueToken(ctx, who, n)
	if err != nil {
		return nil, err
	}
	return &operatorv1.IssueTokenResponse{Id: t.ID.String(), Token: secret}, nil
}

// ListTokens lists the tokens of the caller's state, ended ones too.
func (d *Door) ListTokens(ctx context.Context, _ *operatorv1.ListTokensRequest) (*operatorv1.ListTokensResponse, error) {
	who := callerFrom(ctx).Principal
	if err := d.allow(who, policy.TokenIssue, who.Authority); err != nil {
		return nil, err
	}
	all, err := d.people.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.ListTokensResponse{}
	for _, t := range all {
		if t.Authority.State() == who.Authority.State() {
			out.Tokens = append(out.Tokens, &operatorv1.TokenInfo{
				Id: t.ID.String(), Name: t.Name, Authority: t.Authority.String(), Scopes: texts(t.Scopes),
				Created: milli(t.Created), Expires: milli(t.Expires), Revoked: !t.Revoked.IsZero(),
			})
		}
	}
	return out, nil
}

// RevokeToken ends a token, and what it has open.
func (d *Door) RevokeToken(ctx context.Context, in *operatorv1.RevokeTokenRequest) (*operatorv1.RevokeTokenResponse, error) {
	who := callerFrom(ctx).Principal
	id, err := people.ParseTokenID(in.GetId())
	if err != nil {
		return nil, err
	}
	owner, err := d.ownerOfToken(ctx, who, id)
	if err != nil {
		return nil, err
	}
	if err := d.allow(who, policy.TokenRevoke, owner); err != nil {
		return nil, err
	}
	if err := d.people.RevokeToken(ctx, who, id); err != nil {
		return nil, err
	}
	d.ends.tell()
	return &operatorv1.RevokeTokenResponse{}, nil
}

// ownerOfToken looks only for those who may revoke at all, so that others do not learn which tokens exist.
func (d *Door) ownerOfToken(ctx context.Context, who people.Principal, id people.TokenID) (authority.Name, error) {
	if err := d.allow(who, policy.TokenRevoke, who.Authority); err != nil {
		return authority.Name{}, err
	}
	all, err := d.people.Tokens(ctx)
	if err != nil {
		return authority.Name{}, err
	}
	for _, t := range all {
		if t.ID == id {
			return t.Authority, nil
		}
	}
	return authority.Name{}, fault.New(fault.NotFound, "", "find token", "there is no such token")
}

// allow asks the rules about something that is no request; owner is zero for the node itself.
func (d *Door) allow(who people.Principal, a policy.Action, owner authority.Name) error {
	return d.c.Policy.Decide(d.question(who, a, owner)).Refusal(a, d.c.Language)
}

func (d *Door) question(who people.Principal, a policy.Action, owner authority.Name) policy.Question {
	return policy.Question{
		Caller: policy.Caller{
			Name: who.Actor(), Authority: who.Authority, Roles: texts(who.Roles), Scopes: texts(who.Scopes), IsToken: who.IsToken(),
		},
		Action: a, Resource: policy.Resource{Owner: owner}, Mode: d.c.Mode, Now: d.c.Now(),
	}
}

// ownOr reads an authority; none is the caller's own.
func ownOr(who people.Principal, name string) (authority.Name, error) {
	if name == "" {
		return who.Authority, nil
	}
	return authority.ParseName(name)
}

func texts[T interface{ String() string }](all []T) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		out = append(out, v.String())
	}
	return out
}

// milli is a time as the proto has it; 0 is never.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
