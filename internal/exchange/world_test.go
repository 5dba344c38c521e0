package exchange_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/wire"
)

const networkName = "test-net"

// world is two states that share one directory, with real ledgers, keys, TLS and gRPC between them; no hub.
type world struct {
	t        testing.TB
	current  *directory.Current
	stewards []ed25519.PrivateKey
	mu       sync.Mutex
	offset   time.Duration // guarded by mu; added to the real time
	mx, jm   *side
	bb       *side // only where a test joins it
}

// side is one state's node.
type side struct {
	*exchange.Exchange
	w       *world
	name    authority.Name
	node    authority.Node
	state   ed25519.PrivateKey
	ring    *keyring.Ring
	ledger  *sqlite.Ledger
	dir     string
	disk    *disk  // below the ledger; nil = the operating system's
	spool   string // of attachments
	listen  net.Listener
	courier *peer.Courier
	server  *wire.Server
	cancel  context.CancelFunc
	done    chan struct{}
	// begin is a new incarnation to begin with; meddle comes between the side and what its peers give back.
	begin  *ledger.Begin
	meddle func(exchange.Peers) exchange.Peers
}

func (s *side) peers() exchange.Peers {
	if s.meddle != nil {
		return s.meddle(s.courier)
	}
	return s.courier
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, current: &directory.Current{}}
	body := &formatv1.Genesis{Name: networkName, Threshold: 2, Nonce: make([]byte, 16), Hub: &formatv1.Hub{Endpoints: []string{"127.0.0.1:1"}}}
	for range 2 {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		w.must(err)
		w.stewards = append(w.stewards, key)
		body.Stewards = append(body.Stewards, directory.DeclareKey(directory.PurposeSteward, public(t, pub), time.Time{}))
	}
	hub := w.ring("hub", func(r *keyring.Ring) error { return r.GenerateHub(time.Now()) }, "hub")
	logKey, err := hub.Public(keyring.HubLog)
	w.must(err)
	body.Hub.LogKey = directory.DeclareKey(directory.PurposeLog, logKey, time.Time{})
	body.Hub.CaCertificates = hub.CACertificates()
	payload, err := directory.DraftGenesis(time.Now(), body)
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	w.mx, w.jm = w.join("mx", "fgr"), w.join("jm", "jcf")
	w.mx.start()
	w.jm.start()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func public(t testing.TB, b []byte) authority.PublicKey {
	t.Helper()
	k, err := authority.ParsePublicKey(authority.Ed25519, b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type signer struct {
	role directory.Role
	key  ed25519.PrivateKey
}

func (w *world) by(role directory.Role, keys ...ed25519.PrivateKey) []signer {
	var out []signer
	for _, k := range keys {
		out = append(out, signer{role, k})
	}
	return out
}

// apply signs a payload and puts the statement into the directory of both.
func (w *world) apply(payload []byte, signers ...signer) {
	w.t.Helper()
	var sigs []directory.Signature
	for _, s := range signers {
		pub := public(w.t, s.key.Public().(ed25519.PublicKey))
		sigs = append(sigs, directory.Signature{Role: s.role, Algorithm: authority.Ed25519, Key: pub.Fingerprint(),
			Value: ed25519.Sign(s.key, authority.Message(directory.SigningPurpose(s.role), payload))})
	}
	next, err := directory.Follow(w.current.Load(), directory.Attach(payload, sigs...))
	w.must(err)
	w.current.Store(next)
}

func (w *world) draft() directory.Draft {
	return directory.Draft{Snapshot: w.current.Load(), Created: w.now(), Random: rand.Reader}
}

func (w *world) ring(name string, generate func(*keyring.Ring) error, ca string) *keyring.Ring {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	w.must(os.MkdirAll(dir, 0o700))
	unlock, err := keyring.NewUnlockFile(filepath.Join(dir, "unlock"))
	w.must(err)
	r, err := keyring.Create(filepath.Join(dir, "keyring.age"), unlock)
	w.must(err)
	w.must(generate(r))
	w.must(r.GenerateCA(ca, time.Now()))
	return r
}

// join admits a state with one node and one authority.
func (w *world) join(state, slug string) *side {
	w.t.Helper()
	st, err := authority.ParseState(state)
	w.must(err)
	s := &side{w: w, dir: w.t.TempDir()}
	s.spool = s.dir
	s.name, err = authority.ParseName(state + "/" + slug)
	w.must(err)
	s.node, err = authority.ParseNode(state + "/node/primary")
	w.must(err)
	s.ring = w.ring(state, func(r *keyring.Ring) error {
		if err := r.GenerateNode(time.Now()); err != nil {
			return err
		}
		return r.GenerateAuthority(s.name, time.Now())
	}, state)
	s.listen, err = net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	_, s.state, err = ed25519.GenerateKey(rand.Reader)
	w.must(err)
	statePublic := public(w.t, s.state.Public().(ed25519.PublicKey))
	payload, err := w.draft().AdmitState(st, &formatv1.AdmitState{Threshold: 1, CaCertificates: s.ring.CACertificates(), NoteVerbale: "test",
		Keys: []*formatv1.Key{directory.DeclareKey(directory.PurposeState, statePublic, time.Time{})}})
	w.must(err)
	w.apply(payload, append(w.by(directory.RoleSteward, w.stewards...), w.by(directory.RoleState, s.state)...)...)
	payload, err = w.draft().DeclareNode(s.node, &formatv1.DeclareNode{Endpoints: []string{s.listen.Addr().String()}, Versions: []uint32{1}, NoteVerbale: "test", Keys: s.nodeKeys()})
	w.must(err)
	w.declare(payload, s)
	payload, err = w.draft().DeclareAuthority(s.name, &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Authority"}}, Type: "police",
		Node: s.node.String(), NoteVerbale: "test", Competences: []*formatv1.Competence{{Function: "requests"}}, Languages: []string{"en"},
		Keys: []*formatv1.Key{
			s.declared(directory.PurposeSign, keyring.AuthoritySign(s.name)), s.declared(directory.PurposeSeal, keyring.AuthoritySeal(s.name)),
		}})
	w.must(err)
	w.declare(payload, s)
	return s
}

// declare signs as the state, one steward who verifies and one who counter-signs.
func (w *world) declare(payload []byte, s *side) {
	w.t.Helper()
	w.apply(payload, signer{directory.RoleState, s.state}, signer{directory.RoleVerify, w.stewards[0]}, signer{directory.RoleCountersign, w.stewards[1]})
}

func (s *side) declared(purpose directory.KeyPurpose, slot keyring.Slot) *formatv1.Key {
	s.w.t.Helper()
	k, err := s.ring.Public(slot)
	s.w.must(err)
	return directory.DeclareKey(purpose, k, time.Time{})
}

func (s *side) nodeKeys() []*formatv1.Key {
	return []*formatv1.Key{
		s.declared(directory.PurposeSign, keyring.NodeSign), s.declared(directory.PurposeSeal, keyring.NodeSeal),
		s.declared(directory.PurposeWitness, keyring.NodeWitness), s.declared(directory.PurposeEvidence, keyring.NodeEvidence),
		s.declared(directory.PurposeBus, keyring.NodeBus),
	}
}

// dir is a directory that is always fresh.
type dir struct{ *directory.Current }

func (dir) Freshness(now time.Time) (string, time.Time) { return "fresh", now }

// everyone lets every actor do everything: what policy forbids is tested in room policy and through the door.
type everyone struct{}

func (everyone) Allow(context.Context, exchange.Actor, string, exchange.Resource) error { return nil }

// files hands out what was sent, to who lost it.
type files struct{ *exchange.Exchange }

func (f files) SealedFile(ctx context.Context, from authority.Node, ref message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	return f.SealedOut(ctx, from, ref, offset)
}

// start opens ledger and door and runs the courier.
func (s *side) start() {
	w := s.w
	w.t.Helper()
	s.open()
	id, err := authority.NodeID(s.node, networkName)
	w.must(err)
	source := s.ring.NodeSource(id, nil, w.now)
	s.courier = peer.NewCourier(w.current, w.now, func(n authority.Node) *tls.Config {
		return source.ClientTLS(wire.ThisNode(w.current, w.now, n).Verify)
	})
	sign, err := s.ring.Public(keyring.NodeSign)
	w.must(err)
	lists, err := message.LoadLists()
	w.must(err)
	s.Exchange = exchange.New(exchange.Options{
		Node: s.node, NodeKey: sign.Fingerprint, Incarnation: s.ledger.Identity().Incarnation, Ledger: s.ledger, Keys: s.ring,
		Directory: dir{w.current}, Courier: s.courier, Peers: s.peers(), Gate: everyone{}, Lists: lists, Spool: s.spool,
		Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	})
	w.must(s.Settle(context.Background()))
	s.courier.Greet(s.Exchange, nil)
	identity := wire.NodeIdentity(w.current, w.now)
	s.server = wire.NewServer(wire.ServerOptions{TLS: source.ServerTLS(identity.Verify), Changed: identity.Changed,
		Authorise: identity.Authorise(func(wire.Peer, string) error { return nil }), Log: zap.NewNop()})
	peer.Register(s.server, s.Exchange, nil, files{s.Exchange}, nil)
	go func() { _ = s.server.Serve(s.listen) }()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() { defer close(s.done); _ = s.Run(ctx) }()
	w.t.Cleanup(s.stop)
}

func (s *side) open() {
	s.w.t.Helper()
	var err error
	s.ledger, err = sqlite.Open(context.Background(), s.config(filepath.Join(s.dir, "ledger")))
	s.w.must(err)
}

// config is that of the side's ledger, or of a copy of it in another folder.
func (s *side) config(dir string) sqlite.Config {
	w := s.w
	w.t.Helper()
	key, err := s.ring.Secret(keyring.LedgerSecret)
	w.must(err)
	salt, err := s.ring.Secret(keyring.SaltSecret)
	w.must(err)
	note, err := s.ring.NoteSigner(keyring.NodeEvidence)
	w.must(err)
	cfg := sqlite.Config{
		Dir: dir, Key: [32]byte(key), Network: w.current.Load().NetworkID(), Node: s.node,
		Origin: "test/" + s.node.String(), Keys: ledger.Keys{Signer: note, Secret: [32]byte(salt)}, Random: rand.Reader,
		Created: ledger.Event{Time: w.now(), Kind: "ledger-created", Actor: "node"}, Begin: s.begin,
	}
	if s.disk != nil {
		cfg.VFS = s.disk
	}
	return cfg
}

// stop ends the side in reverse order; it may be called twice.
func (s *side) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.done
	s.server.Stop()
	s.courier.Close()
	s.w.must(s.ledger.Close())
	s.cancel = nil
}

// restart stops and starts the side on the same data and address.
func (s *side) restart() {
	s.stop()
	var err error
	s.listen, err = net.Listen("tcp", s.listen.Addr().String())
	s.w.must(err)
	s.start()
}

// actor is an account that may do everything.
func (s *side) actor() exchange.Actor {
	return exchange.Actor{Account: "test", Authority: s.name, Roles: []string{"user", "approver", "duty"}}
}

func (s *side) conflicts(key message.Key) ([]ledger.Conflict, error) {
	var out []ledger.Conflict
	err := s.ledger.View(context.Background(), func(r ledger.Reader) error {
		var err error
		out, err = r.Conflicts(key)
		return err
	})
	return out, err
}
