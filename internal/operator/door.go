package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator/rest"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	defaultIdle = 2 * time.Minute
	defaultBeat = 15 * time.Second
	grace       = 5 * time.Second
	// Every REST call goes over one connection inside the process; its streams are those of all HTTP callers, and so
	// are its bytes.
	maxInner = 4096
	// perOffice is how many connections that are logged in one address may have on each face: a whole ministry may
	// stand behind one.
	perOffice = 128
	// maxLogin is the most bytes of a call to Login.
	maxLogin = 8 << 10
	// maxAnswer is the most bytes of an answer: a case shows all its messages, each of up to 1 MiB.
	maxAnswer = 16 << 20
)

// Config is what a door is made from. All fields without "may be" are required.
type Config struct {
	Requests    Requests
	Attachments Attachments
	// Alerts and Subscriptions may be nil: then there are no such methods.
	Alerts        Alerts
	Subscriptions Subscriptions
	People        *people.Desk
	Policy        *policy.Set
	// Mode is how the state replaces the second person when there is none.
	Mode      policy.Mode
	Directory Directory
	// Lists may be zero: the lists that the program ships with.
	Lists message.Lists
	// Contacts may be nil: then desks are shown without telephone and mailbox.
	Contacts Contacts
	Monitor  Monitor
	// Backups may be nil: then none are made.
	Backups Backups
	// Doctor may be nil: then the node is not examined.
	Doctor Doctor
	// Node is this node's name.
	Node authority.Node
	// TLS is the identity of both faces; it asks for no client certificate.
	TLS *tls.Config
	// Chain are CA certificates, DER, sent with the leaf so that a client that knows only the CA's fingerprint can
	// check it; may be nil.
	Chain [][]byte
	// Origins are those whose web pages may call the REST face, such as https://desk.example; may be nil.
	Origins []string
	// Language is that of refusals; may be zero for English.
	Language authority.Language
	Now      func() time.Time
	Log      *zap.Logger
	// Limits of the gRPC face; may be zero.
	Limits wire.Limits
	// Idle is how long a stream may stand still before it is given up, two minutes if zero; Beat is how often a silent
	// event stream sends a comment, 15 s if zero.
	Idle, Beat time.Duration
}

// Door serves a node's own people and systems. Make it with New, then Run it.
type Door struct {
	operatorv1.UnimplementedSessionServiceServer
	operatorv1.UnimplementedUserServiceServer
	operatorv1.UnimplementedRequestServiceServer
	operatorv1.UnimplementedAttachmentServiceServer
	operatorv1.UnimplementedAlertServiceServer
	operatorv1.UnimplementedSubscriptionServiceServer
	operatorv1.UnimplementedDirectoryQueryServiceServer
	operatorv1.UnimplementedNodeServiceServer

	c      Config
	people *people.Desk
	ends   *ends
	tls    *tls.Config
	leaves *leaves
	zones  zones
	labels atomic.Pointer[codesAt]
	// stopping is closed when Run is told to stop, so that watches end at once and are resumed elsewhere or later.
	stopping chan struct{}
}

// New makes a door. It panics where a required field is missing: that is a defect of the assembly.
func New(c Config) *Door {
	if c.Requests == nil || c.Attachments == nil || c.People == nil || c.Policy == nil || c.Directory == nil ||
		c.Monitor == nil || c.Node.IsZero() || c.TLS == nil || c.Now == nil || c.Log == nil {
		panic("operator: a door needs every required field of Config")
	}
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Beat == 0 {
		c.Beat = defaultBeat
	}
	if c.Language == (authority.Language{}) {
		c.Language, _ = authority.ParseLanguage("en")
	}
	if len(c.Lists.Names()) == 0 {
		var err error
		if c.Lists, err = message.LoadLists(); err != nil {
			panic("operator: the shipped lists cannot be read: " + err.Error())
		}
	}
	l := &leaves{seen: map[[32]byte]bool{}}
	return &Door{c: c, people: c.People, ends: newEnds(), tls: chained(c.TLS, c.Chain, l), leaves: l, stopping: make(chan struct{})}
}

// Run serves gRPC and REST on the two listeners, either of which may be nil, until ctx ends or a listener fails; then
// it ends the calls that still run after a few seconds, and returns. It closes the listeners. It runs once.
func (d *Door) Run(ctx context.Context, rpc, web net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	context.AfterFunc(ctx, func() { close(d.stopping) })
	if rpc != nil {
		d.serve(ctx, g, d.server(d.c.Limits), rpc)
	}
	if web != nil {
		if err := d.serveREST(ctx, g, web); err != nil {
			_ = web.Close()
			g.Go(func() error { return err })
		}
	}
	return g.Wait()
}

// server makes a gRPC server with all services.
func (d *Door) server(limits wire.Limits) *wire.Server {
	if limits.MaxSend == 0 {
		limits.MaxSend = maxAnswer
	}
	if limits.PerCaller == 0 {
		limits.PerCaller = perOffice
	}
	s := wire.NewServer(wire.ServerOptions{
		TLS: d.tls, Authorise: d.authorise, Changed: d.ends.next, Log: d.c.Log, Limits: limits,
		Idle: d.c.Idle, Strangers: strangers(),
	})
	operatorv1.RegisterSessionServiceServer(s, d)
	operatorv1.RegisterUserServiceServer(s, d)
	operatorv1.RegisterRequestServiceServer(s, d)
	operatorv1.RegisterAttachmentServiceServer(s, d)
	operatorv1.RegisterAlertServiceServer(s, d)
	operatorv1.RegisterSubscriptionServiceServer(s, d)
	operatorv1.RegisterDirectoryQueryServiceServer(s, d)
	operatorv1.RegisterNodeServiceServer(s, d)
	return s
}

func (d *Door) serve(ctx context.Context, g *errgroup.Group, s *wire.Server, l net.Listener) {
	g.Go(func() error {
		if err := s.Serve(l); err != nil && ctx.Err() == nil {
			return fault.Wrap(err, fault.Internal, "", "serve operators", "the listener failed")
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		s.Shut(grace)
		return nil
	})
}

// serveREST starts the HTTP face and, on a loopback port of its own, the gRPC server that does its work: so strangers
// who fill the gRPC door leave the web one open, and the other way round.
func (d *Door) serveREST(ctx context.Context, g *errgroup.Group, web net.Listener) error {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "open REST door", "no loopback port could be opened")
	}
	d.serve(ctx, g, d.server(innerLimits()), inner)
	handler, conn, err := d.handler(inner.Addr().String())
	if err != nil {
		return err
	}
	s := rest.Server(handler, d.tls, d.c.Log)
	g.Go(func() error {
		if err := s.ServeTLS(wire.Bounded(web, wire.Limits{PerCaller: perOffice}), "", ""); ctx.Err() == nil {
			return fault.Wrap(err, fault.Internal, "", "serve operators", "the listener failed")
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		waited, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if s.Shutdown(waited) != nil {
			_ = s.Close()
		}
		return conn.Close()
	})
	return nil
}

// innerLimits are for all callers of the REST face as one.
func innerLimits() wire.Limits {
	var all wire.Limits
	all.Streams, all.Strangers = maxInner, maxInner
	all.Bytes = 2 * rest.MaxBodies
	all.CallerBytes = all.Bytes
	all.Silence = 24 * time.Hour // it is ours, whatever has been called on it yet
	return all
}

// strangers are the methods that anybody may call, with the most that a call may send.
func strangers() map[string]int {
	open := map[string]int{}
	for method, a := range accesses {
		if a.stranger {
			open[method] = maxLogin
		}
	}
	return open
}

// handler is the HTTP face over a connection to the gRPC server at an address of this process.
func (d *Door) handler(inner string) (http.Handler, io.Closer, error) {
	conn, err := wire.Dial(inner, wire.ClientOptions{TLS: d.leaves.clientTLS(), MaxReceive: maxAnswer})
	if err != nil {
		return nil, nil, err
	}
	document, err := openAPI()
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	asking := &checked{conn, d}
	h, err := rest.New(rest.Options{
		Conn: asking, Ask: asking.ask, Open: func(method string) bool { return accesses[method].stranger }, Document: document,
		Origins: d.c.Origins, Idle: d.c.Idle, Beat: d.c.Beat, Freshness: func() string { return d.freshness("") },
	})
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return h, conn, nil
}

// ends tells open streams to look again at whether their caller may still have them.
type ends struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; closed at the next end
}

func newEnds() *ends { return &ends{ch: make(chan struct{})} }

func (e *ends) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ch
}

// tell must come after the end is durable.
func (e *ends) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.ch)
	e.ch = make(chan struct{})
}
