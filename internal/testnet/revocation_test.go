package testnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/testnet"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	removedWithin = 10 * time.Second // P7
	slowRate      = 1 << 20          // bytes per second; a file is on its way while the directory turns
	slowFile      = 24 << 20
)

// TestRevocation revokes nodes by statements through the hub while each of these is open: a stream and an idle
// connection to the node revoked, and a stream and an idle connection from it, by a node that ignores what the
// directory says of it. The next message on each fails within 10 s. P7.
func TestRevocation(t *testing.T) {
	relays := map[string]*relay{}
	n := start(t, testnet.Options{Relay: func(listen string) (string, error) {
		relays[listen] = newRelay(t, listen)
		return relays[listen].addr(), nil
	}})
	mx, jm, br := n.Members[0], n.Members[1], n.Members[2]
	for _, r := range relays {
		r.slow(slowRate)
	}
	outgoing := unfinished(t, mx, jm)
	incoming := unfinished(t, br, mx)
	t.Run("to", func(t *testing.T) { revokedReceiver(t, n, outgoing) })
	t.Run("from", func(t *testing.T) { revokedSender(t, n, incoming) })
}

// transfer is a request whose file is still on its way.
type transfer struct {
	from, to *testnet.Member
	id       string
	ref      message.AttachmentRef
}

// unfinished sends a file over a slow line and returns once some of it has come.
func unfinished(t *testing.T, from, to *testnet.Member) transfer {
	t.Helper()
	id, err := from.Submit(t.Context(), testnet.Exercise(from, to, "identify-person", "Who is it?"), testnet.File{Name: "film", Data: bytes.NewReader(make([]byte, slowFile))})
	if err != nil {
		t.Fatal(err)
	}
	r, err := to.Await(t.Context(), to.Duty, id, func(r *operatorv1.GetRequestResponse) bool {
		return len(r.GetAttachments()) == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := message.ParseID(r.GetSteps()[0].GetMessageId())
	if err != nil {
		t.Fatal(err)
	}
	x := transfer{from, to, id, message.AttachmentRef{Message: message.Key{Sender: from.Authority, ID: msg}}}
	for end := time.Now().Add(patience); x.stored(t) < message.HashChunk; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing of the file came")
		}
	}
	return x
}

// stored is how much of the file has come.
func (x transfer) stored(t *testing.T) uint64 {
	t.Helper()
	st, err := x.to.Daemon.Exchange.AttachmentStatus(t.Context(), x.from.Daemon.Node, x.ref)
	if err != nil {
		t.Fatal(err)
	}
	if st.Complete {
		t.Fatal("the file came whole: the line is not slow enough for this test")
	}
	return st.Bytes
}

// revokedReceiver: the node that a file and messages go to is revoked by its state, while it goes on as if nothing were.
func revokedReceiver(t *testing.T, n *testnet.Network, x transfer) {
	idle := dial(t, x.from, x.to, x.from.Daemon.Follower.Current())
	if err := x.status(idle); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	revoke(t, n, x.to)
	refused(t, began, "an idle connection to the revoked node", func() error { return x.status(idle) })
	// The stream is the courier's own. It has ended when no byte comes any more.
	last := x.stored(t)
	for grew := time.Now(); time.Since(grew) < time.Second; time.Sleep(20 * time.Millisecond) {
		if now := x.stored(t); now > last {
			last, grew = now, time.Now()
		}
		if time.Since(began) > removedWithin {
			t.Fatalf("bytes go to the revoked node after %s", time.Since(began))
		}
	}
	t.Logf("the stream to the revoked node stopped %s after the statement was made", time.Since(began)-time.Second)
	// A new request waits: its authority was not revoked, and may get another node.
	id, err := x.from.Submit(t.Context(), testnet.Exercise(x.from, x.to, "identify-person", "And now?"))
	if err != nil {
		t.Fatal(err)
	}
	tried := func(r *operatorv1.GetRequestResponse) bool { return r.GetSteps()[0].GetAttempts() > 0 }
	r, err := x.from.Await(t.Context(), x.from.Officer, id, tried)
	if err != nil {
		t.Fatal(err)
	}
	if step := r.GetSteps()[0]; step.GetDelivery() != "QUEUED" || !strings.Contains(step.GetLastError(), "revoked") {
		t.Errorf("a request to the authority of a revoked node is %s, because: %s", step.GetDelivery(), step.GetLastError())
	}
}

// revokedSender: a node that sends is revoked by its state. The test plays a node that does not obey: it has the keys
// and goes on by the directory of before.
func revokedSender(t *testing.T, n *testnet.Network, x transfer) {
	frozen := &directory.Current{}
	frozen.Store(x.from.Daemon.Follower.Current().Load())
	if err := x.from.Stop(); err != nil {
		t.Fatal(err)
	}
	idle, busy := dial(t, x.from, x.to, frozen), dial(t, x.from, x.to, frozen)
	if err := x.status(idle); err != nil {
		t.Fatal(err)
	}
	stream := x.resume(t, busy)
	began := time.Now()
	revoke(t, n, x.from)
	refused(t, began, "a stream from the revoked node", func() error { return push(stream) })
	refused(t, began, "an idle connection from the revoked node", func() error { return x.status(idle) })
	again := stranger(t, x.from, x.to, frozen)
	if err := greet(t, again, x.from, x.to); err == nil {
		t.Error("the revoked node could connect anew")
	}
}

type pushing = grpc.ClientStreamingClient[peerv1.PushAttachmentRequest, peerv1.PushAttachmentResponse]

// push sends one more byte of a file.
func push(stream pushing) error {
	err := stream.Send(&peerv1.PushAttachmentRequest{Data: make([]byte, 1)})
	if errors.Is(err, io.EOF) {
		_, err = stream.CloseAndRecv()
	}
	return err
}

// resume opens the stream of a transfer where it was cut, as soon as the other side has noticed that it was, and
// returns it once it is seen to take bytes.
func (x transfer) resume(t *testing.T, client peerv1.PeerServiceClient) pushing {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		st, err := client.AttachmentStatus(t.Context(), x.request())
		if err != nil {
			t.Fatal(err)
		}
		stream, err := client.PushAttachment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Send(&peerv1.PushAttachmentRequest{Attachment: x.request(), Offset: st.GetStored()})
		for sent := 0; sent < 10 && err == nil; sent++ {
			time.Sleep(20 * time.Millisecond)
			err = push(stream)
		}
		if err == nil {
			return stream
		}
		if !fault.Is(err, fault.Retry) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (x transfer) request() *peerv1.AttachmentStatusRequest {
	return &peerv1.AttachmentStatusRequest{Sender: x.ref.Message.Sender.String(), MessageId: x.ref.Message.ID.Bytes(), Index: x.ref.Index}
}

func (x transfer) status(client peerv1.PeerServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), removedWithin)
	defer cancel()
	_, err := client.AttachmentStatus(ctx, x.request())
	return err
}

// dial connects as one member's node to another's, straight, going by the directory given.
func dial(t *testing.T, from, to *testnet.Member, current *directory.Current) peerv1.PeerServiceClient {
	t.Helper()
	client := stranger(t, from, to, current)
	if err := greet(t, client, from, to); err != nil {
		t.Fatal(err)
	}
	return client
}

// stranger is the same before its first word.
func stranger(t *testing.T, from, to *testnet.Member, current *directory.Current) peerv1.PeerServiceClient {
	t.Helper()
	unlock, err := keyring.ParseUnlock(from.Config.Keyring.File.Unlock, nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(from.Config.Keyring.File.Path, unlock)
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority.NodeID(from.Daemon.Node, current.Load().NetworkName())
	if err != nil {
		t.Fatal(err)
	}
	judge := wire.ThisNode(current, time.Now, to.Daemon.Node)
	conn, err := wire.Dial(to.Daemon.PeerAddr.String(), wire.ClientOptions{TLS: ring.NodeSource(id, nil, time.Now).ClientTLS(judge.Verify), Changed: current.Changed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return peerv1.NewPeerServiceClient(conn)
}

// greet says the first word of a node to another, which answers to nobody else. PROTOCOL 9.7.
func greet(t *testing.T, client peerv1.PeerServiceClient, from, to *testnet.Member) error {
	t.Helper()
	hello, err := from.Daemon.Exchange.Hello(t.Context(), to.Daemon.Node)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Handshake(t.Context(), &peerv1.HandshakeRequest{Hello: hello})
	return err
}

// revoke has a state revoke its own node, by a statement through the hub.
func revoke(t *testing.T, n *testnet.Network, m *testnet.Member) {
	t.Helper()
	err := n.Restrict(t.Context(), m.StateKey, func(d directory.Draft) ([]byte, error) { return d.RevokeNode(m.Daemon.Node, "stolen") })
	if err != nil {
		t.Fatal(err)
	}
}

// refused repeats a message until it fails, and says how long that took.
func refused(t *testing.T, began time.Time, what string, send func() error) {
	t.Helper()
	for {
		err := send()
		if err != nil {
			if !fault.Is(err, fault.Denied) {
				t.Errorf("%s failed by %v, want denied", what, err)
			}
			t.Logf("%s: refused (%s) %s after the statement was made", what, fault.CodeOf(err), time.Since(began))
			return
		}
		if time.Since(began) > removedWithin {
			t.Fatalf("%s still works %s after the statement was made", what, time.Since(began))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestSuspension: stewards suspend a state for a few seconds. Nothing passes in either direction; when the term lapses
// traffic flows again by itself, also what had waited.
func TestSuspension(t *testing.T) {
	n := start(t, testnet.Options{States: []string{"mx", "jm"}})
	mx, jm := n.Members[0], n.Members[1]
	exchanged(t, mx, jm)
	exchanged(t, jm, mx)
	frozen := &directory.Current{}
	frozen.Store(jm.Daemon.Follower.Current().Load())
	client := dial(t, jm, mx, frozen)
	call := func() error {
		_, err := client.AttachmentStatus(t.Context(), &peerv1.AttachmentStatusRequest{Sender: jm.Authority.String(), MessageId: make([]byte, 16)})
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
			return nil // let in, and told that there is no such attachment
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	end := began.Add(6 * time.Second).Truncate(time.Second)
	err := n.Restrict(t.Context(), nil, func(d directory.Draft) ([]byte, error) {
		return d.Suspend(directory.OfState(jm.State), end, "an exercise")
	})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, began, "a request to the suspended state", func() error {
		_, err := mx.Submit(t.Context(), testnet.Exercise(mx, jm, "identify-person", "Now?"))
		return err
	})
	refused(t, began, "an idle connection from the suspended state", call)
	time.Sleep(time.Until(end.Add(time.Second)))
	exchanged(t, mx, jm)
	exchanged(t, jm, mx)
}

// exchanged sends a request and waits until it is receipted.
func exchanged(t *testing.T, from, to *testnet.Member) {
	t.Helper()
	id, err := from.Submit(t.Context(), testnet.Exercise(from, to, "identify-person", "Who is it?"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Await(t.Context(), from.Officer, id, testnet.Receipted); err != nil {
		t.Fatal(err)
	}
}
