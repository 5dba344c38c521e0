package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

const (
	opLink       = "reach bus"
	claimsUpdate = "$SYS.REQ.CLAIMS.UPDATE"
	serverPing   = "$SYS.REQ.SERVER.PING"
	dialWithin   = 10 * time.Second
	pushWithin   = 5 * time.Second
	// countWithin is how long servers of a cluster have to show themselves.
	countWithin = 300 * time.Millisecond
	firstPause  = 500 * time.Millisecond
	maxPause    = 30 * time.Second
	maxTarget   = 256
)

// link is the hub's two connections.
type link struct {
	system, traffic *nats.Conn
	js              jetstream.JetStream
	external        bool
}

func (l *link) close() {
	for _, c := range []*nats.Conn{l.traffic, l.system} {
		if c != nil {
			c.Close()
		}
	}
}

// connect opens both connections: the system's first, since the account of traffic may not be known to the server yet.
func (b *Bus) connect(ctx context.Context) error {
	l := &link{external: b.server == nil}
	var err error
	if l.system, err = b.dial(b.systemUser, "system"); err != nil {
		return err
	}
	b.link.Store(l)
	if err = b.guard(ctx, anew); err == nil {
		l.traffic, err = b.dial(b.trafficUser, "traffic")
	}
	if err == nil {
		err = b.relay(l)
	}
	if err != nil {
		b.link.Store(nil)
		l.close()
		return err
	}
	ready := &link{system: l.system, traffic: l.traffic, external: l.external}
	if ready.js, err = jetstream.New(l.traffic); err != nil {
		return notLinked(err)
	}
	b.link.Store(ready)
	return nil
}

func (b *Bus) systemUser() (nats.Option, error) {
	if b.o.SystemCredentials != "" {
		return nats.UserCredentials(b.o.SystemCredentials), nil
	}
	return b.ownUser(b.issuer.system, []string{claimsUpdate, serverPing}, []string{"_INBOX.>"})
}

func (b *Bus) trafficUser() (nats.Option, error) {
	return b.ownUser(b.issuer.account, []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "_INBOX.*.*." + againToken, "_INBOX.*.*." + boxToken},
		[]string{"_INBOX.>", ackToken + ".>", boxToken + ".>"})
}

// ownUser is a user whose key lives as long as this process.
func (b *Bus) ownUser(account string, publish, subscribe []string) (nats.Option, error) {
	user, err := keyring.NewBusUser()
	if err != nil {
		return nil, err
	}
	token, err := b.issuer.hubToken(account, user.Public(), publish, subscribe)
	if err != nil {
		return nil, err
	}
	return nats.UserJWT(func() (string, error) { return token, nil }, user.SignNonce), nil
}

// dial connects, and goes on connecting when the connection is lost.
func (b *Bus) dial(as func() (nats.Option, error), name string) (*nats.Conn, error) {
	user, err := as()
	if err != nil {
		return nil, err
	}
	options := []nats.Option{user, nats.Name("enlace-hub-" + name), nats.Timeout(dialWithin), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(firstPause), nats.ReconnectBufSize(-1), nats.ReconnectHandler(func(*nats.Conn) { b.wake() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.o.Log.Warn("the bus complains to the hub", zap.Error(err))
		})}
	url := strings.Join(b.o.URLs, ",")
	if b.server != nil {
		url = ""
		options = append(options, nats.InProcessServer(b.server))
	} else {
		config, err := clientTLS(b.o.CA)
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
	}
	c, err := nats.Connect(url, options...)
	if err != nil {
		return nil, notLinked(err)
	}
	return c, nil
}

// clientTLS trusts exactly the authorities given, or the system's where none are.
func clientTLS(ca []byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if len(ca) == 0 {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fault.New(fault.Invalid, "malformed-ca", opLink, "the certificates of the bus cannot be read")
	}
	return c, nil
}

// wake has both loops of Run look at everything: what was there before may be gone.
func (b *Bus) wake() {
	for _, c := range []chan struct{}{b.guarded, b.kept} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// push tells every server of an account. On return each that was counted has it, and has cut who it revokes.
func (l *link) push(ctx context.Context, token string) error {
	servers := 1
	if l.external {
		servers = max(servers, len(l.gather(ctx, serverPing, nil, 0, countWithin)))
	}
	answers := l.gather(ctx, claimsUpdate, []byte(token), servers, pushWithin)
	for _, a := range answers {
		var said struct {
			Error *struct{ Description string } `json:"error"`
		}
		if err := json.Unmarshal(a, &said); err != nil || said.Error != nil {
			return fault.New(fault.Internal, "bus-claims", opLink, "a server of the bus refused the account")
		}
	}
	if len(answers) < servers {
		return fault.New(fault.Retry, "bus-away", opLink, "not every server of the bus has confirmed the account")
	}
	return nil
}

// gather asks all servers and collects so many answers, or all of some time where wanted is 0.
func (l *link) gather(ctx context.Context, subject string, data []byte, wanted int, within time.Duration) [][]byte {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	inbox := l.system.NewRespInbox()
	sub, err := l.system.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := l.system.PublishRequest(subject, inbox, data); err != nil {
		return nil
	}
	var answers [][]byte
	for wanted == 0 || len(answers) < wanted {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			break
		}
		answers = append(answers, m.Data)
	}
	return answers
}

// relay passes on the acknowledgements of nodes; see issuer.nodeToken for why they do not go to the server directly. The
// subject, which the server holds the node to, says whose it is; the body, what to acknowledge.
func (b *Bus) relay(l *link) error {
	_, err := l.traffic.Subscribe(ackToken+".*.*.*", func(m *nats.Msg) {
		if target, ok := ackTarget(m.Subject, m.Data); ok {
			_ = l.traffic.Publish(target, nil) // lost, it is delivered again
		}
	})
	if err == nil {
		_, err = l.traffic.Subscribe(boxToken+".*.*", b.boxes.asked)
	}
	if err != nil {
		return notLinked(err)
	}
	return nil
}

// ackTarget is the subject of the server's own to which an acknowledgement goes, if it is of the sender's consumer.
func ackTarget(subject string, body []byte) (string, bool) {
	t := strings.Split(subject, ".")
	if len(t) != 4 || len(body) > maxTarget {
		return "", false
	}
	rest, ok := cutAsset(string(body), t[1], t[2], t[3])
	if !ok {
		return "", false
	}
	for _, r := range rest {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '.' {
			return "", false
		}
	}
	return string(body), rest != ""
}

// cutAsset takes off the name of one of a node's consumers, of what a state sends it: alerts, mail or slices.
func cutAsset(body, state, slug, from string) (string, bool) {
	alerts := strings.ToUpper(streamPrefix+from) + "." + state + between + slug + "."
	assets := []string{"$JS.ACK." + alerts, "$JS.FC." + alerts}
	for _, k := range kinds() {
		assets = append(assets, "$JS.ACK."+strings.ToUpper(strings.Join([]string{k.String(), state, slug, from}, between))+"."+boxToken+".")
	}
	for _, a := range assets {
		if rest, ok := strings.CutPrefix(body, a); ok {
			return rest, true
		}
	}
	return "", false
}

func notLinked(cause error) error {
	return fault.Wrap(cause, fault.Retry, "bus-away", opLink, "the bus cannot be reached")
}

func newPause() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: firstPause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: maxPause}
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
