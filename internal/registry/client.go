package registry

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// TLS makes a client's TLS configuration around a check of the server's certificate (keyring's Source.ClientTLS).
type TLS func(verify func(tls.ConnectionState) error) *tls.Config

// Client talks to the hub for a node, or for the holder of a state or steward key.
type Client struct {
	conn *grpc.ClientConn
	api  directoryv1.DirectoryServiceClient
}

// NewClient makes a client of the hub at host:port, which must prove to be the hub of the directory given.
func NewClient(addr string, current *directory.Current, now func() time.Time, config TLS) (*Client, error) {
	identity := wire.HubIdentity(current, now)
	conn, err := wire.Dial(addr, wire.ClientOptions{TLS: config(identity.Verify), Changed: current.Changed})
	if err != nil {
		return nil, err
	}
	return &Client{conn, directoryv1.NewDirectoryServiceClient(conn)}, nil
}

// Connect is NewClient for who knows of the network but its fingerprint.
func Connect(ctx context.Context, addr, fingerprint string, now func() time.Time, config TLS) (*Client, error) {
	genesis, err := Bootstrap(ctx, addr, fingerprint, now, config)
	if err != nil {
		return nil, err
	}
	s, err := directory.Follow(nil, genesis)
	if err != nil {
		return nil, err
	}
	current := &directory.Current{}
	current.Store(s)
	return NewClient(addr, current, now, config)
}

// Bootstrap fetches the genesis of the network with that fingerprint (64 hexadecimal digits, PROTOCOL 2.6), which
// came by a road the hub has no hand in. The genesis proves itself by it; then the hub must prove to be the one that
// the genesis names. Errors: Denied "wrong-genesis"; Unauthenticated as wire.HubIdentity. PROTOCOL 11.2.
func Bootstrap(ctx context.Context, addr, fingerprint string, now func() time.Time, config TLS) ([]byte, error) {
	var seen witnessed
	conn, err := wire.Dial(addr, wire.ClientOptions{TLS: config(seen.note)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	r, err := directoryv1.NewDirectoryServiceClient(conn).GetGenesis(ctx, &directoryv1.GetGenesisRequest{})
	if err != nil {
		return nil, err
	}
	s, err := found(r.GetStatement(), fingerprint)
	if err != nil {
		return nil, err
	}
	current := &directory.Current{}
	current.Store(s)
	return r.GetStatement(), wire.HubIdentity(current, now).Verify(seen.last())
}

func found(genesis []byte, fingerprint string) (*directory.Snapshot, error) {
	s, err := directory.Follow(nil, genesis)
	if err != nil {
		return nil, err
	}
	if s.NetworkID() != fingerprint {
		return nil, fault.New(fault.Denied, "wrong-genesis", "join network", "that hub is of another network than the fingerprint names").
			WithHint("compare the address and the fingerprint with those you were given")
	}
	return s, nil
}

// witnessed remembers whom a connection led to, to be judged once there is a directory to judge by. Until then
// nothing but the request for the public genesis is sent.
type witnessed struct {
	mu    sync.Mutex
	state tls.ConnectionState
}

func (w *witnessed) note(cs tls.ConnectionState) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = cs
	return nil
}

func (w *witnessed) last() tls.ConnectionState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Propose hands in a signed statement with the contact cards it names. On return it is durable in the hub's log, at
// the position returned; the same statement again has the same position. Position 0 is a restriction that a recovering
// hub keeps, in force there, and logs later. Errors as directory.Apply; Retry "recovering". PROTOCOL 11.3, 11.11.
func (c *Client) Propose(ctx context.Context, statement []byte, cards ...[]byte) (uint64, error) {
	r, err := c.api.Propose(ctx, &directoryv1.ProposeRequest{Statement: statement, Cards: cards})
	return r.GetPosition(), err
}

// Deposit leaves statements in the hub's tray, in the order in which they are to be logged, with the cards that they name.
// Who is no member gives a steward's one-time token; members and stewards give "". On return they are durable. Errors as
// Service.Deposit. PROTOCOL 11.12.
func (c *Client) Deposit(ctx context.Context, statements, cards [][]byte, token string) error {
	_, err := c.api.Deposit(ctx, &directoryv1.DepositRequest{Statements: statements, Cards: cards, Token: token})
	return err
}

// Deposited is a statement in the hub's tray.
type Deposited struct {
	// Statement is its signed bytes, with the signatures it has so far.
	Statement []byte
	Cards     [][]byte
	// Since is when it was first left there.
	Since time.Time
}

// Deposits is the hub's tray, as far as the caller may see it. What it says was verified by the hub alone. PROTOCOL 11.12.
func (c *Client) Deposits(ctx context.Context) ([]Deposited, error) {
	r, err := c.api.ListDeposits(ctx, &directoryv1.ListDepositsRequest{})
	if err != nil {
		return nil, err
	}
	var all []Deposited
	for _, m := range r.GetStatements() {
		all = append(all, Deposited{m.GetStatement(), m.GetCards(), time.Unix(m.GetSince(), 0).UTC()})
	}
	return all, nil
}

// IssueToken makes, for a steward, the one-time token with which a state's new node may deposit its application. The hub
// keeps its hash alone. PROTOCOL 11.12.
func (c *Client) IssueToken(ctx context.Context, state authority.State) (string, time.Time, error) {
	r, err := c.api.IssueToken(ctx, &directoryv1.IssueTokenRequest{State: state.String()})
	if err != nil {
		return "", time.Time{}, err
	}
	return r.GetToken(), time.Unix(r.GetExpires(), 0).UTC(), nil
}

// Card fetches a contact card and proves that it is the one that the directory names. NotFound "no-card".
// PROTOCOL 11.5.
func (c *Client) Card(ctx context.Context, hash directory.Hash) ([]byte, error) {
	r, err := c.api.GetCard(ctx, &directoryv1.GetCardRequest{Hash: hash[:]})
	if err != nil {
		return nil, err
	}
	if _, has, err := directory.ParseCard(r.GetCard()); err != nil || has != hash {
		return nil, fault.New(fault.Invalid, "wrong-card", opCard, "the hub gave another contact card than the directory names")
	}
	return r.GetCard(), nil
}

// Fetch reads the whole log into a snapshot, verifying each entry from the genesis with that fingerprint on.
func (c *Client) Fetch(ctx context.Context, fingerprint string) (*directory.Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.api.Follow(ctx, &directoryv1.FollowRequest{From: 1})
	if err != nil {
		return nil, err
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if r.GetPosition() == 0 {
			continue
		}
		s, err := found(r.GetStatement(), fingerprint)
		if err != nil {
			return nil, err
		}
		return rest(stream, s, r.GetSize())
	}
}

// rest reads up to the size that the log had when the stream began.
func rest(stream grpc.ServerStreamingClient[directoryv1.FollowResponse], s *directory.Snapshot, size uint64) (*directory.Snapshot, error) {
	for s.Position() < size {
		r, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if r.GetPosition() == 0 {
			continue
		}
		if r.GetPosition() != s.Position()+1 {
			return nil, outOfOrder()
		}
		next, err := directory.Follow(s, r.GetStatement())
		if err != nil {
			next = s.Skip() // as everyone skips it, PROTOCOL 4.15
		}
		s = next
	}
	return s, nil
}

func outOfOrder() error {
	return fault.New(fault.Invalid, "out-of-order", opFollow, "the hub sent an entry of another position than the next")
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
