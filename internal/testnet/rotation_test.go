package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/cli"
	"github.com/enlace-network/enlace/internal/directory"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestRotationUnderTraffic replaces every kind of key, one after the other, by the commands that people use, while requests
// go both ways and alerts go out. No daemon is stopped. Every message that a node took arrives once, under whatever key,
// and what is said last is said with the new keys. PROTOCOL 4.14, 4.17.
func TestRotationUnderTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole network")
	}
	n := start(t, testnet.Options{States: []string{"mx", "jm"}})
	r := &rotation{t: t, n: n}
	r.pass = r.path("pass")
	must[int](t)(0, os.WriteFile(r.pass, []byte("a passphrase of a test network\n"), 0o600))
	mx, jm := n.Members[0], n.Members[1]
	subscribe(t, jm, &operatorv1.Subscription{Categories: ">"})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var work errgroup.Group
	work.Go(func() error { return r.requests(ctx, mx, jm) })
	work.Go(func() error { return r.requests(ctx, jm, mx) })
	work.Go(func() error { return r.alerts(ctx, mx) })
	before := map[string]bool{}
	for _, h := range r.keys() {
		before[h] = true
	}
	for _, step := range r.steps() {
		step.run()
		r.goesOn(step.name)
	}
	stop()
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, h := range r.keys() {
		if before[h] {
			t.Errorf("key %s was not replaced", h)
		}
	}
	r.arrived(mx, jm)
}

// rotation is a network whose keys are replaced while it works.
type rotation struct {
	t     *testing.T
	n     *testnet.Network
	pass  string
	moved atomic.Int64

	mu     sync.Mutex
	asked  map[*testnet.Member][]string // guarded by mu; requests by who asked
	warned []string                     // guarded by mu; alerts of the first member
}

func (r *rotation) path(parts ...string) string {
	return filepath.Join(append([]string{r.n.Dir}, parts...)...)
}

// keys are all that the directory uses now.
func (r *rotation) keys() []string {
	v := r.n.Hub.Directory.Load().At(time.Now())
	var all []string
	add := func(s string) { all = append(all, s) }
	for _, k := range v.Snapshot().Stewards().Keys {
		add(k.Public.Fingerprint().String())
	}
	add(v.Snapshot().Hub().LogKey.Public.Fingerprint().String())
	for _, m := range r.n.Members {
		all = append(all, activeKeys(v, m)...)
	}
	return all
}

func (r *rotation) requests(ctx context.Context, from, to *testnet.Member) error {
	for ctx.Err() == nil {
		id, err := from.Submit(r.t.Context(), testnet.Exercise(from, to, "identify-person", "Who is it?"))
		if err != nil {
			return err
		}
		r.mu.Lock()
		if r.asked == nil {
			r.asked = map[*testnet.Member][]string{}
		}
		r.asked[from] = append(r.asked[from], id)
		r.mu.Unlock()
		if _, err := from.Await(r.t.Context(), from.Officer, id, testnet.Receipted); err != nil {
			return err
		}
		r.moved.Add(1)
	}
	return nil
}

func (r *rotation) alerts(ctx context.Context, from *testnet.Member) error {
	for ctx.Err() == nil {
		id, err := from.Publish(r.t.Context(), testnet.ExerciseAlert(from, "drugs.trafficking", "an exercise"))
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.warned = append(r.warned, id)
		r.mu.Unlock()
		if _, err := from.AwaitHolders(r.t.Context(), id, 1); err != nil {
			return err
		}
	}
	return nil
}

// goesOn waits until both nodes have what the hub has, and then for some more requests that were answered for.
func (r *rotation) goesOn(step string) {
	r.t.Helper()
	want := r.n.Hub.Directory.Load().Position()
	end := time.Now().Add(time.Minute)
	for _, m := range r.n.Members {
		current := m.Daemon.Follower.Current()
		for current.Load().Position() < want {
			changed := current.Changed()
			if current.Load().Position() >= want {
				break
			}
			select {
			case <-changed:
			case <-time.After(time.Until(end)):
				r.t.Fatalf("%s: %s has %d of %d entries in force", step, m.State, current.Load().Position(), want)
			}
		}
	}
	for target := r.moved.Load() + 4; r.moved.Load() < target; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: no request goes through any more", step)
		}
	}
}

// arrived holds what was sent against what is there.
func (r *rotation) arrived(first, second *testnet.Member) {
	r.t.Helper()
	other := map[*testnet.Member]*testnet.Member{first: second, second: first}
	sent := 0
	for from, ids := range r.asked {
		for _, id := range ids {
			sent++
			if _, err := other[from].Duty.Requests.GetRequest(r.t.Context(), &operatorv1.GetRequestRequest{Id: id}); err != nil {
				r.t.Errorf("request %s did not arrive: %v", id, err)
			}
		}
	}
	for _, id := range r.warned {
		if _, err := second.AwaitAlert(r.t.Context(), second.Duty, id, func(*operatorv1.GetAlertResponse) bool { return true }); err != nil {
			r.t.Errorf("alert %s did not arrive: %v", id, err)
		}
	}
	r.t.Logf("%d requests and %d alerts went through", sent, len(r.warned))
}

// step is the replacement of one kind of key.
type step struct {
	name string
	run  func()
}

func (r *rotation) steps() []step {
	var all []step
	for _, m := range r.n.Members {
		state, key := m.State.String(), r.path(m.State.String(), m.State.String()+".state-key")
		ring := []string{"--keyring", r.path(state, "keys", "keyring.age"), "--unlock", "file:" + r.path(state+".unlock"), "--submit"}
		for _, what := range [][]string{{m.Authority.String()}, {state + "/node/primary", "--purpose", "sign"}, {state + "/node/primary", "--purpose", "witness"},
			{state + "/node/primary", "--purpose", "seal", "--purpose", "evidence", "--purpose", "bus"}, {state, "--purpose", "ca"}} {
			all = append(all, step{strings.Join(what, " "), func() { r.enlace(key, append(append([]string{"key", "rotate"}, what...), ring...)...) }})
		}
		all = append(all, step{"state " + state, func() { r.state(state, key) }})
	}
	return append(all, step{"hub", r.hub}, step{"stewards", r.stewards})
}

func (r *rotation) state(state, key string) {
	fresh, file := r.path(state+"-2.key"), r.path(state+"-rotate.statements")
	r.plain("state", "keygen", state, "--out", fresh, "--passphrase-file", r.pass, "--work-factor", "10")
	r.enlace(key, "state", "rotate", state, "--public", fresh+".pub", "--out", file)
	r.plain("statement", "sign", file, "--key", fresh, "--passphrase-file", r.pass, "--yes")
	r.plain("statement", "submit", file, "--key", key, "--passphrase-file", r.pass, "--hub", r.n.HubAddr)
}

func (r *rotation) hub() {
	file := r.path("hub.statements")
	r.enlace(r.path("ana.steward"), "network", "rotate-hub", "--log-key", "--keyring", filepath.Join(r.n.HubDir, "keys", "keyring.age"), "--unlock", "file:"+r.path("hub.unlock"), "--out", file)
	r.enlace(r.path("luis.steward"), "statement", "sign", file, "--submit")
}

func (r *rotation) stewards() {
	file := r.path("stewards.statements")
	args := []string{"steward", "rotate", "--threshold", "2", "--out", file}
	for _, name := range []string{"eva", "raul"} {
		r.plain("steward", "keygen", name, "--out", r.path(name), "--passphrase-file", r.pass, "--work-factor", "10")
		args = append(args, "--steward", r.path(name)+".pub")
	}
	r.enlace(r.path("ana.steward"), args...)
	for _, name := range []string{"eva", "raul"} {
		r.plain("statement", "sign", file, "--key", r.path(name), "--passphrase-file", r.pass, "--yes")
	}
	r.enlace(r.path("luis.steward"), "statement", "sign", file, "--submit")
}

// enlace runs a command of the network with a key.
func (r *rotation) enlace(key string, args ...string) {
	r.t.Helper()
	r.plain(append(args, "--key", key, "--passphrase-file", r.pass, "--hub", r.n.HubAddr, "--network", r.n.Fingerprint, "--yes")...)
}

func (r *rotation) plain(args ...string) {
	r.t.Helper()
	var out bytes.Buffer
	if code := cli.Main(r.t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}, time.Now, rand.Reader); code != 0 {
		r.t.Fatalf("enlace %s: exit code %d\n%s", strings.Join(args, " "), code, out.String())
	}
}

// activeKeys are those of a member's state, authority and node, and the newest of its CA certificates.
func activeKeys(v directory.View, m *testnet.Member) []string {
	var all []string
	for _, owner := range []directory.Subject{directory.OfState(m.State), directory.OfAuthority(m.Authority), directory.OfNode(m.Daemon.Node)} {
		for _, h := range v.Keys(owner) {
			if h.Status == directory.KeyActive {
				all = append(all, h.Fingerprint.String())
			}
		}
	}
	pool := v.CertificatePool(m.State)
	return append(all, hex.EncodeToString(pool[len(pool)-1]))
}
