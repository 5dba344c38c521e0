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
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/enlace-network/enlace/internal/fault"
)

// Limits bound what anyone can make a server hold. A zero field takes the value named.
type Limits struct {
	// MaxMessage is the most bytes of one message; 2 MiB.
	MaxMessage int
	// Streams is how many calls may run at once on one connection; 64.
	Streams uint32
	// Header is the most bytes of a call's headers; 16 KiB.
	Header uint32
	// Connections is how many connections may be open; 512. More wait in the system's queue.
	Connections int
}

const (
	defaultMessage      = 2 << 20
	defaultStreams      = 64
	defaultHeader       = 16 << 10
	defaultConnections  = 512
	defaultUnaryTimeout = 30 * time.Second
	// arrival is how many times the handling time a unary call may take from its headers on: its message may come
	// over a thin link.
	arrival          = 10
	handshakeTimeout = 10 * time.Second
	// A connection shows the certificate it was opened with. Leaves are renewed with a third of their week left, so a
	// connection ends, after its calls, well before its certificate does. DESIGN 5.
	connectionAge   = 24 * time.Hour
	connectionGrace = 24 * time.Hour
	connectionIdle  = time.Hour
)

// ServerOptions are what a server is made from. TLS, Authorise and Log are required.
type ServerOptions struct {
	TLS       *tls.Config
	Authorise Authorise
	// Changed lets open streams be looked at again; nil where no directory stands behind Authorise.
	Changed Changed
	Log     *zap.Logger
	Limits  Limits
	// UnaryTimeout bounds the handling of one unary call; 30 s if zero. The caller's own deadline, if earlier, holds.
	UnaryTimeout time.Duration
}

// Server is a gRPC server that answers nobody whom Authorise has not let in.
type Server struct {
	*grpc.Server
	o       ServerOptions
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
	s := &Server{o: o}
	s.streams = sync.OnceValue(s.streaming)
	s.Server = grpc.NewServer(
		grpc.Creds(newGreeter(o.TLS, o.Log)),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxRecvMsgSize(o.Limits.MaxMessage),
		grpc.MaxSendMsgSize(o.Limits.MaxMessage),
		grpc.MaxConcurrentStreams(o.Limits.Streams),
		grpc.MaxHeaderListSize(o.Limits.Header),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: connectionIdle, MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
			Time: 2 * defaultKeepalive, Timeout: keepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minKeepalive, PermitWithoutStream: true}),
		grpc.InTapHandle(s.receive),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	return s
}

func (l Limits) filled() Limits {
	if l.MaxMessage == 0 {
		l.MaxMessage = defaultMessage
	}
	if l.Streams == 0 {
		l.Streams = defaultStreams
	}
	if l.Header == 0 {
		l.Header = defaultHeader
	}
	if l.Connections == 0 {
		l.Connections = defaultConnections
	}
	return l
}

// Serve accepts connections, as many at once as the limits allow, until Stop or a failure of the listener.
func (s *Server) Serve(l net.Listener) error {
	return s.Server.Serve(netutil.LimitListener(l, s.o.Limits.Connections))
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
	var admitted context.Context
	start := time.Now()
	err := s.guard(call.FullMethodName, func() error {
		var err error
		admitted, err = admit(ctx, call.FullMethodName, s.o.Authorise, s.o.Changed)
		return err
	})
	if err != nil {
		if c, ok := connectionFrom(ctx); ok {
			c.strike()
		}
		return ctx, s.answer(ctx, call.FullMethodName, start, err)
	}
	if s.streams()[call.FullMethodName] {
		return admitted, nil
	}
	bounded, cancel := context.WithTimeout(admitted, arrival*s.o.UnaryTimeout)
	context.AfterFunc(bounded, cancel) // gRPC ends the parent when the call ends
	return bounded, nil
}

func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.o.UnaryTimeout)
	defer cancel()
	var response any
	err := s.guard(info.FullMethod, func() error {
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
		return handle(srv, &watched{ServerStream: ss, ctx: ctx, admission: a})
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
