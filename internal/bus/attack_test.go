package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/fault"
)

// denied notes what the server refuses a raw connection.
type denied struct {
	mu   sync.Mutex
	errs []string
}

func watch(c *nats.Conn) *denied {
	d := &denied{}
	c.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.errs = append(d.errs, err.Error())
	})
	return d
}

func (d *denied) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.errs)
}

// TestForeignSubjects: what a member may not write, read, make or ask for, one by one, each refused by the server.
func TestForeignSubjects(t *testing.T) {
	w := newWorld(t)
	mx, br, us := w.admit("mx"), w.admit("br"), w.admit("us")
	w.start()
	victim, honest := us.read(), br.read()
	c := mx.raw(everything()...)
	refused := watch(c)
	writes := []string{
		"alert.drugs.trafficking.immediate.br", // another's subject
		"alert.drugs.trafficking.immediate.mx.br",
		"deliver.us.primary.br", "deliver.us.primary.mx", // another's delivery
		"ack.us.primary.br",                         // another's acknowledgements
		"ack.mx.other.br",                           // those of another node of one's own state
		"_INBOX.us.primary.x", "_INBOX.x", "mail.x", // another's inbox
		"mail.us.primary.br", "bulk.us.primary.br", "mail.us.primary.mx.br", // mail in another's name
		"letter.us.primary.mx", "parcel.us.primary.mx", "box.us.primary", "box.mx.other", "_INBOX.us.primary.box",
		"$JS.ACK.MAIL--US--PRIMARY--MX.box.1.1.1.1.0", "$JS.API.STREAM.DELETE.MAIL--US--PRIMARY--BR",
		"$JS.ACK.ALERT-BR.us--primary.1.1.1.1.0", "$JS.ACK.ALERT-BR.mx--primary.1.1.1.1.0",
		"$JS.FC.ALERT-BR.us--primary.x",
		"$JS.API.CONSUMER.CREATE.ALERT-BR.mine.alert.>", // own consumer by hand
		"$JS.API.CONSUMER.DURABLE.CREATE.ALERT-BR.mine",
		"$JS.API.CONSUMER.MSG.NEXT.ALERT-BR.us--primary", // a pull, of another's
		"$JS.API.CONSUMER.DELETE.ALERT-BR.us--primary",
		"$JS.API.STREAM.DELETE.ALERT-BR", "$JS.API.STREAM.PURGE.ALERT-BR", "$JS.API.STREAM.CREATE.MINE",
		"$JS.API.STREAM.MSG.GET.ALERT-BR", "$JS.API.DIRECT.GET.ALERT-BR", "$JS.API.INFO", "$JS.API.STREAM.NAMES",
		"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO",
	}
	for _, subject := range writes {
		before := refused.count()
		must(t, c.PublishRequest(subject, c.NewRespInbox(), []byte("{}")))
		must(t, c.Flush())
		soon(t, 2*time.Second, "publishing on "+subject+" refused", func() bool { return refused.count() > before })
	}
	for _, subject := range []string{"deliver.us.primary.br", "deliver.*.*.*", "deliver.mx.other.br", "letter.us.primary.br", "letter.>", "parcel.us.primary.mx",
		"mail.>", "mail.us.primary.mx", "bulk.mx.primary.br", "box.>", "_INBOX.us.primary.>", "_INBOX.>", ">", "alert.>", "ack.>",
		"$JS.>", "$SYS.>", "$JS.EVENT.ADVISORY.>", "_R_.>"} {
		before := refused.count()
		_, err := c.SubscribeSync(subject)
		must(t, err)
		must(t, c.Flush())
		soon(t, 2*time.Second, "subscribing to "+subject+" refused", func() bool { return refused.count() > before })
	}
	must(t, honest.Publish(within(t, 5*time.Second), "alert.drugs.trafficking.immediate.br", []byte("real")))
	soon(t, 5*time.Second, "the real one arrives", victim.has("real"))
	if got := victim.texts(); len(got) != 1 {
		t.Errorf("the victim got %q", got)
	}
}

// TestReplySubjects: the server does not check the reply subject of what a member publishes. Nothing that a member may
// publish makes the server write to one: no publication, no acknowledgement, no header.
func TestReplySubjects(t *testing.T) {
	w := newWorld(t)
	mx, br, us := w.admit("mx"), w.admit("br"), w.admit("us")
	w.start()
	honest, victim := br.read(), us.read()
	c := mx.raw(everything()...)
	deliveries, err := c.SubscribeSync("deliver.mx.primary.br")
	must(t, err)
	must(t, c.Flush())
	ctx := within(t, 20*time.Second)
	must(t, honest.Publish(ctx, "alert.drugs.trafficking.routine.br", []byte("kept")))
	m, err := deliveries.NextMsgWithContext(ctx)
	must(t, err)
	soon(t, 5*time.Second, "delivered", victim.has("kept"))

	targets := []string{"$JS.API.STREAM.DELETE.ALERT-BR", "$JS.API.STREAM.PURGE.ALERT-BR", "$JS.API.CONSUMER.DELETE.ALERT-BR.us--primary",
		"alert.drugs.trafficking.routine.br", "deliver.us.primary.br", "$JS.ACK.ALERT-BR.us--primary.1.2.2.1.0"}
	headers := []nats.Header{nil, {"Nats-Msg-Id": {"x"}}, {"Nats-Expected-Last-Sequence": {"77"}}, {"Nats-Expected-Stream": {"NONE"}}, {"Nats-Rollup": {"all"}},
		{"Nats-TTL": {"1s"}}, {"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}}, {"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
		{"Nats-Schedule": {"@at 2026-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"alert.drugs.trafficking.routine.br"}}, {"Nats-Incr": {"1"}},
		{"Nats-Trace-Dest": {"alert.drugs.trafficking.routine.br"}}, {"Nats-Trace-Dest": {"$JS.API.STREAM.DELETE.ALERT-BR"}}}
	bodies := []string{"", m.Reply, "$JS.API.STREAM.DELETE.ALERT-BR", "$JS.ACK.ALERT-BR.us--primary.1.1.1.1.0", "$JS.FC.ALERT-BR.us--primary.x",
		"$JS.ACK.ALERT-BR.mx--primary.*", "$JS.ACK.ALERT-BR.mx--primary.1.1.1.1.0 alert.drugs.trafficking.routine.br 0\r\n"}
	for _, target := range append(targets, m.Reply+".$FI", "alert.drugs.trafficking.routine.br.x.0.1.1.$FI") {
		for _, h := range headers {
			must(t, c.PublishMsg(&nats.Msg{Subject: "alert.drugs.trafficking.routine.mx", Reply: target, Header: h, Data: []byte("junk of mx")}))
		}
		for _, body := range bodies {
			must(t, c.PublishMsg(&nats.Msg{Subject: "ack.mx.primary.br", Reply: target, Data: []byte(body)}))
			must(t, c.PublishMsg(&nats.Msg{Subject: "ack.mx.primary.us", Reply: target, Data: []byte(body)}))
		}
	}
	must(t, c.Flush())
	time.Sleep(300 * time.Millisecond)
	for publisher, want := range map[string]uint64{"BR": 1} {
		if got := w.stored(publisher); got != want {
			t.Errorf("the stream of %s holds %d, want %d", publisher, got, want)
		}
	}
	must(t, honest.Publish(ctx, "alert.drugs.trafficking.routine.br", []byte("after")))
	soon(t, 5*time.Second, "the next arrives", victim.has("after"))
	for _, a := range victim.arrivals() {
		if a.Publisher == br.state && string(a.Data) != "kept" && string(a.Data) != "after" {
			t.Errorf("of br the victim got %q", a.Data)
		}
	}
}

// TestCopiedMessageID: junk that bears another's message ID, before it and after it, suppresses nothing of another's.
func TestCopiedMessageID(t *testing.T) {
	w := newWorld(t)
	mx, br, us := w.admit("mx"), w.admit("br"), w.admit("us")
	w.start()
	victim := us.read()
	evil, honest := mx.raw(), br.raw()
	send := func(c *nats.Conn, state, id, text string) {
		must(t, c.PublishMsg(&nats.Msg{Subject: "alert.drugs.trafficking.routine." + state, Header: nats.Header{"Nats-Msg-Id": {id}}, Data: []byte(text)}))
		must(t, c.Flush())
	}
	send(evil, "mx", "one", "junk first")
	send(honest, "br", "one", "real after junk")
	send(honest, "br", "two", "real before junk")
	send(evil, "mx", "two", "junk second")
	soon(t, 5*time.Second, "both real ones arrive", victim.has("real after junk", "real before junk"))
}

// TestStolenCredentials: whoever holds the token and the key is cut from the live connection when the directory turns
// against the node, and does not come back with what it has; after reinstatement a new token works.
func TestStolenCredentials(t *testing.T) {
	for name, turn := range map[string]func(*member){
		"state suspended": func(m *member) { m.suspend(time.Hour) },
		"node revoked":    func(m *member) { m.revoke() },
		"key replaced":    func(m *member) { m.rotateBus() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mx, us := w.admit("mx"), w.admit("us")
			w.start()
			victim := us.read()
			ctx := within(t, 20*time.Second)
			stolen, err := mx.access(ctx, everything())
			must(t, err)
			sign := mx.thief()
			thief, err := nats.Connect(stolen.URLs[0], nats.RootCAs(w.caFile()), nats.NoReconnect(), quiet(),
				nats.UserJWT(func() (string, error) { return stolen.JWT, nil }, sign))
			must(t, err)
			defer thief.Close()
			must(t, thief.Publish("alert.drugs.trafficking.routine.mx", []byte("before")))
			soon(t, 5*time.Second, "arrives before", victim.has("before"))

			turn(mx)
			soon(t, time.Second, "the live connection is cut", thief.IsClosed)
			again, err := nats.Connect(stolen.URLs[0], nats.RootCAs(w.caFile()), nats.NoReconnect(), nats.UserJWT(func() (string, error) { return stolen.JWT, nil }, sign))
			if !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrAuthRevoked) {
				again.Close()
				t.Errorf("connecting again: %v", err)
			}
			_, err = mx.access(ctx, everything())
			if name == "key replaced" {
				must(t, err)
				mx.raw() // the new key works
				return
			}
			if err == nil {
				t.Error("access was given again")
			}
			if name == "state suspended" {
				mx.reinstate()
				fresh := mx.raw()
				must(t, fresh.Publish("alert.drugs.trafficking.routine.mx", []byte("reinstated")))
				soon(t, 5*time.Second, "arrives after", victim.has("reinstated"))
				if _, err := mx.tryRaw(stolen); err == nil {
					t.Error("the old token works again")
				}
			}
		})
	}
}

// TestFlood: a flood with registered and invented subjects evicts the flooder's own alone, though it is far more than
// a publisher may keep.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	mx, br, us := w.admit("mx"), w.admit("br"), w.admit("us")
	w.start(func(o *bus.Options) { o.PublisherBytes = 4 << 20 })
	_, err := us.access(within(t, 10*time.Second), everything()) // a consumer, and nobody there
	must(t, err)
	honest, evil := br.raw(), mx.raw()
	must(t, honest.Publish("alert.drugs.trafficking.immediate.br", []byte("real")))
	must(t, honest.Flush())
	junk := make([]byte, 64<<10)
	for i := range 400 {
		must(t, evil.Publish("alert.drugs.trafficking.immediate.mx", junk))
		must(t, evil.Publish(fmt.Sprintf("alert.drugs.invented%d.immediate.mx", i), junk))
		must(t, evil.Publish(fmt.Sprintf("alert.drugs.trafficking.lane%d.mx", i), junk))
		must(t, evil.Publish(fmt.Sprintf("alert.group%d.x.immediate.mx", i), junk))
	}
	must(t, evil.Flush())
	must(t, honest.Publish("alert.drugs.trafficking.immediate.br", []byte("real too")))
	must(t, honest.Flush())
	victim := us.read()
	soon(t, 10*time.Second, "the real ones arrive", victim.has("real", "real too"))
	if got := w.stored("MX"); got == 0 || got > 64 {
		t.Errorf("the flooder's stream holds %d messages of 64 KiB in 4 MiB", got)
	}
	for _, a := range victim.arrivals() {
		if strings.Contains(a.Subject, "invented") || strings.Contains(a.Subject, "lane") || strings.Contains(a.Subject, "group") {
			t.Fatalf("an invented subject was stored: %s", a.Subject)
		}
	}
}

// TestManyOnOneSubject: more than 100,000 alerts of one subject wait for a node that is away.
func TestManyOnOneSubject(t *testing.T) {
	w := newWorld(t)
	mx := w.admit("mx")
	w.start()
	c := mx.raw()
	const all, part = 110_000, 5_000 // in parts: a stream drops what comes faster than it writes
	for n := 1; n <= all; n++ {
		must(t, c.Publish("alert.drugs.trafficking.routine.mx", []byte("x")))
		if n%part == 0 {
			must(t, c.Flush())
			soon(t, 10*time.Second, "all of a part is kept", func() bool { return w.stored("MX") >= uint64(n) })
		}
	}
}

// TestBusyMember: a member that asks again and again with other filters is soon told to wait, and others are not.
func TestBusyMember(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start()
	ctx := within(t, 20*time.Second)
	served, code := 0, ""
	for ; served < 30 && code == ""; served++ {
		_, err := mx.access(ctx, []string{[]string{"drugs.*.*", "fraud.*.*"}[served%2]})
		code = fault.CodeOf(err)
	}
	if code != "busy" || served < 5 {
		t.Errorf("%q at access %d", code, served)
	}
	_, err := us.access(ctx, everything())
	must(t, err)
}

// TestOneAtATime: while the hub is at work for one member, however long, others are served, and what the directory
// brings reaches them.
func TestOneAtATime(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start()
	_, err := mx.access(within(t, 10*time.Second), everything())
	must(t, err)
	release := w.bus().Occupy(mx.node)
	if _, err := mx.access(within(t, 100*time.Millisecond), everything()); fault.CodeOf(err) != "busy" {
		t.Errorf("two at once for one member: %v", err)
	}
	to := us.read()
	br := w.admit("br")
	from := br.read()
	must(t, from.Publish(within(t, 5*time.Second), "alert.drugs.trafficking.routine.br", []byte("hello")))
	soon(t, 5*time.Second, "the new state's alert arrives", to.has("hello"))
	release()
	served := br.raw(everything()...)
	must(t, served.Flush())
	_, err = mx.access(within(t, 10*time.Second), everything())
	must(t, err)
}

// TestNoBusWithoutRights: no token, a token of another's, a key of another's.
func TestNoBusWithoutRights(t *testing.T) {
	w := newWorld(t)
	mx, br := w.admit("mx"), w.admit("br")
	w.start()
	a, err := mx.access(within(t, 10*time.Second), nil)
	must(t, err)
	if c, err := nats.Connect(a.URLs[0], nats.RootCAs(w.caFile()), nats.NoReconnect()); err == nil {
		c.Close()
		t.Error("connected without a token")
	}
	if c, err := br.tryRaw(a); err == nil {
		c.Close()
		t.Error("connected with another's token and the own key")
	}
	if c, err := nats.Connect(strings.Replace(a.URLs[0], "tls", "nats", 1), nats.NoReconnect(), nats.UserJWT(func() (string, error) { return a.JWT, nil }, mx.sign)); err == nil {
		c.Close()
		t.Error("connected to a server that nobody vouches for")
	}
}

func quiet() nats.Option { return nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) }
