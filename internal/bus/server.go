package bus

import (
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opStart     = "start bus"
	readyWithin = 20 * time.Second
	// reserved is for how many publishers the server will reserve their bytes; more than there are states.
	reserved = 1024
	// maxOutbound is how much may wait for one slow connection before the server cuts it. What is under way is bounded
	// for each publisher (see consumerConfig), so this is for several that flood at once.
	maxOutbound = 256 << 20
	tlsSeconds  = 10
)

// embedded is a NATS server in this process.
type embedded struct {
	*server.Server
	log *serverLog
}

// startServer returns when the port is open. Usage "no-listener" where it cannot be.
func startServer(o Options, i issuer, network string) (*embedded, error) {
	host, port, err := splitListen(o.Embedded.Listen)
	if err != nil {
		return nil, err
	}
	system, err := i.systemToken()
	if err != nil {
		return nil, err
	}
	resolver, err := server.NewDirAccResolver(filepath.Join(o.Embedded.Data, "accounts"), 0, time.Minute, server.NoDelete)
	if err == nil {
		err = resolver.Store(i.system, system)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "bus-data", opStart, "the bus cannot use its folder: "+o.Embedded.Data)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "enlace-hub", Host: host, Port: port, NoSigs: true, DisableJetStreamBanner: true,
		TLSConfig: o.Embedded.TLS, TLSTimeout: tlsSeconds, AuthTimeout: tlsSeconds + 5,
		MaxPayload: int32(min(o.MaxPayload, math.MaxInt32)), MaxPending: maxOutbound, PingInterval: 30 * time.Second,
		TrustedOperators: []*jwt.OperatorClaims{i.operatorClaims(network)}, SystemAccount: i.system, AccountResolver: resolver,
		JetStream: true, StoreDir: o.Embedded.Data, JetStreamMaxStore: o.PublisherBytes*reserved + o.MailboxBytes*reserved*reserved, JetStreamMaxMemory: 1 << 20,
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "bus", opStart, "the embedded bus could not be made")
	}
	e := &embedded{s, &serverLog{log: o.Log.Named("nats"), fatal: make(chan string, 1)}}
	s.SetLoggerV2(e.log, false, false, false)
	s.Start()
	return e, e.ready(o.Embedded.Listen)
}

func splitListen(listen string) (string, int, error) {
	host, text, err := net.SplitHostPort(listen)
	port, bad := strconv.Atoi(text)
	if err != nil || bad != nil || port < 0 || port > math.MaxUint16 {
		return "", 0, fault.New(fault.Usage, "no-listener", opStart, "the address of the bus is not one: "+listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func (e *embedded) ready(listen string) error {
	deadline := time.Now().Add(readyWithin)
	for time.Now().Before(deadline) {
		select {
		case say := <-e.log.fatal:
			e.stop()
			return fault.New(fault.Usage, "no-listener", opStart, "the bus cannot be started on "+listen+": "+say).
				WithHint("another program may use the port: see listen.nats")
		default:
		}
		if e.ReadyForConnections(50 * time.Millisecond) {
			return nil
		}
	}
	e.stop()
	return fault.New(fault.Internal, "bus", opStart, "the embedded bus was not ready in time")
}

func (e *embedded) stop() {
	e.Shutdown()
	e.WaitForShutdown()
}

// serverLog hands the server's lines to ours; what it would die of, to who waits for it.
type serverLog struct {
	log   *zap.Logger
	fatal chan string
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Tracef(string, ...any)           {}
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Warn(fmt.Sprintf(format, v...)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	say := fmt.Sprintf(format, v...)
	l.log.Error(say)
	select {
	case l.fatal <- say:
	default:
	}
}
