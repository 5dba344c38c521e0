package bus_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const networkName = "test.example"

// world is a directory with real keys, and the hub's side of a bus on it.
type world struct {
	t        *testing.T
	current  *directory.Current
	stewards [2]holder
	hub      *keyring.Ring
	ahead    atomic.Int64 // nanoseconds that the directory's clock is ahead
	data     string
	held     atomic.Pointer[bus.Bus]
	stop     func()
}

// holder is a state or steward key.
type holder struct{ ed25519.PrivateKey }

// member is a state with one node and one authority.
type member struct {
	w     *world
	state authority.State
	node  authority.Node
	key   holder
	ring  *keyring.Ring
	path  string // of the ring
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// patience is the least that a test waits for what comes by itself: what is promised sooner is measured by its test.
const patience = 30 * time.Second

// soon waits for something to become true.
func soon(t testing.TB, d time.Duration, what string, is func() bool) {
	t.Helper()
	d = max(d, patience)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not in %v: %s", d, what)
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

func unlock() keyring.Unlock {
	return keyring.UnlockWith(keyring.NewPassphrase("only for this test").WithWorkFactor(10))
}

func newRing(t *testing.T, label string) (*keyring.Ring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	r, err := keyring.Create(path, unlock())
	must(t, err)
	must(t, r.GenerateCA(label, time.Now()))
	return r, path
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, current: &directory.Current{}, stewards: [2]holder{newHolder(t), newHolder(t)}, data: t.TempDir()}
	w.hub, _ = newRing(t, "hub")
	must(t, w.hub.GenerateHub(time.Now()))
	logKey, err := w.hub.Public(keyring.HubLog)
	must(t, err)
	g := &formatv1.Genesis{Name: networkName, Threshold: 2, Nonce: bytes.Repeat([]byte{7}, 16),
		Hub: &formatv1.Hub{LogKey: directory.DeclareKey(directory.PurposeLog, logKey, time.Time{}),
			CaCertificates: w.hub.CACertificates(), Endpoints: []string{"127.0.0.1:1"}}}
	for _, s := range w.stewards {
		g.Stewards = append(g.Stewards, directory.DeclareKey(directory.PurposeSteward, s.public(), time.Time{}))
	}
	payload, err := directory.DraftGenesis(w.now(), g)
	must(t, err)
	w.apply(payload, w.both(payload)...)
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *world) draft() directory.Draft {
	return directory.Draft{Snapshot: w.current.Load(), Created: w.now(), Random: rand.Reader}
}

func (w *world) apply(payload []byte, signatures ...directory.Signature) {
	w.t.Helper()
	signed := directory.Attach(payload, signatures...)
	must(w.t, w.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return directory.Follow(s, signed) }))
}

func (w *world) both(payload []byte) []directory.Signature {
	return []directory.Signature{w.stewards[0].sign(directory.RoleSteward, payload), w.stewards[1].sign(directory.RoleSteward, payload)}
}

func (w *world) verified(m *member, payload []byte) {
	w.t.Helper()
	w.apply(payload, m.key.sign(directory.RoleState, payload), w.stewards[0].sign(directory.RoleVerify, payload),
		w.stewards[1].sign(directory.RoleCountersign, payload))
}

// admit takes a state in, with a node and an authority that receives alerts of the categories; none: of all.
func (w *world) admit(label string, categories ...string) *member {
	w.t.Helper()
	state, err := authority.ParseState(label)
	must(w.t, err)
	node, err := authority.ParseNode(label + "/node/primary")
	must(w.t, err)
	m := &member{w: w, state: state, node: node, key: newHolder(w.t)}
	m.ring, m.path = newRing(w.t, label)
	payload, err := w.draft().AdmitState(m.state, &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, m.key.public(), time.Time{})},
		Threshold: 1, CaCertificates: m.ring.CACertificates(), NoteVerbale: "1/26"})
	must(w.t, err)
	w.apply(payload, append(w.both(payload), m.key.sign(directory.RoleState, payload))...)
	must(w.t, m.ring.GenerateNode(time.Now()))
	payload, err = w.draft().DeclareNode(node, &formatv1.DeclareNode{Versions: []uint32{1}, NoteVerbale: "2/26", Keys: []*formatv1.Key{
		m.declared(directory.PurposeSign, keyring.NodeSign), m.declared(directory.PurposeSeal, keyring.NodeSeal),
		m.declared(directory.PurposeBus, keyring.NodeBus)}})
	must(w.t, err)
	w.verified(m, payload)
	m.designate(categories...)
	return m
}

func (m *member) declared(purpose directory.KeyPurpose, slot keyring.Slot) *formatv1.Key {
	m.w.t.Helper()
	public, err := m.ring.Public(slot)
	must(m.w.t, err)
	return directory.DeclareKey(purpose, public, time.Time{})
}

// designate declares the authority, or amends what it is competent for.
func (m *member) designate(categories ...string) {
	m.w.t.Helper()
	name, err := authority.ParseName(m.state.String() + "/fgr")
	must(m.w.t, err)
	body := &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Unit"}}, Type: "police", Node: m.node.String(),
		NoteVerbale: "3/26", Languages: []string{"en"}, Competences: []*formatv1.Competence{{Function: "alerts-in", Categories: categories}}}
	if _, known := m.w.current.Load().Last(directory.OfAuthority(name)); !known {
		must(m.w.t, m.ring.GenerateAuthority(name, time.Now()))
		body.Keys = []*formatv1.Key{m.declared(directory.PurposeSign, keyring.AuthoritySign(name)), m.declared(directory.PurposeSeal, keyring.AuthoritySeal(name))}
	}
	payload, err := m.w.draft().DeclareAuthority(name, body)
	must(m.w.t, err)
	m.w.verified(m, payload)
}

func (m *member) suspend(d time.Duration) {
	m.w.t.Helper()
	payload, err := m.w.draft().Suspend(directory.OfState(m.state), m.w.now().Add(d), "")
	must(m.w.t, err)
	m.w.apply(payload, m.w.both(payload)...)
}

func (m *member) reinstate() {
	m.w.t.Helper()
	payload, err := m.w.draft().Reinstate(directory.OfState(m.state), "")
	must(m.w.t, err)
	m.w.apply(payload, m.w.both(payload)...)
}

func (m *member) revoke() {
	m.w.t.Helper()
	payload, err := m.w.draft().RevokeNode(m.node, "stolen")
	must(m.w.t, err)
	m.w.apply(payload, m.key.sign(directory.RoleState, payload))
}

// rotateBus declares another bus key in place of the one in use.
func (m *member) rotateBus() {
	m.w.t.Helper()
	old, err := m.ring.Public(keyring.NodeBus)
	must(m.w.t, err)
	must(m.w.t, m.ring.Rotate(time.Now(), keyring.NodeBus))
	fp := old.Fingerprint()
	payload, err := m.w.draft().RotateNode(m.node, &formatv1.RotateNode{Add: []*formatv1.Key{m.declared(directory.PurposeBus, keyring.NodeBus)}, Retire: [][]byte{fp[:]}})
	must(m.w.t, err)
	m.w.apply(payload, m.key.sign(directory.RoleState, payload))
}

// --- the bus

func categories(t testing.TB, names ...string) []authority.Category {
	t.Helper()
	var all []authority.Category
	for _, n := range names {
		c, err := authority.ParseCategory(n)
		must(t, err)
		all = append(all, c)
	}
	return all
}

func (w *world) options() bus.Options {
	return bus.Options{Keys: w.hub, Directory: w.current, Clock: w.now, Log: notes(), CA: w.ca(),
		Categories: categories(w.t, "drugs", "drugs.trafficking", "drugs.precursors", "fraud.financial", "tip.sexual")}
}

func (w *world) ca() []byte {
	var out []byte
	for _, der := range w.hub.CACertificates() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

func (w *world) tls() *tls.Config {
	w.t.Helper()
	id, err := authority.HubID(networkName)
	must(w.t, err)
	return w.hub.HubSource(id, []string{"127.0.0.1"}, time.Now).OperatorTLS()
}

// start runs the hub's side with an embedded server.
func (w *world) start(change ...func(*bus.Options)) {
	w.t.Helper()
	w.startAt("127.0.0.1:0", change...)
}

func (w *world) startAt(listen string, change ...func(*bus.Options)) {
	w.t.Helper()
	o := w.options()
	o.Embedded = &bus.Embedded{Data: w.data, Listen: listen, TLS: w.tls()}
	for _, c := range change {
		c(&o)
	}
	w.run(o)
}

// bus is the hub's side that runs now.
func (w *world) bus() *bus.Bus { return w.held.Load() }

func (w *world) run(o bus.Options) {
	w.t.Helper()
	b, err := bus.Start(o)
	must(w.t, err)
	w.held.Store(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		must(w.t, <-done)
		must(w.t, b.Close())
	})
	w.t.Cleanup(w.stop)
}

// access asks as the hub's door would for the node that calls.
func (m *member) access(ctx context.Context, filters []string) (bus.Access, error) {
	a, err := m.w.bus().Access(ctx, m.node, filters)
	if addr := m.w.bus().Addr(); addr != "" {
		a.URLs = []string{"tls://" + addr}
	}
	return a, err
}

func (m *member) sign(nonce []byte) ([]byte, error) { return m.ring.SignNonce(keyring.NodeBus, nonce) }

func everything() []string { return []string{"drugs.*.*", "fraud.*.*", "tip.*.*"} }

// raw connects with the node's own credentials and nothing of our client.
func (m *member) raw(filters ...string) *nats.Conn {
	m.w.t.Helper()
	a, err := m.access(within(m.w.t, 10*time.Second), filters)
	must(m.w.t, err)
	return m.rawWith(a)
}

func (m *member) rawWith(a bus.Access) *nats.Conn {
	m.w.t.Helper()
	c, err := m.tryRaw(a)
	must(m.w.t, err)
	m.w.t.Cleanup(c.Close)
	return c
}

func (m *member) tryRaw(a bus.Access) (*nats.Conn, error) {
	return nats.Connect(a.URLs[0], nats.RootCAs(m.w.caFile()), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.UserJWT(func() (string, error) { return a.JWT, nil }, m.sign), nats.CustomInboxPrefix("_INBOX."+m.state.String()+"."+m.node.Slug()))
}

func (w *world) caFile() string {
	path := filepath.Join(w.t.TempDir(), "ca.pem")
	must(w.t, writeFile(path, w.ca()))
	return path
}

// reader is a node with our client that keeps what arrives.
type reader struct {
	*bus.Client
	m    *member
	mu   sync.Mutex
	come []bus.Arrival
	// refuse is asked first; nil takes everything.
	refuse func(bus.Arrival) error
	// filters and changed are the node's wishes.
	filters []string
	changed chan struct{}
	// mail takes mail; nil = none is wanted.
	mail func(context.Context, bus.Letter) error
	stop func()
}

func (m *member) read(change ...func(*reader)) *reader {
	m.w.t.Helper()
	r := m.reader(change...)
	soon(m.w.t, 10*time.Second, "connected", func() bool { return !r.Status().Connected.IsZero() })
	return r
}

func (m *member) reader(change ...func(*reader)) *reader {
	r := &reader{m: m, filters: everything(), changed: make(chan struct{})}
	for _, c := range change {
		c(r)
	}
	r.Client = bus.NewClient(bus.ClientOptions{Node: m.node, Access: m.access, Sign: m.sign, Handle: r.handle, Mail: r.mail, Log: notes(),
		Filters: func() []string { r.mu.Lock(); defer r.mu.Unlock(); return r.filters },
		Changed: func() <-chan struct{} { r.mu.Lock(); defer r.mu.Unlock(); return r.changed }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		must(m.w.t, <-done)
	})
	m.w.t.Cleanup(r.stop)
	return r
}

func (r *reader) handle(_ context.Context, a bus.Arrival) error {
	if r.refuse != nil {
		if err := r.refuse(a); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.come = append(r.come, a)
	return nil
}

func (r *reader) wish(filters ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.filters = filters
	close(r.changed)
	r.changed = make(chan struct{})
}

// arrivals are what has come.
func (r *reader) arrivals() []bus.Arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.come)
}

// texts are what has come, sorted.
func (r *reader) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, a := range r.come {
		all = append(all, string(a.Data))
	}
	slices.Sort(all)
	return all
}

func (r *reader) has(texts ...string) func() bool {
	return func() bool {
		got := r.texts()
		for _, want := range texts {
			if !slices.Contains(got, want) {
				return false
			}
		}
		return true
	}
}

// notes is where the daemons' lines go; BUS_LOG shows them.
func notes() *zap.Logger {
	if os.Getenv("BUS_LOG") == "" {
		return zap.NewNop()
	}
	l, _ := zap.NewDevelopment()
	return l
}

// stored is how many messages the hub sees in a publisher's stream.
func (w *world) stored(publisher string) uint64 {
	w.t.Helper()
	n, err := w.bus().Stored(within(w.t, 5*time.Second), publisher)
	must(w.t, err)
	return n
}

// thief signs with the keys that the member has now, whatever becomes of them.
func (m *member) thief() func([]byte) ([]byte, error) {
	m.w.t.Helper()
	copied, err := keyring.Open(m.path, unlock())
	must(m.w.t, err)
	return func(nonce []byte) ([]byte, error) { return copied.SignNonce(keyring.NodeBus, nonce) }
}
