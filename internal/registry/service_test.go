package registry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

// hub is a running hub of a network.
type hub struct {
	n       *network
	data    string
	addr    string
	service *registry.Service
	stop    func()
}

// serve runs the hub on its data, at an address of its own or the one given.
func (n *network) serve(data, addr string, hook registry.Sync) *hub {
	n.t.Helper()
	return n.serveWith(registry.ServiceOptions{Data: data, Sync: hook}, addr)
}

// serveWith runs a hub with options of a test's own.
func (n *network) serveWith(o registry.ServiceOptions, addr string) *hub {
	n.t.Helper()
	data := o.Data
	s, err := registry.OpenService(n.hubOptions(o))
	must(n.t, err)
	id, err := authority.HubID(networkName)
	must(n.t, err)
	identity := wire.VisitorIdentity(s.Current(), n.now)
	server := wire.NewServer(wire.ServerOptions{TLS: n.hub.HubSource(id, nil, n.now).ServerTLS(identity.Verify),
		Authorise: identity.Authorise(s.Allow), Changed: s.Current().Changed, Log: zap.NewNop(), Strangers: registry.Strangers()})
	directoryv1.RegisterDirectoryServiceServer(server, s)
	l, err := net.Listen("tcp", addr)
	must(n.t, err)
	h := &hub{n: n, data: data, addr: l.Addr().String(), service: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	h.stop = sync.OnceFunc(func() {
		s.Release()
		server.Shut(time.Second)
		<-done
		must(n.t, s.Close())
	})
	n.t.Cleanup(h.stop)
	return h
}

// hubOptions fills in what every hub of the network has.
func (n *network) hubOptions(o registry.ServiceOptions) registry.ServiceOptions {
	n.t.Helper()
	signer, err := n.hub.NoteSigner(keyring.HubLog)
	must(n.t, err)
	o.Genesis, o.Signer, o.Now = n.genesis, signer, n.now
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// founded is the data of a hub of which the network has begun.
func (n *network) founded() string {
	n.t.Helper()
	data := n.t.TempDir()
	must(n.t, registry.Found(data, n.genesis))
	return data
}

func (n *network) start() *hub { return n.serve(n.founded(), "127.0.0.1:0", nil) }

// known admits states at the hub and here.
func (h *hub) known(labels ...string) []*member {
	h.n.t.Helper()
	steward := h.client(h.n.stewards[0])
	h.n.propose = func(statement []byte, cards ...[]byte) {
		h.n.t.Helper()
		_, err := steward.Propose(within(h.n.t, 10*time.Second), statement, cards...)
		must(h.n.t, err)
	}
	var all []*member
	for _, label := range labels {
		all = append(all, h.n.admit(label))
	}
	return all
}

func configOf(s interface {
	ClientTLS(keyring.Verify) *tls.Config
}) registry.TLS {
	return func(verify func(tls.ConnectionState) error) *tls.Config { return s.ClientTLS(verify) }
}

// self shows a self-signed certificate of the key.
type self struct {
	holder
	now func() time.Time
}

func (s self) ClientTLS(verify keyring.Verify) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return keyring.SelfSigned(s.PrivateKey, s.now())
		}}
}

func (h *hub) client(key holder) *registry.Client {
	return h.clientBy(configOf(self{key, h.n.now}))
}

func (h *hub) clientOf(m *member) *registry.Client {
	return h.clientBy(configOf(h.n.source(m, m.node)))
}

func (h *hub) clientBy(config registry.TLS) *registry.Client {
	h.n.t.Helper()
	c, err := registry.NewClient(h.addr, h.n.current, h.n.now, config)
	must(h.n.t, err)
	h.n.t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestWhoMayCallWhat is the hub's door, method by method. PROTOCOL 11.1.
func TestWhoMayCallWhat(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br", "ca")
	mx, br, ca := all[0], all[1], all[2]
	us := n.candidate("us")
	revocation := n.revoke(br)
	n.suspend(ca)
	n.suspend(mx)
	n.reinstate(mx) // is as good as new

	callers := map[string]registry.TLS{
		"node":            configOf(n.source(mx, mx.node)),
		"suspended node":  configOf(n.source(ca, ca.node)),
		"revoked node":    configOf(n.source(br, br.node)),
		"unknown node":    configOf(n.source(us, us.node)),
		"steward":         configOf(self{n.stewards[1], n.now}),
		"state":           configOf(self{mx.key, n.now}),
		"suspended state": configOf(self{ca.key, n.now}),
		"stranger":        configOf(self{newHolder(t), n.now}),
	}
	// The code of the refusal of Propose, of Follow; empty = taken.
	want := map[string][2]string{
		"node":            {"", ""},
		"suspended node":  {"", ""}, // or nobody could ask it to cosign
		"revoked node":    {"revoked", "revoked"},
		"unknown node":    {wire.CodeState, wire.CodeState},
		"steward":         {"", ""},
		"state":           {"", ""},
		"suspended state": {"", "suspended"},
		"stranger":        {wire.CodeHolder, wire.CodeHolder},
	}
	for name, config := range callers {
		t.Run(name, func(t *testing.T) {
			conn, err := wire.Dial(h.addr, wire.ClientOptions{TLS: config(wire.HubIdentity(n.current, n.now).Verify)})
			must(t, err)
			defer func() { _ = conn.Close() }()
			api := directoryv1.NewDirectoryServiceClient(conn)
			ctx := within(t, 20*time.Second)
			if g, err := api.GetGenesis(ctx, &directoryv1.GetGenesisRequest{}); err != nil || !bytes.Equal(g.GetStatement(), n.genesis) {
				t.Errorf("GetGenesis: %v", err)
			}
			r, err := api.Propose(ctx, &directoryv1.ProposeRequest{Statement: revocation})
			if got := fault.CodeOf(err); got != want[name][0] {
				t.Errorf("Propose: %v, want %q", err, want[name][0])
			}
			if err == nil && r.GetPosition() != 8 {
				t.Errorf("Propose again: position %d, want 8", r.GetPosition())
			}
			stream, err := api.Follow(ctx, &directoryv1.FollowRequest{From: 1})
			must(t, err)
			_, err = stream.Recv()
			if got := fault.CodeOf(err); got != want[name][1] {
				t.Errorf("Follow: %v, want %q", err, want[name][1])
			}
			good := want[name][1]
			if name == "suspended node" {
				good = "suspended"
			}
			_, err = api.GetCard(ctx, &directoryv1.GetCardRequest{Hash: make([]byte, 32)})
			if got := fault.CodeOf(err); got != good && got != "no-card" {
				t.Errorf("GetCard: %v, want %q", err, good)
			}
			othersMayCall(ctx, t, name, api, want[name][0], good)
			r2, err := api.GetBusAccess(ctx, &directoryv1.GetBusAccessRequest{})
			wantBus := good
			if name == "steward" || name == "state" {
				wantBus = "not-allowed"
			}
			if got := fault.CodeOf(err); got != wantBus || len(r2.GetUrls()) > 0 {
				t.Errorf("GetBusAccess: %v, want %q", err, wantBus)
			}
		})
	}
}

// othersMayCall is the rest of the door: Cosign and Return for nodes, suspended too, the tray for members in good
// standing, tokens for stewards; Deposit asks for itself. PROTOCOL 11.1, 11.8, 11.12.
func othersMayCall(ctx context.Context, t *testing.T, name string, api directoryv1.DirectoryServiceClient, known, good string) {
	t.Helper()
	node, steward := strings.HasSuffix(name, "node"), name == "steward"
	refusal := func(allowed bool, code string) string {
		if allowed || code != "" {
			return code
		}
		return "not-allowed"
	}
	_, err := api.Cosign(ctx, &directoryv1.CosignRequest{})
	wantCosign := refusal(node, known)
	if node && known == "" {
		wantCosign = "malformed"
	}
	if name == "suspended state" {
		wantCosign = "suspended"
	}
	if got := fault.CodeOf(err); got != wantCosign {
		t.Errorf("Cosign: %v, want %q", err, wantCosign)
	}
	back, err := api.Return(ctx)
	must(t, err)
	_, err = back.CloseAndRecv()
	if got := fault.CodeOf(err); got != wantCosign {
		t.Errorf("Return: %v, want %q", err, wantCosign)
	}
	if _, err := api.ListDeposits(ctx, &directoryv1.ListDepositsRequest{}); fault.CodeOf(err) != good {
		t.Errorf("ListDeposits: %v, want %q", err, good)
	}
	if _, err := api.IssueToken(ctx, &directoryv1.IssueTokenRequest{State: "jm"}); fault.CodeOf(err) != refusal(steward, good) {
		t.Errorf("IssueToken: %v, want %q", err, refusal(steward, good))
	}
	wantDeposit := "too-many" // of nothing
	if known != "" {
		wantDeposit = "not-allowed"
	}
	if _, err := api.Deposit(ctx, &directoryv1.DepositRequest{}); fault.CodeOf(err) != wantDeposit {
		t.Errorf("Deposit: %v, want %q", err, wantDeposit)
	}
}

// TestProposeRefusals: what does not hold gets its reason and changes nothing. PROTOCOL 11.3.
func TestProposeRefusals(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	client := h.clientOf(mx)
	other := newNetwork(t)
	otherState := other.candidate("mx")
	other.take(otherState)
	n.propose = nil
	before := h.service.Current().Load().Position()

	good := n.move(mx, "example.org:1")
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	card, _, err := directory.Card{Authority: mustName(t, "mx/fgr"), Desk: "day"}.Marshal(make([]byte, 16))
	must(t, err)
	tests := []struct {
		name, code string
		statement  []byte
		cards      [][]byte
	}{
		{"garbage", "malformed", []byte("garbage"), nil},
		{"nothing", "unknown-kind", nil, nil},
		{"large", "too-large", make([]byte, directory.MaxStatement+1), nil},
		{"signature", "bad-signature", flipped, nil},
		{"other network", "wrong-network", other.move(otherState, "example.org:1"), nil},
		{"second genesis", "already-founded", other.genesis, nil},
		{"a card nobody named", "unknown-card", good, [][]byte{card}},
		{"ahead of the log", "behind", n.move(mx, "example.org:2"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := client.Propose(within(t, 10*time.Second), test.statement, test.cards...); fault.CodeOf(err) != test.code {
				t.Errorf("%v (%q), want %s", err, fault.CodeOf(err), test.code)
			}
		})
	}
	if got := h.service.Current().Load().Position(); got != before {
		t.Errorf("position %d after refusals, want %d", got, before)
	}
	if position, err := client.Propose(within(t, 10*time.Second), good); err != nil || position != before+1 {
		t.Errorf("the good one: %d, %v; want %d", position, err, before+1)
	}
}

func mustName(t *testing.T, s string) authority.Name {
	t.Helper()
	name, err := authority.ParseName(s)
	must(t, err)
	return name
}

// TestNoReplyBeforeSync is Propose's commit point at the file layer: no reply while the sync has not returned, and an
// error where it fails. Promise P1.
func TestNoReplyBeforeSync(t *testing.T) {
	n := newNetwork(t)
	var hold atomic.Pointer[chan error]
	h := n.serve(n.founded(), "127.0.0.1:0", func(f *os.File) error {
		if c := hold.Load(); c != nil {
			if err := <-*c; err != nil {
				return err
			}
		}
		return f.Sync()
	})
	mx := h.known("mx")[0]
	client := h.clientOf(mx)
	n.propose = nil
	gate := make(chan error)
	hold.Store(&gate)

	replied := make(chan error, 1)
	first := n.move(mx, "example.org:1")
	go func() {
		_, err := client.Propose(within(t, 20*time.Second), first)
		replied <- err
	}()
	for range 2 { // the entries, then the record of the end
		select {
		case err := <-replied:
			t.Fatalf("replied before the sync: %v", err)
		case <-time.After(200 * time.Millisecond):
			gate <- nil
		}
	}
	must(t, <-replied)

	second := n.move(mx, "example.org:2")
	go func() {
		_, err := client.Propose(within(t, 20*time.Second), second)
		replied <- err
	}()
	gate <- errors.New("input/output error")
	if err := <-replied; !fault.Is(err, fault.Internal) {
		t.Errorf("over a failed sync: %v, want internal", err)
	}
	<-h.service.Failed()
}

// TestCards: a card comes with its statement, is given to members, and goes with the desk's next card. PROTOCOL 4.8, 11.5.
func TestCards(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	client := h.clientOf(mx)
	ctx := within(t, 20*time.Second)
	card := func(phone string) ([]byte, directory.Hash) {
		b, hash, err := directory.Card{Authority: mustName(t, "mx/fgr"), Desk: "duty", Phone: phone}.Marshal(bytes.Repeat([]byte{1}, 16))
		must(t, err)
		return b, hash
	}
	first, firstHash := card("+52 1")
	_, err := client.Propose(ctx, n.designate(mx, "fgr", firstHash), first)
	must(t, err)
	if got, err := client.Card(ctx, firstHash); err != nil || !bytes.Equal(got, first) {
		t.Errorf("the card: %q, %v", got, err)
	}
	second, secondHash := card("+52 2")
	_, err = client.Propose(ctx, n.designate(mx, "fgr", secondHash), second)
	must(t, err)
	if _, err := client.Card(ctx, firstHash); fault.CodeOf(err) != "no-card" {
		t.Errorf("the replaced card: %v, want no-card", err)
	}
	if got, err := client.Card(ctx, secondHash); err != nil || !bytes.Equal(got, second) {
		t.Errorf("the new card: %q, %v", got, err)
	}
	// A card without a statement, left by a crash, is gone after a restart; the other is not.
	orphan, orphanHash := card("+52 3")
	cards, err := registry.OpenCards(filepath.Join(h.data, "cards"))
	must(t, err)
	_, err = cards.Put(orphan)
	must(t, err)
	h.stop()
	h = n.serve(h.data, "127.0.0.1:0", nil)
	client = h.clientOf(mx)
	if _, err := client.Card(ctx, orphanHash); fault.CodeOf(err) != "no-card" {
		t.Errorf("the orphan: %v, want no-card", err)
	}
	_, err = client.Card(ctx, secondHash)
	must(t, err)
}

func TestOtherNetworksData(t *testing.T) {
	n, other := newNetwork(t), newNetwork(t)
	h := n.start()
	h.stop()
	_, err := registry.OpenService(other.hubOptions(registry.ServiceOptions{Data: h.data}))
	if fault.CodeOf(err) != "wrong-genesis" {
		t.Errorf("%v, want wrong-genesis", err)
	}
}

// TestRevocationAtTheHub: a node with a stream and an idle connection open to the hub is revoked. Promise P7.
func TestRevocationAtTheHub(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "jm")
	mx, jm := all[0], all[1]
	frozen := &directory.Current{}
	frozen.Store(n.current.Load())
	open := func(m *member) directoryv1.DirectoryServiceClient {
		conn, err := wire.Dial(h.addr, wire.ClientOptions{TLS: n.source(m, m.node).ClientTLS(wire.HubIdentity(frozen, n.now).Verify)})
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return directoryv1.NewDirectoryServiceClient(conn)
	}
	idle, busy, bystander := open(mx), open(mx), open(jm)
	ctx := within(t, 20*time.Second)
	_, err := idle.GetGenesis(ctx, &directoryv1.GetGenesisRequest{})
	must(t, err)
	size := n.current.Load().Position()
	follow := func(api directoryv1.DirectoryServiceClient) grpc.ServerStreamingClient[directoryv1.FollowResponse] {
		stream, err := api.Follow(ctx, &directoryv1.FollowRequest{From: size + 1})
		must(t, err)
		for r := (&directoryv1.FollowResponse{}); len(r.GetHead()) == 0; { // how far it is, then the head
			r, err = stream.Recv()
			must(t, err)
		}
		return stream
	}
	cut, kept := follow(busy), follow(bystander)
	revocation := n.revoke(mx)
	start := time.Now()
	if r, err := cut.Recv(); fault.CodeOf(err) != "revoked" {
		t.Errorf("the stream: %v, %v; want revoked", r, err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the stream was cut after %v, want within 1 s", took)
	}
	if _, err := idle.Propose(ctx, &directoryv1.ProposeRequest{Statement: revocation}); fault.CodeOf(err) != "revoked" {
		t.Errorf("the idle connection: %v, want revoked", err)
	}
	if r, err := kept.Recv(); err != nil || !bytes.Equal(r.GetStatement(), revocation) {
		t.Errorf("the bystander got %v, %v; want the revocation", r, err)
	}
}

// TestSlowFollower: one that reads nothing holds up neither proposals nor other followers.
func TestSlowFollower(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	conn, err := wire.Dial(h.addr, wire.ClientOptions{TLS: n.source(mx, mx.node).ClientTLS(wire.HubIdentity(n.current, n.now).Verify)})
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = directoryv1.NewDirectoryServiceClient(conn).Follow(within(t, time.Minute), &directoryv1.FollowRequest{From: 1})
	must(t, err)
	for i := range 60 { // more than a stream's window
		n.move(mx, strings.Repeat("x", 200)+".example.org:"+string(rune('1'+i%9)))
	}
	got, err := h.clientOf(mx).Fetch(within(t, 20*time.Second), n.current.Load().NetworkID())
	must(t, err)
	if got.Position() != n.current.Load().Position() {
		t.Errorf("fetched up to %d, want %d", got.Position(), n.current.Load().Position())
	}
}

// TestBootstrap: the genesis proves itself by its fingerprint, and the hub by the genesis. PROTOCOL 11.2.
func TestBootstrap(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	ctx := within(t, 20*time.Second)
	config := configOf(self{newHolder(t), n.now}) // any certificate will do
	id := n.current.Load().NetworkID()
	if genesis, err := registry.Bootstrap(ctx, h.addr, id, n.now, config); err != nil || !bytes.Equal(genesis, n.genesis) {
		t.Errorf("Bootstrap: %v", err)
	}
	if _, err := registry.Bootstrap(ctx, h.addr, strings.Repeat("0", 64), n.now, config); fault.CodeOf(err) != "wrong-genesis" {
		t.Errorf("another fingerprint: %v, want wrong-genesis", err)
	}
	// The true genesis from a server that is not the hub it names.
	h.stop()
	n.hub = newRing(t, "hub")
	must(t, n.hub.GenerateHub(time.Now()))
	impostor := n.start()
	if _, err := registry.Bootstrap(ctx, impostor.addr, id, n.now, config); fault.CodeOf(err) != wire.CodeUntrusted {
		t.Errorf("a false hub: %v, want %s", err, wire.CodeUntrusted)
	}
	if _, err := registry.Connect(ctx, impostor.addr, id, n.now, config); fault.CodeOf(err) != wire.CodeUntrusted {
		t.Errorf("Connect to a false hub: %v, want %s", err, wire.CodeUntrusted)
	}
}
