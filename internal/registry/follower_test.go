package registry_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/registry"
)

// following is a running follower.
type following struct {
	*registry.Follower
	stop   func()
	alarms *alarms
}

type alarms struct {
	mu  sync.Mutex
	all []string
}

func (a *alarms) raise(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, fault.CodeOf(err))
}

func (a *alarms) raised() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

// options are those of m's node towards a hub.
func (n *network) options(m *member, data, addr string) registry.FollowerOptions {
	return registry.FollowerOptions{Data: data, Fingerprint: n.current.Load().NetworkID(), Genesis: n.genesis,
		Hubs: []string{addr}, TLS: configOf(n.source(m, m.node)), Now: n.now, Log: zap.NewNop()}
}

func (n *network) follow(m *member, data, addr string) *following {
	n.t.Helper()
	return n.run(n.options(m, data, addr))
}

func (n *network) run(o registry.FollowerOptions) *following {
	n.t.Helper()
	a := &alarms{}
	o.Alarm = a.raise
	f, err := registry.OpenFollower(o)
	must(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			n.t.Errorf("Run: %v", err)
		}
		must(n.t, f.Close())
	})
	n.t.Cleanup(stop)
	return &following{f, stop, a}
}

// reach waits until the follower has that position.
func (f *following) reach(t *testing.T, position uint64) {
	t.Helper()
	eventually(t, func() bool { return f.Current().Load().Position() >= position })
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass within 30 s")
		}
	}
}

// TestFollowThousand: a node that joins late has every statement, byte for byte, and so after a restart without hub.
// PROTOCOL 11.4, promise P8.
func TestFollowThousand(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	for n.current.Load().Position() < 1000 {
		n.ahead.Add(int64(time.Minute)) // as many as one state may
		n.move(mx, "example.org:443")
	}
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	f.reach(t, 1000)
	n.move(mx, "example.org:444") // and live
	f.reach(t, 1001)
	f.stop()
	h.stop()

	f = n.follow(mx, data, h.addr)
	if got := f.Current().Load().Position(); got != 1001 {
		t.Errorf("position %d without the hub, want 1001", got)
	}
	e, _ := f.Current().Load().At(n.now()).Node(mx.node)
	if len(e.Endpoints) != 1 || e.Endpoints[0] != "example.org:444" {
		t.Errorf("endpoints %v, want the last", e.Endpoints)
	}
	mine, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	defer func() { _ = mine.Close() }()
	for p := uint64(1); p <= 1001; p++ {
		want, err := mine.Read(p)
		must(t, err)
		if got, err := f.Entries().Read(p); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("entry %d is not the hub's: %v", p, err)
		}
	}
	if got := f.alarms.raised(); len(got) > 0 {
		t.Errorf("alarms: %v", got)
	}
}

// TestHubComesBack: the follower finds its hub again and goes on where it was.
func TestHubComesBack(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, n.current.Load().Position())
	h.stop()
	h = n.serve(h.data, h.addr, nil)
	h.known()
	n.move(mx, "example.org:443")
	f.reach(t, n.current.Load().Position())
}

// TestInvalidEntry: an entry of a hub that lies is skipped, keeps its position, and raises an alarm. PROTOCOL 4.15.
func TestInvalidEntry(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	h.stop()
	forged := n.candidate("mx")
	l, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	payload, err := n.draft().RevokeNode(mx.node, "forged")
	must(t, err)
	entry := directory.Attach(payload, forged.key.sign(directory.RoleState, payload))
	must(t, l.Append(entry, entry))
	must(t, l.Close())

	h = n.serve(h.data, "127.0.0.1:0", nil)
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, n.current.Load().Position()+2)
	if err := f.Current().Load().At(n.now()).CheckNode(mx.node); err != nil {
		t.Errorf("the forged revocation took effect: %v", err)
	}
	if got := f.alarms.raised(); len(got) != 1 || got[0] != "invalid-entry" {
		t.Errorf("alarms %v, want one of invalid-entry for both", got)
	}
	// The hub itself goes on: both sides count the entries alike.
	must(t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return s.Skip().Skip(), nil }))
	h.known()
	n.move(mx, "example.org:443")
	f.reach(t, n.current.Load().Position())
}

func TestOpenFollowerRefusals(t *testing.T) {
	n, other := newNetwork(t), newNetwork(t)
	mx := n.candidate("mx")
	o := n.options(mx, t.TempDir(), "127.0.0.1:1")
	o.Genesis = other.genesis
	if _, err := registry.OpenFollower(o); fault.CodeOf(err) != "wrong-genesis" {
		t.Errorf("the genesis of another network: %v, want wrong-genesis", err)
	}
	o.Genesis = nil
	if _, err := registry.OpenFollower(o); fault.CodeOf(err) != "no-genesis" {
		t.Errorf("no genesis: %v, want no-genesis", err)
	}
	f, err := registry.OpenFollower(n.options(mx, o.Data, "127.0.0.1:1"))
	must(t, err)
	defer func() { _ = f.Close() }()
	if _, err := registry.OpenFollower(n.options(mx, o.Data, "127.0.0.1:1")); fault.CodeOf(err) != "data-in-use" {
		t.Errorf("opened twice: %v, want data-in-use", err)
	}
	o = n.options(mx, o.Data, "")
	o.Fingerprint = other.current.Load().NetworkID()
	must(t, f.Close())
	if _, err := registry.OpenFollower(o); fault.CodeOf(err) != "wrong-genesis" {
		t.Errorf("data of another network: %v, want wrong-genesis", err)
	}
}

// TestOnSight: a revocation that came by another road is in force at once, after a restart too, and is brought to the hub
// when there is one. DESIGN 6, promise P7.
func TestOnSight(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	f.reach(t, n.current.Load().Position())
	f.stop()
	addr := h.addr
	h.stop()
	n.propose = nil

	f = n.follow(mx, data, addr)
	revocation := n.revoke(br)
	if news, err := f.Restrict(revocation); !news || err != nil {
		t.Errorf("Restrict: %v, %v; want news", news, err)
	}
	if news, err := f.Restrict(revocation); news || err != nil {
		t.Errorf("Restrict again: %v, %v; want no news", news, err)
	}
	if _, err := f.Restrict(n.genesis); fault.CodeOf(err) != "not-restricting" {
		t.Errorf("Restrict with a genesis: %v, want not-restricting", err)
	}
	for range 2 {
		if err := f.Current().Load().At(n.now()).CheckNode(br.node); fault.CodeOf(err) != "revoked" {
			t.Errorf("the node: %v, want revoked", err)
		}
		f.stop()
		f = n.follow(mx, data, addr)
	}
	if got := len(f.Unlogged()); got != 1 {
		t.Errorf("%d unlogged, want 1", got)
	}
	h = n.serve(h.data, addr, nil)
	eventually(t, func() bool { return h.service.Current().Load().At(n.now()).CheckNode(br.node) != nil })
	eventually(t, func() bool { return len(f.Unlogged()) == 0 })
}

// TestSuspendedNodeSpeaks: it follows no more, and still hands in its revocation. DESIGN 5.
func TestSuspendedNodeSpeaks(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, n.current.Load().Position())
	n.suspend(mx)
	n.propose = nil
	position, err := f.Propose(within(t, 20*time.Second), n.revoke(mx))
	if err != nil || position != n.current.Load().Position() {
		t.Errorf("Propose: %d, %v; want %d", position, err, n.current.Load().Position())
	}
}

func TestFreshness(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f, err := registry.OpenFollower(n.options(mx, data, h.addr))
	must(t, err)
	if state, since := f.Freshness(); state != registry.Stale || !since.IsZero() {
		t.Errorf("never heard the hub: %v since %v, want stale", state, since)
	}
	must(t, f.Close())
	running := n.follow(mx, data, h.addr)
	running.reach(t, n.current.Load().Position())
	eventually(t, func() bool { state, _ := running.Freshness(); return state == registry.Fresh })
	running.stop()
	h.stop()
	for _, test := range []struct {
		ahead time.Duration
		want  registry.Freshness
	}{{14 * time.Minute, registry.Fresh}, {16 * time.Minute, registry.Degraded}, {29 * 24 * time.Hour, registry.Degraded}, {31 * 24 * time.Hour, registry.Stale}} {
		n.ahead.Store(int64(test.ahead))
		f, err := registry.OpenFollower(n.options(mx, data, h.addr))
		must(t, err)
		if state, _ := f.Freshness(); state != test.want {
			t.Errorf("after %v: %v, want %v", test.ahead, state, test.want)
		}
		if err := f.CheckFresh(); (err != nil) != (test.want == registry.Stale) {
			t.Errorf("after %v: CheckFresh: %v", test.ahead, err)
		}
		must(t, f.Close())
	}
}

// TestSyncBeforeUse: a node acts on no entry that its disk does not have.
func TestSyncBeforeUse(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	o := n.options(mx, t.TempDir(), h.addr)
	gate := make(chan struct{})
	var once sync.Once
	open := func() { once.Do(func() { close(gate) }) }
	held := make(chan struct{}, 100)
	o.Sync = func(f *os.File) error {
		if filepath.Base(f.Name()) == "directory.log" {
			held <- struct{}{}
			select {
			case <-gate:
			default:
				if len(held) > 3 { // the file itself, then the genesis: entries and end
					<-gate
				}
			}
		}
		return f.Sync()
	}
	f, err := registry.OpenFollower(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() { open(); cancel(); <-ended; must(t, f.Close()) }()
	eventually(t, func() bool { return len(held) == 4 })
	time.Sleep(200 * time.Millisecond)
	if got := f.Current().Load().Position(); got != 1 {
		t.Errorf("position %d while the entries are not synced, want 1", got)
	}
	open()
	eventually(t, func() bool { return f.Current().Load().Position() == n.current.Load().Position() })
}

func TestFollowersCard(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	card, hash, err := directory.Card{Authority: mustName(t, "mx/fgr"), Desk: "duty", Phone: "+52 1"}.Marshal(bytes.Repeat([]byte{1}, 16))
	must(t, err)
	ctx := within(t, 20*time.Second)
	_, err = h.clientOf(mx).Propose(ctx, n.designate(mx, "fgr", hash), card)
	must(t, err)
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, n.current.Load().Position())
	for _, where := range []string{"from the hub", "from disk"} {
		if got, err := f.Card(ctx, hash); err != nil || !bytes.Equal(got, card) {
			t.Errorf("%s: %q, %v", where, got, err)
		}
		h.stop()
	}
	if _, err := f.Card(ctx, directory.Hash{1}); !fault.Is(err, fault.Retry) {
		t.Errorf("another, without hub: %v, want retry", err)
	}
}

// TestShorterHub: a hub that was restored from an old backup is noticed, and a person told. PROTOCOL 11.4.
func TestShorterHub(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	f.reach(t, n.current.Load().Position())
	f.stop()
	h.stop()
	// The hub comes back with all but the last entry, and mx has all of them and one more.
	old := t.TempDir()
	l, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	shorter, err := registry.OpenLog(filepath.Join(old, "directory.log"), nil)
	must(t, err)
	for e, err := range l.Entries(1) {
		must(t, err)
		must(t, shorter.Append(e))
	}
	must(t, l.Close())
	must(t, shorter.Close())
	n.propose = nil
	longer, err := registry.OpenLog(filepath.Join(data, "directory.log"), nil)
	must(t, err)
	must(t, longer.Append(n.move(mx, "example.org:443")))
	must(t, longer.Close())
	h = n.serve(old, "127.0.0.1:0", nil)
	f = n.follow(mx, data, h.addr)
	eventually(t, func() bool {
		raised := f.alarms.raised()
		return len(raised) > 0 && raised[0] == "beyond-log"
	})
}
