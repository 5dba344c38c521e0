package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	defaultKeepalive = time.Minute
	minKeepalive     = 15 * time.Second
	keepaliveTimeout = 20 * time.Second
	thinTimeout      = time.Minute // of keepalives; a line by satellite is gone for half of one
	dialTimeout      = 10 * time.Second
	// connectTimeout is for the handshakes after it too: over a thin line that others use each flight takes seconds.
	connectTimeout = 30 * time.Second
)

// ClientOptions are what a client is made from. TLS is required; it decides whom we talk to, by VerifyConnection
// where each state is its own root.
type ClientOptions struct {
	TLS *tls.Config
	// Timeout bounds a unary call that brings no deadline of its own; 30 s if zero.
	Timeout time.Duration
	// Keepalive is how often a silent connection is tried; a minute if zero, never under 15 s.
	Keepalive time.Duration
	// MaxMessage is the most bytes of one message that goes out; 2 MiB if zero.
	MaxMessage int
	// MaxReceive is the most bytes of one message that comes in; as MaxMessage if zero.
	MaxReceive int
	// Changed lets open streams be cut when the directory turns against the other side; may be nil.
	Changed Changed
	// Token, if any, goes with every call.
	Token credentials.PerRPCCredentials
	// Thin is for a line of some 64 kbit/s: what is under way on the connection is bounded to about 16 KiB each way.
	Thin bool
	// Open, if set, gets the connection instead of TCP; the address is then a name for logs.
	Open func(ctx context.Context) (net.Conn, error)
}

// Dial makes a client for host:port. It connects at the first call. Errors of calls are faults, as FromStatus makes
// them; where we refused the other side's certificate, the fault of VerifyConnection.
//
// Proxies of the environment are not used: they would see who talks to whom.
func Dial(addr string, o ClientOptions) (*grpc.ClientConn, error) {
	if o.TLS == nil {
		panic("wire: a client needs TLS")
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "malformed-address", "dial", "an address is a host, a colon and a port")
	}
	o = o.filled()
	l := &line{verify: o.TLS.VerifyConnection, changed: o.Changed, timeout: o.Timeout, open: o.Open}
	if l.open == nil {
		l.open = dialer(addr, o.Thin)
	}
	ahead, write := windows(o.Thin)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(l.watching(o.TLS))),
		grpc.WithContextDialer(l.dial),
		grpc.WithUnaryInterceptor(l.unary),
		grpc.WithStreamInterceptor(l.stream),
		grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(defaultHeader),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MaxReceive), grpc.MaxCallSendMsgSize(o.MaxMessage)),
		grpc.WithStaticStreamWindowSize(ahead), // left to itself gRPC raises it to 16 MiB on fast lines
		grpc.WithStaticConnWindowSize(ahead),
		grpc.WithWriteBufferSize(write),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.Keepalive, Timeout: o.deaf()}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
	}
	if o.Token != nil {
		options = append(options, grpc.WithPerRPCCredentials(o.Token))
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, options...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "malformed-address", "dial", "the address cannot be used")
	}
	return conn, nil
}

func (o ClientOptions) filled() ClientOptions {
	if o.Timeout == 0 {
		o.Timeout = defaultUnaryTimeout
	}
	if o.Keepalive == 0 {
		o.Keepalive = defaultKeepalive
	}
	o.Keepalive = max(o.Keepalive, minKeepalive)
	if o.MaxMessage == 0 {
		o.MaxMessage = defaultMessage
	}
	if o.MaxReceive == 0 {
		o.MaxReceive = o.MaxMessage
	}
	return o
}

// deaf is how long an answer to a keepalive may take.
func (o ClientOptions) deaf() time.Duration {
	if o.Thin {
		return thinTimeout
	}
	return keepaliveTimeout
}

func dialer(addr string, thin bool) func(context.Context) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	if thin {
		d.Control = narrow
		d.Timeout = connectTimeout
	}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

// line is what a client remembers of its connection.
type line struct {
	verify  func(tls.ConnectionState) error
	changed Changed
	timeout time.Duration
	open    func(context.Context) (net.Conn, error)

	mu      sync.Mutex
	conn    net.Conn             // guarded by mu; the connection last opened
	state   *tls.ConnectionState // guarded by mu; whom it leads to, once accepted
	refusal error                // guarded by mu; why we refused the other side last
	// The last acceptance holds for a second of the same directory.
	judged time.Time       // guarded by mu
	under  <-chan struct{} // guarded by mu; what changed() returned then
}

// watching is the TLS configuration with the outcome of each handshake remembered.
func (l *line) watching(c *tls.Config) *tls.Config {
	c = c.Clone()
	// A resumed session would show the other side the certificate of the first connection, not the renewed one.
	c.ClientSessionCache = nil
	if l.verify == nil {
		return c
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		err := l.verify(cs)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.state, l.refusal = &cs, err
		if err != nil {
			l.state = nil
		}
		return err
	}
	return c
}

func (l *line) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.state, l.refusal = conn, nil, nil
	return conn, nil
}

// check judges the other side again. If it lost our trust the connection is closed, so that the next call greets it
// afresh: it may have a new certificate by then.
func (l *line) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == nil || l.lately() {
		return nil
	}
	err := l.verify(*l.state)
	if err != nil {
		l.under = nil
		l.hangUp()
		l.refusal = err // gRPC may try the closed connection once more
	}
	return err
}

// lately reports whether the other side was accepted within a second under the directory of now; if not, it notes that
// it is being judged. It must be called with mu held.
func (l *line) lately() bool {
	if l.changed == nil {
		return false
	}
	// Taken before the judgement, so that no change falls between.
	under, now := l.changed(), time.Now()
	if under == l.under && now.Sub(l.judged) < time.Second && now.After(l.judged) {
		return true
	}
	l.under, l.judged = under, now
	return false
}

// hangUp must be called with mu held.
func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.conn, l.state = nil, nil
}

// read explains a failed call.
func (l *line) read(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if status.Code(err) == codes.Unavailable && l.refusal != nil {
		return l.refusal
	}
	f := FromStatus(err)
	switch fault.CodeOf(f) {
	case CodeExpired, CodeUntrusted: // ours: the next connection shows the renewed one
		l.hangUp()
	}
	return f
}

func (l *line) unary(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if err := l.check(); err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, l.timeout)
		defer cancel()
		ctx = bounded
	}
	return l.read(invoke(ctx, method, request, response, conn, options...))
}

func (l *line) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	a := &admission{changed: l.changed, again: l.check}
	if err := a.force(); err != nil {
		return nil, err
	}
	ctx, cut := context.WithCancelCause(ctx)
	s, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		cut(nil)
		return nil, l.read(err)
	}
	go func() {
		watch(s.Context(), a, cut) // gRPC ends the stream's context with the stream
		cut(nil)
	}()
	return &outgoing{ClientStream: s, line: l, admission: a}, nil
}

// outgoing is a client's stream with errors explained. It sends nothing after the directory turned against the
// other side.
type outgoing struct {
	grpc.ClientStream
	line      *line
	admission *admission
}

func (o *outgoing) SendMsg(m any) error {
	if err := o.admission.check(); err != nil {
		return err
	}
	return o.explain(o.ClientStream.SendMsg(m))
}

func (o *outgoing) RecvMsg(m any) error { return o.explain(o.ClientStream.RecvMsg(m)) }

func (o *outgoing) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if refused := o.admission.check(); refused != nil {
		return refused
	}
	return o.line.read(err)
}
