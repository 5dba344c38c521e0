package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/enlace-network/enlace/internal/fault"
)

// ServerOptions are what a server is made from. TLS, Authorise and Log are required.
type ServerOptions struct {
	TLS       *tls.Config
	Authorise Authorise
	// Changed lets open streams be looked at again; nil where no directory stands behind Authorise.
	Changed Changed
	Log     *zap.Logger
	Limits  Limits
	// UnaryTimeout bounds the handling of one unary call; 30 s if zero. The caller's own deadline, if earlier, holds. A
	// message may take ten times as long to come, but that of a stranger has no longer than the handling.
	UnaryTimeout time.Duration
	// Idle is how long the caller's side of a stream may stand still while its handler waits for it; two minutes if
	// zero. Then the handler's Recv fails with Retry "too-slow".
	Idle time.Duration
	// Strangers are the methods that Authorise leaves open to callers who need to be nobody, by full name, with the
	// most bytes that one of their calls may send. Callers with a certificate that names nobody known are strangers
	// in any method, with 4 KiB.
	Strangers map[string]int
	// Standing are the streaming methods, by full name, whose callers hold them open and may say nothing for hours: Idle is
	// not for them. That the connection lives is seen by keepalives.
	Standing map[string]bool
	// Rates bound how often one caller may call a method, by full name; "" is for the others together. Beyond it a call is
	// refused at its headers, before its message is read: Retry "busy". Nil = as often as they like.
	Rates map[string]Rate
	// Keepalive is how long a connection may be silent before it is tried; two minutes if zero.
	Keepalive time.Duration
	// Thin is for a line of some 64 kbit/s; its listener is one of Listen.
	Thin bool
}

// Server is a gRPC server that answers nobody whom Authorise has not let in.
type Server struct {
	*grpc.Server
	o       ServerOptions
	bytes   *share
	pace    *pace
	streams func() map[string]bool // full names of streaming methods, known once all services are registered
}

// NewServer makes a server; register services on it, then call Serve. It panics without TLS, Authorise or Log.
func NewServer(o ServerOptions) *Server {
	if o.TLS == nil || o.Authorise == nil || o.Log == nil {
		panic("wire: a server needs TLS, Authorise and Log")
	}
	o.Limits = o.Limits.filled()
	if o.UnaryTimeout == 0 {
		o.UnaryTimeout = defaultUnaryTimeout
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.Keepalive == 0 {
		o.Keepalive = 2 * defaultKeepalive
	}
	ahead, write := windows(o.Thin)
	s := &Server{o: o, bytes: &share{limit: o.Limits.Bytes}, pace: newPace(o.Rates)}
	s.streams = sync.OnceValue(s.streaming)
	s.Server = grpc.NewServer(
		grpc.Creds(newGreeter(o.TLS, o.Log, o.Limits.Silence)),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxRecvMsgSize(o.Limits.MaxMessage),
		grpc.MaxSendMsgSize(o.Limits.MaxSend),
		grpc.StaticStreamWindowSize(ahead),
		grpc.StaticConnWindowSize(ahead),
		grpc.WriteBufferSize(write),
		grpc.ReadBufferSize(0), // see meter
		grpc.StatsHandler(tally{}),
		grpc.MaxConcurrentStreams(o.Limits.Streams),
		grpc.MaxHeaderListSize(o.Limits.Header),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: connectionIdle, MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
			Time: o.Keepalive, Timeout: thinTimeout, // the other side's line may be thin
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minKeepalive, PermitWithoutStream: true}),
		grpc.InTapHandle(s.receive),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	return s
}

// Serve accepts connections, as many at once as the limits allow, until Stop or a failure of the listener.
func (s *Server) Serve(l net.Listener) error {
	return s.Server.Serve(Bounded(l, s.o.Limits))
}

// Shut refuses new calls, waits at most grace for those that run, then ends them.
func (s *Server) Shut(grace time.Duration) {
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
		s.Server.Stop()
		<-done
	}
}

func (s *Server) streaming() map[string]bool {
	found := make(map[string]bool)
	for service, info := range s.GetServiceInfo() {
		for _, m := range info.Methods {
			if m.IsClientStream || m.IsServerStream {
				found["/"+service+"/"+m.Name] = true
			}
		}
	}
	return found
}

// receive runs when a call's headers have come. What it refuses reaches no handler and makes us read no message.
func (s *Server) receive(ctx context.Context, call *tap.Info) (context.Context, error) {
	start := time.Now()
	c, ok := connectionFrom(ctx)
	if !ok {
		return ctx, s.answer(ctx, call.FullMethodName, start, fault.New(fault.Internal, "", "take call", "the connection is not ours"))
	}
	var admitted context.Context
	err := s.guard(call.FullMethodName, func() error {
		var err error
		if admitted, err = admit(ctx, call.FullMethodName, s.o.Authorise, s.o.Changed); err != nil {
			return err
		}
		admitted, err = s.measure(admitted, c, call.FullMethodName)
		return err
	})
	if err != nil {
		c.strike()
		return ctx, s.answer(ctx, call.FullMethodName, start, err)
	}
	return admitted, nil
}

// measure begins to count a call, and to time it where it is unary. gRPC ends ctx when the call ends.
func (s *Server) measure(ctx context.Context, c *connection, method string) (context.Context, error) {
	most := s.strange(ctx, method)
	ctx, cut := context.WithCancelCause(ctx)
	l := &load{most: most, stream: s.streams()[method], shares: []*share{s.bytes}, cut: cut}
	if most > 0 {
		if err := c.guest.borrow(ctx); err != nil {
			cut(err)
			return nil, err
		}
	} else {
		who, err := s.known(ctx, c, method)
		if err != nil {
			cut(err)
			return nil, err
		}
		l.shares = append(l.shares, &who.bytes)
	}
	ctx = context.WithValue(ctx, loadKey{}, l)
	c.meter.open(ctx, l)
	if l.stream {
		return ctx, nil
	}
	patience := arrival * s.o.UnaryTimeout
	if most > 0 {
		patience = s.o.UnaryTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	context.AfterFunc(bounded, cancel)
	return bounded, nil
}

// known counts the call of a known caller, who may be calling too often or too much at once. What he did to himself costs
// nobody else anything: it is refused before his message is read.
func (s *Server) known(ctx context.Context, c *connection, method string) (*caller, error) {
	name := nameOf(ctx, c.guest)
	who := c.guest.prove(name)
	if !s.pace.allow(name, method, time.Now()) {
		return nil, busy()
	}
	return who, c.guest.gate.begin(ctx, who)
}

// strange is how many bytes a call may send because its caller may be anybody; 0 for a known caller.
func (s *Server) strange(ctx context.Context, method string) int {
	if most := s.o.Strangers[method]; most > 0 {
		return most
	}
	if p, ok := PeerFrom(ctx); ok && p.Barred != nil && !p.IsNode() && !p.IsHolder() {
		return strangerMessage
	}
	return 0
}

// nameOf is for whom a connection counts.
func nameOf(ctx context.Context, g *guest) string {
	if p, ok := PeerFrom(ctx); ok {
		return p.String()
	}
	return "address " + g.addr
}

func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.o.UnaryTimeout)
	defer cancel()
	var response any
	err := s.guard(info.FullMethod, func() error {
		// A message of one frame may be whole although its call was cut for it.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The message may have taken long to come.
		if err := admissionFrom(ctx).check(); err != nil {
			return err
		}
		var err error
		response, err = handle(ctx, request)
		return err
	})
	if err != nil {
		return nil, s.answer(ctx, info.FullMethod, start, err)
	}
	return response, s.answer(ctx, info.FullMethod, start, nil)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	start := time.Now()
	ctx, cut := context.WithCancelCause(ss.Context())
	defer cut(nil)
	a := admissionFrom(ctx)
	go watch(ctx, a, cut)
	err := s.guard(info.FullMethod, func() error {
		w := &watched{ServerStream: ss, ctx: ctx, admission: a, idle: s.o.Idle, longest: arrival * s.o.UnaryTimeout}
		if s.o.Standing[info.FullMethod] {
			w.idle = 0
		}
		return handle(srv, w)
	})
	// Whatever the handler made of being cut, the caller is told the reason.
	if refused := a.check(); refused != nil {
		err = refused
	}
	return s.answer(ctx, info.FullMethod, start, err)
}

// guard turns a panic into an error and logs where it was.
func (s *Server) guard(method string, call func() error) error {
	var err error
	func() {
		defer func() {
			if r := recover(); r != nil {
				s.o.Log.Error("panic in a call", zap.String("method", method), zap.ByteString("stack", debug.Stack()))
				err = fault.New(fault.Internal, "panic", method, fmt.Sprintf("panic: %T", r))
			}
		}()
		err = call()
	}()
	return err
}

// answer logs the call and gives what the caller may know. The cause stays here.
func (s *Server) answer(ctx context.Context, method string, start time.Time, err error) error {
	fields := []zap.Field{zap.String("method", method), zap.Duration("took", time.Since(start))}
	if p, ok := PeerFrom(ctx); ok {
		fields = append(fields, zap.Stringer("peer", p))
	}
	if err == nil {
		s.o.Log.Debug("call answered", fields...)
		return nil
	}
	f := atDoor(err)
	if f == nil {
		s.o.Log.Debug("call failed", append(fields, zap.Error(err))...)
		return err
	}
	fields = append(fields, zap.Stringer("kind", f.Kind), zap.String("code", f.Code))
	switch f.Kind {
	case fault.Internal:
		s.o.Log.Error("call failed", append(fields, zap.Error(err))...)
	case fault.Denied, fault.Unauthenticated:
		s.o.Log.Info("call refused", fields...)
	default:
		s.o.Log.Debug("call failed", fields...)
	}
	return ToStatus(err)
}
