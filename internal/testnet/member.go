package testnet

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// Member is one state of a test network with its node running and four people logged in.
type Member struct {
	State     authority.State
	Authority authority.Name
	// Dir is the node's directory; Config what it runs with.
	Dir    string
	Config node.Config
	// Daemon is the running node.
	Daemon *node.Daemon
	// Administrator made the other accounts. Officer writes, Approver releases, Duty takes on.
	Administrator, Officer, Approver, Duty *operator.Client
	// Trust and Passwords let a test log in again: account name to password.
	Trust     operator.Trust
	Passwords map[string]string

	stop func() error
}

// Submit drafts a request, attaches files, sends and approves it, and returns its ID.
func (m *Member) Submit(ctx context.Context, d *operatorv1.Draft, files ...File) (string, error) {
	created, err := m.Officer.Requests.CreateRequest(ctx, &operatorv1.CreateRequestRequest{Draft: d})
	if err != nil {
		return "", err
	}
	id := created.GetId()
	for _, f := range files {
		note := &formatv1.AttachmentNote{Name: f.Name, MediaType: "application/octet-stream", Limits: usualLimits(), Evaluation: "eu4x4:B2"}
		if _, err := m.Officer.Upload(ctx, id, note, f.Data); err != nil {
			return "", err
		}
	}
	sent, err := m.Officer.Requests.SendRequest(ctx, &operatorv1.SendRequestRequest{Id: id})
	if err != nil {
		return "", err
	}
	if sent.GetStatus() != "PENDING_APPROVAL" {
		return id, nil
	}
	_, err = m.Approver.Requests.ApproveRequest(ctx, &operatorv1.ApproveRequestRequest{Id: id})
	return id, err
}

// Await reads a request until it is as wanted. A request that has not arrived yet is waited for too.
func (m *Member) Await(ctx context.Context, as *operator.Client, id string, wanted func(*operatorv1.GetRequestResponse) bool) (*operatorv1.GetRequestResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		r, err := as.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
		if err == nil && wanted(r) {
			return r, nil
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Retry, "timeout", "await request", "the request did not become as expected at "+m.Authority.String())
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		}
	}
}

// sameSubjects compares what arrived with what was written, byte for byte in the signed form.
func sameSubjects(got, want []*formatv1.Subject) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !proto.Equal(got[i], want[i]) {
			return false
		}
	}
	return true
}
