package broadcast_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/seal"
	"github.com/enlace-network/enlace/internal/wire"
)

const networkName = "test-net"

// world is some states that share one directory, with real ledgers, keys, TLS and gRPC between them; no hub, so the bus
// is away and alerts go by the direct road.
type world struct {
	t        testing.TB
	current  *directory.Current
	history  *directory.History
	stewards []ed25519.PrivateKey
}

// side is one state's node.
type side struct {
	*broadcast.Broadcaster
	w       *world
	name    authority.Name
	node    authority.Node
	state   ed25519.PrivateKey
	ring    *keyring.Ring
	ledger  *sqlite.Ledger
	dir     string
	listen  net.Listener
	courier *peer.Courier
	server  *wire.Server
	desk    *desk
	cancel  context.CancelFunc
	done    chan struct{}
}

// desk records what an inbox is told.
type desk struct {
	mu     sync.Mutex
	wants  func(message.Subject) bool // guarded by mu; nil = all
	code   string                     // guarded by mu; what Examine answers
	placed map[message.ID]int         // guarded by mu
}

func (d *desk) Wants(_ directory.Rule, s message.Subject) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wants == nil || d.wants(s)
}

func (d *desk) Examine(seal.Alert) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.code
}

// Place writes the row that a re-issue looks at.
func (d *desk) Place(tx ledger.Tx, a seal.Alert) error {
	h := a.Header
	_, err := tx.PutAlert(ledger.Alert{ID: h.Conversation, Own: h.Sender, Issuer: h.Sender, Direction: ledger.In, State: message.AlertIssued,
		Category: h.Category, Urgency: h.Urgency, Status: h.Status, Distribution: message.ByCategory, Version: 1, Latest: h.Key(),
		Created: h.Created, Changed: h.Created, Expires: h.Expires})
	return err
}

func (d *desk) Stored(a seal.Alert) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.placed == nil {
		d.placed = map[message.ID]int{}
	}
	d.placed[a.Header.ID]++
}

func (d *desk) set(wants func(message.Subject) bool, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wants, d.code = wants, code
}

func (d *desk) count(id message.ID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.placed[id]
}

// told counts how often the desk was told of an alert, once it was told at all: that comes after the receipt.
func (w *world) told(d *desk, id message.ID) int {
	w.t.Helper()
	w.eventually("the desk being told", func() bool { return d.count(id) > 0 })
	return d.count(id)
}

func (w *world) now() time.Time { return time.Now() }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits for something that the nodes do by themselves.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			w.t.Fatal("not in time: " + what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// newWorld admits states, each with a node and an authority "police", and starts their nodes.
func newWorld(t testing.TB, states ...string) (*world, []*side) {
	t.Helper()
	w := &world{t: t, current: &directory.Current{}, history: &directory.History{}}
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
	var all []*side
	for _, s := range states {
		all = append(all, w.join(s, []string{"alerts-in", "alerts-out"}))
	}
	for _, s := range all {
		s.start()
	}
	return w, all
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

func (w *world) signed(payload []byte, signers ...signer) []byte {
	w.t.Helper()
	var sigs []directory.Signature
	for _, s := range signers {
		pub := public(w.t, s.key.Public().(ed25519.PublicKey))
		sigs = append(sigs, directory.Signature{Role: s.role, Algorithm: authority.Ed25519, Key: pub.Fingerprint(),
			Value: ed25519.Sign(s.key, authority.Message(directory.SigningPurpose(s.role), payload))})
	}
	return directory.Attach(payload, sigs...)
}

// apply signs a payload and puts the statement into everybody's directory.
func (w *world) apply(payload []byte, signers ...signer) {
	w.t.Helper()
	next, err := directory.Follow(w.history.Newest(), w.signed(payload, signers...))
	w.must(err)
	w.history.Add(next)
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
func (w *world) join(state string, functions []string) *side {
	w.t.Helper()
	st, err := authority.ParseState(state)
	w.must(err)
	s := &side{w: w, dir: w.t.TempDir(), desk: &desk{}}
	s.name, err = authority.ParseName(state + "/police")
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
	s.declare(functions)
	return s
}

// declare says, or says anew, what the side's authority is competent for, all categories.
func (s *side) declare(functions []string) {
	s.w.t.Helper()
	body := &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Authority"}}, Type: "police",
		Node: s.node.String(), NoteVerbale: "test", Languages: []string{"en"}}
	for _, f := range functions {
		body.Competences = append(body.Competences, &formatv1.Competence{Function: f})
	}
	if _, known := s.w.current.Load().At(s.w.now()).Authority(s.name); !known {
		body.Keys = []*formatv1.Key{
			s.declared(directory.PurposeSign, keyring.AuthoritySign(s.name)), s.declared(directory.PurposeSeal, keyring.AuthoritySeal(s.name)),
		}
	}
	payload, err := s.w.draft().DeclareAuthority(s.name, body)
	s.w.must(err)
	s.w.declare(payload, s)
}

// declare signs as the state, one steward who verifies and one who counter-signs.
func (w *world) declare(payload []byte, s *side) {
	w.t.Helper()
	w.apply(payload, signer{directory.RoleState, s.state}, signer{directory.RoleVerify, w.stewards[0]}, signer{directory.RoleCountersign, w.stewards[1]})
}

// suspend bars a state for an hour on the stewards' word.
func (w *world) suspend(s *side) {
	w.t.Helper()
	payload, err := w.draft().Suspend(directory.OfState(s.name.State()), w.now().Add(time.Hour), "test")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
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

// known is a directory that is always fresh.
type known struct{ w *world }

func (k known) Load() *directory.Snapshot                      { return k.w.current.Load() }
func (k known) Base() *directory.Snapshot                      { return k.w.history.Newest() }
func (k known) At(position uint64) (*directory.Snapshot, bool) { return k.w.history.At(position) }
func (k known) Changed() <-chan struct{}                       { return k.w.current.Changed() }
func (k known) Freshness(now time.Time) (string, time.Time)    { return "fresh", now }
func (k known) Audience(c authority.Category, rule directory.Rule, states []authority.State) (directory.Audience, error) {
	return directory.Compute(k.w.history.Newest(), nil, k.w.now(), c, rule, states)
}

// greets takes any hello: handshakes are the business of room exchange.
type greets struct{ s *side }

func (g greets) Hello(context.Context, authority.Node) ([]byte, error)           { return nil, nil }
func (g greets) Greeted(context.Context, authority.Node, []byte) error           { return nil }
func (g greets) Greet(context.Context, authority.Node, []byte) ([]byte, error)   { return nil, nil }
func (g greets) Receive(context.Context, authority.Node, []byte) ([]byte, error) { return nil, nil }

// start opens ledger and door and runs the loops.
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
	s.Broadcaster = broadcast.New(broadcast.Options{
		Node: s.node, NodeKey: sign.Fingerprint, Incarnation: s.ledger.Identity().Incarnation, Ledger: s.ledger, Keys: s.ring,
		Directory: known{w}, Bus: bus.NewClient(bus.ClientOptions{Log: zap.NewNop()}), Courier: s.courier,
		Flush: 50 * time.Millisecond, Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	})
	s.Attach(s.desk)
	s.courier.Greet(greets{s}, s.Heard)
	identity := wire.NodeIdentity(w.current, w.now)
	s.server = wire.NewServer(wire.ServerOptions{TLS: source.ServerTLS(identity.Verify), Changed: identity.Changed,
		Authorise: identity.Authorise(func(wire.Peer, string) error { return nil }), Log: zap.NewNop()})
	peer.Register(s.server, inbox{greets{s}}, s.Broadcaster, shelf{}, nil)
	go func() { _ = s.server.Serve(s.listen) }()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() { defer close(s.done); _ = s.Run(ctx) }()
	w.t.Cleanup(s.stop)
}

func (s *side) open() {
	w := s.w
	w.t.Helper()
	key, err := s.ring.Secret(keyring.LedgerSecret)
	w.must(err)
	salt, err := s.ring.Secret(keyring.SaltSecret)
	w.must(err)
	note, err := s.ring.NoteSigner(keyring.NodeEvidence)
	w.must(err)
	s.ledger, err = sqlite.Open(context.Background(), sqlite.Config{
		Dir: filepath.Join(s.dir, "ledger"), Key: [32]byte(key), Network: w.current.Load().NetworkID(), Node: s.node,
		Origin: "test/" + s.node.String(), Keys: ledger.Keys{Signer: note, Secret: [32]byte(salt)}, Random: rand.Reader,
		Created: ledger.Event{Time: w.now(), Kind: "ledger-created", Actor: "node"},
	})
	w.must(err)
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

func category(t testing.TB) authority.Category {
	t.Helper()
	c, err := authority.ParseCategory("drugs.trafficking")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// alert signs an alert for a ready audience.
func (s *side) alert(r broadcast.Ready, urgency message.Urgency, text string) seal.Alert {
	w := s.w
	w.t.Helper()
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	sign, err := s.ring.Public(keyring.AuthoritySign(s.name))
	w.must(err)
	item, err := seal.NewItem("alert", &formatv1.AlertNotice{Title: text, Version: 1}, rand.Reader)
	w.must(err)
	audience := r.Audience
	a, err := seal.NewAlert(context.Background(), seal.AlertDraft{
		Context: message.Context{Network: w.current.Load().NetworkID(), ID: id, Conversation: id, Kind: message.KindAlert, Sender: s.name,
			Audience: &audience, Category: r.Category, Urgency: urgency, Status: message.Actual, Created: w.now(), Expires: w.now().Add(24 * time.Hour),
			Position: audience.Position, Approval: message.Single, Required: []message.RequiredSignature{{Algorithm: authority.Ed25519, Key: sign.Fingerprint()}}},
		Content: seal.Content{Items: []seal.Item{item}},
	}, s.ring, rand.Reader)
	w.must(err)
	return a
}

func (s *side) prepare(states ...authority.State) broadcast.Ready {
	s.w.t.Helper()
	r, err := s.Prepare(context.Background(), category(s.w.t), directory.ByCategory, states)
	s.w.must(err)
	return r
}

// publish issues an alert to all who are competent.
func (s *side) publish(urgency message.Urgency, text string) seal.Alert {
	s.w.t.Helper()
	r := s.prepare()
	a := s.alert(r, urgency, text)
	s.w.must(s.ledger.Update(context.Background(), func(tx ledger.Tx) error {
		if err := s.Commit(context.Background(), tx, r, a); err != nil {
			return err
		}
		return s.desk.Place(tx, a)
	}))
	s.Committed(a)
	return a
}

// states says what each holder's receipt proves, by node.
func (s *side) states(a seal.Alert) map[string]broadcast.HolderState {
	s.w.t.Helper()
	all, err := s.Holders(context.Background(), a.Header.Key())
	s.w.must(err)
	out := map[string]broadcast.HolderState{}
	for _, h := range all {
		out[h.Node.State().String()] = h.State
	}
	return out
}

// all reports whether every holder stands as wanted.
func (s *side) all(a seal.Alert, want broadcast.HolderState, states ...string) bool {
	got := s.states(a)
	return len(got) == len(states) && !slices.ContainsFunc(states, func(n string) bool { return got[n] != want })
}

func (s *side) has(a seal.Alert) bool {
	err := s.ledger.View(context.Background(), func(r ledger.Reader) error {
		_, err := r.Message(a.Header.Key())
		return err
	})
	return err == nil
}

func (s *side) proofs() []ledger.Proof {
	all, err := s.Proofs(context.Background())
	s.w.must(err)
	return all
}

func text(n int) string { return fmt.Sprintf("made-up alert %d", n) }

// inbox takes no directed messages here.
type inbox struct{ greets }

func (inbox) AttachmentStatus(context.Context, authority.Node, message.AttachmentRef) (message.Stored, error) {
	return message.Stored{}, nil
}

func (inbox) ReceiveAttachment(context.Context, authority.Node, message.AttachmentRef, uint64, io.Reader) (message.Stored, error) {
	return message.Stored{}, nil
}

type shelf struct{}

func (shelf) SealedFile(context.Context, authority.Node, message.AttachmentRef, uint64) (io.ReadCloser, error) {
	return nil, fs.ErrNotExist
}

// start2 starts a side that was stopped, at its address.
func (s *side) start2() {
	var err error
	s.listen, err = net.Listen("tcp", s.listen.Addr().String())
	s.w.must(err)
	s.start()
}

// frameStopped reads a frame out of the ledger of a side that does not run.
func (s *side) frameStopped(a seal.Alert) ledger.Link {
	s.open()
	defer func() { s.w.must(s.ledger.Close()) }()
	return s.frame(a)
}

// publishQuietly commits an alert and tells nobody.
func (s *side) publishQuietly(text string) seal.Alert {
	s.w.t.Helper()
	r := s.prepare()
	a := s.alert(r, message.Routine, text)
	s.w.must(s.ledger.Update(context.Background(), func(tx ledger.Tx) error { return s.Commit(context.Background(), tx, r, a) }))
	return a
}

// refuser is a node that answers every control envelope with one code, signed as it must be.
type refuser struct {
	s    *side
	code string
}

func (r refuser) Control(ctx context.Context, _ authority.Node, raw []byte) (message.ControlAnswer, error) {
	env, err := seal.StoredControl(raw)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	sign, err := r.s.ring.Public(keyring.NodeSign)
	if err != nil {
		return message.ControlAnswer{}, err
	}
	receipt, err := seal.SignControlReceipt(ctx, r.s.ring, sign.Fingerprint(), seal.ControlReceipt{Network: env.Network, Node: r.s.node,
		Incarnation: message.Incarnation{Counter: 1}, From: env.From, ID: env.ID, Digest: env.Digest, Stage: message.Rejected, Code: r.code,
		Time: r.s.w.now(), Checkpoint: message.DigestOf(nil)})
	return message.ControlAnswer{Receipt: receipt}, err
}

func (refuser) TakeFrames(_ context.Context, _ authority.Node, frames []message.CarriedFrame) (int, error) {
	return len(frames), nil
}

func (refuser) Heard(authority.Node) {}

// hostile opens the side's door, which was stopped, on a road of another kind.
func (s *side) hostile(road peer.Road) *wire.Server {
	w := s.w
	w.t.Helper()
	var err error
	s.listen, err = net.Listen("tcp", s.listen.Addr().String())
	w.must(err)
	id, err := authority.NodeID(s.node, networkName)
	w.must(err)
	identity := wire.NodeIdentity(w.current, w.now)
	server := wire.NewServer(wire.ServerOptions{TLS: s.ring.NodeSource(id, nil, w.now).ServerTLS(identity.Verify), Changed: identity.Changed,
		Authorise: identity.Authorise(func(wire.Peer, string) error { return nil }), Log: zap.NewNop()})
	peer.Register(server, inbox{greets{s}}, road, shelf{}, nil)
	go func() { _ = server.Serve(s.listen) }()
	return server
}
