package registry_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/witness"
)

// cosigning are the options of a node that witnesses.
func (n *network) cosigning(w *watcher, data, addr string) registry.FollowerOptions {
	n.t.Helper()
	o := n.options(w.member, data, addr)
	c, err := witness.OpenCosigner(filepath.Join(n.t.TempDir(), "witness"), w.node.String(), func() (merkle.Signer, error) { return w.pen, nil })
	must(n.t, err)
	n.t.Cleanup(func() { _ = c.Close() })
	o.Cosigner = c
	return o
}

// forge is a head that the hub's log key signed, of any size and root.
func (n *network) forge(size uint64, root tlog.Hash) []byte {
	n.t.Helper()
	signer, err := n.hub.NoteSigner(keyring.HubLog)
	must(n.t, err)
	note, err := merkle.Sign(merkle.Checkpoint{Origin: n.current.Load().Origin(), Size: int64(size), Root: root}, signer)
	must(n.t, err)
	return note
}

// TestNotBeforeTheQuorum: what the hub has logged is in force once the quorum stands behind it; a restriction before, and
// after a restart too. PROTOCOL 11.6, 11.8.
func TestNotBeforeTheQuorum(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	data := t.TempDir()
	o := n.cosigning(all[0], data, h.addr)
	f := n.run(o)
	second := h.watch(all[1], 1, nil, true)
	before := n.current.Load().Position()
	f.reach(t, before)
	if s := f.Status(); s.Head.Position() != before || s.Judgement.Needed != 2 || s.Freshness != registry.Fresh || s.Since.IsZero() {
		t.Errorf("confirmed: %+v", s)
	}
	second.mu.Lock()
	second.willing = false
	second.mu.Unlock()
	n.move(all[2].member, "example.org:443")
	n.revoke(all[2].member)
	stored := n.current.Load().Position()
	check := func() {
		t.Helper()
		eventually(t, func() bool { return f.Status().Stored == stored })
		eventually(t, func() bool { return fault.CodeOf(f.Current().Load().At(n.now()).CheckNode(all[2].node)) == "revoked" })
		if got := f.Base().Position(); got != before {
			t.Errorf("in force up to %d without a quorum, want %d", got, before)
		}
		if len(f.Unlogged()) > 0 || len(f.Restrictions()) != 1 {
			t.Error("the restriction is in the log, and not in the confirmed one")
		}
	}
	check()
	f.stop()
	o.Hubs = []string{"127.0.0.1:1"}
	f = n.run(o)
	check()
	f.stop()
	o.Hubs = []string{h.addr}
	f = n.run(o)
	check()
	second.asked()
	second.consent()
	f.reach(t, stored)
	// Nothing of it is lost at the next start, without hub.
	f.stop()
	o.Hubs = []string{"127.0.0.1:1"}
	f = n.run(o)
	if s := f.Status(); s.Confirmed != stored || s.Head.Position() != stored || s.Since.IsZero() {
		t.Errorf("after a restart: %+v", s)
	}
	for ahead, want := range map[time.Duration]registry.Freshness{16 * time.Minute: registry.Degraded, 31 * 24 * time.Hour: registry.Stale} {
		n.ahead.Store(int64(ahead))
		if got, _ := f.Freshness(); got != want || (f.CheckFresh() != nil) != (want == registry.Stale) {
			t.Errorf("%v later: %v", ahead, got)
		}
	}
}

// TestTwoHeads: two heads of one size are proof, kept across restarts, until an operator resolves it. PROTOCOL 11.9.
func TestTwoHeads(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	size := n.current.Load().Position()
	f.reach(t, size)
	for range 2 {
		if _, err := f.Compare(registry.Heads{Head: n.forge(size-1, tlog.Hash{1}), By: "br/node/primary"}); err != nil {
			t.Error(err)
		}
	}
	if s := f.Status(); len(s.Proofs) != 1 || s.Proofs[0].Kind != "fork" || len(s.Proofs[0].Other) == 0 || s.Halted == nil || len(f.Heads().Contradiction) == 0 {
		t.Errorf("no proof is kept: %+v", s)
	}
	if got := f.alarms.raised(); len(got) != 1 || got[0] != "fork" {
		t.Errorf("alarms %v", got)
	}
	stranger := newNetwork(t)
	if _, err := f.Compare(registry.Heads{Head: stranger.forge(size, tlog.Hash{1})}); err == nil {
		t.Error("a head of another log is taken")
	}
	n.move(mx, "example.org:443")
	eventually(t, func() bool { return f.Status().Stored == size+1 })
	f.stop()
	f = n.follow(mx, data, h.addr)
	eventually(t, func() bool { state, _ := f.Freshness(); return state == registry.Fresh })
	if s := f.Status(); len(s.Proofs) != 1 || s.Confirmed != size {
		t.Errorf("the proof binds no more after a restart: %+v", s)
	}
	id := f.Status().Proofs[0].ID
	f.stop()
	must(t, registry.Resolve(data, id))
	f = n.follow(mx, data, h.addr)
	f.reach(t, size+1)
}

// TestAnchor: nothing is in force in a log that does not come to the published head. PROTOCOL 11.6, DESIGN 6.
func TestAnchor(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	size := n.current.Load().Position()
	o := n.options(mx, t.TempDir(), h.addr)
	o.Anchor = fmt.Sprintf("%d %s", size, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	f := n.run(o)
	eventually(t, func() bool { return fault.CodeOf(f.Status().Halted) == "wrong-anchor" })
	if got := f.Current().Load().Position(); got != 1 {
		t.Errorf("in force up to %d", got)
	}
	root := h.service.Head().Root
	o = n.options(mx, t.TempDir(), h.addr)
	o.Anchor = fmt.Sprintf("%d %s", size, base64.StdEncoding.EncodeToString(root[:]))
	n.run(o).reach(t, size)
}

// TestMend: what the hub has logged reaches a node by another, proved by its head; a false one leaves nothing.
// PROTOCOL 10.9.
func TestMend(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	size := n.current.Load().Position()
	f := n.follow(mx, t.TempDir(), h.addr)
	f.reach(t, size)
	away := n.follow(mx, t.TempDir(), "127.0.0.1:1")
	want, err := away.Compare(f.Heads())
	if err != nil || want.From != 2 {
		t.Fatalf("%+v, %v, want all from 2 on", want, err)
	}
	entries, head := f.Give(want.From, want.Restrictions)
	ctx := within(t, 30*time.Second)
	false1 := func() []byte { return n.forge(size, tlog.Hash{9}) }
	if err := away.Mend(ctx, entries, false1); fault.CodeOf(err) != "not-consistent" || away.Status().Stored != 1 {
		t.Errorf("entries under a false head: %v, %d stored", err, away.Status().Stored)
	}
	must(t, away.Mend(ctx, entries, head))
	if s := away.Status(); s.Confirmed != size || len(s.Proofs) > 0 {
		t.Errorf("mended: %+v", s)
	}
}

// TestKept: a statement that was handed in without hub is brought to it later, and shown after 10 minutes. PROTOCOL 10.10.
func TestKept(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	data := t.TempDir()
	f := n.follow(mx, data, h.addr)
	size := n.current.Load().Position()
	f.reach(t, size)
	f.stop()
	h.stop()
	f = n.follow(mx, data, h.addr)
	n.propose = nil
	st := n.move(mx, "example.org:443")
	outcome, _, err := f.HandIn(within(t, 30*time.Second), st)
	if outcome != "kept" || err != nil {
		t.Fatalf("%q, %v, want kept", outcome, err)
	}
	f.stop()
	f = n.follow(mx, data, h.addr)
	if got := f.Status().Omitted; len(got) != 0 {
		t.Errorf("omitted at once: %v", got)
	}
	n.ahead.Add(int64(11 * time.Minute))
	if got := f.Status().Omitted; len(got) != 1 || got[0].Kind != directory.KindRotateNode {
		t.Errorf("omitted after 10 minutes: %v", got)
	}
	n.serve(h.data, h.addr, nil)
	f.reach(t, size+1)
	eventually(t, func() bool { return len(f.Status().Omitted) == 0 })
	if files, err := os.ReadDir(filepath.Join(data, "kept")); err != nil || len(files) > 0 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}
