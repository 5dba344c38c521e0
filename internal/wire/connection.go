package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxRefusals is how many calls may be refused on one connection before it is closed. gRPC keeps a little memory for
// each call refused at its headers until the connection ends, so without an end a stranger could fill ours.
const maxRefusals = 64

// greeter is gRPC's TLS with two additions: who is refused at the handshake is logged, and each call knows its
// connection.
type greeter struct {
	credentials.TransportCredentials
	log    *zap.Logger
	mutual bool
	calm   *rate.Limiter // of log lines
	// silence is how long a connection may show nothing.
	silence time.Duration
}

func newGreeter(c *tls.Config, log *zap.Logger, silence time.Duration) *greeter {
	return &greeter{
		TransportCredentials: credentials.NewTLS(c), log: log,
		mutual: c.ClientAuth != tls.NoClientCert,
		calm:   rate.NewLimiter(rate.Every(time.Second), 20), silence: silence,
	}
}

func (g *greeter) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		g.refused(raw, err)
		return nil, nil, err
	}
	entered, ok := raw.(*guest)
	if !ok {
		return nil, nil, fault.New(fault.Internal, "", opGreet, "the connection came past the gate")
	}
	m := newMeter(conn)
	g.expect(entered)
	return m, &connection{TLSInfo: info.(credentials.TLSInfo), conn: m, meter: m, guest: entered}, nil
}

// expect closes a connection that shows nothing for too long. A stranger's call that runs is let end.
func (g *greeter) expect(c *guest) {
	var look func()
	look = func() {
		if c.idle() {
			_ = c.Close()
		} else if !c.shown() {
			time.AfterFunc(g.silence, look)
		}
	}
	time.AfterFunc(g.silence, look)
}

// refused logs an address only where machines call; on a door for people it would be personal data, and Go writes it
// into errors of the network.
func (g *greeter) refused(raw net.Conn, err error) {
	if !g.calm.Allow() {
		return
	}
	fields := []zap.Field{zap.String("code", fault.CodeOf(err))}
	var network *net.OpError
	switch {
	case g.mutual:
		fields = append(fields, zap.Error(err), zap.String("remote", raw.RemoteAddr().String()))
	case errors.As(err, &network):
		fields = append(fields, zap.NamedError("error", network.Err))
	default:
		fields = append(fields, zap.Error(err))
	}
	g.log.Info("connection refused", fields...)
}

func (g *greeter) Clone() credentials.TransportCredentials {
	c := *g
	c.TransportCredentials = g.TransportCredentials.Clone()
	return &c
}

// connection is what a call knows of the connection it came on.
type connection struct {
	credentials.TLSInfo
	conn     net.Conn
	meter    *meter
	guest    *guest
	refusals atomic.Int32
	verdict  atomic.Pointer[verdict]
}

// strike counts a refused call and closes the connection after too many.
func (c *connection) strike() {
	if c.refusals.Add(1) >= maxRefusals {
		_ = c.conn.Close()
	}
}

func connectionFrom(ctx context.Context) (*connection, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	c, ok := p.AuthInfo.(*connection)
	return c, ok
}
