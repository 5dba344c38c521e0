package registry_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/wire"
)

// pen signs notes with a key of a test's own.
type pen struct{ holder }

func (p pen) PublicKey() authority.PublicKey { return p.public() }

func (p pen) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(p.PrivateKey, msg), nil }

// watcher is a member whose node has a witness key.
type watcher struct {
	*member
	pen pen
}

// witness takes a state in whose node witnesses.
func (n *network) witness(label string) *watcher {
	n.t.Helper()
	w := &watcher{n.candidate(label), pen{newHolder(n.t)}}
	payload, err := n.draft().AdmitState(w.state, &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, w.key.public(), time.Time{})},
		Threshold: 1, CaCertificates: w.ring.CACertificates(), NoteVerbale: "1/26"})
	must(n.t, err)
	n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload),
		w.key.sign(directory.RoleState, payload))
	keys := newRing(n.t, label)
	must(n.t, keys.GenerateNode(time.Now()))
	body := &formatv1.DeclareNode{Versions: []uint32{1}, NoteVerbale: "2/26",
		Keys: []*formatv1.Key{directory.DeclareKey(directory.PurposeWitness, w.pen.public(), time.Time{})}}
	for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{directory.PurposeSign: keyring.NodeSign, directory.PurposeSeal: keyring.NodeSeal} {
		public, err := keys.Public(slot)
		must(n.t, err)
		body.Keys = append(body.Keys, directory.DeclareKey(purpose, public, time.Time{}))
	}
	payload, err = n.draft().DeclareNode(w.node, body)
	must(n.t, err)
	n.apply(payload, w.key.sign(directory.RoleState, payload), n.stewards[0].sign(directory.RoleVerify, payload),
		n.stewards[1].sign(directory.RoleCountersign, payload))
	return w
}

// proposing hands every statement of the network to the hub from now on.
func (h *hub) proposing() {
	h.n.t.Helper()
	steward := h.client(h.n.stewards[0])
	h.n.propose = func(statement []byte, cards ...[]byte) {
		h.n.t.Helper()
		_, err := steward.Propose(within(h.n.t, 30*time.Second), statement, cards...)
		must(h.n.t, err)
	}
}

// witnesses takes states in whose nodes witness.
func (h *hub) witnesses(labels ...string) []*watcher {
	h.n.t.Helper()
	h.proposing()
	var all []*watcher
	for _, label := range labels {
		all = append(all, h.n.witness(label))
	}
	return all
}

// dial is the hub's door as a node of m sees it.
func (h *hub) dial(m *member) directoryv1.DirectoryServiceClient {
	h.n.t.Helper()
	conn, err := wire.Dial(h.addr, wire.ClientOptions{TLS: h.n.source(m, m.node).ClientTLS(wire.HubIdentity(h.n.current, h.n.now).Verify)})
	must(h.n.t, err)
	h.n.t.Cleanup(func() { _ = conn.Close() })
	return directoryv1.NewDirectoryServiceClient(conn)
}

// watch is a follower made by hand. It cosigns what it is asked while it is willing.
type watch struct {
	n   *network
	w   *watcher
	api directoryv1.DirectoryServiceClient

	mu      sync.Mutex
	willing bool
	entries [][]byte         // from position 1, or what it was asked for, on
	heads   []directory.Head // as they came
	err     error
}

// watch follows the hub from a position on, as one that holds a head.
func (h *hub) watch(w *watcher, from uint64, head []byte, willing bool) *watch {
	h.n.t.Helper()
	f := &watch{n: h.n, w: w, api: h.dial(w.member), willing: willing}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := f.api.Follow(ctx, &directoryv1.FollowRequest{From: from, Head: head})
	must(h.n.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx, stream)
	}()
	h.n.t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *watch) run(ctx context.Context, stream grpc.ServerStreamingClient[directoryv1.FollowResponse]) {
	for {
		r, err := stream.Recv()
		f.mu.Lock()
		f.err = err
		if len(r.GetStatement()) > 0 {
			f.entries = append(f.entries, r.GetStatement())
		}
		var ask directory.Head
		if len(r.GetHead()) > 0 {
			head, err := directory.ParseHead(r.GetHead())
			if err == nil {
				f.heads = append(f.heads, head)
			}
			if f.willing && !cosigned(head) {
				ask = head
			}
		}
		f.mu.Unlock()
		if err != nil {
			return
		}
		if !ask.IsZero() {
			f.cosign(ctx, ask)
		}
	}
}

// cosigned reports whether a head bears more than the log's own signature.
func cosigned(h directory.Head) bool { return bytes.Count(h.Note(), []byte("— ")) > 1 }

func (f *watch) cosign(ctx context.Context, head directory.Head) {
	line, err := merkle.Cosign(head.Checkpoint, f.w.node.String(), f.w.pen, f.n.now())
	if err == nil {
		_, err = f.api.Cosign(ctx, &directoryv1.CosignRequest{Cosignature: line, Size: head.Position()})
	}
	if err != nil && ctx.Err() == nil {
		f.n.t.Errorf("%s cosigns: %v", f.w.node, err)
	}
}

// refuse has it cosign nothing from now on.
func (f *watch) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.willing = false
}

// consent lets it cosign from now on, and cosigns the newest head it was asked about.
func (f *watch) consent() {
	f.mu.Lock()
	f.willing = true
	var ask directory.Head
	for _, h := range f.heads {
		if !cosigned(h) {
			ask = h
		}
	}
	f.mu.Unlock()
	f.cosign(context.Background(), ask)
}

func (f *watch) newest() directory.Head {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.heads) == 0 {
		return directory.Head{}
	}
	return f.heads[len(f.heads)-1]
}

// confirmed waits for a head of the whole log that is confirmed for who had confirmed it up to before.
func (f *watch) confirmed(before *directory.Snapshot) directory.Head {
	f.n.t.Helper()
	var head directory.Head
	eventually(f.n.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, h := range slices.Backward(f.heads) { // it may have been asked about again since
			if f.n.confirms(h, before) {
				head = h
				return true
			}
		}
		return false
	})
	return head
}

// asked waits for the newest head of the whole log.
func (f *watch) asked() {
	f.n.t.Helper()
	eventually(f.n.t, func() bool {
		h := f.newest()
		return !h.IsZero() && h.Position() == f.n.current.Load().Position()
	})
}

func (n *network) confirms(h directory.Head, before *directory.Snapshot) bool {
	s := n.current.Load()
	return !h.IsZero() && h.Position() == s.Position() && s.CheckLog(h) == nil && s.Judge(h, before, n.now()).Confirmed
}

// still sees that something stays as it is for a moment, in which what must not happen would.
func still(t *testing.T, say string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !holds() {
			t.Fatal(say)
		}
	}
}

// TestHeads: a head is put to all followers, is below quorum until more than half of the states have cosigned it, and is
// then sent again with as many lines as confirm it; after a restart it is served as it was. PROTOCOL 11.6, 11.8.
func TestHeads(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	size := n.current.Load().Position()
	mx, br, jm := h.watch(all[0], 1, nil, true), h.watch(all[1], 1, nil, false), h.watch(all[2], 1, nil, false)
	for _, f := range []*watch{mx, br, jm} {
		f.asked()
	}
	still(t, "confirmed by one of three", func() bool { return !n.confirms(h.service.Head(), nil) && !n.confirms(jm.newest(), nil) })
	if got := len(jm.entries); uint64(got) != size {
		t.Errorf("%d entries before the head, want %d", got, size)
	}
	br.consent()
	head := jm.confirmed(nil)
	if j := n.current.Load().Judge(head, nil, n.now()); len(j.Votes) != 2 || j.Needed != 2 {
		t.Errorf("votes %v of %d needed, want the two", j.Votes, j.Needed)
	}
	if root, err := registry.RootOf(jm.entries); err != nil || root != head.Root {
		t.Errorf("the root of what was sent is %v, %v; the head says %v", root, err, head.Root)
	}
	before := n.current.Load()
	n.move(all[0].member, "example.org:1")
	jm.confirmed(before)

	h.stop()
	h = n.serve(h.data, "127.0.0.1:0", nil)
	if got := h.service.Head(); !n.confirms(got, before) {
		t.Error("the confirmed head is gone after a restart")
	}
	again := h.watch(all[2], n.current.Load().Position()+1, nil, false)
	again.confirmed(nil)
	// Who holds it is not sent it again.
	last := h.service.Head().Note()
	quiet := h.watch(all[1], n.current.Load().Position()+1, last, false)
	eventually(t, func() bool { return !quiet.newest().IsZero() })
	if cosigned(quiet.newest()) {
		t.Error("a head that the follower holds was sent again")
	}
}

// TestNobodyToWitness: with no witness a head is confirmed as it is. PROTOCOL 11.6.
func TestNobodyToWitness(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	f := h.watch(&watcher{mx, pen{newHolder(t)}}, 1, nil, false)
	f.confirmed(nil)
	n.move(mx, "example.org:1")
	f.confirmed(nil)
}

// TestWitnessesChange: a head that changes who witnesses needs the quorum of those before and of those after, and who was
// away meanwhile is sent the lines that it needs. PROTOCOL 11.6.
func TestWitnessesChange(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	old := h.witnesses("mx", "br")
	var watching []*watch
	for _, w := range old {
		watching = append(watching, h.watch(w, 1, nil, true))
	}
	held := watching[0].confirmed(nil)
	before := n.current.Load()
	for _, f := range watching {
		f.refuse()
	}
	var fresh []*watch
	for _, w := range h.witnesses("jm", "ca", "uy") {
		fresh = append(fresh, h.watch(w, 1, nil, true))
	}
	for _, f := range fresh {
		f.asked()
	}
	still(t, "confirmed without those who witnessed before", func() bool { return !n.confirms(h.service.Head(), nil) })
	away := h.watch(old[0], before.Position()+1, held.Note(), false)
	watching[0].asked()
	watching[0].consent()
	still(t, "confirmed by half of those before", func() bool { return !n.confirms(h.service.Head(), nil) })
	watching[1].asked()
	watching[1].consent()
	away.confirmed(before)
	eventually(t, func() bool { return n.confirms(h.service.Head(), before) })
}

// TestAwayIsSentMore: a head that the others confirm without those whom a follower knows from before is sent to it again with
// more lines, once they have come. PROTOCOL 11.6, 11.8.
func TestAwayIsSentMore(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	old := h.witnesses("mx", "br")
	mx, br := h.watch(old[0], 1, nil, true), h.watch(old[1], 1, nil, true)
	held, before := mx.confirmed(nil), n.current.Load()
	var fresh *watch
	for _, w := range h.witnesses("jm", "ca", "uy") {
		fresh = h.watch(w, 1, nil, true)
	}
	fresh.confirmed(before)
	for _, f := range []*watch{mx, br} {
		f.refuse()
	}
	between := n.current.Load()
	n.move(old[0].member, "example.org:1")
	fresh.confirmed(between)
	away := h.watch(old[0], before.Position()+1, held.Note(), false)
	away.confirmed(between) // which is not for who was away
	still(t, "the new witnesses alone confirm for who knows the old ones", func() bool { return !n.confirms(away.newest(), before) })
	mx.asked()
	mx.consent()
	br.asked()
	br.consent()
	away.confirmed(before)
}

// TestPastWitness: the line of a node whose witness key was revoked in the same span counts among those before, and not among
// those now. PROTOCOL 11.6.
func TestPastWitness(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	old := h.witnesses("mx", "br", "jm")
	mx, jm := h.watch(old[0], 1, nil, true), h.watch(old[2], 1, nil, true)
	mx.confirmed(nil)
	jm.confirmed(nil)
	before := n.current.Load()
	for _, f := range []*watch{mx, jm} {
		f.refuse()
	}
	payload, err := n.draft().RevokeKey(directory.OfNode(old[2].node), old[2].pen.public().Fingerprint(), "lost")
	must(t, err)
	n.apply(payload, old[2].key.sign(directory.RoleState, payload))
	fresh := h.witnesses("ca", "uy")
	ca := h.watch(fresh[0], 1, nil, true)
	ca.asked()
	for _, f := range []*watch{mx, jm} {
		f.asked()
		f.consent()
	}
	still(t, "confirmed by two of four and one who witnesses no more", func() bool { return !n.confirms(h.service.Head(), nil) })
	h.watch(fresh[1], 1, nil, true)
	ca.confirmed(before)
	if !n.confirms(h.service.Head(), before) {
		t.Error("the hub does not serve it")
	}
}

// TestOldKeyTakesNoPlace: a line by a witness key that was rotated in the same span does not take the place of the one by the
// key that followed it. PROTOCOL 11.6.
func TestOldKeyTakesNoPlace(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	old := h.witnesses("mx", "jm")
	mx, jm := h.watch(old[0], 1, nil, true), h.watch(old[1], 1, nil, true)
	mx.confirmed(nil)
	jm.confirmed(nil)
	before := n.current.Load()
	for _, f := range []*watch{mx, jm} {
		f.refuse()
	}
	former, next := old[1].pen, pen{newHolder(t)}
	fingerprint := former.public().Fingerprint()
	payload, err := n.draft().RotateNode(old[1].node, &formatv1.RotateNode{
		Add: []*formatv1.Key{directory.DeclareKey(directory.PurposeWitness, next.public(), time.Time{})}, Retire: [][]byte{fingerprint[:]}})
	must(t, err)
	n.apply(payload, old[1].key.sign(directory.RoleState, payload))
	h.witnesses("ca")
	jm.asked()
	for _, p := range []pen{next, former} {
		head := jm.newest()
		line := must2(merkle.Cosign(head.Checkpoint, old[1].node.String(), p, n.now()))(t)
		_, err := jm.api.Cosign(within(t, 30*time.Second), &directoryv1.CosignRequest{Cosignature: line, Size: head.Position()})
		must(t, err)
	}
	mx.asked()
	mx.consent()
	mx.confirmed(before)
}

// TestAskedAgain: a head that stays is asked about again, and its quorum time moves on. PROTOCOL 11.8, DESIGN 6.
func TestAskedAgain(t *testing.T) {
	n := newNetwork(t)
	h := n.serveWith(registry.ServiceOptions{Data: n.founded(), Every: 50 * time.Millisecond}, "127.0.0.1:0")
	w := h.witnesses("mx")[0]
	f := h.watch(w, 1, nil, true)
	first := n.current.Load().Judge(f.confirmed(nil), nil, n.now()).Quorum
	n.ahead.Add(int64(time.Minute))
	eventually(t, func() bool {
		head := f.newest()
		return n.confirms(head, nil) && n.current.Load().Judge(head, nil, n.now()).Quorum.After(first.Add(50*time.Second))
	})
}

// TestSuspendedCosigns: suspension changes neither who may cosign nor how many must; a suspended node is asked and heard,
// and gets nothing else. PROTOCOL 11.1, 11.6.
func TestSuspendedCosigns(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	n.suspend(all[0].member)
	mx, br := h.watch(all[0], 1, nil, true), h.watch(all[1], 1, nil, true)
	br.confirmed(nil)
	mx.confirmed(nil)
	if _, err := mx.api.GetCard(within(t, 20*time.Second), &directoryv1.GetCardRequest{}); fault.CodeOf(err) != "suspended" {
		t.Errorf("a card for a suspended node: %v", err)
	}
	if _, err := mx.api.GetBusAccess(within(t, 20*time.Second), &directoryv1.GetBusAccessRequest{}); fault.CodeOf(err) != "suspended" {
		t.Errorf("the bus for a suspended node: %v", err)
	}
	before := n.current.Load()
	n.revoke(all[0].member)
	eventually(t, func() bool { mx.mu.Lock(); defer mx.mu.Unlock(); return fault.CodeOf(mx.err) == "revoked" })
	jm := h.watch(all[2], 1, nil, true)
	jm.confirmed(before)
}

// TestJunkCosignatures: what is no cosignature by the caller of a head under way is refused or passed over, and is not
// kept. PROTOCOL 11.8, promise P12.
func TestJunkCosignatures(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	f := h.watch(all[0], 1, nil, false)
	f.asked()
	head := f.newest()
	line := func(name string, p pen, c merkle.Checkpoint, at time.Time) []byte {
		return must2(merkle.Cosign(c, name, p, at))(t)
	}
	other := head.Checkpoint
	other.Root[0] ^= 1
	mine := all[0].node.String()
	tests := []struct {
		name, code string
		line       []byte
		size       uint64
	}{
		{"of another node", "not-allowed", line(all[1].node.String(), all[1].pen, head.Checkpoint, n.now()), head.Position()},
		{"of another key", "bad-signature", line(mine, all[1].pen, head.Checkpoint, n.now()), head.Position()},
		{"of another root", "bad-signature", line(mine, all[0].pen, other, n.now()), head.Position()},
		{"of the future", "bad-signature", line(mine, all[0].pen, head.Checkpoint, n.now().Add(time.Hour)), head.Position()},
		{"two lines", "malformed", bytes.Repeat(line(mine, all[0].pen, head.Checkpoint, n.now()), 2), head.Position()},
		{"garbage", "malformed", []byte("garbage"), head.Position()},
		{"a huge one", "malformed", make([]byte, 1<<20), head.Position()},
		{"of no head", "", line(mine, all[0].pen, head.Checkpoint, n.now()), head.Position() + 7},
		{"of no size", "malformed", line(mine, all[0].pen, head.Checkpoint, n.now()), 1 << 63},
	}
	for range 20 {
		for _, test := range tests {
			_, err := f.api.Cosign(within(t, 20*time.Second), &directoryv1.CosignRequest{Cosignature: test.line, Size: test.size})
			if got := fault.CodeOf(err); got != test.code {
				t.Fatalf("%s: %v, want %q", test.name, err, test.code)
			}
		}
	}
	// Of a thousand good ones by one node one is kept, and they are one vote.
	for i := range 200 {
		_, err := f.api.Cosign(within(t, 20*time.Second), &directoryv1.CosignRequest{
			Cosignature: line(mine, all[0].pen, head.Checkpoint, n.now().Add(-time.Duration(i)*time.Second)), Size: head.Position()})
		must(t, err)
	}
	if n.confirms(h.service.Head(), nil) {
		t.Error("one node confirmed a head of three")
	}
	if got := bytes.Count(h.service.Head().Note(), []byte(mine)); got > 1 {
		t.Errorf("%d lines of one node", got)
	}
	br := h.watch(all[1], 1, nil, true)
	br.confirmed(nil)
}

// TestKilledBeforeTiles: the machine stopped after an entry was logged and before the tiles had it. PROTOCOL 11.6.
func TestKilledBeforeTiles(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	w := h.witnesses("mx")[0]
	f := h.watch(w, 1, nil, true)
	f.confirmed(nil)
	h.stop()
	n.propose = nil
	lost := n.move(w.member, "example.org:1")
	log, err := registry.OpenLog(filepath.Join(h.data, "directory.log"), nil)
	must(t, err)
	must(t, log.Append(lost))
	must(t, log.Close())

	h = n.serve(h.data, "127.0.0.1:0", nil)
	f = h.watch(w, 1, nil, true)
	f.confirmed(nil)
	if got := f.entries[len(f.entries)-1]; !bytes.Equal(got, lost) {
		t.Error("the entry is gone")
	}
}

// TestTilesOfAnotherLog: tiles that the log contradicts, or that have more, are refused; deleted, they are made anew.
func TestTilesOfAnotherLog(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	old := copied(t, h)
	n.move(mx, "example.org:1")
	h.stop()
	must(t, os.RemoveAll(filepath.Join(old, "tiles")))
	must(t, os.CopyFS(filepath.Join(old, "tiles"), os.DirFS(filepath.Join(h.data, "tiles"))))
	if _, err := registry.OpenService(n.hubOptions(registry.ServiceOptions{Data: old})); fault.CodeOf(err) != "not-consistent" {
		t.Errorf("tiles beyond the log: %v, want not-consistent", err)
	}
	must(t, os.RemoveAll(filepath.Join(old, "tiles")))
	s, err := registry.OpenService(n.hubOptions(registry.ServiceOptions{Data: old}))
	must(t, err)
	must(t, s.Close())
}

// copied is a backup of the hub's data: its log, head and tiles.
func copied(t *testing.T, h *hub) string {
	t.Helper()
	data := t.TempDir()
	must(t, os.CopyFS(data, os.DirFS(h.data)))
	return data
}

// TestHeadBudget: what an idle follower is sent of heads in an hour with 34 states fits in 2 kB a minute with room for
// the rest. DESIGN 15.
func TestHeadBudget(t *testing.T) {
	n := newNetwork(t)
	h := n.serveWith(registry.ServiceOptions{Data: n.founded(), Every: time.Hour}, "127.0.0.1:0")
	var labels []string
	for i := range 34 {
		labels = append(labels, fmt.Sprintf("%c%c", 'a'+i/20, "abcdefghijklmnopqrst"[i%20]))
	}
	labels = slices.DeleteFunc(labels, func(l string) bool { _, err := authority.ParseState(l); return err != nil })
	if len(labels) < 10 {
		t.Skip("too few states to say")
	}
	var watching []*watch
	for _, w := range h.witnesses(labels...) {
		watching = append(watching, h.watch(w, 1, nil, true))
	}
	head := watching[0].confirmed(nil)
	lines := bytes.Count(head.Note(), []byte("— ")) - 1
	if needed := len(labels)/2 + 1; lines > needed+1 {
		t.Errorf("%d lines where %d confirm it", lines, needed)
	}
	t.Logf("%d states: %d bytes with %d cosignatures, %d bytes asked", len(labels), len(head.Note()), lines, len(head.Note())/max(1, lines+1))
}

// PROTOCOL 11.6: states that change keys between two heads do not fill the head with two lines each.
func TestOneLineOfAState(t *testing.T) {
	states := map[string]authority.State{}
	for _, s := range []string{"mx", "jm", "br"} {
		state, err := authority.ParseState(s)
		if err != nil {
			t.Fatal(err)
		}
		states[s] = state
	}
	mx, jm, br := states["mx"], states["jm"], states["br"]
	got := registry.RoundLines(map[authority.State][]byte{mx: []byte("mx before"), jm: []byte("jm before")},
		map[authority.State][]byte{mx: []byte("mx now"), br: []byte("br now")})
	if all := string(bytes.Join(got, []byte(", "))); all != "br now, jm before, mx now" {
		t.Errorf("lines: %s", all)
	}
}
