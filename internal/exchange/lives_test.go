package exchange_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	peerv1 "github.com/enlace-network/enlace/internal/pb/enlace/peer/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// life is a hello of mx in an incarnation; the first is the one that it began with, and may have greeted in.
func (w *world) life(counter uint32, random byte, state string) []byte {
	return w.hello(func(m *formatv1.Hello) {
		if counter > 1 {
			m.Incarnation = &formatv1.Incarnation{Counter: counter, Random: bytes.Repeat([]byte{random}, 8)}
		}
		m.State = state
	}, w.mx.ring, authority.ForHello)
}

// TestIncarnationsOfOthers: a lower counter is refused, a second random part under one counter stops both, a higher counter
// ends that; what was known is known after a restart. PROTOCOL 9.7.
func TestIncarnationsOfOthers(t *testing.T) {
	w := newWorld(t)
	w.mx.stop() // the test speaks for it
	ctx := context.Background()
	first, third := w.life(1, 1, "NORMAL"), w.life(3, 3, "NORMAL")
	for _, c := range []struct {
		name  string
		hello []byte
		code  string
		newer []byte
	}{
		{"the first", first, "", nil},
		{"the first again", first, "", nil},
		{"a higher one", third, "", nil},
		{"an old one", first, "old-incarnation", third},
		{"another old one", w.life(2, 9, "NORMAL"), "old-incarnation", third},
		{"one that recovers under a number that is taken", w.life(3, 4, "RECOVERING"), "old-incarnation", third},
		{"the one that holds it", third, "", nil},
		{"a second one", w.life(3, 5, "NORMAL"), "two-incarnations", third},
		{"the first of the two", third, "two-incarnations", nil},
		{"one above both", w.life(4, 6, "NORMAL"), "", nil},
		{"the second of the two", w.life(3, 5, "NORMAL"), "old-incarnation", nil},
	} {
		_, err := w.jm.Greet(ctx, w.mx.node, c.hello)
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
		if err != nil && len(w.jm.Newer(ctx, w.mx.node, c.hello)) == 0 {
			t.Errorf("%s: nothing shows why", c.name)
		}
		if c.newer != nil && !bytes.Equal(w.jm.Newer(ctx, w.mx.node, c.hello), c.newer) {
			t.Errorf("%s: another hello than the first of that incarnation is shown", c.name)
		}
	}
	w.must(w.jm.ledger.View(ctx, func(r ledger.Reader) error {
		proofs, err := r.Proofs(10)
		if len(proofs) != 1 || proofs[0].Kind != "two-incarnations" || !bytes.Equal(proofs[0].First, third) {
			t.Errorf("proofs kept: %v", proofs)
		}
		return err
	}))
	w.jm.restart()
	if _, err := w.jm.Greet(ctx, w.mx.node, third); fault.CodeOf(err) != "old-incarnation" {
		t.Errorf("after a restart: %v", err)
	}
}

// TestOwnIncarnationOver: a node believes only its own key that it has another life; then it sends and answers nothing, also
// after a restart. PROTOCOL 9.7.
func TestOwnIncarnationOver(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	forged := w.hello(func(m *formatv1.Hello) { m.Incarnation.Counter = 2 }, w.jm.ring, authority.ForHello)
	receipt := w.hello(func(m *formatv1.Hello) { m.Incarnation.Counter = 2 }, w.mx.ring, authority.ForReceipt)
	for name, hello := range map[string][]byte{"forged": forged, "under another label": receipt, "nonsense": []byte("x")} {
		if err := w.mx.Shown(ctx, w.jm.node, hello); err == nil || w.mx.Ready() != nil {
			t.Errorf("%s: it was believed: %v, %v", name, err, w.mx.Ready())
		}
	}
	w.must(w.mx.Shown(ctx, w.jm.node, w.hello(func(m *formatv1.Hello) {
		m.Incarnation.Random = bytes.Clone(w.mx.Incarnation.Random[:])
	}, w.mx.ring, authority.ForHello)))
	if err := w.mx.Shown(ctx, w.jm.node, w.life(2, 7, "NORMAL")); fault.CodeOf(err) != "replaced" {
		t.Fatalf("shown another life: %v", err)
	}
	select {
	case <-w.mx.Over():
	default:
		t.Error("the exchange goes on")
	}
	env := w.forge(forgery{})
	if _, err := w.mx.Receive(ctx, w.jm.node, env.Bytes); fault.CodeOf(err) != "replaced" {
		t.Errorf("it still receives: %v", err)
	}
	if _, err := w.mx.Hello(ctx, w.jm.node); fault.CodeOf(err) != "replaced" {
		t.Errorf("it still greets: %v", err)
	}
	id, err := w.mx.Create(ctx, w.mx.actor(), w.composition())
	w.must(err)
	if _, err := w.mx.Send(ctx, w.mx.actor(), id); fault.CodeOf(err) != "replaced" {
		t.Errorf("it still sends: %v", err)
	}
	if err := w.mx.build(func(*exchange.Options) {}).Settle(ctx); fault.CodeOf(err) != "replaced" {
		t.Errorf("after a restart: %v", err)
	}
}

// TestGreetFirst: who has not greeted since the node started is asked to, and the courier does so by itself. PROTOCOL 9.7.
func TestGreetFirst(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	client := w.dial()
	w.mx.stop()
	w.jm.restart() // it may have been greeted before
	ask := func() error {
		_, err := client.Deliver(context.Background(), &peerv1.DeliverRequest{Envelope: env.Bytes})
		return wire.FromStatus(err)
	}
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ask(); fault.CodeOf(err) == "not-greeted" {
			break
		}
	}
	if fault.CodeOf(err) != "not-greeted" {
		t.Fatalf("a stranger delivers: %v", err)
	}
	_, err = client.Handshake(context.Background(), &peerv1.HandshakeRequest{Hello: w.hello(func(*formatv1.Hello) {}, w.mx.ring, authority.ForHello)})
	w.must(err)
	w.must(ask())
}

// restored puts the side's ledger back to a copy, and its files away, and starts it in a new incarnation.
func (s *side) restored(copied string, taken time.Time) {
	w := s.w
	w.t.Helper()
	s.stop()
	s.dir = filepath.Join(w.t.TempDir(), "restored")
	s.spool = filepath.Join(w.t.TempDir(), "spool")
	w.must(os.MkdirAll(filepath.Join(s.dir, "ledger"), 0o700))
	w.must(os.MkdirAll(s.spool, 0o700))
	w.must(os.Rename(copied, filepath.Join(s.dir, "ledger", "ledger.db")))
	s.begin = &ledger.Begin{Random: [8]byte{42}, Taken: taken}
	s.restart()
}

// meddling comes between a node and its peers: it breaks the first stream off after two items, and gives before each item
// the same one with changed receipts.
type meddling struct {
	exchange.Peers
	afters *[]uint64
	hold   chan struct{}
}

func (m meddling) GiveBack(ctx context.Context, from directory.NodeEntry, since time.Time, after uint64) iter.Seq2[message.Returned, error] {
	return func(yield func(message.Returned, error) bool) {
		<-m.hold
		*m.afters = append(*m.afters, after)
		given := 0
		for item, err := range m.Peers.GiveBack(ctx, from, since, after) {
			if err == nil && len(item.Envelope) > 0 {
				bad := item
				bad.Receipt = bytes.Clone(item.Receipt)
				bad.Receipt[len(bad.Receipt)-1] ^= 1
				bad.Cursor = item.Cursor - 1 // so that the right one is after it
				if !yield(bad, nil) {
					return
				}
				given++
			}
			if !yield(item, err) {
				return
			}
			if given == 2 && len(*m.afters) == 1 {
				yield(message.Returned{}, fault.New(fault.Retry, "cut", "test", "the line is cut"))
				return
			}
		}
	}
}

// TestGivenBack restores a ledger from before most of what was exchanged and has it given back, through a stream that is cut
// and tampered with: conversations, receipts byte for byte, attachments, a draft that was sent meanwhile. Until then nothing
// is sent or taken. P1, P2; PROTOCOL 9.7, 10.12.
func TestGivenBack(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	mx, jm := w.mx, w.jm
	early := w.sent()
	jm.until(early, state(message.Delivered))
	mx.until(early, state(message.Delivered))
	draft, err := mx.Create(ctx, mx.actor(), w.composition())
	w.must(err)
	taken := w.now()
	copied := filepath.Join(t.TempDir(), "ledger.db")
	w.must(mx.ledger.Snapshot(ctx, copied))

	_, err = mx.Send(ctx, mx.actor(), draft)
	w.must(err)
	late := w.sent(bytes.Repeat([]byte("file"), 100_000))
	for _, id := range []message.ID{early, draft, late} {
		jm.until(id, state(message.Delivered))
		_, err := jm.Acknowledge(ctx, jm.actor(), id, &formatv1.Acknowledgement{ExpectedAt: w.now().Add(24 * time.Hour).UnixMilli(), LocalReference: "L-" + id.String()[:4]})
		w.must(err)
		mx.until(id, func(v exchange.View) bool { return v.State != message.Delivered })
	}
	comp := w.composition()
	comp.From, comp.To = jm.name, mx.name
	theirs, err := jm.Create(ctx, jm.actor(), comp)
	w.must(err)
	file := bytes.Repeat([]byte("a face"), 100_000)
	_, err = jm.AddAttachment(ctx, jm.actor(), theirs, &formatv1.AttachmentNote{Name: "photo"}, bytes.NewReader(file))
	w.must(err)
	_, err = jm.Send(ctx, jm.actor(), theirs)
	w.must(err)
	mx.until(theirs, func(v exchange.View) bool { return len(v.Attachments) == 1 && v.Attachments[0].Complete })
	jm.until(theirs, state(message.Delivered))
	_, err = mx.Acknowledge(ctx, mx.actor(), theirs, &formatv1.Acknowledgement{ExpectedAt: w.now().Add(24 * time.Hour).UnixMilli()})
	w.must(err)
	w.advance(20 * time.Minute) // the copy is older than the margin for clocks
	was := map[message.ID]exchange.View{}
	for _, id := range []message.ID{early, draft, late, theirs} {
		was[id] = mx.until(id, receiptedWhole)
		jm.until(id, receiptedWhole)
	}
	before := receiptsIn(w, mx)

	var afters []uint64
	hold := make(chan struct{})
	mx.meddle = func(p exchange.Peers) exchange.Peers { return meddling{p, &afters, hold} }
	mx.restored(copied, taken)
	if err := mx.Ready(); fault.CodeOf(err) != "recovering" {
		t.Errorf("restored, it is %v", err)
	}
	other, err := mx.Create(ctx, mx.actor(), w.composition())
	w.must(err)
	if _, err := mx.Send(ctx, mx.actor(), other); fault.CodeOf(err) != "recovering" {
		t.Errorf("it sends while it recovers: %v", err)
	}
	if _, err := mx.Receive(ctx, jm.node, w.forge(forgery{}).Bytes); fault.CodeOf(err) != "recovering" {
		t.Errorf("it takes while it recovers: %v", err)
	}
	close(hold)
	mx.ready()
	if len(afters) < 2 || afters[0] != 0 || afters[1] == 0 {
		t.Errorf("asked after %v: a cut stream does not go on where it was", afters)
	}
	for id, want := range was {
		got := mx.until(id, func(exchange.View) bool { return true })
		if got.State != want.State || got.Reference != want.Reference || got.Local != want.Local || len(got.Steps) != len(want.Steps) || len(got.Attachments) != len(want.Attachments) {
			t.Errorf("%s came back as %+v with %d steps, was %+v with %d", id, got.Summary, len(got.Steps), want.Summary, len(want.Steps))
		}
	}
	v := mx.until(theirs, func(v exchange.View) bool { return v.Attachments[0].Complete })
	plain, _, err := mx.OpenAttachment(ctx, mx.actor(), theirs, v.Attachments[0].Message, 0)
	w.must(err)
	if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, file) {
		t.Errorf("the file came back as %d bytes, %v", len(got), err)
	}
	w.must(plain.Close())
	after := receiptsIn(w, mx)
	for key, r := range before {
		if !bytes.Equal(after[key], r) {
			t.Errorf("message %s has another receipt than it was given", key.ID)
		}
	}
	rec, err := mx.Recovery(ctx)
	if w.must(err); len(rec.Missing) != 0 || rec.State != ledger.Recovered || rec.Files == 0 {
		t.Errorf("the recovery ends as %+v", rec) // the file that mx sent is at jm alone
	}
	w.must(mx.ledger.View(ctx, func(r ledger.Reader) error {
		rows, err := r.Returns()
		if len(rows) != 1 || rows[0].Refused == 0 || rows[0].Sent == 0 || rows[0].Received == 0 {
			t.Errorf("returned: %+v", rows)
		}
		return err
	}))
	if _, err := mx.Send(ctx, mx.actor(), draft); err == nil {
		t.Error("what was sent before can be sent again")
	}
	w.must(mx.ledger.View(ctx, func(r ledger.Reader) error {
		if _, err := r.Draft(draft); !fault.Is(err, fault.NotFound) {
			t.Errorf("the draft of what was sent is still there: %v", err)
		}
		return nil
	}))
	// It is as any other now.
	next := w.sent()
	jm.until(next, state(message.Delivered))
	_, err = jm.Answer(ctx, jm.actor(), late, []*formatv1.Answer{{Ask: 1, Result: "NOT_FOUND"}, {Ask: 2, Result: "NOT_FOUND"}}, nil)
	w.must(err)
	mx.until(late, state(message.Answered))
}

func (s *side) ready() {
	s.w.t.Helper()
	for end := time.Now().Add(60 * time.Second); s.Ready() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.w.t.Fatalf("the recovery does not end: %v", s.Ready())
		}
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		rec, err := s.Recovery(context.Background())
		if s.w.must(err); rec.Files > 0 || time.Now().After(end) {
			return
		}
	}
}

func receiptedWhole(v exchange.View) bool {
	for _, s := range v.Steps {
		if len(s.Receipts) == 0 {
			return false
		}
		for _, r := range s.Receipts {
			if r.Stage != message.Complete {
				return false
			}
		}
	}
	return len(v.Steps) > 1
}

// receiptsIn are the receipts that a side has given, and those it has got, by message.
func receiptsIn(w *world, s *side) map[message.Key][]byte {
	w.t.Helper()
	all := map[message.Key][]byte{}
	w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		messages, err := r.MessagesAfter(0, 1000)
		for _, m := range messages {
			if m.Direction == ledger.In {
				rec, err := r.ReceiptFor(m.Key)
				if err != nil {
					return err
				}
				all[m.Key] = append(rec.Received, rec.Complete...)
				continue
			}
			rows, err := r.DeliveriesOf(m.Key)
			if err != nil {
				return err
			}
			for _, d := range rows {
				all[m.Key] = append(append(all[m.Key], d.Receipt...), d.CompleteReceipt...)
			}
		}
		return err
	}))
	return all
}

// TestReceiptOfOldLife: a receipt that a life gave after it was known to be over proves nothing; one from before is as good as
// ever. PROTOCOL 8.2, 9.7.
func TestReceiptOfOldLife(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		want  ledger.DeliveryState
	}{
		"from before": {0, ledger.Complete},
		"from after":  {2 * message.MaxAhead, ledger.Queued},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ctx := context.Background()
			w.jm.stop()
			w.mx.stopLoop()
			w.must(w.mx.ledger.Update(ctx, func(tx ledger.Tx) error {
				return tx.PutLife(ledger.Life{Node: w.jm.node, Incarnation: message.Incarnation{Counter: 2, Random: [8]byte{2}}, Hello: []byte("x"), Since: w.now()})
			}))
			given := w.now().Add(c.after)
			w.advance(c.after)
			id := w.sent()
			env := w.outgoingOf(id)
			old := &scripted{receipts: func(int) []byte {
				return w.receiptOf(env.Header, message.StageOf{Authority: w.jm.name, Stage: message.Complete}, given)
			}}
			w.running(w.mx.build(func(o *exchange.Options) { o.Courier = old }))
			if c.want == ledger.Complete {
				w.mx.until(id, state(message.Delivered))
				return
			}
			w.settled(env.Header.Key(), c.want)
		})
	}
}
