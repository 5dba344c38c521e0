package wire_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// unfinished makes calls, over two connections, whose message of 2 MiB never gets whole: n bytes of it come.
func unfinished(t *testing.T, config *tls.Config, url string, calls, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var client *http.Client
	for i := range calls {
		if i%60 == 0 {
			transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
			t.Cleanup(transport.CloseIdleConnections)
			client = &http.Client{Transport: transport}
		}
		r, w := io.Pipe()
		t.Cleanup(func() { _ = w.Close() })
		go func() {
			_, _ = w.Write([]byte{0, 0, 0x20, 0, 0}) // of 2 MiB
			_, _ = w.Write(make([]byte, n))
		}()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, r)
		must(t, err)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		go func(c *http.Client) {
			if res, err := c.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}(client)
		time.Sleep(2 * time.Millisecond)
	}
}

const deliver = "/enlace.peer.v1.PeerService/Deliver"

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// TestHostileNodeHoldsItsShare: one member's unfinished calls hold no more than its share, and others are served.
func TestHostileNodeHoldsItsShare(t *testing.T) {
	n := newNetwork(t)
	mx, jm, br := n.admit("mx"), n.admit("jm"), n.admit("br")
	s := n.serve(jm, &door{}, func(o *wire.ServerOptions) { o.Limits = wire.Limits{Bytes: 12 << 20, CallerBytes: 4 << 20} })
	before := heap()
	identity := wire.ThisNode(n.current, n.now, jm.node)
	unfinished(t, n.source(mx, mx.node).ClientTLS(identity.Verify), "https://"+s.addr+deliver, 100, 1<<20)
	time.Sleep(time.Second)
	if grown := heap() - before; grown > 25 {
		t.Errorf("the heap grew by %d MB under 100 MB of unfinished calls, want about 4", grown)
	}
	client := n.dial(br, s.addr, jm)
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 1<<20)}); err != nil {
		t.Errorf("another member: %v", err)
	}
}

// TestManyCallsAtOnce: the shares leave room for what nodes do, and are given back.
func TestManyCallsAtOnce(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{}, func(o *wire.ServerOptions) { o.Limits = wire.Limits{Bytes: 4 << 20, CallerBytes: 2 << 20} })
	client := n.dial(mx, s.addr, jm)
	ctx := within(t, 30*time.Second)
	failed := make(chan error, 64)
	for range 64 {
		go func() {
			var err error
			for range 20 {
				if _, err = client.Deliver(ctx, &peerv1.DeliverRequest{Envelope: make([]byte, 8<<10)}); err != nil {
					break
				}
			}
			failed <- err
		}()
	}
	for range 64 {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if _, err := client.Deliver(ctx, &peerv1.DeliverRequest{Envelope: make([]byte, 1<<20)}); err != nil {
			t.Errorf("a large one after them: %v", err)
		}
	}
}

// anybody is a door without client certificates where Deliver is open to strangers.
func (n *network) anybody(d *door, limits wire.Limits) (string, *tls.Config) {
	n.t.Helper()
	jm := n.admit("jm")
	source := jm.ring.OperatorSource([]string{"127.0.0.1"}, n.now)
	s := n.serve(jm, d, func(o *wire.ServerOptions) {
		o.TLS, o.Changed, o.Limits = source.OperatorTLS(), nil, limits
		o.Strangers = map[string]int{deliver: 8 << 10}
		o.Authorise = func(ctx context.Context, method string) (context.Context, error) { return ctx, nil }
	})
	return s.addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}} // the door's CA is not what is tested
}

func (n *network) visit(addr string, config *tls.Config) peerv1.PeerServiceClient {
	n.t.Helper()
	conn, err := wire.Dial(addr, wire.ClientOptions{TLS: config})
	must(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	return peerv1.NewPeerServiceClient(conn)
}

// TestStrangersHoldLittle: a stranger's message ends at its method's limit, however much the call announces.
func TestStrangersHoldLittle(t *testing.T) {
	n := newNetwork(t)
	addr, config := n.anybody(&door{}, wire.Limits{})
	before := heap()
	unfinished(t, config, "https://"+addr+deliver, 100, 1<<20)
	time.Sleep(time.Second)
	if grown := heap() - before; grown > 20 {
		t.Errorf("the heap grew by %d MB under 100 MB of strangers' calls, want next to nothing", grown)
	}
	client := n.visit(addr, config)
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 8000)}); err != nil {
		t.Errorf("a message within the limit: %v", err)
	}
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 9000)}); err == nil {
		t.Error("a message beyond the limit was taken")
	}
}

// TestStrangersCallsAreFew: one address has an eighth of the places for unfinished calls of strangers.
func TestStrangersCallsAreFew(t *testing.T) {
	n := newNetwork(t)
	addr, config := n.anybody(&door{}, wire.Limits{Strangers: 16})
	unfinished(t, config, "https://"+addr+deliver, 2, 100)
	time.Sleep(300 * time.Millisecond)
	if _, err := n.visit(addr, config).Deliver(within(t, 5*time.Second), &peerv1.DeliverRequest{}); fault.CodeOf(err) != "busy" {
		t.Errorf("a third call at once: %v, want busy", err)
	}
}

// silent opens sockets from another loopback address and says nothing on them.
func silent(t *testing.T, addr string, count int) []net.Conn {
	t.Helper()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Second}
	var held []net.Conn
	for range count {
		if c, err := from.Dial("tcp", addr); err == nil {
			t.Cleanup(func() { _ = c.Close() })
			held = append(held, c)
		}
	}
	time.Sleep(100 * time.Millisecond)
	return held
}

// open counts connections that the other side has not closed.
func open(held []net.Conn) int {
	n := 0
	for _, c := range held {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			n++
		}
	}
	return n
}

// TestSilentSocketsCloseNoDoor: neither one address nor several can keep others out by sockets that say nothing.
func TestSilentSocketsCloseNoDoor(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	for name, limits := range map[string]wire.Limits{
		"one address":       {Connections: 40, PerAddress: 10},
		"as from many":      {Connections: 20, PerAddress: 1000},
		"from everywhere":   {Connections: 10, PerAddress: 1000, PerCaller: 2},
		"the limits we set": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := n.serve(jm, &door{}, func(o *wire.ServerOptions) { o.Limits = limits })
			held := silent(t, s.addr, 60)
			if _, err := n.dial(mx, s.addr, jm).Deliver(within(t, 3*time.Second), &peerv1.DeliverRequest{}); err != nil {
				t.Errorf("a node behind %d silent sockets: %v", len(held), err)
			}
			if left := open(held); left > 32 {
				t.Errorf("%d silent sockets stay open, want at most 32", left)
			}
		})
	}
}

// TestSilentConnectionEnds: a handshake alone keeps no place.
func TestSilentConnectionEnds(t *testing.T) {
	n := newNetwork(t)
	addr, config := n.anybody(&door{}, wire.Limits{Silence: 300 * time.Millisecond})
	conn, err := tls.Dial("tcp", addr, config)
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	start := time.Now()
	if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
		t.Errorf("open after %v, want closed after 300 ms", time.Since(start))
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestConnectionsOfOneNode: the oldest of too many is closed.
func TestConnectionsOfOneNode(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	d := &door{pushed: make(chan []byte, 10), ended: make(chan error, 1)}
	s := n.serve(jm, d, func(o *wire.ServerOptions) { o.Limits = wire.Limits{PerCaller: 2} })
	stream, err := n.dial(mx, s.addr, jm).PushAttachment(within(t, 20*time.Second))
	must(t, err)
	must(t, stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("first")}))
	<-d.pushed
	for i := range 2 {
		if _, err := n.dial(mx, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err != nil {
			t.Fatalf("connection %d: %v", i+2, err)
		}
	}
	select {
	case <-d.ended:
	case <-time.After(5 * time.Second):
		t.Error("the first of three connections is still there")
	}
}

// TestStandingStreamEnds: a stream that brings nothing is ended, one that goes on slowly is not.
func TestStandingStreamEnds(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	d := &door{pushed: make(chan []byte, 100), ended: make(chan error, 1)}
	s := n.serve(jm, d, func(o *wire.ServerOptions) { o.Idle = 400 * time.Millisecond })
	stream, err := n.dial(mx, s.addr, jm).PushAttachment(within(t, 20*time.Second))
	must(t, err)
	for range 10 {
		must(t, stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("slowly")}))
		<-d.pushed
		time.Sleep(100 * time.Millisecond)
	}
	select {
	case err := <-d.ended:
		if fault.CodeOf(err) != "too-slow" {
			t.Errorf("the handler was told %v, want too-slow", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the stream stands still and stays")
	}
	if _, err := stream.CloseAndRecv(); fault.CodeOf(err) != "too-slow" || !fault.Is(err, fault.Retry) {
		t.Errorf("the caller was told %v, want too-slow", err)
	}
}
