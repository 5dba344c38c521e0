package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	networkName = "test.example"
	// removedWithin is promise P7.
	removedWithin = 10 * time.Second
	patience      = 30 * time.Second
)

// world is a network of nodes with real keys, TLS and sockets, and no hub: what the log has is given to all at once.
type world struct {
	t        *testing.T
	log      [][]byte
	newest   *directory.Snapshot
	stewards [2]holder
}

// holder is a state or steward key.
type holder struct{ ed25519.PrivateKey }

// member is a state with one node, which listens.
type member struct {
	w      *world
	state  authority.State
	node   authority.Node
	key    holder
	ring   *keyring.Ring
	listen net.Listener

	copy    *ownCopy
	courier *peer.Courier
	mesh    *peer.Mesh
	inbox   peer.Inbox
}

func newHolder(t *testing.T) holder {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return holder{key}
}

func (h holder) public() authority.PublicKey {
	k, err := authority.ParsePublicKey(authority.Ed25519, h.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return k
}

func (h holder) sign(role directory.Role, payload []byte) directory.Signature {
	return directory.Signature{Algorithm: authority.Ed25519, Key: h.public().Fingerprint(), Role: role,
		Value: ed25519.Sign(h.PrivateKey, authority.Message(directory.SigningPurpose(role), payload))}
}

// ClientTLS shows a self-signed certificate of the key.
func (h holder) ClientTLS(verify keyring.Verify) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return keyring.SelfSigned(h.PrivateKey, time.Now())
		}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRing(t *testing.T, label string) *keyring.Ring {
	t.Helper()
	unlock := keyring.UnlockWith(keyring.NewPassphrase("only for this test").WithWorkFactor(10))
	r, err := keyring.Create(filepath.Join(t.TempDir(), "keys"), unlock)
	must(t, err)
	must(t, r.GenerateCA(label, time.Now()))
	return r
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, stewards: [2]holder{newHolder(t), newHolder(t)}}
	hub := newRing(t, "hub")
	must(t, hub.GenerateHub(time.Now()))
	logKey, err := hub.Public(keyring.HubLog)
	must(t, err)
	payload, err := directory.DraftGenesis(time.Now(), &formatv1.Genesis{
		Name: networkName,
		Stewards: []*formatv1.Key{
			directory.DeclareKey(directory.PurposeSteward, w.stewards[0].public(), time.Time{}),
			directory.DeclareKey(directory.PurposeSteward, w.stewards[1].public(), time.Time{}),
		},
		Threshold: 2,
		Hub: &formatv1.Hub{LogKey: directory.DeclareKey(directory.PurposeLog, logKey, time.Time{}),
			CaCertificates: hub.CACertificates(), Endpoints: []string{"127.0.0.1:1"}},
		Nonce: bytes.Repeat([]byte{7}, 16),
	})
	must(t, err)
	w.apply(payload, w.both(directory.RoleSteward, payload)...)
	return w
}

func (w *world) both(role directory.Role, payload []byte) []directory.Signature {
	return []directory.Signature{w.stewards[0].sign(role, payload), w.stewards[1].sign(role, payload)}
}

func (w *world) apply(payload []byte, signatures ...directory.Signature) {
	w.t.Helper()
	signed := directory.Attach(payload, signatures...)
	next, err := directory.Follow(w.newest, signed)
	must(w.t, err)
	w.newest, w.log = next, append(w.log, signed)
}

func (w *world) draft() directory.Draft {
	return directory.Draft{Snapshot: w.newest, Created: time.Now(), Random: rand.Reader}
}

// admit declares a state and its node, at an address at which it will listen; outbound leaves the address out.
func (w *world) admit(label string, outbound ...bool) *member {
	w.t.Helper()
	m := w.candidate(label)
	payload, err := w.draft().AdmitState(m.state, &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, m.key.public(), time.Time{})},
		Threshold: 1, CaCertificates: m.ring.CACertificates(), NoteVerbale: "1/26"})
	must(w.t, err)
	w.apply(payload, append(w.both(directory.RoleSteward, payload), m.key.sign(directory.RoleState, payload))...)
	must(w.t, m.ring.GenerateNode(time.Now()))
	body := &formatv1.DeclareNode{Versions: []uint32{1}, NoteVerbale: "2/26"}
	if len(outbound) == 0 {
		body.Endpoints = []string{m.listen.Addr().String()}
	}
	for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{directory.PurposeSign: keyring.NodeSign, directory.PurposeSeal: keyring.NodeSeal} {
		public, err := m.ring.Public(slot)
		must(w.t, err)
		body.Keys = append(body.Keys, directory.DeclareKey(purpose, public, time.Time{}))
	}
	payload, err = w.draft().DeclareNode(m.node, body)
	must(w.t, err)
	w.apply(payload, m.key.sign(directory.RoleState, payload), w.stewards[0].sign(directory.RoleVerify, payload),
		w.stewards[1].sign(directory.RoleCountersign, payload))
	return m
}

func (w *world) candidate(label string) *member {
	w.t.Helper()
	state, err := authority.ParseState(label)
	must(w.t, err)
	node, err := authority.ParseNode(label + "/node/primary")
	must(w.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.t.Cleanup(func() { _ = l.Close() })
	return &member{w: w, state: state, node: node, key: newHolder(w.t), ring: newRing(w.t, label), listen: l}
}

// suspension is what both stewards sign against a state.
func (w *world) suspension(m *member) []byte {
	w.t.Helper()
	payload, err := w.draft().Suspend(directory.OfState(m.state), time.Now().Add(24*time.Hour), "an exercise")
	must(w.t, err)
	return directory.Attach(payload, w.both(directory.RoleSteward, payload)...)
}

// revocation is what a state signs against its node.
func (w *world) revocation(m *member) []byte {
	w.t.Helper()
	payload, err := w.draft().RevokeNode(m.node, "stolen")
	must(w.t, err)
	return directory.Attach(payload, m.key.sign(directory.RoleState, payload))
}

// ownCopy is a node's copy of the directory in memory: every statement is verified by the rules of room directory, as
// room registry's Follower does, which is tried with this room in whole networks.
type ownCopy struct {
	current *directory.Current
	onSight func([]byte)

	mu       sync.Mutex
	log      [][]byte              // guarded by mu
	unlogged []directory.Statement // guarded by mu
	handed   atomic.Int64          // statements whose signatures had to be looked at
	// give, where set, is given instead of what the copy has.
	give iter.Seq2[peer.Entry, error]
}

func (c *ownCopy) Heads() peer.Heads {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := peer.Heads{Head: []byte{byte(len(c.log))}} // a head that needs no signature: its number is its size
	for _, st := range c.unlogged {
		h.Unlogged = append(h.Unlogged, st.Hash())
	}
	return h
}

func (c *ownCopy) Compare(_ authority.Node, theirs peer.Heads) (peer.Want, error) {
	ours := c.Heads()
	var want peer.Want
	if len(theirs.Head) > 0 && theirs.Head[0] > ours.Head[0] {
		want.From = uint64(ours.Head[0]) + 1
	}
	for _, h := range theirs.Unlogged {
		if !slices.Contains(ours.Unlogged, h) {
			want.Restrictions = append(want.Restrictions, h)
		}
	}
	return want, nil
}

func (c *ownCopy) Give(from uint64, restrictions []directory.Hash) (iter.Seq2[peer.Entry, error], func() []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []peer.Entry
	for i := from; i > 0 && i <= uint64(len(c.log)); i++ {
		all = append(all, peer.Entry{Position: i, Statement: c.log[i-1]})
	}
	for _, st := range c.unlogged {
		if slices.Contains(restrictions, st.Hash()) {
			all = append(all, peer.Entry{Statement: st.Signed()})
		}
	}
	head := []byte{byte(len(c.log))}
	if c.give != nil {
		return c.give, func() []byte { return head }
	}
	return func(yield func(peer.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}, func() []byte { return head }
}

func (c *ownCopy) Mend(ctx context.Context, entries iter.Seq2[peer.Entry, error], head func() []byte) error {
	for e, err := range entries {
		if err != nil {
			return err
		}
		if e.Position == 0 {
			if _, _, err := c.HandIn(ctx, e.Statement); err != nil {
				return err
			}
			continue
		}
		if err := c.add(e.Statement); err != nil {
			return err
		}
	}
	if len(head()) == 0 {
		return fault.New(fault.Retry, "no-head", "mend", "no head came")
	}
	return nil
}

func (c *ownCopy) add(statement []byte) error {
	err := c.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return directory.Follow(s, statement) })
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, statement)
	return nil
}

func (c *ownCopy) HandIn(_ context.Context, statement []byte, _ ...[]byte) (string, uint64, error) {
	c.handed.Add(1)
	st, err := directory.ParseStatement(statement)
	if err != nil {
		return "", 0, err
	}
	news := false
	err = c.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) {
		next, err := directory.Restrict(s, st)
		news = err == nil && next != s
		return next, err
	})
	if err != nil {
		return "", 0, err
	}
	if news {
		c.mu.Lock()
		c.unlogged = append(c.unlogged, st)
		c.mu.Unlock()
		c.onSight(statement)
	}
	return "on-sight", 0, nil
}

// inbox greets and takes attachments without end; nothing else comes in these tests.
type inbox struct{ peer.Inbox }

func (inbox) Greet(context.Context, authority.Node, []byte) ([]byte, error) {
	return []byte("good day"), nil
}

func (inbox) Hello(context.Context, authority.Node) ([]byte, error) { return []byte("hello"), nil }

func (inbox) Greeted(context.Context, authority.Node, []byte) error { return nil }

// serve runs the nodes on what the log had up to that many entries before its end.
func (w *world) serve(lacking int, members ...*member) {
	w.t.Helper()
	for _, m := range members {
		m.open(lacking)
		m.run()
	}
}

func (m *member) open(lacking int) {
	w := m.w
	w.t.Helper()
	m.copy = &ownCopy{current: &directory.Current{}, onSight: func(b []byte) { m.mesh.OnSight(b) }}
	for _, entry := range w.log[:len(w.log)-lacking] {
		must(w.t, m.copy.add(entry))
	}
	m.courier = peer.NewCourier(m.copy.current, time.Now, func(n authority.Node) *tls.Config {
		return m.source().ClientTLS(wire.ThisNode(m.copy.current, time.Now, n).Verify)
	})
	m.mesh = peer.NewMesh(peer.MeshOptions{Self: m.node, Current: m.copy.current, Directory: m.copy, Courier: m.courier, Clock: time.Now,
		Log: zap.NewNop(), Patience: time.Second})
	m.courier.Greet(inbox{}, m.mesh.Greeted)
}

func (m *member) run() {
	w := m.w
	identity := wire.MemberIdentity(m.copy.current, time.Now)
	server := wire.NewServer(peer.Bound(wire.ServerOptions{TLS: m.source().ServerTLS(identity.Verify), Authorise: identity.Authorise(peer.Allow),
		Changed: identity.Changed, Log: zap.NewNop()}))
	if m.inbox == nil {
		m.inbox = inbox{}
	}
	peer.Register(server, m.inbox, nil, shelf{}, m.mesh)
	collector := peer.NewCollector(peer.CollectorOptions{Self: m.node, Current: m.copy.current, Courier: m.courier, Clock: time.Now, Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { _ = server.Serve(m.listen) })
	wait.Go(func() { _ = server.Serve(collector.Listener()) })
	wait.Go(func() { _ = collector.Run(ctx) })
	wait.Go(func() { _ = m.mesh.Run(ctx) })
	w.t.Cleanup(func() {
		cancel()
		server.Shut(time.Second)
		wait.Wait()
		m.courier.Close()
	})
}

func (m *member) source() *keyring.Source {
	m.w.t.Helper()
	id, err := authority.NodeID(m.node, networkName)
	must(m.w.t, err)
	return m.ring.NodeSource(id, nil, time.Now)
}

// entry is the member as others have it in the directory.
func (m *member) entry() directory.NodeEntry {
	e, _ := m.w.newest.At(time.Now()).Node(m.node)
	return e
}

// dial connects to a member's door as whoever has the certificate, who ignores what the directory says of himself.
func (m *member) dial(as interface {
	ClientTLS(keyring.Verify) *tls.Config
}) peerv1.PeerServiceClient {
	m.w.t.Helper()
	frozen := &directory.Current{}
	frozen.Store(m.w.newest)
	conn, err := wire.Dial(m.listen.Addr().String(), wire.ClientOptions{TLS: as.ClientTLS(wire.ThisNode(frozen, time.Now, m.node).Verify)})
	must(m.w.t, err)
	m.w.t.Cleanup(func() { _ = conn.Close() })
	return peerv1.NewPeerServiceClient(conn)
}

func (m *member) refuses(other *member) bool {
	return m.copy.current.Load().At(time.Now()).CheckNode(other.node) != nil
}

func eventually(t *testing.T, within time.Duration, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
