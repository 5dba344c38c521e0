package operator

import (
	"context"
	"encoding/hex"

	"github.com/enlace-network/enlace/internal/authority"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

// GetStatus says how the node is.
func (d *Door) GetStatus(ctx context.Context, _ *operatorv1.GetStatusRequest) (*operatorv1.GetStatusResponse, error) {
	if err := d.allow(callerFrom(ctx).Principal, policy.NodeStatus, authority.Name{}); err != nil {
		return nil, err
	}
	return d.c.Monitor.Status(ctx)
}

// ExplainPolicy shows the rules and, where an action is named, decides it as if the caller, or another user, did it to
// something of their own authority that they did not write.
func (d *Door) ExplainPolicy(ctx context.Context, in *operatorv1.ExplainPolicyRequest) (*operatorv1.ExplainPolicyResponse, error) {
	who := callerFrom(ctx).Principal
	if err := d.allow(who, policy.PolicyRead, authority.Name{}); err != nil {
		return nil, err
	}
	digest := d.c.Policy.Digest()
	out := &operatorv1.ExplainPolicyResponse{Source: d.c.Policy.Source(), Digest: hex.EncodeToString(digest[:])}
	if in.GetAction() == "" {
		return out, nil
	}
	action, err := policy.ParseAction(in.GetAction())
	if err != nil {
		return nil, err
	}
	if who, err = d.imagined(ctx, in.GetUser()); err != nil {
		return nil, err
	}
	decision := d.c.Policy.Decide(d.question(who, action, who.Authority))
	out.Allowed, out.Reasons = decision.Allowed, decision.Words(d.c.Language)
	return out, nil
}

// imagined is whom a hypothetical question is about: the caller, or someone whose account the caller may manage.
func (d *Door) imagined(ctx context.Context, name string) (people.Principal, error) {
	who := callerFrom(ctx).Principal
	if name == "" || name == who.User.String() {
		return who, nil
	}
	user, err := d.managed(ctx, name)
	if err != nil {
		return people.Principal{}, err
	}
	a, err := d.account(ctx, user)
	return principalOf(a), err
}
