package peer_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/wire"
)

// shelf has one file without an end.
type shelf struct{}

func (shelf) SealedFile(context.Context, authority.Node, message.AttachmentRef, uint64) (io.ReadCloser, error) {
	return io.NopCloser(zeros{}), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// messageID is a UUID of version 7.
func messageID() []byte {
	id := make([]byte, 16)
	id[6], id[8] = 0x70, 0x80
	return id
}

func file() *peerv1.PullAttachmentRequest {
	return &peerv1.PullAttachmentRequest{Attachment: &peerv1.AttachmentStatusRequest{Sender: "mx/fgr", MessageId: messageID()}}
}

// calls are all that a node may be asked, but for what hands in a statement, and those that need an inbox.
func calls(t *testing.T) map[string]func(peerv1.PeerServiceClient) error {
	return map[string]func(peerv1.PeerServiceClient) error{
		"Handshake": func(c peerv1.PeerServiceClient) error {
			_, err := c.Handshake(t.Context(), &peerv1.HandshakeRequest{})
			return err
		},
		"CompareHeads": func(c peerv1.PeerServiceClient) error {
			_, err := c.CompareHeads(t.Context(), &peerv1.CompareHeadsRequest{})
			return err
		},
		"GetEntries": func(c peerv1.PeerServiceClient) error {
			s, err := c.GetEntries(t.Context(), &peerv1.GetEntriesRequest{From: 1})
			for err == nil {
				_, err = s.Recv()
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		},
		"PullAttachment": func(c peerv1.PeerServiceClient) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := c.PullAttachment(ctx, file())
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
	}
}

func handIn(t *testing.T, c peerv1.PeerServiceClient, statement []byte) (*peerv1.HandInResponse, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.HandIn(ctx, &peerv1.HandInRequest{Statement: statement})
}

// TestWhoMayCallWhat is the door of a node, caller by caller: what a suspended node and a holder of a key may do is hand in
// a statement. PROTOCOL 10.1, 10.9, 10.10.
func TestWhoMayCallWhat(t *testing.T) {
	w := newWorld(t)
	mx, jm, br, ca := w.admit("mx"), w.admit("jm"), w.admit("br"), w.admit("ca")
	w.serve(0, mx)
	for _, st := range [][]byte{w.suspension(ca), w.revocation(br)} {
		if _, _, err := mx.copy.HandIn(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
	statement := w.revocation(jm)
	tests := []struct {
		name         string
		client       peerv1.PeerServiceClient
		rest, handIn string // codes
	}{
		{"node", mx.dial(jm.source()), "", ""},
		{"suspended node", mx.dial(ca.source()), "suspended", ""},
		{"revoked node", mx.dial(br.source()), "revoked", "revoked"},
		{"steward", mx.dial(w.stewards[0]), "not-allowed", ""},
		{"state", mx.dial(jm.key), "not-allowed", ""},
		{"suspended state", mx.dial(ca.key), "suspended", ""},
		{"stranger", mx.dial(newHolder(t)), wire.CodeHolder, wire.CodeHolder},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, call := range calls(t) {
				if err := call(test.client); test.rest != "" && !turnedAway(err, test.rest) || test.rest == "" && err != nil {
					t.Errorf("%s: %v, want %q", name, err, test.rest)
				}
			}
		})
	}
	for _, test := range tests { // the first that is let in revokes jm
		r, err := handIn(t, test.client, statement)
		if test.handIn == "" && (err != nil || r.GetOutcome() != "on-sight") || test.handIn != "" && !turnedAway(err, test.handIn) {
			t.Errorf("%s: HandIn: %v, %v; want %q", test.name, r, err, test.handIn)
		}
		if !mx.refuses(jm) {
			t.Errorf("%s: the statement has no effect", test.name)
		}
		statement = w.suspension(jm)
	}
}

// turnedAway reports whether a call was refused for a reason; who is refused at the handshake is not told it.
func turnedAway(err error, code string) bool {
	atDoor := fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Retry)
	return fault.CodeOf(err) == code || atDoor && (code == "revoked" || code == wire.CodeHolder)
}

// TestSuspendedNodeHandsIn: over the connection that a node has open when it is suspended every stream is cut and every
// call refused from then on, but it may still hand in its own revocation. DESIGN 5; PROTOCOL 10.10.
func TestSuspendedNodeHandsIn(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.serve(0, mx)
	client := mx.dial(jm.source())
	stream, err := client.PullAttachment(t.Context(), file())
	must(t, err)
	_, err = stream.Recv()
	must(t, err)
	if _, err := handIn(t, mx.dial(w.stewards[0]), w.suspension(jm)); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(t) {
		if err := call(client); fault.CodeOf(err) != "suspended" {
			t.Errorf("%s: %v, want suspended", name, err)
		}
	}
	began := time.Now()
	for err == nil && time.Since(began) < removedWithin {
		_, err = stream.Recv()
	}
	if fault.CodeOf(err) != "suspended" {
		t.Errorf("the stream ends with %v, want suspended", err)
	}
	r, err := handIn(t, client, w.revocation(jm))
	if err != nil || r.GetOutcome() != "on-sight" {
		t.Fatalf("HandIn: %v, %v", r, err)
	}
	if _, err := handIn(t, client, w.revocation(jm)); err == nil {
		t.Error("a revoked node may still hand in statements")
	}
}

// TestSpread: a suspension handed to one of five nodes, without a hub, is in force at all within 10 s, and so a stream of
// the suspended node to another is cut. Who knows of it is not told again and again. P7; PROTOCOL 4.6, 10.10.
func TestSpread(t *testing.T) {
	w := newWorld(t)
	var all []*member
	for _, label := range []string{"mx", "jm", "br", "ca", "us"} {
		all = append(all, w.admit(label))
	}
	w.serve(0, all...)
	first, bad, far := all[0], all[4], all[3]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := far.dial(bad.source()).PullAttachment(ctx, file())
	must(t, err)
	_, err = stream.Recv()
	must(t, err)
	began := time.Now()
	outcome, _, err := bad.courier.HandIn(t.Context(), first.entry(), w.suspension(bad))
	if err != nil || outcome != "on-sight" {
		t.Fatalf("HandIn: %s, %v", outcome, err)
	}
	for _, m := range all[:4] {
		eventually(t, removedWithin-time.Since(began), m.node.String()+" refuses", func() bool { return m.refuses(bad) })
	}
	for err == nil && time.Since(began) < removedWithin {
		_, err = stream.Recv()
	}
	if fault.CodeOf(err) != "suspended" {
		t.Errorf("the stream of the suspended node ends with %v, want suspended", err)
	}
	t.Logf("refused everywhere, and cut, after %s", time.Since(began))
	for _, m := range all[:4] {
		// Told at the same moment by several; and by none of them twice.
		if n := m.copy.handed.Load(); n > 4 {
			t.Errorf("%s looked at the statement %d times", m.node, n)
		}
	}
	if len(first.courier.Live()) > 0 {
		t.Error("connections stay open after the restriction was passed on")
	}
}

// TestRemovalAt34Nodes: with no hub and no connection open between any two, a suspension handed to one of 34 nodes is in
// force at all others within 10 s, all of them in one process. P7.
func TestRemovalAt34Nodes(t *testing.T) {
	if raced {
		t.Skip("it measures time: TestSpread looks for races")
	}
	w := newWorld(t)
	var all []*member
	for i := range 34 {
		all = append(all, w.admit(string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})))
	}
	w.serve(0, all[1:]...)
	bad := all[0]
	began := time.Now()
	if _, err := handIn(t, all[1].dial(w.stewards[0]), w.suspension(bad)); err != nil {
		t.Fatal(err)
	}
	looked := int64(0)
	for _, m := range all[1:] {
		eventually(t, removedWithin-time.Since(began), m.node.String()+" refuses", func() bool { return m.refuses(bad) })
	}
	took := time.Since(began)
	for _, m := range all[1:] {
		looked += m.copy.handed.Load()
	}
	t.Logf("refused by 33 nodes after %s; the statement was looked at %d times", took, looked)
}

// TestSpreadPastTheSilent: peers that take a call and never answer, and one that is not there, cost the others no time.
func TestSpreadPastTheSilent(t *testing.T) {
	w := newWorld(t)
	mx, jm, bad := w.admit("mx"), w.admit("jm"), w.admit("us")
	for _, label := range []string{"aa", "bb", "cc", "dd", "ee", "ff"} {
		_ = w.admit(label) // a listener that nobody accepts from
	}
	gone := w.admit("gg")
	must(t, gone.listen.Close())
	w.serve(0, mx, jm)
	began := time.Now()
	if _, err := handIn(t, mx.dial(w.stewards[0]), w.suspension(bad)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("who hands in waits %s", took)
	}
	eventually(t, removedWithin-time.Since(began), "the one that answers refuses", func() bool { return jm.refuses(bad) })
}

// TestLivePeersAreToldAtOnce: where a connection is open restrictions go over it without waiting for a turn, which with so
// many nodes in the directory is a second for each on average. DESIGN 6.
func TestLivePeersAreToldAtOnce(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	var gone []*member
	for _, label := range []string{"aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj", "kk", "ll", "mm", "nn", "oo", "pp", "qq", "rr"} {
		m := w.admit(label)
		must(t, m.listen.Close())
		gone = append(gone, m)
	}
	w.serve(0, mx, jm)
	if _, err := mx.courier.CompareHeads(t.Context(), jm.entry(), peer.Heads{}); err != nil {
		t.Fatal(err)
	}
	if live := mx.courier.Live(); len(live) != 1 || live[0] != jm.node {
		t.Fatalf("open connections: %v", live)
	}
	began := time.Now()
	for _, m := range gone[:8] {
		if _, _, err := mx.copy.HandIn(t.Context(), w.suspension(m)); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "the peer refuses "+m.node.String(), func() bool { return jm.refuses(m) })
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("8 restrictions took %s over an open connection", took)
	}
}

// TestMendBothWays: two nodes of which each lacks something that the other has compare at a greeting; then both have all.
// PROTOCOL 10.9.
func TestMendBothWays(t *testing.T) {
	w := newWorld(t)
	mx, jm, us, ca := w.admit("mx"), w.admit("jm"), w.admit("us"), w.admit("ca")
	w.admit("br")
	mx.open(2) // mx has not heard of br
	jm.open(0)
	// Before the meshes run nothing is passed on: only comparing brings it.
	quiet := func([]byte) {}
	mx.copy.onSight, jm.copy.onSight = quiet, quiet
	if _, _, err := mx.copy.HandIn(t.Context(), w.suspensionAt(mx.copy.current.Load(), us)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := jm.copy.HandIn(t.Context(), w.suspensionAt(mx.copy.current.Load(), ca)); err != nil {
		t.Fatal(err)
	}
	mx.run()
	jm.run()
	if _, err := mx.courier.CompareHeads(t.Context(), jm.entry(), mx.copy.Heads()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the caller has the log", func() bool {
		return mx.copy.current.Load().Position() == w.newest.Position()
	})
	eventually(t, patience, "the caller has the restriction", func() bool { return mx.refuses(ca) })
	eventually(t, patience, "the called one has the restriction", func() bool { return jm.refuses(us) })
}

func (w *world) suspensionAt(s *directory.Snapshot, m *member) []byte {
	w.t.Helper()
	d := w.draft()
	d.Snapshot = s
	payload, err := d.Suspend(directory.OfState(m.state), time.Now().Add(24*time.Hour), "an exercise")
	must(w.t, err)
	return directory.Attach(payload, w.both(directory.RoleSteward, payload)...)
}

// TestNobodyCanDial: a node that declares no address hears of a restriction by asking, over the connection it has.
func TestNobodyCanDial(t *testing.T) {
	w := newWorld(t)
	mx, jm, bad := w.admit("mx"), w.admit("jm", true), w.admit("us")
	w.serve(0, mx, jm)
	if _, err := jm.courier.CompareHeads(t.Context(), mx.entry(), peer.Heads{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := handIn(t, mx.dial(w.stewards[0]), w.suspension(bad)); err != nil {
		t.Fatal(err)
	}
	eventually(t, removedWithin-time.Since(began), "the node refuses", func() bool { return jm.refuses(bad) })
}

// TestLimits: sizes are looked at before anything is read, and who brings too much is told to wait before a signature is
// looked at. P12; PROTOCOL 10.9, 10.10.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm"), w.admit("br")
	w.serve(0, mx)
	client := mx.dial(jm.source())
	for name, in := range map[string]*peerv1.HandInRequest{
		"statement": {Statement: make([]byte, directory.MaxStatement+1)},
		"card":      {Cards: [][]byte{make([]byte, directory.MaxCard+1)}},
		"cards":     {Cards: make([][]byte, 65)},
	} {
		if _, err := client.HandIn(t.Context(), in); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v, want too large", name, err)
		}
	}
	for name, in := range map[string]*peerv1.CompareHeadsRequest{
		"head": {Head: make([]byte, 64<<10+1)}, "contradiction": {Contradiction: make([]byte, 64<<10+1)}, "hashes": {Unlogged: make([][]byte, 257)},
	} {
		if _, err := client.CompareHeads(t.Context(), in); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v, want too large", name, err)
		}
	}
	if _, err := client.CompareHeads(t.Context(), &peerv1.CompareHeadsRequest{Unlogged: [][]byte{{1}}}); fault.CodeOf(err) != "malformed" {
		t.Errorf("a short hash: %v, want malformed", err)
	}
	if n := mx.copy.handed.Load(); n != 0 {
		t.Errorf("%d statements were looked at, want none", n)
	}
	var err error
	for i := 0; i < 1000 && (err == nil || fault.Is(err, fault.Invalid)); i++ {
		_, err = handIn(t, client, []byte("junk"))
	}
	if fault.CodeOf(err) != "too-many" || mx.copy.handed.Load() > 600 {
		t.Errorf("after %d statements: %v, want too-many", mx.copy.handed.Load(), err)
	}
	if _, err := handIn(t, mx.dial(br.source()), w.suspension(jm)); err != nil {
		t.Errorf("another caller: %v", err)
	}
}

// TestBroughtAgain: a statement that was just found good costs no second look, and is not passed on to who brought it.
// PROTOCOL 10.10.
func TestBroughtAgain(t *testing.T) {
	w := newWorld(t)
	mx, jm, br, ca := w.admit("mx"), w.admit("jm"), w.admit("br"), w.admit("ca")
	must(t, br.listen.Close())
	must(t, ca.listen.Close())
	w.serve(0, mx, jm)
	first, second := w.suspension(br), w.suspension(ca)
	for range 3 {
		r, err := handIn(t, mx.dial(jm.source()), first)
		if err != nil || r.GetOutcome() != "on-sight" {
			t.Fatalf("HandIn: %v, %v", r, err)
		}
	}
	if n := mx.copy.handed.Load(); n != 1 {
		t.Errorf("the statement was looked at %d times, want once", n)
	}
	if _, err := handIn(t, mx.dial(w.stewards[0]), second); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the other is told", func() bool { return jm.refuses(ca) })
	if n := jm.copy.handed.Load(); n != 1 {
		t.Errorf("%d statements were passed on to who brought one of two, want the other", n)
	}
}

// TestGiving: a peer has one flow of entries at a time, and loses it when it takes none. P12; PROTOCOL 10.9.
func TestGiving(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm"), w.admit("br")
	w.serve(0, mx)
	var given atomic.Int64
	mx.copy.give = func(yield func(peer.Entry, error) bool) {
		for i := uint64(1); yield(peer.Entry{Position: i, Statement: make([]byte, directory.MaxStatement)}, nil); i++ {
			given.Add(1)
		}
	}
	client := mx.dial(jm.source())
	slow, err := client.GetEntries(t.Context(), &peerv1.GetEntriesRequest{From: 1})
	must(t, err)
	_, err = slow.Recv()
	must(t, err)
	second, err := client.GetEntries(t.Context(), &peerv1.GetEntriesRequest{From: 1})
	must(t, err)
	if _, err := second.Recv(); fault.CodeOf(err) != "busy" {
		t.Errorf("a second flow: %v, want busy", err)
	}
	other, err := mx.dial(br.source()).GetEntries(t.Context(), &peerv1.GetEntriesRequest{From: 1})
	must(t, err)
	if _, err := other.Recv(); err != nil {
		t.Errorf("another peer: %v", err)
	}
	eventually(t, patience, "the flow ends", func() bool {
		s, err := client.GetEntries(t.Context(), &peerv1.GetEntriesRequest{From: 1})
		if err == nil {
			_, err = s.Recv()
		}
		return err == nil
	})
	if most := given.Load(); most > 200 {
		t.Errorf("%d entries of 64 KiB are on their way to readers that take none", most)
	}
	for i := 0; i < 200 && err == nil; i++ {
		_, err = slow.Recv()
	}
	if fault.CodeOf(err) != "too-slow" {
		t.Errorf("the flow ends with %v, want too-slow", err)
	}
}

// TestDisorder: what a peer gives beside what was asked for is not taken. PROTOCOL 10.9.
func TestDisorder(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.serve(0, mx, jm)
	give := func(all ...peer.Entry) {
		mx.copy.give = func(yield func(peer.Entry, error) bool) {
			for _, e := range all {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	for name, test := range map[string]struct {
		want peer.Want
		give []peer.Entry
		code string
	}{
		"as asked":            {peer.Want{From: 2, Restrictions: make([]directory.Hash, 1)}, []peer.Entry{{Position: 2, Statement: []byte("a")}, {Position: 3, Statement: []byte("b")}, {Statement: []byte("c")}}, ""},
		"a gap":               {peer.Want{From: 2}, []peer.Entry{{Position: 2, Statement: []byte("a")}, {Position: 4, Statement: []byte("b")}}, "out-of-order"},
		"unwanted entries":    {peer.Want{Restrictions: make([]directory.Hash, 1)}, []peer.Entry{{Position: 1, Statement: []byte("a")}}, "out-of-order"},
		"too many by hash":    {peer.Want{Restrictions: make([]directory.Hash, 1)}, []peer.Entry{{Statement: []byte("a")}, {Statement: []byte("b")}}, "out-of-order"},
		"too large":           {peer.Want{From: 1}, []peer.Entry{{Position: 1, Statement: make([]byte, directory.MaxStatement+1)}}, "out-of-order"},
		"an empty statement":  {peer.Want{From: 1}, []peer.Entry{{Position: 1}}, "out-of-order"},
		"nothing but the end": {peer.Want{From: 1}, nil, ""},
	} {
		give(test.give...)
		var head func() []byte
		var failed error
		eventually(t, patience, "the flow before has ended at the other side", func() bool {
			var entries iter.Seq2[peer.Entry, error]
			entries, head = jm.courier.GetEntries(t.Context(), mx.entry(), test.want)
			failed = nil
			for _, err := range entries {
				failed = err
			}
			return fault.CodeOf(failed) != "busy"
		})
		if got := fault.CodeOf(failed); failed != nil && got != test.code || failed == nil && test.code != "" {
			t.Errorf("%s: %v, want %q", name, failed, test.code)
		}
		if failed == nil && len(head()) == 0 {
			t.Errorf("%s: no head came", name)
		}
	}
}

// TestReaderStops: who wants no more entries ends the call and nothing else.
func TestReaderStops(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.serve(0, mx, jm)
	for range 3 {
		entries, _ := jm.courier.GetEntries(t.Context(), mx.entry(), peer.Want{From: 1})
		for e, err := range entries {
			if err != nil && !fault.Is(err, fault.Retry) {
				t.Errorf("%v, %v", e, err)
			}
			break
		}
	}
}
