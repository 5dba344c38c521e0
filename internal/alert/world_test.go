package alert_test

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

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/peer"
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
	mu       sync.Mutex
	offset   time.Duration // guarded by mu; added to the real time
}

// office is an authority of a side as the directory has it.
type office struct {
	slug string
	in   []string // categories of alerts-in; "all"
	out  []string
	npc  bool
}

// police receives and issues everything.
func police() office { return office{slug: "police", in: []string{"all"}, out: []string{"all"}} }

// side is one state's node. Its desk is rebuilt at every start.
type side struct {
	*alert.Desk
	w        *world
	offices  []office
	name     authority.Name // of the first office
	node     authority.Node
	state    ed25519.PrivateKey
	ring     *keyring.Ring
	ledger   *sqlite.Ledger
	exchange *exchange.Exchange
	road     *broadcast.Broadcaster
	dir      string
	spool    string
	listen   net.Listener
	courier  *peer.Courier
	server   *wire.Server
	cancel   context.CancelFunc
	done     sync.WaitGroup

	// What a test may set before start.
	fourEyes bool
	sender   alert.Sender
	targets  []nudge.Target
	puller   func(alert.Puller) alert.Puller
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

// newWorld admits states, each with a node and an authority "police" that receives and issues everything.
func newWorld(t testing.TB, states ...string) (*world, []*side) {
	t.Helper()
	w := emptyWorld(t)
	var all []*side
	for _, s := range states {
		all = append(all, w.join(s, police()))
	}
	for _, s := range all {
		s.start()
	}
	return w, all
}

func emptyWorld(t testing.TB) *world {
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
	return w
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

// join admits a state with one node and its authorities.
func (w *world) join(state string, offices ...office) *side {
	w.t.Helper()
	st, err := authority.ParseState(state)
	w.must(err)
	s := &side{w: w, dir: w.t.TempDir(), spool: w.t.TempDir(), offices: offices}
	s.name = s.authority(offices[0].slug, state)
	s.node, err = authority.ParseNode(state + "/node/primary")
	w.must(err)
	s.ring = w.ring(state, func(r *keyring.Ring) error {
		if err := r.GenerateNode(time.Now()); err != nil {
			return err
		}
		for _, o := range offices {
			if err := r.GenerateAuthority(s.authority(o.slug, state), time.Now()); err != nil {
				return err
			}
		}
		return nil
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
	for _, o := range offices {
		s.amend(o)
	}
	return s
}

func (s *side) authority(slug, state string) authority.Name {
	s.w.t.Helper()
	name, err := authority.ParseName(state + "/" + slug)
	s.w.must(err)
	return name
}

// office is the name of one of the side's authorities.
func (s *side) office(slug string) authority.Name {
	return s.authority(slug, s.node.State().String())
}

// amend says, or says anew, what an authority of the side is competent for.
func (s *side) amend(o office) {
	s.w.t.Helper()
	name := s.office(o.slug)
	body := &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Authority"}}, Type: "police",
		Node: s.node.String(), NoteVerbale: "test", Languages: []string{"en"}, NationalPointOfContact: o.npc}
	for function, categories := range map[string][]string{"alerts-in": o.in, "alerts-out": o.out} {
		if len(categories) == 0 {
			continue
		}
		if categories[0] == "all" {
			categories = nil
		}
		body.Competences = append(body.Competences, &formatv1.Competence{Function: function, Categories: categories})
	}
	if len(body.Competences) == 0 {
		body.Competences = []*formatv1.Competence{{Function: "requests"}}
	}
	if _, known := s.w.current.Load().At(s.w.now()).Authority(name); !known {
		body.Keys = []*formatv1.Key{
			s.declared(directory.PurposeSign, keyring.AuthoritySign(name)), s.declared(directory.PurposeSeal, keyring.AuthoritySeal(name)),
		}
	}
	payload, err := s.w.draft().DeclareAuthority(name, body)
	s.w.must(err)
	s.w.declare(payload, s)
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

// everyone lets every actor do everything: what policy forbids is tested in room policy and through the door.
type everyone struct{}

func (everyone) Allow(context.Context, exchange.Actor, string, exchange.Resource) error { return nil }

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
	s.build()
	identity := wire.NodeIdentity(w.current, w.now)
	s.server = wire.NewServer(wire.ServerOptions{TLS: source.ServerTLS(identity.Verify), Changed: identity.Changed,
		Authorise: identity.Authorise(func(wire.Peer, string) error { return nil }), Log: zap.NewNop()})
	peer.Register(s.server, s.exchange, s.road, s.Desk, nil)
	go func() { _ = s.server.Serve(s.listen) }()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, run := range []func(context.Context) error{s.exchange.Run, s.road.Run, s.Desk.Run} {
		s.done.Go(func() { _ = run(ctx) })
	}
	w.t.Cleanup(s.stop)
}

// build puts the rooms together as an assembly does.
func (s *side) build() {
	w := s.w
	w.t.Helper()
	sign, err := s.ring.Public(keyring.NodeSign)
	w.must(err)
	lists, err := message.LoadLists()
	w.must(err)
	incarnation := s.ledger.Identity().Incarnation
	s.exchange = exchange.New(exchange.Options{
		Node: s.node, NodeKey: sign.Fingerprint, Incarnation: incarnation, Ledger: s.ledger, Keys: s.ring, Directory: known{w},
		Courier: s.courier, Gate: everyone{}, Lists: lists, Spool: s.spool, Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	})
	w.must(s.exchange.Sweep(context.Background()))
	s.road = broadcast.New(broadcast.Options{
		Node: s.node, NodeKey: sign.Fingerprint, Incarnation: incarnation, Ledger: s.ledger, Keys: s.ring,
		Directory: known{w}, Bus: bus.NewClient(bus.ClientOptions{Log: zap.NewNop()}), Courier: s.courier,
		Flush: 20 * time.Millisecond, Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	})
	var puller alert.Puller = s.courier
	if s.puller != nil {
		puller = s.puller(s.courier)
	}
	s.Desk, err = alert.New(context.Background(), alert.Options{
		Node: s.node, Incarnation: incarnation, Ledger: s.ledger, Keys: s.ring, Directory: known{w}, Road: s.road, Exchange: s.exchange,
		Puller: puller, Gate: everyone{}, Lists: lists, FourEyes: s.fourEyes, Sender: s.sender, Targets: s.targets,
		Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	})
	w.must(err)
	s.road.Attach(s.Desk)
	s.exchange.Alerts = s.Desk
	s.courier.Greet(s.exchange, s.road.Heard)
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
	s.done.Wait()
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

// actor is an account of the side's first authority that may do everything.
func (s *side) actor() exchange.Actor { return s.as("officer") }

func (s *side) as(account string) exchange.Actor {
	return exchange.Actor{Account: account, Authority: s.name, Roles: []string{"user", "approver", "duty"}}
}

// of is an account of another authority of the side.
func (s *side) of(slug string) exchange.Actor {
	return exchange.Actor{Account: "officer", Authority: s.office(slug), Roles: []string{"user", "approver", "duty"}}
}

// subscribe lets the first authority want everything of some categories.
func (s *side) subscribe(categories string) ledger.Subscription {
	s.w.t.Helper()
	sub, err := s.AddSubscription(context.Background(), s.actor(), alert.Wish{Categories: categories})
	s.w.must(err)
	return sub
}

func category(t testing.TB, s string) authority.Category {
	t.Helper()
	c, err := authority.ParseCategory(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// composition is an alert that lacks nothing.
func (w *world) composition(title string) alert.Composition {
	return alert.Composition{AlertCompose: message.AlertCompose{
		Category: category(w.t, "drugs.trafficking"), Status: message.Actual, Urgency: message.Routine,
		Notice: &formatv1.AlertNotice{
			Type: "modus-operandi", Title: title, Summary: "Pills in fruit crates.", Language: "en", Severity: "MODERATE",
			Certainty: "LIKELY", ActionRequested: "INFORM_ONLY", Evaluation: "eu4x4:B2",
			Limits: &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "GREEN"},
		},
	}}
}

// issued creates and publishes an alert.
func (s *side) issued(c alert.Composition) message.ID {
	s.w.t.Helper()
	id, err := s.Create(context.Background(), s.actor(), c)
	s.w.must(err)
	p, err := s.Publish(context.Background(), s.actor(), id)
	s.w.must(err)
	if p.State != message.AlertIssued && p.State != message.AlertUpdated {
		s.w.t.Fatalf("published: %+v", p)
	}
	return id
}

// row is what an authority of the side sees of an alert in its ledger; the zero row where there is none.
func (s *side) row(id message.ID, name authority.Name) ledger.Alert {
	var row ledger.Alert
	_ = s.ledger.View(context.Background(), func(r ledger.Reader) error {
		row, _ = r.Alert(id, name)
		return nil
	})
	return row
}

// until waits for the first authority's row to be as asked.
func (s *side) until(what string, id message.ID, ok func(ledger.Alert) bool) ledger.Alert {
	s.w.t.Helper()
	s.w.eventually(s.node.String()+": "+what, func() bool { return ok(s.row(id, s.name)) })
	return s.row(id, s.name)
}

func state(want message.AlertState) func(ledger.Alert) bool {
	return func(a ledger.Alert) bool { return a.State == want }
}

// events counts those of a kind.
func (s *side) events(kind string) int {
	s.w.t.Helper()
	n := 0
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		all, err := r.Events(0, 0)
		for _, e := range all {
			if e.Kind == kind {
				n++
			}
		}
		return err
	}))
	return n
}

func (w *world) read(r io.ReadCloser, err error) []byte {
	w.t.Helper()
	w.must(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	w.must(err)
	return b
}
