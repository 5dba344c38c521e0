package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// office is a hub that does with the mail what it likes; an honest one is tested with room bus.
type office struct {
	w     *world
	mu    sync.Mutex
	made  int64 // guarded by mu
	boxes map[authority.Node]*pile
	// seen is every mail that was ever posted to a node; guarded by mu.
	seen map[authority.Node][][]byte
	// treat says what becomes of the n-th mail for a node, from 0; nil: it is carried. Guarded by mu.
	treat func(to authority.Node, n int, bulk bool, mail []byte) [][]byte
	// asked counts the questions after boxes, and silent makes them fail; guarded by mu.
	asked  int
	silent bool
	wg     sync.WaitGroup
	ended  chan struct{}
}

// pile is what waits for one node.
type pile struct {
	take  func(context.Context, authority.State, []byte) error
	mail  chan posted
	state authority.State
}

type posted struct {
	from  authority.State
	bytes []byte
}

// counter is the office as one node sees it.
type counter struct {
	o    *office
	from authority.State
}

func (c counter) Open() bool { return true }

func (c counter) Standing(context.Context, authority.Node, bool) (exchange.MailboxStanding, error) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.o.asked++
	if c.o.silent {
		return exchange.MailboxStanding{}, fault.New(fault.Retry, "timeout", "test", "the hub says nothing")
	}
	return exchange.MailboxStanding{Made: c.o.made, MaxMessages: 1 << 20, MaxBytes: 1 << 40}, nil
}

func (c counter) Post(_ context.Context, to authority.Node, bulk bool, mail []byte) error {
	o := c.o
	o.mu.Lock()
	n := len(o.seen[to])
	o.seen[to] = append(o.seen[to], slices.Clone(mail))
	carried := [][]byte{mail}
	if o.treat != nil {
		carried = o.treat(to, n, bulk, mail)
	}
	p := o.boxes[to]
	o.mu.Unlock()
	for _, m := range carried {
		select {
		case p.mail <- posted{c.from, slices.Clone(m)}:
		case <-o.ended:
		}
	}
	return nil
}

func (o *office) setTreat(f func(to authority.Node, n int, bulk bool, mail []byte) [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.treat = f
}

func (o *office) posted(to authority.Node) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen[to])
}

// unreached is a courier that reaches nobody.
type unreached struct{ exchange.Courier }

func (unreached) Deliver(context.Context, directory.NodeEntry, []byte) ([]byte, error) {
	return nil, cut()
}

func (unreached) AttachmentStatus(context.Context, directory.NodeEntry, message.AttachmentRef) (message.Stored, error) {
	return message.Stored{}, cut()
}

func (unreached) PushAttachment(context.Context, directory.NodeEntry, message.AttachmentRef, uint64, io.Reader) (message.Stored, error) {
	return message.Stored{}, cut()
}

func cut() error { return fault.New(fault.Retry, "outbound-only", "test", "nobody can be reached") }

// byMail makes a world whose nodes reach each other by the office alone.
func byMail(t *testing.T, treat func(to authority.Node, n int, bulk bool, mail []byte) [][]byte) (*world, *office) {
	t.Helper()
	w := newWorld(t)
	o := &office{w: w, made: 1, treat: treat, boxes: map[authority.Node]*pile{}, seen: map[authority.Node][][]byte{}, ended: make(chan struct{})}
	for _, s := range []*side{w.mx, w.jm} {
		s.stopLoop()
		s.Exchange = s.build(func(opt *exchange.Options) {
			opt.Courier, opt.Mail = unreached{}, counter{o, s.node.State()}
		})
		o.boxes[s.node] = &pile{take: s.TakeMail, mail: make(chan posted, 4096), state: s.node.State()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	for _, p := range o.boxes {
		o.wg.Go(func() { o.carry(ctx, p) })
	}
	for _, s := range []*side{w.mx, w.jm} {
		w.running(s.Exchange)
	}
	t.Cleanup(func() { close(o.ended); cancel(); o.wg.Wait() })
	return w, o
}

// carry hands over what was posted, again where the node wants that.
func (o *office) carry(ctx context.Context, p *pile) {
	for {
		select {
		case m := <-p.mail:
			for err := p.take(ctx, m.from, m.bytes); fault.Is(err, fault.Retry) && ctx.Err() == nil; err = p.take(ctx, m.from, m.bytes) {
				time.Sleep(20 * time.Millisecond)
			}
		case <-ctx.Done():
			return
		}
	}
}

// A hub that doubles everything and brings it late changes nothing: one message, one receipt, and no state goes back.
// P2; PROTOCOL 10.11.
func TestReplayedMail(t *testing.T) {
	w, o := byMail(t, func(_ authority.Node, _ int, _ bool, mail []byte) [][]byte { return [][]byte{mail, mail} })
	file := make([]byte, 2*message.HashChunk+5)
	id := w.sent(file)
	w.jm.until(id, func(v exchange.View) bool { return len(v.Attachments) == 1 && v.Attachments[0].Complete })
	sent := w.mx.until(id, receipted)
	if road := sent.Steps[0].Deliveries[0].Road; road != ledger.Mailbox {
		t.Errorf("the road is %q", road)
	}
	ctx := context.Background()
	for _, s := range []*side{w.mx, w.jm} {
		from := w.mx.node.State()
		if s == w.mx {
			from = w.jm.node.State()
		}
		all := o.posted(s.node)
		slices.Reverse(all)
		for _, m := range all {
			if err := s.TakeMail(ctx, from, m); err != nil {
				t.Errorf("%s: an old mail: %v", s.name, err)
			}
		}
	}
	// The oldest of them, a receipt that says RECEIVED, on a node that does nothing else meanwhile.
	still := w.mx.build(func(opt *exchange.Options) { opt.Courier = unreached{} })
	w.must(still.TakeMail(ctx, w.jm.node.State(), o.posted(w.mx.node)[0]))
	again, err := still.Show(ctx, w.mx.actor(), id)
	w.must(err)
	if d := again.Steps[0].Deliveries[0]; d.State != string(ledger.Complete) || !d.Next.IsZero() || len(again.Steps) != 1 {
		t.Errorf("after replays the delivery is %+v", d)
	}
	if v := w.jm.until(id, state(message.Delivered)); len(v.Steps) != 1 {
		t.Errorf("the message is there %d times", len(v.Steps))
	}
	w.sameReceipts(o, sent.Steps[0].Message)
}

// sameReceipts fails unless every receipt of a stage that was mailed for a message has the same bytes.
func (w *world) sameReceipts(o *office, id message.ID) {
	w.t.Helper()
	distinct := map[string]bool{}
	for _, m := range o.posted(w.mx.node) {
		c, body := w.opened(m, w.mx)
		if about, err := seal.ReceiptAbout(body); c.Kind == seal.MailReceipt && err == nil && about.ID == id {
			distinct[string(body)] = true
		}
	}
	if n := len(distinct); n != 2 { // RECEIVED and COMPLETE
		w.t.Errorf("%d different receipts", n)
	}
}

func (w *world) opened(mail []byte, s *side) (seal.Control, []byte) {
	w.t.Helper()
	p, err := seal.ParseMail(mail)
	w.must(err)
	c, err := p.Verify(w.current.Load().At(w.now()).NodeKey)
	w.must(err)
	body, err := c.Open(context.Background(), s.ring)
	w.must(err)
	return c, body
}

// A hub that loses everything at some moment costs nothing but time. P1, P9.
func TestLostMail(t *testing.T) {
	var mu sync.Mutex
	lost := true
	w, o := byMail(t, func(_ authority.Node, _ int, _ bool, mail []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if lost {
			return nil
		}
		return [][]byte{mail}
	})
	id := w.sent()
	v := w.mx.until(id, func(v exchange.View) bool {
		return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Road == ledger.Mailbox
	})
	if d := v.Steps[0].Deliveries[0]; d.State != string(ledger.Queued) || d.LastError == "" {
		t.Errorf("a message in the mailbox is shown as %+v", d)
	}
	mu.Lock()
	lost = false
	mu.Unlock()
	o.mu.Lock()
	o.made++ // the hub knows that it has lost the box
	o.mu.Unlock()
	w.advance(time.Minute)
	w.mx.Reachable(w.jm.node) // looked at now, not after the pause
	w.mx.until(id, receipted)
}

// A hub that does not say how a box stands is asked once for all that waits, not once for each.
func TestSilentHub(t *testing.T) {
	w, o := byMail(t, nil)
	o.mu.Lock()
	o.silent = true
	o.mu.Unlock()
	var all []message.ID
	for range 12 {
		all = append(all, w.sent())
	}
	for _, id := range all {
		w.mx.until(id, func(v exchange.View) bool { return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Attempts > 0 })
	}
	o.mu.Lock()
	if o.asked > 3 {
		t.Errorf("the hub was asked %d times", o.asked)
	}
	o.silent = false
	o.mu.Unlock()
	w.advance(time.Minute)
	w.mx.Reachable(w.jm.node)
	for _, id := range all {
		w.mx.until(id, receipted)
	}
}

// Slices that are lost, doubled and out of order come again, and the file is whole. PROTOCOL 10.11.
func TestDisorderedSlices(t *testing.T) {
	var held []byte
	slicesSeen := 0
	w, _ := byMail(t, nil)
	o := w.mx.Mail.(counter).o
	o.setTreat(func(_ authority.Node, _ int, bulk bool, mail []byte) [][]byte {
		if !bulk {
			return [][]byte{mail}
		}
		slicesSeen++
		switch slicesSeen {
		case 3, 9: // lost
			return nil
		case 5: // late
			held = mail
			return nil
		case 7:
			return [][]byte{mail, held, mail}
		}
		return [][]byte{mail}
	})
	file := make([]byte, 12*message.HashChunk+99)
	_, err := rand.Read(file)
	w.must(err)
	id := w.sent(file)
	got := w.jm.until60(id, func(v exchange.View) bool { return len(v.Attachments) == 1 && v.Attachments[0].Complete })
	r, _, err := w.jm.OpenAttachment(context.Background(), w.jm.actor(), id, got.Attachments[0].Message, 0)
	w.must(err)
	plain, err := io.ReadAll(r)
	w.must(err)
	if !bytes.Equal(plain, file) {
		t.Error("the attachment is not the same at the other end")
	}
	w.mx.until60(id, receipted)
}

// until60 is until for what waits for a pause of the transfer.
func (s *side) until60(id message.ID, wanted func(exchange.View) bool) exchange.View {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if v, err := s.Show(context.Background(), s.actor(), id); err == nil && wanted(v) {
			return v
		}
	}
	return s.until(id, wanted)
}

// What a hub makes up, bends, or gives to others is dropped unstored and unopened. P4, P5, P9; PROTOCOL 10.11.
func TestForgedMail(t *testing.T) {
	w, o := byMail(t, func(authority.Node, int, bool, []byte) [][]byte { return nil })
	id := w.sent()
	w.mx.until(id, func(v exchange.View) bool {
		return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Road == ledger.Mailbox
	})
	mail := o.posted(w.jm.node)[0]
	ctx, mx, jm := context.Background(), w.mx.node.State(), w.jm.node.State()
	refuse := func(what string, s *side, from authority.State, mail []byte) {
		t.Helper()
		if err := s.TakeMail(ctx, from, mail); err == nil || fault.Is(err, fault.Retry) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, at := range []int{10, len(mail) / 4, len(mail) / 2, len(mail) - 1} {
		bent := slices.Clone(mail)
		bent[at] ^= 1
		if err := w.jm.TakeMail(ctx, mx, bent); err == nil {
			t.Errorf("a mail with byte %d bent was taken", at)
		}
	}
	refuse("junk", w.jm, mx, []byte("junk"))
	refuse("nothing", w.jm, mx, nil)
	refuse("the box of another state", w.jm, jm, mail)
	refuse("for another node", w.mx, mx, mail)
	w.advance(message.MaxMailLife + time.Hour)
	refuse("expired", w.jm, mx, mail)
	w.advance(-message.MaxMailLife - time.Hour)
	if _, err := w.jm.Show(ctx, w.jm.actor(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("something was stored: %v", err)
	}
	w.must(w.jm.TakeMail(ctx, mx, mail)) // the real one
	w.jm.until(id, state(message.Delivered))
}

// A receipt counts only from the node that the message went to. P3.
func TestForgedMailReceipt(t *testing.T) {
	w, o := byMail(t, func(authority.Node, int, bool, []byte) [][]byte { return nil })
	id := w.sent()
	v := w.mx.until(id, func(v exchange.View) bool {
		return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Road == ledger.Mailbox
	})
	ctx, jm := context.Background(), w.jm.node.State()
	w.must(w.jm.TakeMail(ctx, w.mx.node.State(), o.posted(w.jm.node)[0]))
	real := o.posted(w.mx.node)[0]
	_, receipt := w.opened(real, w.mx)
	other := w.join("br", "pf") // a member too
	for what, mail := range map[string][]byte{
		"of a third node":   w.mailed(other, w.mx, seal.MailReceipt, receipt),
		"of our own node":   w.mailed(w.mx, w.mx, seal.MailReceipt, receipt),
		"junk":              w.mailed(w.jm, w.mx, seal.MailReceipt, []byte("junk")),
		"a status for none": w.mailed(w.jm, w.mx, seal.MailStatus, seal.SliceStatus{Of: message.AttachmentRef{Message: message.Key{Sender: w.mx.name, ID: v.Steps[0].Message}}, Complete: true}.Marshal()),
		"a slice for none":  w.mailed(w.jm, w.mx, seal.MailSlice, seal.Slice{Of: message.AttachmentRef{Message: message.Key{Sender: w.jm.name, ID: v.Steps[0].Message}}}.Marshal()),
	} {
		from := jm
		if what == "of a third node" {
			from = other.node.State()
		}
		if what == "of our own node" {
			from = w.mx.node.State()
		}
		_ = w.mx.TakeMail(ctx, from, mail)
		if now := w.mx.until(id, func(exchange.View) bool { return true }); now.State != message.Queued || len(now.Steps[0].Receipts) > 0 {
			t.Errorf("%s: the request is %s", what, now.State)
		}
	}
	w.must(w.mx.TakeMail(ctx, jm, real))
	w.mx.until(id, receipted)
}

// mailed makes a mail as a node would, with any body.
func (w *world) mailed(from, to *side, kind seal.ControlKind, body []byte) []byte {
	w.t.Helper()
	key, ok := w.current.Load().At(w.now()).Newest(directory.OfNode(to.node), directory.PurposeSeal)
	sign, found := w.current.Load().At(w.now()).Newest(directory.OfNode(from.node), directory.PurposeSign)
	if !ok || !found {
		w.t.Fatal("no keys")
	}
	id, err := message.NewID(w.now(), rand.Reader)
	w.must(err)
	c, err := seal.NewMail(context.Background(), seal.ControlDraft{
		Network: w.current.Load().NetworkID(), ID: id, From: from.node, To: to.node, Incarnation: message.Incarnation{Counter: 1, Random: [8]byte{1}},
		Kind: kind, Created: w.now(), Expires: w.now().Add(time.Hour), Key: key.Public, NodeKey: sign.Fingerprint, Body: body,
	}, from.ring, nil)
	w.must(err)
	return c.Bytes
}

// One that was signed after the message had expired does not: the message is undeliverable, and stays so.
func TestTooLateReceiptByMail(t *testing.T) {
	w, o := byMail(t, func(authority.Node, int, bool, []byte) [][]byte { return nil })
	id := w.sent()
	w.mx.until(id, func(v exchange.View) bool {
		return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Road == ledger.Mailbox
	})
	_, envelope := w.opened(o.posted(w.jm.node)[0], w.jm)
	w.advance(message.Routine.ExpiresWithin() + message.UndeliverableAfter + time.Minute)
	w.mx.Reachable(w.jm.node)
	w.mx.until(id, state(message.Undeliverable))
	ctx := context.Background()
	w.must(w.jm.TakeMail(ctx, w.mx.node.State(), w.mailed(w.mx, w.jm, seal.MailEnvelope, envelope)))
	if err := w.mx.TakeMail(ctx, w.jm.node.State(), o.posted(w.mx.node)[0]); fault.CodeOf(err) != "too-late" {
		t.Errorf("a receipt from after the expiry: %v", err)
	}
	if v := w.mx.until(id, state(message.Undeliverable)); v.Steps[0].Deliveries[0].State != string(ledger.Undeliverable) {
		t.Errorf("the delivery is %+v", v.Steps[0].Deliveries[0])
	}
}

// A receipt that was signed before the message expired ends its being undeliverable, by mail too. DESIGN 7; PROTOCOL 8.2.
func TestLateReceiptByMail(t *testing.T) {
	w, o := byMail(t, func(authority.Node, int, bool, []byte) [][]byte { return nil })
	id := w.sent()
	w.mx.until(id, func(v exchange.View) bool {
		return len(v.Steps) == 1 && v.Steps[0].Deliveries[0].Road == ledger.Mailbox
	})
	ctx := context.Background()
	w.must(w.jm.TakeMail(ctx, w.mx.node.State(), o.posted(w.jm.node)[0]))
	receipt := o.posted(w.mx.node)[0]
	w.advance(message.Routine.ExpiresWithin() + message.UndeliverableAfter + time.Minute)
	w.mx.Reachable(w.jm.node)
	w.mx.until(id, state(message.Undeliverable))
	_, body := w.opened(receipt, w.mx)
	w.must(w.mx.TakeMail(ctx, w.jm.node.State(), w.mailed(w.jm, w.mx, seal.MailReceipt, body)))
	got := w.mx.until(id, state(message.Delivered))
	if d := got.Steps[0].Deliveries[0]; d.State != string(ledger.Complete) || d.Road != ledger.Mailbox {
		t.Errorf("the delivery is %+v", d)
	}
}
