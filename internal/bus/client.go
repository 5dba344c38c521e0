package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opUse = "use bus"
	// withoutBus is how often a hub that has no bus is asked again.
	withoutBus = 5 * time.Minute
	// unknowing is how long after subscribing nothing can be said of what is under way.
	unknowing = 2 * time.Second
	// believed is how long a server's word that more is coming is believed without more coming.
	believed     = 10 * time.Second
	flushWithin  = 10 * time.Second
	leastRenewal = 500 * time.Millisecond
	workers      = 4
)

// ClientOptions are what a node's side is made from; all are required but Filters, Changed, Workers and Clock.
type ClientOptions struct {
	// Node names the inbox.
	Node authority.Node
	// Access asks the hub for an hour's access.
	Access func(ctx context.Context, filters []string) (Access, error)
	// Sign proves the node's bus key to a server (keyring's SignNonce).
	Sign func(nonce []byte) ([]byte, error)
	// Filters are what the node wants now, "<group>.<category>.<lane>"; lane and category may be "*", and the group where the
	// category is. nil = nothing.
	Filters func() []string
	// Changed is closed when Filters may say something else; taken before Filters is called. nil = never.
	Changed func() <-chan struct{}
	// Handle takes one alert. nil: done with it, durably. A Retry fault: the same again later. Another error: it is
	// dropped and logged.
	Handle func(ctx context.Context, a Arrival) error
	// Mail takes one piece of mail; of one box one at a time and in order. nil: done with it, durably, and the hub is told. A
	// Retry fault: it stays in its box and comes again, a few times. Another error: it is dropped and logged. nil = no mail.
	Mail func(ctx context.Context, l Letter) error
	// Workers is how many Handles run at once; 0 = 4.
	Workers int
	Clock   func() time.Time
	Log     *zap.Logger
}

// Arrival is what came on one of the node's delivery subjects. Nothing of it is trusted but that the server sent it.
type Arrival struct {
	// Subject is where it was published, "alert.drugs.trafficking.routine.mx".
	Subject string
	Data    []byte
	// Publisher is whose stream it was in.
	Publisher authority.State
	// Pending is how many more of this publisher the hub had waiting when it sent this one.
	Pending uint64
}

// Status is how the client stands.
type Status struct {
	// Configured: the hub has a bus, as far as is known.
	Configured bool
	// Connected is since when; zero while not connected.
	Connected time.Time
	// Last is why there is no connection, or was none last time; nil if there never was a reason.
	Last error
	// Dropped is how many deliveries found no room in memory since the start. What was in them comes by the direct road.
	Dropped uint64
}

// Client is a node's side of the bus. It may be used by many goroutines at once.
type Client struct {
	o     ClientOptions
	queue *queue
	// again is told by the hub that there are more publishers to be had.
	again chan struct{}
	// bag is what has come out of the node's boxes; nil where it wants no mail, and before Run.
	bag    *bag
	asking asking

	mu      sync.Mutex
	session *session // nil while not connected
	status  Status
}

// session is one connection to a server of the bus.
type session struct {
	conn *nats.Conn
	subs []*nats.Subscription
	node authority.Node
	// since is when it could first receive.
	since time.Time
	// renew is when the next access must be there, and closed is closed when the connection is lost.
	renew  time.Duration
	closed chan struct{}
}

// NewClient makes a client; Run connects it.
func NewClient(o ClientOptions) *Client {
	if o.Workers <= 0 {
		o.Workers = workers
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Filters == nil {
		o.Filters = func() []string { return nil }
	}
	if o.Changed == nil {
		o.Changed = func() <-chan struct{} { return nil }
	}
	c := &Client{o: o, again: make(chan struct{}, 1)}
	c.queue = newQueue(c.acknowledge)
	return c
}

// Run connects, keeps connecting, and hands over what arrives, until ctx ends. It returns nil then, after the Handles
// that run have returned. What was not handled by then is delivered again.
func (c *Client) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range c.o.Workers {
		all.Go(func() { c.work(ctx) })
	}
	if c.o.Mail != nil {
		c.bag = newBag(ctx, c.o.Mail, c.acknowledge, c.o.Log)
	}
	pause := newPause()
	for ctx.Err() == nil {
		changed := c.o.Changed()
		wait, err := c.renew(ctx)
		if err == nil {
			pause.Reset()
		} else {
			wait = pause.NextBackOff()
		}
		c.rest(ctx, wait, changed)
	}
	c.queue.stop()
	all.Wait()
	c.queue.settleAll()
	if c.bag != nil {
		c.bag.stop()
	}
	c.replace(nil)
	return nil
}

// rest waits until it is time to ask for access again: the old one ends, the connection was lost, or filters changed.
func (c *Client) rest(ctx context.Context, wait time.Duration, changed <-chan struct{}) {
	var lost chan struct{}
	if s := c.live(); s != nil {
		lost = s.closed
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-c.again:
		sleep(ctx, firstPause) // several come together, and a hub could go on saying so
	case <-lost:
		c.fail(fault.New(fault.Retry, "bus-away", opUse, "the connection to the bus was lost"))
		sleep(ctx, firstPause)
	case <-ctx.Done():
	}
}

// renew asks for access and puts a connection with it in place of the one before, which serves until then. It says when
// to come again.
func (c *Client) renew(ctx context.Context) (time.Duration, error) {
	a, err := c.o.Access(ctx, c.o.Filters())
	if err != nil {
		return 0, c.fail(err)
	}
	if len(a.URLs) == 0 {
		c.replace(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.status.Configured, c.status.Last = false, nil
		return withoutBus, nil
	}
	s, err := c.open(a)
	if err != nil {
		return 0, c.fail(err)
	}
	err = s.listenMail(a, c.bag, c.asking.answered)
	if err == nil {
		err = s.listen(a, c.take, c.hint)
	}
	if err != nil {
		s.conn.Close()
		return 0, c.fail(err)
	}
	c.replace(s)
	return s.renew, nil
}

// fail notes why, unless a connection stands all the same.
func (c *Client) fail(err error) error {
	if ctxDone := errors.Is(err, context.Canceled); !ctxDone {
		c.o.Log.Info("no access to the bus", zap.String("code", fault.CodeOf(err)), zap.Error(err))
	}
	s := c.live()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Configured, c.status.Last = true, err
	if s == nil {
		c.session, c.status.Connected = nil, time.Time{}
	}
	return err
}

// replace puts a session in place, or none, and ends the one before.
func (c *Client) replace(s *session) {
	c.mu.Lock()
	old := c.session
	c.session = s
	switch {
	case s == nil:
		c.status.Connected = time.Time{}
	case c.status.Connected.IsZero() || old == nil || !old.conn.IsConnected():
		c.status.Connected, c.status.Configured = c.o.Clock(), true
	}
	c.mu.Unlock()
	if old != nil {
		old.deafen()
		_ = old.conn.FlushTimeout(flushWithin) // what was published on it
		old.conn.Close()
	}
}

// open connects with an access.
func (c *Client) open(a Access) (*session, error) {
	config, err := clientTLS(a.CA)
	if err != nil {
		return nil, err
	}
	life, err := lifeOf(a.JWT)
	if err != nil {
		return nil, err
	}
	s := &session{node: c.o.Node, renew: max(life*3/4, leastRenewal), closed: make(chan struct{})}
	s.conn, err = nats.Connect(strings.Join(a.URLs, ","), nats.Name("enlace-node"), nats.Secure(config), nats.Timeout(dialWithin),
		nats.UserJWT(func() (string, error) { return a.JWT, nil }, nats.SignatureHandler(c.o.Sign)), nats.NoReconnect(),
		nats.CustomInboxPrefix(inboxOf(c.o.Node)), nats.PingInterval(30*time.Second),
		nats.ClosedHandler(func(*nats.Conn) { close(s.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.o.Log.Warn("the bus complains", zap.Error(err)) }))
	if err != nil {
		return nil, notLinked(err)
	}
	return s, nil
}

// hint notes that the hub has more for us.
func (c *Client) hint(*nats.Msg) {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// listen begins to receive. Each subject by its name: the server does not wake a consumer for a wildcard.
func (s *session) listen(a Access, take, hint nats.MsgHandler) error {
	if _, err := s.conn.Subscribe(againOf(s.node), hint); err != nil {
		return notLinked(err)
	}
	for _, p := range a.Publishers {
		sub, err := s.conn.Subscribe(a.Deliver+"."+p.String(), take)
		if err == nil {
			// take is quick, so an honest server, which the window of each consumer bounds, fills none of this.
			err = sub.SetPendingLimits(-1, maxQueued)
		}
		if err != nil {
			return notLinked(err)
		}
		s.subs = append(s.subs, sub)
	}
	if err := s.conn.FlushTimeout(flushWithin); err != nil {
		return notLinked(err)
	}
	s.since = time.Now()
	return nil
}

// listenMail begins to receive mail, and what the hub says of the boxes of others.
func (s *session) listenMail(a Access, b *bag, answered nats.MsgHandler) error {
	if _, err := s.conn.Subscribe(inboxOf(s.node)+"."+boxToken, answered); err != nil {
		return notLinked(err)
	}
	if b == nil {
		return nil
	}
	for _, k := range kinds() {
		for _, p := range a.Publishers {
			sub, err := s.conn.Subscribe(toldOf(k, s.node)+"."+p.String(), func(m *nats.Msg) { b.take(k, s.node, m) })
			if err != nil {
				return notLinked(err)
			}
			s.subs = append(s.subs, sub)
		}
	}
	return nil
}

// deafen ends receiving, after what is on its way was noted. Where another session listens already, some comes to both:
// the queue knows it by its number. With neither listening for a moment, the server would wait long before it tried again.
func (s *session) deafen() {
	var ended []<-chan nats.SubStatus
	for _, sub := range s.subs {
		status := sub.StatusChanged(nats.SubscriptionClosed)
		if sub.Drain() == nil {
			ended = append(ended, status)
		}
	}
	late := time.After(flushWithin)
	for _, status := range ended {
		select {
		case <-status:
		case <-late:
			return
		}
	}
}

// lifeOf is how long a token was made for. The hub's clock does not matter so.
func lifeOf(token string) (time.Duration, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil || claims.Expires <= claims.IssuedAt {
		return 0, fault.Wrap(err, fault.Invalid, "malformed-access", opUse, "the hub gave no access to the bus that could be read")
	}
	return time.Duration(claims.Expires-claims.IssuedAt) * time.Second, nil
}

// Issued is what the hub's clock said, to the second, when it made a token for the bus.
func Issued(token string) (time.Time, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return time.Time{}, fault.Wrap(err, fault.Invalid, "malformed-access", opUse, "the hub gave no access to the bus that could be read")
	}
	return time.Unix(claims.IssuedAt, 0).UTC(), nil
}

// live is the session if its connection stands.
func (c *Client) live() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || !c.session.conn.IsConnected() {
		return nil
	}
	return c.session
}

// Publish sends one message; Retry "bus-away" while not connected: nothing waits in memory for a connection. On return
// it is on its way and no more: Flush says that the server has it, and nothing says that it keeps it. TooLarge where the
// server would cut the connection for it.
func (c *Client) Publish(ctx context.Context, subject string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(err, fault.Retry, "", opUse, "the call was given up")
	}
	s := c.live()
	if s == nil {
		return away()
	}
	if int64(len(data)) > s.conn.MaxPayload() {
		return fault.New(fault.TooLarge, "too-large", opUse, "the message is larger than the bus carries")
	}
	if err := s.conn.Publish(subject, data); err != nil {
		return fault.Wrap(err, fault.Retry, "bus-away", opUse, "the bus did not take the message")
	}
	return nil
}

// Flush returns when the server has read what was published before. Retry "bus-away".
func (c *Client) Flush(ctx context.Context) error {
	s := c.live()
	if s == nil {
		return away()
	}
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil {
		return fault.Wrap(err, fault.Retry, "bus-away", opUse, "the bus did not confirm")
	}
	return nil
}

// Expecting reports whether more of that publisher is known to be under way: whoever misses an alert need not ask for
// it on another road yet. The word of a server that then sends nothing is believed for ten seconds; what one that sends
// other things instead could delay is for the caller to bound.
func (c *Client) Expecting(publisher authority.State) bool {
	s := c.live()
	return s != nil && (time.Since(s.since) < unknowing || c.queue.expecting(publisher))
}

// Connected reports whether alerts can come and go now.
func (c *Client) Connected() bool { return !c.Status().Connected.IsZero() }

// Status is how the client stands now.
func (c *Client) Status() Status {
	connected, dropped := c.live() != nil, c.queue.lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	st.Dropped = dropped
	if !connected {
		st.Connected = time.Time{}
	}
	return st
}

// acknowledge tells the hub, which tells the server. Lost, it is delivered again.
func (c *Client) acknowledge(publisher authority.State, target string) {
	if s := c.live(); s != nil {
		_ = s.conn.Publish(ackOf(s.node)+"."+publisher.String(), []byte(target))
	}
}

// work handles what is in the queue. What is to be tried again is held on to meanwhile: it is the work that is stuck,
// and others go on as long as there are workers left.
func (c *Client) work(ctx context.Context) {
	for {
		it := c.queue.next()
		if it == nil {
			return
		}
		pause := newPause()
		pause.InitialInterval = retryPause
		for {
			err := c.o.Handle(ctx, it.arrival)
			if fault.Is(err, fault.Retry) {
				if sleep(ctx, pause.NextBackOff()) {
					continue
				}
				return // not done: delivered again
			}
			if err != nil && ctx.Err() != nil {
				return // neither: the caller is stopping
			}
			if err != nil {
				c.o.Log.Info("an alert on the bus was dropped", zap.Stringer("publisher", it.arrival.Publisher),
					zap.String("code", fault.CodeOf(err)), zap.Error(err))
			}
			break
		}
		c.queue.finish(it)
	}
}

const retryPause = time.Second

func away() error {
	return fault.New(fault.Retry, "bus-away", opUse, "the bus is not connected")
}
