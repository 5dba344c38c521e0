package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/fault"
)

// postman is a node's client that keeps the mail that comes.
type postman struct {
	*reader
	mu   sync.Mutex
	mail []bus.Letter
	// verdict is asked before a piece is kept; nil takes everything.
	verdict func(bus.Letter) error
}

func (m *member) postman(verdict func(bus.Letter) error) *postman {
	m.w.t.Helper()
	p := &postman{verdict: verdict}
	p.reader = m.read(func(r *reader) { r.mail = p.take })
	return p
}

func (p *postman) take(_ context.Context, l bus.Letter) error {
	if p.verdict != nil {
		if err := p.verdict(l); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mail = append(p.mail, l)
	return nil
}

// got are the texts that have come of a state, in order.
func (p *postman) got(from string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, l := range p.mail {
		if l.From.String() == from {
			all = append(all, string(l.Data))
		}
	}
	return all
}

func (p *postman) post(kind bus.Kind, to *member, texts ...string) {
	p.m.w.t.Helper()
	for _, text := range texts {
		must(p.m.w.t, p.Post(within(p.m.w.t, patience), kind, to.node, []byte(text)))
	}
	must(p.m.w.t, p.Flush(within(p.m.w.t, patience)))
}

func (p *postman) box(kind bus.Kind, to *member) bus.Box {
	p.m.w.t.Helper()
	time.Sleep(50 * time.Millisecond) // the hub takes few questions of one node in a second, and those that ask are in a loop
	for {
		b, err := p.Box(within(p.m.w.t, patience), kind, to.node)
		if fault.CodeOf(err) == "timeout" {
			continue
		}
		must(p.m.w.t, err)
		return b
	}
}

// Mail waits for a node that is away, comes in order, and leaves the box when it is taken. PROTOCOL 10.11.
func TestMail(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.start()
	from := mx.postman(nil)
	if b := from.box(bus.Mail, jm); b.Messages != 0 || b.MaxBytes != 64<<20 || b.MaxMessages != 4096 {
		t.Fatalf("a new box stands at %+v", b)
	}
	from.box(bus.Bulk, jm)
	large := string(bytes.Repeat([]byte{'x'}, 1200<<10))
	from.post(bus.Mail, jm, "one", "two", "three", large)
	from.post(bus.Bulk, jm, "slice")
	soon(t, patience, "four in the box", func() bool { return from.box(bus.Mail, jm).Messages == 4 })
	to := jm.postman(nil)
	soon(t, patience, "all five come", func() bool { return len(to.got("mx")) == 5 })
	got := slices.DeleteFunc(to.got("mx"), func(s string) bool { return s == "slice" })
	if !slices.Equal(got, []string{"one", "two", "three", large}) {
		t.Error("the mail came in another order")
	}
	soon(t, patience, "the box is empty", func() bool { return from.box(bus.Mail, jm).Messages == 0 && from.box(bus.Bulk, jm).Messages == 0 })
}

// A flooded mailbox hurts only the flooder, and there only for that recipient.
func TestFloodedMailbox(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm"), w.admit("br")
	w.start(func(o *bus.Options) { o.MailboxMessages, o.MailboxBytes = 20, 64<<10 })
	flooder, honest := mx.postman(nil), br.postman(nil)
	flooder.box(bus.Mail, jm)
	flooder.box(bus.Mail, br)
	flooder.box(bus.Bulk, jm)
	honest.box(bus.Mail, jm)
	for i := range 100 {
		flooder.post(bus.Mail, jm, fmt.Sprint("flood ", i))
		flooder.post(bus.Bulk, jm, string(make([]byte, 8<<10)))
	}
	soon(t, patience, "full by messages", func() bool { return flooder.box(bus.Mail, jm).Messages == 20 })
	if b := flooder.box(bus.Bulk, jm); b.Bytes > b.MaxBytes || b.Messages == 0 {
		t.Errorf("the box of slices stands at %+v", b)
	}
	honest.post(bus.Mail, jm, "of another")
	flooder.post(bus.Mail, br, "to another")
	soon(t, patience, "the flooder's mail to others", func() bool { return slices.Contains(honest.got("mx"), "to another") })
	to := jm.postman(nil)
	soon(t, patience, "mail of others", func() bool { return slices.Contains(to.got("br"), "of another") })
	soon(t, patience, "room again", func() bool { return flooder.box(bus.Mail, jm).Messages == 0 })
	if got := to.got("mx"); !slices.Contains(got, "flood 0") || slices.Contains(got, "flood 99") {
		t.Errorf("what was kept: %d, not the oldest", len(got))
	}
}

// What cannot be taken now comes again, a few times; what cannot be taken at all leaves the box at once.
func TestMailThatIsNotTaken(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.start(func(o *bus.Options) { o.AckWait = 200 * time.Millisecond })
	var mu sync.Mutex
	tried := map[string]int{}
	count := func(s string) int { mu.Lock(); defer mu.Unlock(); return tried[s] }
	to := jm.postman(func(l bus.Letter) error {
		mu.Lock()
		defer mu.Unlock()
		tried[string(l.Data)]++
		switch {
		case string(l.Data) == "never":
			return fault.New(fault.Retry, "busy", "test", "never")
		case string(l.Data) == "later" && tried["later"] < 3:
			return fault.New(fault.Retry, "busy", "test", "not yet")
		case string(l.Data) == "junk":
			return fault.New(fault.Invalid, "", "test", "junk")
		}
		return nil
	})
	from := mx.postman(nil)
	from.box(bus.Mail, jm)
	from.post(bus.Mail, jm, "junk", "never", "later", "good")
	soon(t, patience, "the good one does not wait for the others", func() bool { return slices.Contains(to.got("mx"), "good") })
	soon(t, patience, "the later one comes again", func() bool { return slices.Contains(to.got("mx"), "later") })
	soon(t, patience, "the box is empty", func() bool { return from.box(bus.Mail, jm).Messages == 0 })
	if count("junk") != 1 || count("never") < 5 {
		t.Errorf("junk came %d times, what never was taken %d times", count("junk"), count("never"))
	}
}

// A hub that lost its mail says so: the box is another one. Boxes of nodes that are gone for ever go too.
func TestMailboxMadeAnew(t *testing.T) {
	w := newWorld(t)
	mx, jm := w.admit("mx"), w.admit("jm")
	w.start()
	addr := w.bus().Addr()
	from := mx.postman(nil)
	before := from.box(bus.Mail, jm)
	from.post(bus.Mail, jm, "lost")
	w.stop()
	must(t, os.RemoveAll(filepath.Join(w.data, "jetstream")))
	w.startAt(addr)
	soon(t, patience, "connected again", from.Connected)
	var after bus.Box
	soon(t, patience, "asked again", func() bool {
		var err error
		after, err = from.Box(within(t, patience), bus.Mail, jm.node)
		return err == nil
	})
	if after.Made == before.Made || after.Messages != 0 {
		t.Errorf("a box that was wiped stands at %+v, before %+v", after, before)
	}
	to := jm.postman(nil)
	from.post(bus.Mail, jm, "again")
	soon(t, patience, "mail in the new box", func() bool { return slices.Equal(to.got("mx"), []string{"again"}) })
	jm.revoke()
	soon(t, patience, "no box for who is gone", func() bool {
		_, err := from.Box(within(t, patience), bus.Mail, jm.node)
		return fault.CodeOf(err) == "unknown-node"
	})
}

// A node takes nothing for mail that is not the hub's word, and can acknowledge no other's; whoever asks with a reply
// subject makes nobody write there.
func TestMailOfOthers(t *testing.T) {
	w := newWorld(t)
	mx, jm, br := w.admit("mx"), w.admit("jm"), w.admit("br")
	w.start()
	from := mx.postman(nil)
	from.box(bus.Mail, jm)
	from.post(bus.Mail, jm, "kept")
	thief := br.raw()
	victim, err := jm.raw().SubscribeSync("_INBOX.jm.primary.>")
	must(t, err)
	for _, body := range []string{"$JS.ACK.MAIL--JM--PRIMARY--MX.box.1.1.1.1.0", "$JS.ACK.MAIL--BR--PRIMARY--MX.box.1.1.1.1.0",
		"$JS.API.STREAM.DELETE.MAIL--JM--PRIMARY--MX"} {
		for _, from := range []string{"mx", "jm", "br"} {
			must(t, thief.Publish("ack.br.primary."+from, []byte(body)))
		}
	}
	for _, subject := range []string{"mail.jm.primary.br", "bulk.jm.primary.br", "box.br.primary"} {
		for _, reply := range []string{"$JS.API.STREAM.DELETE.MAIL--JM--PRIMARY--MX", "_INBOX.jm.primary.x", "mail.jm.primary.mx"} {
			m := nats.NewMsg(subject)
			m.Reply, m.Data = reply, []byte("mail jm/node/primary")
			must(t, thief.PublishMsg(m))
		}
	}
	for _, text := range []string{"", "mail", "mail br/node/primary", "mail us/node/primary", "mail ../x", "letter jm/node/primary"} {
		must(t, thief.Publish("box.br.primary", []byte(text)))
	}
	must(t, thief.Flush())
	honest := br.postman(nil)
	honest.box(bus.Mail, jm) // what was sent before has been answered by now
	if n := from.box(bus.Mail, jm).Messages; n != 1 {
		t.Errorf("%d in the box of another, 1 was", n)
	}
	if m, err := victim.NextMsg(100 * time.Millisecond); err == nil && m.Subject != "_INBOX.jm.primary.again" {
		t.Errorf("the victim was told %q on %s", m.Data, m.Subject)
	}
}
