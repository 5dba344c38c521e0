package registry_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/registry"
)

// TestGate: a hub that has just started adds nothing until more than half of its witnesses have followed and none of
// these holds more; a restriction handed in meanwhile is kept over a restart, in force at once, and logged then.
// PROTOCOL 11.11.
func TestGate(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	h.stop()
	h = n.serve(h.data, "127.0.0.1:0", nil)
	n.propose = nil
	steward := h.client(n.stewards[0])
	size := n.current.Load().Position()
	move := func() []byte {
		payload, err := n.draft().Suspend(directory.OfState(all[2].state), n.now().Add(time.Hour), "")
		must(t, err)
		return directory.Attach(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
	}
	suspension, enabling := move(), n.move(all[0].member, "example.org:1")
	ctx := within(t, 60*time.Second)
	shut := func(when string) {
		t.Helper()
		if _, err := steward.Propose(ctx, enabling); fault.CodeOf(err) != "recovering" || !fault.Is(err, fault.Retry) {
			t.Errorf("%s: %v, want recovering", when, err)
		}
	}
	shut("nobody has followed")
	for range 2 {
		if position, err := steward.Propose(ctx, suspension); err != nil || position != 0 {
			t.Errorf("a restriction: %d, %v; want it kept", position, err)
		}
	}
	if err := h.service.Current().Load().At(n.now()).CheckState(all[2].state); fault.CodeOf(err) != "suspended" {
		t.Errorf("in force: %v, want suspended", err)
	}
	h.stop()
	h = n.serve(h.data, h.addr, nil)
	steward = h.client(n.stewards[0])
	if err := h.service.Current().Load().At(n.now()).CheckState(all[2].state); fault.CodeOf(err) != "suspended" {
		t.Errorf("in force after a restart: %v, want suspended", err)
	}
	h.watch(all[0], size+1, nil, false)
	beyond := h.watch(all[2], size+2, nil, false)
	eventually(t, func() bool {
		beyond.mu.Lock()
		defer beyond.mu.Unlock()
		return fault.CodeOf(beyond.err) == "beyond-log"
	})
	shut("one of three has followed, and one who holds more")
	f := h.watch(all[1], size+1, nil, false)
	logged := func(count int) {
		t.Helper()
		eventually(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.entries) >= count })
	}
	logged(1) // of what was kept, before a proposal that could come between
	eventually(t, func() bool { _, err := steward.Propose(ctx, enabling); return err == nil })
	logged(2)
	if !bytes.Equal(f.entries[0], suspension) || !bytes.Equal(f.entries[1], enabling) {
		t.Error("the log did not go on with the restriction that was kept")
	}
}

// back is what a node holds: its entries and a confirmed head.
type back struct {
	entries [][]byte
	head    []byte
}

// give returns entries from a position on.
func (b back) give(ctx context.Context, api directoryv1.DirectoryServiceClient, from uint64) (uint64, error) {
	stream, err := api.Return(ctx)
	if err != nil {
		return 0, err
	}
	for i := from; i <= uint64(len(b.entries)); i++ {
		if err := stream.Send(&directoryv1.ReturnRequest{Position: i, Statement: b.entries[i-1]}); err != nil {
			break // CloseAndRecv says why
		}
	}
	if b.head != nil {
		_ = stream.Send(&directoryv1.ReturnRequest{Head: b.head})
	}
	r, err := stream.CloseAndRecv()
	return r.GetSize(), err
}

// lived is a hub with three witnesses that confirmed all, a backup from before the last entries, and what a node has.
func lived(t *testing.T) (*network, *hub, []*watcher, string, back) {
	t.Helper()
	n := newNetwork(t)
	h := n.start()
	all := h.witnesses("mx", "br", "jm")
	first, second := h.watch(all[0], 1, nil, true), h.watch(all[1], 1, nil, true)
	first.confirmed(nil)
	second.confirmed(nil)
	backup := copied(t, h)
	before := n.current.Load()
	n.move(all[0].member, "example.org:1")
	n.move(all[1].member, "example.org:2")
	head := first.confirmed(before)
	eventually(t, func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return uint64(len(first.entries)) == n.current.Load().Position()
	})
	b := back{first.entries, head.Note()}
	h.stop()
	n.propose = nil
	return n, h, all, backup, b
}

// TestReturnToEmptyDisk: a hub that lost everything knows nobody, adds nothing, takes the log from a node that nobody
// vouches for, and is as before. PROTOCOL 11.11, DESIGN 6.
func TestReturnToEmptyDisk(t *testing.T) {
	n, _, all, _, b := lived(t)
	h := n.serve(t.TempDir(), "127.0.0.1:0", nil)
	if !h.service.Recovering() {
		t.Fatal("a hub without a log believes that it has one")
	}
	ctx := within(t, 60*time.Second)
	api := h.dial(all[0].member)
	stream, err := api.Follow(ctx, &directoryv1.FollowRequest{From: 8, Head: b.head})
	must(t, err)
	if _, err := stream.Recv(); fault.CodeOf(err) != "recovering" {
		t.Errorf("Follow at a hub that knows nobody: %v, want recovering", err)
	}
	if _, err := h.client(n.stewards[0]).Propose(ctx, b.entries[1]); fault.CodeOf(err) != "recovering" {
		t.Errorf("Propose: %v, want recovering", err)
	}
	h.stop()
	h = n.serve(h.data, h.addr, nil) // and it does not forget that
	if !h.service.Recovering() {
		t.Fatal("forgotten by a restart")
	}
	api = h.dial(all[0].member)
	size, err := b.give(ctx, api, 1)
	if err != nil || size != uint64(len(b.entries)) {
		t.Fatalf("Return: %d, %v", size, err)
	}
	if h.service.Recovering() || !bytes.Equal(h.service.Head().Note(), b.head) {
		t.Error("the log is whole and confirmed, and the hub does not say so")
	}
	// And goes on once the quorum is there.
	next := n.move(all[2].member, "example.org:3")
	if _, err := h.client(n.stewards[0]).Propose(ctx, next); fault.CodeOf(err) != "recovering" {
		t.Errorf("before the quorum followed: %v, want recovering", err)
	}
	h.watch(all[0], size+1, b.head, true)
	f := h.watch(all[1], size+1, b.head, true)
	steward := h.client(n.stewards[0])
	eventually(t, func() bool { _, err := steward.Propose(ctx, next); return err == nil })
	f.confirmed(nil)
	h.stop()
	h = n.serve(h.data, "127.0.0.1:0", nil)
	if got := h.service.Current().Load().Position(); got != size+1 {
		t.Errorf("position %d after a restart, want %d", got, size+1)
	}
}

// TestReturnToOldBackup: a hub restored from an old backup learns from the first node that it lost entries.
func TestReturnToOldBackup(t *testing.T) {
	n, _, all, backup, b := lived(t)
	h := n.serve(backup, "127.0.0.1:0", nil)
	had := h.service.Current().Load().Position()
	ctx := within(t, 60*time.Second)
	api := h.dial(all[0].member)
	stream, err := api.Follow(ctx, &directoryv1.FollowRequest{From: uint64(len(b.entries)) + 1, Head: b.head})
	must(t, err)
	if _, err := stream.Recv(); fault.CodeOf(err) != "beyond-log" {
		t.Errorf("Follow: %v, want beyond-log", err)
	}
	eventually(t, h.service.Recovering)
	if size, err := b.give(ctx, api, had+1); err != nil || size != uint64(len(b.entries)) {
		t.Fatalf("Return: %d, %v", size, err)
	}
	if h.service.Recovering() {
		t.Error("still recovering")
	}
	if got := h.service.Current().Load().At(n.now()); got.Snapshot().Position() != n.current.Load().Position() {
		t.Error("another directory than before")
	}
}

// TestReturnRefusals: all or nothing, and nothing that does not prove itself. PROTOCOL 11.11.
func TestReturnRefusals(t *testing.T) {
	n, _, all, _, b := lived(t)
	h := n.serve(t.TempDir(), "127.0.0.1:0", nil)
	ctx := within(t, 60*time.Second)
	api := h.dial(all[0].member)
	head := must2(directory.ParseHead(b.head))(t)
	last := len(b.entries) - 1
	swapped := append([][]byte{}, b.entries...)
	swapped[last], swapped[last-1] = swapped[last-1], swapped[last]
	spoilt := append([][]byte{}, b.entries...)
	spoilt[last] = bytes.Clone(spoilt[last])
	spoilt[last][len(spoilt[last])-1] ^= 1
	junk := append(append([][]byte{}, b.entries[:last]...), []byte("garbage"))
	thief := pen{newHolder(t)}
	forged := must2(merkle.Sign(head.Checkpoint, thief))(t)
	bare := bytes.Join(bytes.SplitAfter(b.head, []byte("\n"))[:5], nil)
	tests := []struct {
		name, code string
		back
		from uint64
	}{
		{"truncated", "not-consistent", back{b.entries[:last], b.head}, 1},
		{"reordered", "not-consistent", back{swapped, b.head}, 1},
		{"changed", "not-consistent", back{spoilt, b.head}, 1},
		{"junk", "invalid-entries", back{junk, b.head}, 1},
		{"a gap", "out-of-order", b, 3},
		{"signed by another key", "bad-signature", back{b.entries, forged}, 1},
		{"nobody confirmed it", "not-confirmed", back{b.entries, bare}, 1},
		{"another genesis", "not-consistent", back{append([][]byte{b.entries[1]}, b.entries[1:]...), b.head}, 1},
		{"no head", "malformed", back{b.entries, nil}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.give(ctx, api, test.from); fault.CodeOf(err) != test.code {
				t.Errorf("%v, want %s", err, test.code)
			}
			if got := h.service.Current().Load().Position(); got != 1 || !h.service.Recovering() {
				t.Errorf("position %d, recovering %v", got, h.service.Recovering())
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(h.data, "returned-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := b.give(ctx, api, 1); err != nil {
		t.Errorf("the true one: %v", err)
	}
}

// TestSplit: a hub whose log contradicts a confirmed head stops, remembers, and says how to go on; which works.
// PROTOCOL 11.9, 11.11.
func TestSplit(t *testing.T) {
	n, lost, all, backup, b := lived(t)
	must(t, os.RemoveAll(lost.data))
	// The backup goes on by another way, as if nobody had asked who follows.
	log, err := registry.OpenLog(filepath.Join(backup, "directory.log"), nil)
	must(t, err)
	other := bytes.Clone(b.entries[len(b.entries)-1])
	for log.Size() < uint64(len(b.entries)) {
		must(t, log.Append(other))
	}
	must(t, log.Close())
	h := n.serve(backup, "127.0.0.1:0", nil)
	ctx := within(t, 60*time.Second)
	if _, err := h.dial(all[0].member).Cosign(ctx, &directoryv1.CosignRequest{Size: uint64(len(b.entries)), Contradiction: b.head}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if fault.CodeOf(h.service.Halted()) != "split" {
			t.Fatalf("halted: %v, want split", h.service.Halted())
		}
		if _, err := h.client(n.stewards[0]).Propose(ctx, n.move(all[2].member, "example.org:9")); fault.CodeOf(err) != "split" && fault.CodeOf(err) != "behind" {
			t.Errorf("Propose: %v, want split", err)
		}
		h.stop()
		h = n.serve(backup, "127.0.0.1:0", nil)
	}
	h.stop()
	for _, name := range []string{"directory.log", "tiles", "head"} {
		must(t, os.RemoveAll(filepath.Join(backup, name)))
	}
	h = n.serve(backup, "127.0.0.1:0", nil)
	if h.service.Halted() != nil || !h.service.Recovering() {
		t.Errorf("halted %v, recovering %v after the operator moved the log away", h.service.Halted(), h.service.Recovering())
	}
	if _, err := b.give(ctx, h.dial(all[0].member), 1); err != nil {
		t.Errorf("Return: %v", err)
	}
}

// TestClaimStays: a node that holds more than the hub does not count as following it because it then asks for the log from
// its beginning, as nodes do to see how long the hub's log is. PROTOCOL 11.11.
func TestClaimStays(t *testing.T) {
	n, _, all, backup, b := lived(t)
	h := n.serve(backup, "127.0.0.1:0", nil)
	ctx := within(t, 60*time.Second)
	for _, w := range all {
		api := h.dial(w.member)
		for _, ask := range []struct {
			from uint64
			code string
		}{{uint64(len(b.entries)) + 1, "beyond-log"}, {1, ""}} {
			stream, err := api.Follow(ctx, &directoryv1.FollowRequest{From: ask.from})
			must(t, err)
			if _, err := stream.Recv(); fault.CodeOf(err) != ask.code {
				t.Fatalf("Follow from %d: %v, want %q", ask.from, err, ask.code)
			}
		}
	}
	next := b.entries[h.service.Current().Load().Position()]
	if _, err := h.client(n.stewards[0]).Propose(ctx, next); fault.CodeOf(err) != "recovering" {
		t.Errorf("Propose at a hub whose followers all hold more: %v, want recovering", err)
	}
}

// TestOldLogOfFewWitnesses: a log from when one state witnessed is not gone on with because that state's node says so,
// where anyone shows a longer one that the log key signed, whoever confirmed it; nor is it whole because a node returns
// just that old part. PROTOCOL 11.11.
func TestOldLogOfFewWitnesses(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	first := h.witnesses("mx")[0]
	early := h.watch(first, 1, nil, true).confirmed(nil)
	backup := copied(t, h)
	next := n.drafted(first.member, "example.org:1")
	rest := h.witnesses("br", "jm")
	for _, w := range rest {
		h.watch(w, 1, nil, true)
	}
	whole := h.watch(rest[0], 1, nil, true).confirmed(nil)
	entries := h.watch(rest[0], 1, nil, false)
	entries.asked()
	must(t, os.RemoveAll(filepath.Join(backup, "recovering")))
	h.stop()
	n.propose = nil

	// What counts at the old size is the first state's line; take the head as the others alone confirmed it.
	head := without(t, whole, first)
	h = n.serve(backup, "127.0.0.1:0", nil)
	ctx := within(t, 60*time.Second)
	stream, err := h.dial(rest[0].member).Follow(ctx, &directoryv1.FollowRequest{From: whole.Position() + 1, Head: head})
	must(t, err)
	_, _ = stream.Recv()
	shows(ctx, t, h, first.member, whole.Position(), head)
	h.watch(first, early.Position()+1, early.Note(), false)
	shut := func(when string) {
		t.Helper()
		still(t, when, func() bool {
			_, err := h.client(n.stewards[0]).Propose(ctx, next)
			return fault.CodeOf(err) == "recovering"
		})
	}
	shut("the hub goes on with an old log")
	if _, err := (back{nil, early.Note()}).give(ctx, h.dial(first.member), 1); err != nil {
		t.Logf("Return of the old head: %v", err)
	}
	shut("the hub goes on with an old log that was returned")
	if _, err := (back{entries.entries, whole.Note()}).give(ctx, h.dial(first.member), early.Position()+1); err != nil {
		t.Fatalf("Return: %v", err)
	}
	h.watch(first, whole.Position()+1, whole.Note(), false)
	h.watch(rest[0], whole.Position()+1, whole.Note(), false)
	eventually(t, func() bool { _, err := h.client(n.stewards[0]).Propose(ctx, next); return err == nil })
}

// shows lets a node whom the hub knows show it a head.
func shows(ctx context.Context, t *testing.T, h *hub, m *member, size uint64, head []byte) {
	t.Helper()
	_, err := h.dial(m).Cosign(ctx, &directoryv1.CosignRequest{Size: size, Contradiction: head})
	must(t, err)
}

// without is a head but for the lines of one witness.
func without(t *testing.T, head directory.Head, w *watcher) []byte {
	t.Helper()
	var out []byte
	for _, line := range bytes.SplitAfter(head.Note(), []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("— "+w.node.String()+" ")) {
			out = append(out, line...)
		}
	}
	return out
}

// TestReturnsThatBringNothing: callers who hold all places for giving entries back make room for one who has them.
// PROTOCOL 11.11.
func TestReturnsThatBringNothing(t *testing.T) {
	n, _, all, _, b := lived(t)
	h := n.serve(t.TempDir(), "127.0.0.1:0", nil)
	ctx := within(t, 60*time.Second)
	stranger := h.dial(n.candidate("ca"))
	for range 4 {
		stream, err := stranger.Return(ctx)
		must(t, err)
		must(t, stream.Send(&directoryv1.ReturnRequest{Position: 1, Statement: b.entries[0]}))
	}
	api := h.dial(all[0].member)
	eventually(t, func() bool {
		under, err := filepath.Glob(filepath.Join(h.data, "returned-*"))
		return err == nil && len(under) == 4
	})
	n.ahead.Add(int64(11 * time.Second))
	if _, err := b.give(ctx, api, 1); err != nil {
		t.Errorf("Return beside four that bring nothing: %v", err)
	}
}
