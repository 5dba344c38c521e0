package operator

import (
	"context"

	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// AddSubscription wants more alerts.
func (d *Door) AddSubscription(ctx context.Context, in *operatorv1.AddSubscriptionRequest) (*operatorv1.AddSubscriptionResponse, error) {
	if in.GetSubscription() == nil {
		return nil, missing("add subscription", "subscription")
	}
	id, status, err := d.c.Subscriptions.Add(ctx, callerFrom(ctx).Principal, in.GetSubscription())
	if err != nil {
		return nil, err
	}
	return &operatorv1.AddSubscriptionResponse{Id: id.String(), Status: status}, nil
}

// ApproveSubscription confirms one.
func (d *Door) ApproveSubscription(ctx context.Context, in *operatorv1.ApproveSubscriptionRequest) (*operatorv1.ApproveSubscriptionResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	status, err := d.c.Subscriptions.Approve(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.ApproveSubscriptionResponse{Status: status}, nil
}

// ListSubscriptions lists what the caller's authority wants.
func (d *Door) ListSubscriptions(ctx context.Context, _ *operatorv1.ListSubscriptionsRequest) (*operatorv1.ListSubscriptionsResponse, error) {
	all, err := d.c.Subscriptions.List(ctx, callerFrom(ctx).Principal)
	if err != nil {
		return nil, err
	}
	return &operatorv1.ListSubscriptionsResponse{Subscriptions: all}, nil
}

// RemoveSubscription ends one.
func (d *Door) RemoveSubscription(ctx context.Context, in *operatorv1.RemoveSubscriptionRequest) (*operatorv1.RemoveSubscriptionResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if err := d.c.Subscriptions.Remove(ctx, callerFrom(ctx).Principal, id); err != nil {
		return nil, err
	}
	return &operatorv1.RemoveSubscriptionResponse{}, nil
}
