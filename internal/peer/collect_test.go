package peer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/peer"
	"github.com/enlace-network/enlace/internal/wire"
)

// box takes everything in and says who brought it.
type box struct {
	inbox
	files atomic.Int64 // bytes of attachments
}

func (b *box) Receive(_ context.Context, from authority.Node, envelope []byte) ([]byte, error) {
	return append([]byte(from.String()+" brought "), envelope...), nil
}

func (b *box) AttachmentStatus(context.Context, authority.Node, message.AttachmentRef) (message.Stored, error) {
	return message.Stored{}, nil
}

func (b *box) ReceiveAttachment(_ context.Context, _ authority.Node, _ message.AttachmentRef, _ uint64, src io.Reader) (message.Stored, error) {
	n, err := io.Copy(io.Discard, src)
	b.files.Add(n)
	return message.Stored{Bytes: uint64(n), Complete: true}, err
}

// collected is a network where mx can be dialled and jm cannot, with jm's connection lent to mx.
func collected(t *testing.T) (w *world, mx, jm *member) {
	t.Helper()
	w = newWorld(t)
	mx, jm = w.admit("mx"), w.admit("jm", true)
	jm.inbox = &box{}
	w.serve(0, mx, jm)
	eventually(t, patience, "jm lends mx a connection", func() bool { return mx.courier.Road(jm.node) == peer.RoadCollect })
	return w, mx, jm
}

func deliver(t *testing.T, from, to *member) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	receipt, err := from.courier.Deliver(ctx, to.entry(), []byte("a letter"))
	return string(receipt), err
}

// TestCollect: a node that nobody can dial is handed envelopes and attachments, gives attachments and is compared with, all
// over connections that it lends. PROTOCOL 10.5.
func TestCollect(t *testing.T) {
	_, mx, jm := collected(t)
	if got, err := deliver(t, mx, jm); got != "mx/node/primary brought a letter" {
		t.Errorf("jm was handed %q, %v", got, err)
	}
	ref := message.AttachmentRef{Message: message.Key{Sender: nameOf(t, "mx/fgr"), ID: idOf(t)}}
	const size = 5<<20 + 1
	st, err := mx.courier.PushAttachment(t.Context(), jm.entry(), ref, 0, io.LimitReader(zeros{}, size))
	if err != nil || st.Bytes != size || !st.Complete {
		t.Errorf("an attachment arrived as %+v, %v", st, err)
	}
	src, err := mx.courier.PullAttachment(t.Context(), jm.entry(), ref, 0)
	must(t, err)
	if _, err := io.CopyN(io.Discard, src, size); err != nil {
		t.Errorf("what jm gives: %v", err)
	}
	must(t, src.Close())
	if _, err := mx.courier.CompareHeads(t.Context(), jm.entry(), peer.Heads{}); err != nil {
		t.Errorf("heads: %v", err)
	}
	if mx.courier.Road(jm.node) != peer.RoadCollect {
		t.Errorf("the road to jm is %q", mx.courier.Road(jm.node))
	}
}

func nameOf(t *testing.T, text string) authority.Name {
	t.Helper()
	name, err := authority.ParseName(text)
	must(t, err)
	return name
}

func idOf(t *testing.T) message.ID {
	t.Helper()
	id, err := message.IDFromBytes(messageID())
	must(t, err)
	return id
}

// TestCollectBesideAFile: an envelope does not wait behind an attachment on a lent connection, since that has one of its own.
// PROTOCOL 10.5.
func TestCollectBesideAFile(t *testing.T) {
	_, mx, jm := collected(t)
	r, slow := io.Pipe()
	ref := message.AttachmentRef{Message: message.Key{Sender: nameOf(t, "mx/fgr"), ID: idOf(t)}}
	done := make(chan error, 1)
	go func() {
		_, err := mx.courier.PushAttachment(context.Background(), jm.entry(), ref, 0, r)
		done <- err
	}()
	_, err := slow.Write(make([]byte, 1<<20))
	must(t, err)
	if _, err := deliver(t, mx, jm); err != nil {
		t.Error(err)
	}
	must(t, slow.Close())
	must(t, <-done)
}

// TestCollectorTurnedAgainst: when the directory turns against the node that lends, its connections end at once, and no new
// one is taken. P7; PROTOCOL 10.5.
func TestCollectorTurnedAgainst(t *testing.T) {
	w, mx, jm := collected(t)
	statement := w.suspension(jm)
	if _, _, err := mx.copy.HandIn(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	eventually(t, removedWithin, "the lent connection ends", func() bool { return mx.courier.Road(jm.node) == "" })
	if _, err := deliver(t, mx, jm); err == nil {
		t.Error("a suspended node was handed a letter")
	}
	if _, err := lendAs(t, mx, jm, jm).Recv(); fault.CodeOf(err) != "suspended" {
		t.Errorf("a suspended node that lends was told %v", err)
	}
}

// TestRestrictionReachesACollector: what is in force on sight is pushed to a node that cannot be dialled over what it lends.
// PROTOCOL 10.5, 10.10.
func TestRestrictionReachesACollector(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm", true), w.admit("br")
	w.serve(0, mx, jm)
	eventually(t, patience, "jm lends mx a connection", func() bool { return mx.courier.Road(jm.node) == peer.RoadCollect })
	if _, _, err := mx.copy.HandIn(t.Context(), w.suspension(br)); err != nil {
		t.Fatal(err)
	}
	eventually(t, removedWithin, "jm refuses br", func() bool { return jm.refuses(br) })
}

// TestDeadPeerDelaysNoOther: who does not answer a node that wants to lend keeps it from nobody else.
func TestDeadPeerDelaysNoOther(t *testing.T) {
	w := newWorld(t)
	dead, mx, jm := w.admit("ca"), w.admit("mx"), w.admit("jm", true) // ca accepts and says nothing
	_ = dead
	w.serve(0, mx, jm)
	eventually(t, 10*time.Second, "jm lends mx a connection", func() bool { return mx.courier.Road(jm.node) == peer.RoadCollect })
}

// TestWaitingNodesAreTold: when a connection is lent, those who wait for its node hear of it, by the greeting.
func TestWaitingNodesAreTold(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm", true)
	w.serve(0, mx)
	if _, err := deliver(t, mx, jm); fault.CodeOf(err) != "outbound-only" || !fault.Is(err, fault.Retry) {
		t.Errorf("a node that lends nothing: %v, want outbound-only", err)
	}
	heard := make(chan authority.Node, 8)
	mx.courier.Greet(inbox{}, func(n authority.Node) { heard <- n })
	w.serve(0, jm)
	select {
	case n := <-heard:
		if n != jm.node {
			t.Errorf("%s was greeted", n)
		}
	case <-time.After(patience):
		t.Error("nobody was told")
	}
}

// lending is a Collect call with a connection in it.
type lending = grpc.BidiStreamingClient[peerv1.CollectRequest, peerv1.CollectResponse]

// lendAs makes a Collect call of by to a node by hand, and serves TLS in it as shown does; shown nil: it says nothing.
func lendAs(t *testing.T, to, by, shown *member) lending {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := to.dial(by.source()).Collect(ctx)
	must(t, err)
	err = stream.Send(&peerv1.CollectRequest{})
	if errors.Is(err, io.EOF) || shown == nil {
		return stream
	}
	must(t, err)
	here, there := net.Pipe()
	go func() {
		server := tls.Server(there, shown.source().ServerTLS(func(tls.ConnectionState) error { return nil }))
		_, _ = io.Copy(io.Discard, server)
	}()
	go func() {
		buf := make([]byte, 16<<10)
		for n, err := here.Read(buf); err == nil; n, err = here.Read(buf) {
			_ = stream.Send(&peerv1.CollectRequest{Data: buf[:n]})
		}
	}()
	return &fed{stream, here}
}

// fed hands what comes to the TLS inside.
type fed struct {
	lending
	here net.Conn
}

func (f *fed) Recv() (*peerv1.CollectResponse, error) {
	m, err := f.lending.Recv()
	if err == nil {
		_, _ = f.here.Write(m.GetData())
	}
	return m, err
}

func lastOf(s lending) error {
	for {
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
}

// TestOneLentConnection: a newer connection takes the place of the older. PROTOCOL 10.5.
func TestOneLentConnection(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm", true)
	w.serve(0, mx)
	first := lendAs(t, mx, jm, nil)
	ended := make(chan error, 1)
	go func() { ended <- lastOf(first) }()
	eventually(t, patience, "the first is there", func() bool { return mx.courier.Road(jm.node) == peer.RoadCollect })
	_ = lendAs(t, mx, jm, nil)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the first of two connections is still there")
	}
}

// TestLentByAnother: what is inside is judged as a node that was dialled: who lends in one name and answers in another is
// used for nothing. PROTOCOL 10.5.
func TestLentByAnother(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm", true), w.admit("br", true)
	w.serve(0, mx)
	if err := lastOf(lendAs(t, mx, jm, br)); fault.CodeOf(err) != wire.CodeIdentity {
		t.Errorf("br answered inside jm's connection: %v", err)
	}
	if road := mx.courier.Road(jm.node); road != "" {
		t.Errorf("the road to jm is %q", road)
	}
}

// TestHostileLender: pieces too large end the call, junk too, and who calls without end is busy. PROTOCOL 10.5.
func TestHostileLender(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm", true)
	w.serve(0, mx)
	big := lendAs(t, mx, jm, nil)
	_, err := big.Recv() // the first flight of TLS
	must(t, err)
	must(t, big.Send(&peerv1.CollectRequest{Data: make([]byte, 64<<10+1)}))
	if err := lastOf(big); fault.CodeOf(err) != "too-large" {
		t.Errorf("a piece too large: %v, want too-large", err)
	}
	junk := lendAs(t, mx, jm, nil)
	must(t, junk.Send(&peerv1.CollectRequest{Data: make([]byte, 1<<10)}))
	if err := lastOf(junk); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("junk: %v", err)
	}
	var last error
	for range 40 {
		if _, last = lendAs(t, mx, jm, nil).Recv(); last != nil {
			break
		}
	}
	if fault.CodeOf(last) != "busy" {
		t.Errorf("one call after the other: %v, want busy", last)
	}
}
