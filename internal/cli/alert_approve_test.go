package cli

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// desk answers as a node does where two alerts wait, one for its next version, and one no more.
type desk struct {
	operatorv1.AlertServiceClient
	mu       sync.Mutex
	approved map[string]string // guarded by mu; digest by ID
}

func (d *desk) GetAlert(_ context.Context, in *operatorv1.GetAlertRequest, _ ...grpc.CallOption) (*operatorv1.GetAlertResponse, error) {
	switch in.GetId() {
	case "next":
		return &operatorv1.GetAlertResponse{Digest: "22", Summary: &operatorv1.AlertSummary{Id: "next", Status: "PENDING_APPROVAL", Title: "As it will be"}}, nil
	case "first":
		return &operatorv1.GetAlertResponse{Digest: "11", Summary: &operatorv1.AlertSummary{Id: "first", Status: "PENDING_APPROVAL"}}, nil
	case "released":
		return &operatorv1.GetAlertResponse{Summary: &operatorv1.AlertSummary{Id: "released", Status: "ISSUED"}}, nil
	case "dropped":
		return nil, fault.New(fault.NotFound, "", "read", "there is no such alert")
	}
	return nil, fault.New(fault.Denied, "", "read", "not for you")
}

func (d *desk) ApproveAlert(_ context.Context, in *operatorv1.ApproveAlertRequest, _ ...grpc.CallOption) (*operatorv1.ApproveAlertResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.approved[in.GetId()] = in.GetDigest()
	return &operatorv1.ApproveAlertResponse{}, nil
}

// TestApproveAllAsShown: what waits is shown as it will be, and released by the digest of exactly that.
func TestApproveAllAsShown(t *testing.T) {
	d := &desk{approved: map[string]string{}}
	node := &operator.Client{Alerts: d}
	found, all, err := drafted(t.Context(), node, []string{"first", "released", "next", "dropped"})
	if err != nil || len(found) != 2 || len(all) != 2 || found[1].GetTitle() != "As it will be" {
		t.Fatalf("read: %+v, %+v, %v", found, all, err)
	}
	for _, x := range all {
		if r := release(t.Context(), node, x.id, x.digest); r.err != nil {
			t.Error(r.err)
		}
	}
	if len(d.approved) != 2 || d.approved["first"] != "11" || d.approved["next"] != "22" {
		t.Errorf("approved: %v", d.approved)
	}
	if _, _, err := drafted(t.Context(), node, []string{"first", "secret"}); !fault.Is(err, fault.Denied) {
		t.Errorf("what cannot be read: %v", err)
	}
}
