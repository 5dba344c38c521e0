package testnet

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
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

	// StateKey signs for the state.
	StateKey *keyring.OfflineKey

	first string // the first account's name
	stop  func() error
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

// Stop ends this member's node alone.
func (m *Member) Stop() error { return m.stop() }

// staff logs the first administrator in and makes the other accounts through the operator door.
func (m *Member) staff(ctx context.Context) error {
	var err error
	if m.Administrator, err = m.Login(ctx, m.first); err != nil {
		return err
	}
	for _, p := range []struct {
		name  string
		roles []string
		as    **operator.Client
	}{
		{"officer", []string{"user"}, &m.Officer}, {"approver", []string{"approver"}, &m.Approver}, {"duty", []string{"duty", "user"}, &m.Duty},
	} {
		made, err := m.Administrator.Users.AddUser(ctx, &operatorv1.AddUserRequest{User: p.name, Authority: m.Authority.String(), Roles: p.roles})
		if err != nil {
			return err
		}
		m.Passwords[p.name] = made.GetPassword()
		if *p.as, err = m.Login(ctx, p.name); err != nil {
			return err
		}
	}
	return nil
}

// Login opens a session as a person would, and returns their client.
func (m *Member) Login(ctx context.Context, user string) (*operator.Client, error) {
	addr := m.Daemon.OperatorAddr.String()
	stranger, err := operator.Dial(addr, m.Trust, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = stranger.Close() }()
	session, err := stranger.Session.Login(ctx, &operatorv1.LoginRequest{User: user, Password: m.Passwords[user]})
	if err != nil {
		return nil, err
	}
	return operator.Dial(addr, m.Trust, session.GetToken())
}

// Join takes one more state into the running network, by statements alone, and waits until all know it.
func (n *Network) Join(ctx context.Context, state string) (*Member, error) {
	m, err := n.initMember(ctx, state)
	if err != nil {
		return nil, err
	}
	n.Members = append(n.Members, m)
	if err := n.StartMember(ctx, m); err != nil {
		return m, err
	}
	if err := m.staff(ctx); err != nil {
		return m, err
	}
	return m, n.settle(ctx)
}
