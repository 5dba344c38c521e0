package registry_test

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/registry"
)

// record keeps every entry of the network from now on, and from the genesis if it is called first.
func (n *network) record() *[][]byte {
	all := &[][]byte{n.genesis}
	n.propose = func(statement []byte, _ ...[]byte) { *all = append(*all, statement) }
	return all
}

// headOf is the hub's head of a log, with cosignatures of now.
func (n *network) headOf(entries [][]byte, by ...*watcher) []byte {
	n.t.Helper()
	return n.headAt(entries, n.now(), by...)
}

func (n *network) headAt(entries [][]byte, at time.Time, by ...*watcher) []byte {
	n.t.Helper()
	note := n.forge(uint64(len(entries)), must2(registry.RootOf(entries))(n.t))
	h := must2(directory.ParseHead(note))(n.t)
	for _, w := range by {
		h = must2(h.With(must2(merkle.Cosign(h.Checkpoint, w.node.String(), w.pen, at))(n.t)))(n.t)
	}
	return h.Note()
}

// open is m's node without hub, on its data.
func (n *network) open(o registry.FollowerOptions) *registry.Follower {
	n.t.Helper()
	f, err := registry.OpenFollower(o)
	must(n.t, err)
	n.t.Cleanup(func() { _ = f.Close() })
	return f
}

// peered are entries of a log as a peer gives them, from a position on.
func peered(entries [][]byte, from int) iter.Seq2[registry.Entry, error] {
	return func(yield func(registry.Entry, error) bool) {
		for i := from; i <= len(entries); i++ {
			if !yield(registry.Entry{Position: uint64(i), Statement: entries[i-1]}, nil) {
				return
			}
		}
	}
}

// loose is a restriction as a peer gives it.
func loose(signed []byte) iter.Seq2[registry.Entry, error] {
	return func(yield func(registry.Entry, error) bool) { yield(registry.Entry{Statement: signed}, nil) }
}

func noHead() []byte { return nil }

// gives mends f by a peer that has this log under this head.
func gives(t *testing.T, f *registry.Follower, entries [][]byte, from int, head []byte) error {
	t.Helper()
	return f.Mend(within(t, 30*time.Second), peered(entries, from), func() []byte { return head })
}

// stores puts entries in the node's copy that no head covers, as a hub does that sends no head.
func stores(t *testing.T, data string, entries ...[]byte) {
	t.Helper()
	l, err := registry.OpenLog(filepath.Join(data, "directory.log"), nil)
	must(t, err)
	must(t, l.Append(entries...))
	must(t, l.Close())
}

// TestForgedCosignatures: a majority is one of states, each by its own key, on that very head, at a time that has been.
// PROTOCOL 11.6.
func TestForgedCosignatures(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br, jm := n.witness("mx"), n.witness("br"), n.witness("jm")
	entries := *log
	size := uint64(len(entries))
	thief := &watcher{br.member, pen{newHolder(t)}}
	line := func(w *watcher, c merkle.Checkpoint, at time.Time) []byte {
		return must2(merkle.Cosign(c, w.node.String(), w.pen, at))(t)
	}
	bare := must2(directory.ParseHead(n.headOf(entries, mx)))(t)
	other := must2(directory.ParseHead(n.headOf(entries[:size-1])))(t)
	for name, lines := range map[string][][]byte{
		"one of three":           nil,
		"another key":            {line(thief, bare.Checkpoint, n.now())},
		"the same state twice":   {line(mx, bare.Checkpoint, n.now().Add(-time.Minute))},
		"on another head":        {line(br, other.Checkpoint, n.now())},
		"of the future":          {line(br, bare.Checkpoint, n.now().Add(6*time.Minute))},
		"the name of another":    {bytes.Replace(line(jm, bare.Checkpoint, n.now()), []byte("jm/"), []byte("br/"), 1)},
		"a state that is not in": {line(&watcher{n.candidate("gt"), jm.pen}, bare.Checkpoint, n.now())},
	} {
		f := n.open(n.options(mx.member, t.TempDir(), "127.0.0.1:1"))
		h := must2(bare.With(lines...))(t)
		must(t, gives(t, f, entries, 2, h.Note()))
		if s := f.Status(); s.Confirmed != 1 || s.Stored != size || s.Freshness == registry.Fresh {
			t.Errorf("%s: confirmed to %d of %d, %s", name, s.Confirmed, s.Stored, s.Freshness)
		}
		_ = f.Close()
	}
	f := n.open(n.options(mx.member, t.TempDir(), "127.0.0.1:1"))
	must(t, gives(t, f, entries, 2, must2(bare.With(line(br, bare.Checkpoint, n.now())))(t).Note()))
	if s := f.Status(); s.Confirmed != size {
		t.Errorf("the true majority: %+v", s)
	}
}

// TestInventedWitnesses: stewards and hub admit states of their own making and show that log to one node. Those who witnessed
// before do not stand behind it, so nothing of it comes into force, not after the node's copy was deleted either.
// PROTOCOL 11.6, 11.8.
func TestInventedWitnesses(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br := n.witness("mx"), n.witness("br")
	before := *log
	data := t.TempDir()
	o := n.options(mx.member, data, "127.0.0.1:1")
	f := n.open(o)
	must(t, gives(t, f, before, 2, n.headOf(before, mx, br)))
	confirmed := uint64(len(before))
	if got := f.Status().Confirmed; got != confirmed {
		t.Fatalf("confirmed to %d of %d", got, confirmed)
	}
	invented := []*watcher{n.witness("jm"), n.witness("gt"), n.witness("hn")}
	all := *log
	false1 := n.headOf(all, invented...)
	must(t, gives(t, f, all, int(confirmed)+1, false1))
	if s := f.Status(); s.Confirmed != confirmed || s.Stored != uint64(len(all)) {
		t.Errorf("the invented confirm to %d of %d stored", s.Confirmed, s.Stored)
	}
	must(t, f.Close())
	must(t, os.Remove(filepath.Join(data, "directory.log")))
	f = n.open(o)
	must(t, gives(t, f, all, 2, false1))
	if s := f.Status(); s.Confirmed != 1 || s.Stored != uint64(len(all)) {
		t.Errorf("after the copy was deleted the invented confirm to %d of %d stored", s.Confirmed, s.Stored)
	}
	must(t, gives(t, f, nil, 1, n.headOf(all, append(invented, mx, br)...)))
	if s := f.Status(); s.Confirmed != uint64(len(all)) {
		t.Errorf("with those who witnessed before: %d of %d", s.Confirmed, s.Stored)
	}
}

// TestSpoiltRestriction: a peer that gives a restriction with a spoilt signature does not keep the true one out, and nor does
// one that came too early; OnSight hears of it once, after it is durable. PROTOCOL 4.6, 10.9; promise P7.
func TestSpoiltRestriction(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br := n.admit("mx"), n.admit("br")
	data := t.TempDir()
	o := n.options(mx, data, "127.0.0.1:1")
	var f *registry.Follower
	told := 0
	o.OnSight = func(signed []byte) {
		told++
		if f.Heads(); len(f.Unlogged()) != 1 { // no lock is held
			t.Error("told of what is not in force")
		}
		copied := t.TempDir()
		must(t, os.CopyFS(copied, os.DirFS(data)))
		c := n.options(mx, copied, "")
		if again := n.open(c); fault.CodeOf(again.Current().Load().At(n.now()).CheckNode(br.node)) != "revoked" {
			t.Error("told before it is durable")
		}
	}
	f = n.open(o)
	revocation := n.unheard(br)
	st := must2(directory.ParseStatement(revocation))(t)
	spoilt := bytes.Clone(revocation)
	spoilt[len(spoilt)-1] ^= 1
	wants := func(when string) {
		t.Helper()
		want, err := f.Compare(registry.Heads{Unlogged: []directory.Hash{st.Hash()}})
		if err != nil || len(want.Restrictions) != 1 {
			t.Errorf("%s: %+v, %v; want it fetched", when, want, err)
		}
	}
	ctx := within(t, 30*time.Second)
	must(t, f.Mend(ctx, loose(revocation), noHead)) // of a node that is not known yet
	wants("too early")
	must(t, gives(t, f, *log, 2, n.headOf(*log)))
	must(t, f.Mend(ctx, loose(spoilt), noHead))
	wants("spoilt")
	for range 2 {
		must(t, f.Mend(ctx, loose(revocation), noHead))
	}
	if fault.CodeOf(f.Current().Load().At(n.now()).CheckNode(br.node)) != "revoked" || told != 1 {
		t.Errorf("not in force, or told %d times", told)
	}
}

// branches are a network whose log parts after a size: one branch moves mx's node, the other revokes br's.
func branches(t *testing.T) (n *network, mx, br *watcher, one, other [][]byte) {
	t.Helper()
	n = newNetwork(t)
	log := n.record()
	mx, br = n.witness("mx"), n.witness("br")
	common := *log
	other = append(append([][]byte{}, common...), n.unheard(br.member))
	n.move(mx.member, "example.org:443")
	return n, mx, br, *log, other
}

// TestSplitView: nodes to which the hub showed two logs find out when they meet; both keep the proof, both put the
// restrictions of either branch in force, and neither confirms anything more. PROTOCOL 11.9.
func TestSplitView(t *testing.T) {
	n, mx, br, one, other := branches(t)
	common := one[:len(one)-1]
	agreed := n.headOf(common, mx, br)
	data := t.TempDir()
	o := n.options(mx.member, data, "127.0.0.1:1")
	var a *registry.Follower
	told := make(chan int, 8)
	o.OnSight = func([]byte) { told <- len(a.Heads().Unlogged) } // no lock is held
	a = n.open(o)
	b := n.open(n.options(br.member, t.TempDir(), "127.0.0.1:1"))
	for f, branch := range map[*registry.Follower][][]byte{a: one, b: other} {
		must(t, gives(t, f, common, 2, agreed))
		must(t, gives(t, f, branch, len(branch), n.headOf(branch)))
	}
	meet := func(f, with *registry.Follower, branch [][]byte) {
		t.Helper()
		want, err := f.Compare(registry.Heads{Head: n.headOf(branch, mx, br), Unlogged: with.Heads().Unlogged, By: "a peer"})
		must(t, err)
		if want.From == 0 || want.From > uint64(len(branch)) {
			t.Fatalf("%+v: the other branch is not fetched", want)
		}
		_ = gives(t, f, branch, int(want.From), n.headOf(branch, mx, br))
	}
	meet(a, b, other)
	meet(b, a, one)
	for i, f := range []*registry.Follower{a, b} {
		s := f.Status()
		if len(s.Proofs) != 1 || s.Proofs[0].Kind != "fork" || len(s.Proofs[0].Other) == 0 || fault.CodeOf(s.Halted) != "forked" || s.Confirmed != uint64(len(common)) {
			t.Errorf("node %d: %+v", i, s)
		}
		if fault.CodeOf(f.Current().Load().At(n.now()).CheckNode(br.node)) != "revoked" {
			t.Errorf("node %d: the revocation of one branch is not in force", i)
		}
		if len(f.Heads().Contradiction) == 0 {
			t.Errorf("node %d tells its peers nothing", i)
		}
	}
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Error("the revocation of the other branch was not passed on")
	}
	must(t, a.Close())
	a = n.open(o)
	if s := a.Status(); len(s.Proofs) != 1 || s.Halted == nil {
		t.Errorf("after a restart: %+v", s)
	}
}

// TestLostTail: entries that no head ever covered, and that the hub has lost, prove nothing against it: the node that has
// them says so, keeps what restricts, and is right again once its copy is deleted. PROTOCOL 11.9.
func TestLostTail(t *testing.T) {
	n, mx, br, one, other := branches(t)
	common := one[:len(one)-1]
	data := t.TempDir()
	o := n.options(mx.member, data, "127.0.0.1:1")
	f := n.open(o)
	must(t, gives(t, f, common, 2, n.headOf(common, mx, br)))
	must(t, f.Close())
	stores(t, data, one[len(one)-1])
	f = n.open(o)
	head := n.headOf(other, mx, br)
	if err := gives(t, f, other, 1, head); err != nil {
		t.Fatal(err)
	}
	if s := f.Status(); len(s.Proofs) != 1 || s.Proofs[0].Kind != "withheld" || s.Halted != nil {
		t.Errorf("a fork, of which there is no proof: %+v", s)
	}
	if fault.CodeOf(f.Current().Load().At(n.now()).CheckNode(br.node)) != "revoked" {
		t.Error("the revocation is not in force")
	}
	must(t, f.Close())
	must(t, os.Remove(filepath.Join(data, "directory.log")))
	f = n.open(o)
	must(t, gives(t, f, other, 2, head))
	if s := f.Status(); s.Confirmed != uint64(len(other)) {
		t.Errorf("after the copy was deleted: %+v", s)
	}
}

// TestManyProofs: heads that prove little do not keep out the proof that binds. PROTOCOL 11.9.
func TestManyProofs(t *testing.T) {
	n, mx, br, one, _ := branches(t)
	common := one[:len(one)-1]
	data := t.TempDir()
	o := n.options(mx.member, data, "127.0.0.1:1")
	f := n.open(o)
	must(t, gives(t, f, common, 2, n.headOf(common, mx, br)))
	must(t, f.Close())
	stores(t, data, one[len(one)-1])
	f = n.open(o)
	for i := range 80 {
		if _, err := f.Compare(registry.Heads{Head: n.forge(uint64(len(one)), tlog.Hash{byte(i), 1})}); err != nil {
			t.Fatal(err)
		}
	}
	if s := f.Status(); len(s.Proofs) > 64 || s.Halted != nil {
		t.Fatalf("%d proofs, halted %v", len(s.Proofs), s.Halted)
	}
	must(t, gives(t, f, nil, 1, n.headOf(one, mx, br)))
	s := f.Status()
	if fault.CodeOf(s.Halted) != "forked" || s.Confirmed != uint64(len(common)) {
		t.Errorf("%d proofs, halted %v, confirmed to %d", len(s.Proofs), s.Halted, s.Confirmed)
	}
}

// TestNewerRules: a program that does not know the rules in force halts, confirms what came before them, routes by it, and
// takes restrictions on sight, from peers and after a restart alike. PROTOCOL 4.21.
func TestNewerRules(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br := n.witness("mx"), n.witness("br")
	first := *log
	payload, err := n.draft().ChangeRules(n.current.Load().Position() + 3)
	must(t, err)
	n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
	n.move(mx.member, "example.org:1")
	last := *log
	later := append(append([][]byte{}, last...), n.unheard(br.member))
	data := t.TempDir()
	o := n.options(mx.member, data, "127.0.0.1:1")
	f := n.open(o)
	must(t, gives(t, f, first, 2, n.headOf(first, mx, br)))
	// By the time that the quorum stands behind what came before, more has come.
	must(t, gives(t, f, later, len(first)+1, n.headOf(later, mx, br)))
	for range 2 {
		s := f.Status()
		if fault.CodeOf(s.Halted) != "newer-rules" || s.Stored != uint64(len(last)) || s.Confirmed != uint64(len(first)) {
			t.Fatalf("%+v", s)
		}
		view := f.Current().Load().At(n.now())
		if view.CheckNode(mx.node) != nil || fault.CodeOf(view.CheckNode(br.node)) != "revoked" {
			t.Error("it does not route any more, or does not take a restriction")
		}
		must(t, f.Close())
		f = n.open(o)
		_, _ = f.Compare(registry.Heads{Head: n.headOf(later, mx, br)}) // halts again
		must(t, gives(t, f, later, len(last)+1, n.headOf(later, mx, br)))
	}
	if _, err := f.Compare(registry.Heads{Head: n.headOf(last, mx, br)}); err != nil || f.Status().Confirmed != uint64(len(last)) {
		t.Errorf("what came before the newer rules: %v, confirmed to %d of %d", err, f.Status().Confirmed, len(last))
	}
}

// TestOldHeads: a head that nobody confirmed does not make a node read its log again, a confirmed one does. PROTOCOL 11.6.
func TestOldHeads(t *testing.T) {
	n := newNetwork(t)
	log := n.record()
	mx, br := n.witness("mx"), n.witness("br")
	first := *log
	for i := range 300 {
		n.ahead.Add(int64(time.Minute))
		n.move(mx.member, fmt.Sprintf("example.org:%d", i+1))
	}
	all := *log
	f := n.open(n.options(mx.member, t.TempDir(), "127.0.0.1:1"))
	must(t, gives(t, f, first, 2, n.headOf(first, mx, br)))
	must(t, gives(t, f, all, len(first)+1, n.headOf(all)))
	old := all[:len(first)+1]
	begun := registry.Reread(f)
	for range 20 {
		_, err := f.Compare(registry.Heads{Head: n.headOf(old, mx)})
		must(t, err)
	}
	if got := registry.Reread(f) - begun; got != 0 {
		t.Errorf("the log was read again %d times", got)
	}
	_, err := f.Compare(registry.Heads{Head: n.headOf(old, mx, br)})
	must(t, err)
	if got := f.Status().Confirmed; got != uint64(len(old)) {
		t.Errorf("confirmed to %d, want %d", got, len(old))
	}
	// And no older head takes back what is in force.
	_, err = f.Compare(registry.Heads{Head: n.headOf(first, mx, br)})
	must(t, err)
	if s := f.Status(); s.Confirmed != uint64(len(old)) || s.Head.Position() != uint64(len(old)) {
		t.Errorf("an old head, signed anew, brought the directory back to %d", s.Head.Position())
	}
}
