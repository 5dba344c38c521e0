package wire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// door is a peer service that does what its fields say.
type door struct {
	peerv1.UnimplementedPeerServiceServer
	deliver func(context.Context, *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error)
	// pushed gets every message of every push stream.
	pushed chan []byte
	ended  chan error
}

func (d *door) Deliver(ctx context.Context, r *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
	if d.deliver != nil {
		return d.deliver(ctx, r)
	}
	p, _ := wire.PeerFrom(ctx)
	return &peerv1.DeliverResponse{Receipt: []byte(p.String())}, nil
}

func (d *door) PushAttachment(s grpc.ClientStreamingServer[peerv1.PushAttachmentRequest, peerv1.PushAttachmentResponse]) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&peerv1.PushAttachmentResponse{Complete: true})
		}
		if err != nil {
			d.ended <- err
			return err
		}
		d.pushed <- m.GetData()
	}
}

// served is a running server with its log.
type served struct {
	addr string
	logs *observer.ObservedLogs
}

// told reports whether the log has a connection refused for that reason.
func (s served) told(code string) bool {
	for _, line := range s.logs.FilterMessage("connection refused").All() {
		if line.ContextMap()["code"] == code {
			return true
		}
	}
	return false
}

// serve runs the door of m's node.
func (n *network) serve(m *member, d *door, change ...func(*wire.ServerOptions)) served {
	n.t.Helper()
	identity := wire.NodeIdentity(n.current, n.now)
	core, logs := observer.New(zapcore.DebugLevel)
	o := wire.ServerOptions{TLS: n.source(m, m.node).ServerTLS(identity.Verify), Authorise: identity.Authorise(nil),
		Changed: n.current.Changed, Log: zap.New(core)}
	for _, f := range change {
		f(&o)
	}
	s := wire.NewServer(o)
	peerv1.RegisterPeerServiceServer(s, d)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(n.t, err)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := s.Serve(l); err != nil {
			n.t.Errorf("Serve: %v", err)
		}
	})
	n.t.Cleanup(func() {
		s.Shut(time.Second)
		wait.Wait()
	})
	return served{l.Addr().String(), logs}
}

// dial makes m's client of to's node.
func (n *network) dial(m *member, addr string, to *member, change ...func(*wire.ClientOptions)) peerv1.PeerServiceClient {
	n.t.Helper()
	identity := wire.ThisNode(n.current, n.now, to.node)
	o := wire.ClientOptions{TLS: n.source(m, m.node).ClientTLS(identity.Verify), Changed: n.current.Changed, Timeout: 10 * time.Second}
	for _, f := range change {
		f(&o)
	}
	conn, err := wire.Dial(addr, o)
	must(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	return peerv1.NewPeerServiceClient(conn)
}

func TestCall(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{})
	response, err := n.dial(mx, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	must(t, err)
	if got := string(response.GetReceipt()); got != "mx/node/primary" {
		t.Errorf("the server saw %q, want mx/node/primary", got)
	}
}

// TestErrorsTravel: kind, code, sentence and hint come across; operation and cause do not. PROTOCOL 8.3.
func TestErrorsTravel(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	secret := errors.New("secret-cause")
	tests := []struct {
		name string
		give error
		want fault.Error
	}{
		{"fault", fault.Wrap(secret, fault.Conflict, "same-id-other-bytes", "op", "another message has that ID").WithHint("send it anew"),
			fault.Error{Kind: fault.Conflict, Code: "same-id-other-bytes", Say: "another message has that ID", Hint: "send it anew"}},
		{"internal", fault.Wrap(secret, fault.Internal, "disk", "secret-op", "secret-path is broken"),
			fault.Error{Kind: fault.Internal, Say: "something failed inside the program"}},
		{"foreign", secret, fault.Error{Kind: fault.Internal, Say: "something failed inside the program"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := n.serve(jm, &door{deliver: func(context.Context, *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) { return nil, test.give }})
			_, err := n.dial(mx, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
			got := fault.As(err)
			if got.Kind != test.want.Kind || got.Code != test.want.Code || got.Say != test.want.Say || got.Hint != test.want.Hint {
				t.Errorf("got %v %q %q %q, want %+v", got.Kind, got.Code, got.Say, got.Hint, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the cause came across: %v", err)
			}
		})
	}
}

func TestPanicIsAnswered(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	calls := 0
	s := n.serve(jm, &door{deliver: func(context.Context, *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
		if calls++; calls == 1 {
			panic("secret-panic")
		}
		return &peerv1.DeliverResponse{}, nil
	}})
	client := n.dial(mx, s.addr, jm)
	_, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "secret") {
		t.Errorf("after a panic: %v, want a bland internal error", err)
	}
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err != nil {
		t.Errorf("the call after: %v", err)
	}
	if got := s.logs.FilterMessage("panic in a call").Len(); got != 1 {
		t.Errorf("%d panics logged, want 1", got)
	}
}

// TestHandshakeRefusals: the wrong client does not get in, and the server's log says why.
func TestHandshakeRefusals(t *testing.T) {
	n := newNetwork(t)
	mx, jm, br := n.admit("mx"), n.admit("jm"), n.admit("br")
	us := n.candidate("us")
	n.revoke(br)
	s := n.serve(jm, &door{})
	for code, m := range map[string]*member{wire.CodeState: us, "revoked": br} {
		_, err := n.dial(m, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
		// The refusal, or the end of the connection, whichever the client notices first.
		if got := fault.CodeOf(err); got != "certificate-refused" && got != "unreachable" {
			t.Errorf("%s: %v (%q), want certificate-refused", m.node, err, got)
		}
		// The server's side may still be at it.
		for deadline := time.Now().Add(5 * time.Second); !s.told(code); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no log line with code %s", m.node, code)
			}
		}
	}
	// The client refuses as well: it dialled mx and found jm.
	_, err := n.dial(mx, s.addr, mx).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	if got := fault.CodeOf(err); got != wire.CodeIdentity {
		t.Errorf("the wrong server: %v (%q), want %s", err, got, wire.CodeIdentity)
	}
}

// TestRevocationReachesLiveConnections: one stream and one idle connection are open when the caller's node is revoked. The stream
// ends within a second, and the next message on each fails. Promise P7; PROTOCOL 3.6.
func TestRevocationReachesLiveConnections(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	d := &door{pushed: make(chan []byte, 10), ended: make(chan error, 1)}
	s := n.serve(jm, d)
	// Clients that do not follow the directory: the refusal must be the server's.
	fixed := newCurrent(n.current.Load())
	unaware := func() peerv1.PeerServiceClient {
		return n.dial(mx, s.addr, jm, func(o *wire.ClientOptions) {
			o.TLS = n.source(mx, mx.node).ClientTLS(wire.ThisNode(fixed, n.now, jm.node).Verify)
			o.Changed = nil
		})
	}
	idle, busy := unaware(), unaware()
	_, err := idle.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	must(t, err)
	stream, err := busy.PushAttachment(within(t, 20*time.Second))
	must(t, err)
	must(t, stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("before")}))
	if got := <-d.pushed; string(got) != "before" {
		t.Fatalf("got %q", got)
	}

	n.revoke(mx)
	start := time.Now()
	select {
	case err := <-d.ended:
		if fault.CodeOf(err) != "revoked" {
			t.Errorf("the handler was told %v, want revoked", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the stream was not cut")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the stream was cut after %v, want within 1 s", took)
	}
	_ = stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("after")})
	if _, err := stream.CloseAndRecv(); fault.CodeOf(err) != "revoked" {
		t.Errorf("on the stream: %v, want revoked", err)
	}
	if _, err := idle.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); fault.CodeOf(err) != "revoked" {
		t.Errorf("on the idle connection: %v, want revoked", err)
	}
	select {
	case m := <-d.pushed:
		t.Errorf("the handler got %q after the revocation", m)
	default:
	}
}

// TestRevokedServerGetsNothing: the same, seen from the caller: nothing more is sent to a node that was revoked.
func TestRevokedServerGetsNothing(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	d := &door{pushed: make(chan []byte, 10), ended: make(chan error, 1)}
	// The server does not follow the directory.
	frozen := newCurrent(n.current.Load())
	identity := wire.NodeIdentity(frozen, n.now)
	s := n.serve(jm, d, func(o *wire.ServerOptions) {
		o.TLS, o.Authorise, o.Changed = n.source(jm, jm.node).ServerTLS(identity.Verify), identity.Authorise(nil), nil
	})
	client := n.dial(mx, s.addr, jm)
	_, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	must(t, err)
	stream, err := client.PushAttachment(within(t, 20*time.Second))
	must(t, err)
	must(t, stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("before")}))
	<-d.pushed

	n.revoke(jm)
	if err := stream.Send(&peerv1.PushAttachmentRequest{Data: []byte("after")}); fault.CodeOf(err) != "revoked" {
		t.Errorf("on the stream: %v, want revoked", err)
	}
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); fault.CodeOf(err) != "revoked" {
		t.Errorf("a new call: %v, want revoked", err)
	}
	<-d.ended
	if len(d.pushed) > 0 {
		t.Errorf("the revoked node got %q", <-d.pushed)
	}
}

// TestCertificateRunsOut: calls on a connection fail once the certificate it was opened with has expired, and the
// client then shows its renewed one.
func TestCertificateRunsOut(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{})
	client := n.dial(mx, s.addr, jm)
	_, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	must(t, err)
	n.ahead.Store(int64(8 * 24 * time.Hour))
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); fault.CodeOf(err) != wire.CodeExpired {
		t.Errorf("on the old connection: %v, want %s", err, wire.CodeExpired)
	}
	for range 50 {
		if _, err = client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{}); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("no renewed connection: %v", err)
}

// TestResumedSessionIsJudged: a session ticket is no way around a revocation. PROTOCOL 3.6.
func TestResumedSessionIsJudged(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{})
	config := n.source(mx, mx.node).ClientTLS(func(tls.ConnectionState) error { return nil })
	config.NextProtos = []string{"h2"}
	if resumed, err := greet(s.addr, config); err != nil || resumed {
		t.Fatalf("first connection: resumed %v, %v", resumed, err)
	}
	if resumed, err := greet(s.addr, config); err != nil || !resumed {
		t.Fatalf("second connection: resumed %v, %v; want a resumed session", resumed, err)
	}
	n.revoke(mx)
	if resumed, err := greet(s.addr, config); err == nil || !resumed {
		t.Errorf("after the revocation: resumed %v, %v; want a resumed session that is refused", resumed, err)
	}
}

// greet opens a connection and reads the server's first bytes, which come only after its VerifyConnection.
func greet(addr string, config *tls.Config) (bool, error) {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		return c.ConnectionState().DidResume, err
	}
	_, err = c.Read(make([]byte, 9))
	return c.ConnectionState().DidResume, err
}

func TestLimits(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{}, func(o *wire.ServerOptions) { o.Limits = wire.Limits{MaxMessage: 1000, Connections: 1} })
	client := n.dial(mx, s.addr, jm)
	_, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 900)})
	must(t, err)
	if _, err := client.Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{Envelope: make([]byte, 1001)}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a large message: %v, want too-large", err)
	}
	headers := metadata.AppendToOutgoingContext(within(t, 10*time.Second), "x", strings.Repeat("x", 17<<10))
	if _, err := client.Deliver(headers, &peerv1.DeliverRequest{}); err == nil {
		t.Error("large headers were taken")
	}
	second := n.dial(mx, s.addr, jm)
	if _, err := second.Deliver(within(t, 500*time.Millisecond), &peerv1.DeliverRequest{}); !fault.Is(err, fault.Retry) {
		t.Errorf("a connection beyond the limit: %v, want retry", err)
	}
}

func TestDeadline(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	s := n.serve(jm, &door{deliver: func(ctx context.Context, _ *peerv1.DeliverRequest) (*peerv1.DeliverResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, func(o *wire.ServerOptions) { o.UnaryTimeout = 50 * time.Millisecond })
	_, err := n.dial(mx, s.addr, jm).Deliver(within(t, 10*time.Second), &peerv1.DeliverRequest{})
	if !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "deadline" {
		t.Errorf("a slow handler: %v, want retry, deadline", err)
	}
}

// TestTokenDoor: a door without client certificates refuses before it reads, and closes on who keeps trying.
func TestTokenDoor(t *testing.T) {
	n := newNetwork(t)
	jm := n.admit("jm")
	source := jm.ring.OperatorSource([]string{"127.0.0.1"}, n.now)
	s := n.serve(jm, &door{}, func(o *wire.ServerOptions) {
		o.TLS, o.Changed = source.OperatorTLS(), nil
		o.Authorise = func(ctx context.Context, _ string) (context.Context, error) {
			if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("authorization")) == 1 {
				return ctx, nil
			}
			return nil, fault.New(fault.Unauthenticated, "no-token", "log in", "log in first")
		}
	})
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // the door's CA is not what is tested
	conn, err := wire.Dial(s.addr, wire.ClientOptions{TLS: config})
	must(t, err)
	defer func() { _ = conn.Close() }()
	client := peerv1.NewPeerServiceClient(conn)
	ctx := within(t, 20*time.Second)
	if _, err := client.Deliver(metadata.AppendToOutgoingContext(ctx, "authorization", "bearer x"), &peerv1.DeliverRequest{}); err != nil {
		t.Errorf("with a token: %v", err)
	}
	refused, cut := 0, 0
	for range 100 {
		_, err := client.Deliver(ctx, &peerv1.DeliverRequest{Envelope: bytes.Repeat([]byte{1}, 1<<20)})
		switch fault.CodeOf(err) {
		case "no-token":
			refused++
		case "unreachable":
			cut++
		default:
			t.Fatalf("without a token: %v", err)
		}
	}
	if refused == 0 || cut == 0 {
		t.Errorf("%d calls refused and %d cut off, want both", refused, cut)
	}
}
