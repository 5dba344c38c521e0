package exchange_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// build makes a second exchange over a side's ledger and keys, with parts replaced.
func (s *side) build(change func(*exchange.Options)) *exchange.Exchange {
	w := s.w
	w.t.Helper()
	sign, err := s.ring.Public(keyring.NodeSign)
	w.must(err)
	lists, err := message.LoadLists()
	w.must(err)
	o := exchange.Options{
		Node: s.node, NodeKey: sign.Fingerprint, Incarnation: s.ledger.Identity().Incarnation, Ledger: s.ledger, Keys: s.ring,
		Directory: dir{w.current}, Courier: s.courier, Gate: everyone{}, Lists: lists, Spool: s.dir,
		Clock: w.now, Random: rand.Reader, Log: zap.NewNop(),
	}
	change(&o)
	return exchange.New(o)
}

// running runs an exchange until the test ends.
func (w *world) running(x *exchange.Exchange) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = x.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// second declares another authority on the receiving node.
func (w *world) second(slug string) (authority.Name, authority.PublicKey) {
	w.t.Helper()
	name, err := authority.ParseName("jm/" + slug)
	w.must(err)
	w.must(w.jm.ring.GenerateAuthority(name, time.Now()))
	payload, err := w.draft().DeclareAuthority(name, &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: slug}}, Type: "customs",
		Node: w.jm.node.String(), NoteVerbale: "test", Keys: []*formatv1.Key{
			w.jm.declared(directory.PurposeSign, keyring.AuthoritySign(name)), w.jm.declared(directory.PurposeSeal, keyring.AuthoritySeal(name)),
		}})
	w.must(err)
	w.declare(payload, w.jm)
	key, err := w.jm.ring.Public(keyring.AuthoritySeal(name))
	w.must(err)
	return name, key
}

// with replaces the first item of a forged message.
func (w *world) with(kind string, body proto.Message) func(*seal.Content) {
	return func(s *seal.Content) {
		it, err := seal.NewItem(kind, body, rand.Reader)
		w.must(err)
		s.Items[0] = it
	}
}

// TestConversationIsNotReused: a second request under a conversation, to another authority of the node, is refused, and
// the first stays readable.
func TestConversationIsNotReused(t *testing.T) {
	w := newWorld(t)
	other, key := w.second("customs")
	own, err := w.mx.ring.Public(keyring.AuthoritySeal(w.mx.name))
	w.must(err)
	id := w.sent()
	w.jm.until(id, state(message.Delivered))
	env := w.forge(forgery{keys: []authority.PublicKey{key, own}, context: func(c *message.Context) {
		c.Conversation = id
		c.Recipients[0] = message.Recipient{Authority: other, Key: key.Fingerprint(), Stanza: 0}
	}})
	receipt, err := w.receive(w.mx.node, env.Bytes)
	if code := w.rejection(receipt, err, env.Header); code != "conversation-exists" {
		t.Errorf("rejected as %q", code)
	}
	if _, err := w.jm.Show(context.Background(), w.jm.actor(), id); err != nil {
		t.Errorf("the first request cannot be read any more: %v", err)
	}
}

// TestOverlongContentIsRejected: what a peer signed is not thereby fit to be shown.
func TestOverlongContentIsRejected(t *testing.T) {
	w := newWorld(t)
	r := w.composition().Request
	r.Title = strings.Repeat("A", 900<<10)
	env := w.forge(forgery{content: w.with("request", r)})
	receipt, err := w.receive(w.mx.node, env.Bytes)
	if code := w.rejection(receipt, err, env.Header); code != "malformed" {
		t.Errorf("rejected as %q", code)
	}
	w.quiet()
}

// TestForeignReferenceIsDropped: officers name requests by their reference, so nobody may bring another state's.
func TestForeignReferenceIsDropped(t *testing.T) {
	w := newWorld(t)
	r := w.composition().Request
	for _, ref := range []string{"br-pf-jm-2026-000001", "mx-fgr-jm-2026-1; rm", "mx-fgr-jm-2026-000007"} {
		r.Reference = ref
		_, err := w.receive(w.mx.node, w.forge(forgery{content: w.with("request", r)}).Bytes)
		w.must(err)
	}
	all, err := w.jm.List(context.Background(), w.jm.actor(), exchange.Filter{})
	w.must(err)
	var kept []string
	for _, s := range all {
		kept = append(kept, s.Reference)
	}
	if len(kept) != 3 || kept[0] != "mx-fgr-jm-2026-000007" || kept[1] != "" || kept[2] != "" {
		t.Errorf("references kept: %q", kept)
	}
}

// TestOneAcknowledgement: late ones are kept once, not for ever.
func TestOneAcknowledgement(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	c := w.composition()
	c.From, c.To = w.jm.name, w.mx.name
	id, err := w.jm.Create(ctx, w.jm.actor(), c)
	w.must(err)
	_, err = w.jm.Send(ctx, w.jm.actor(), id)
	w.must(err)
	req := w.mx.until(id, state(message.Delivered)).Steps[0].Message
	_, err = w.mx.Answer(ctx, w.mx.actor(), id, []*formatv1.Answer{{Ask: 1, Result: "NOT_FOUND"}, {Ask: 2, Result: "NOT_FOUND"}}, nil)
	w.must(err)
	w.jm.until(id, state(message.Answered))
	late := func() seal.Envelope {
		return w.forge(forgery{context: func(c *message.Context) {
			c.Conversation, c.InReplyTo, c.Kind = id, req, message.KindAcknowledge
		}, content: w.with("acknowledgement", &formatv1.Acknowledgement{LocalReference: "M-1"})})
	}
	_, err = w.receive(w.mx.node, late().Bytes)
	w.must(err)
	second := late()
	receipt, err := w.receive(w.mx.node, second.Bytes)
	if code := w.rejection(receipt, err, second.Header); code != "wrong-state" {
		t.Errorf("second acknowledgement rejected as %q", code)
	}
	if v := w.jm.until(id, state(message.Answered)); len(v.Steps) != 3 {
		t.Errorf("%d steps, want 3", len(v.Steps))
	}
}

// pausing lets a test act between two steps of an operation.
type pausing struct {
	ledger.Ledger
	after func()
}

func (p *pausing) View(ctx context.Context, f func(ledger.Reader) error) error {
	err := p.Ledger.View(ctx, f)
	if then := p.after; then != nil {
		p.after = nil
		then()
	}
	return err
}

// TestReturnedMeanwhileIsNotReleased: approval holds for the state in which the draft was read.
func TestReturnedMeanwhileIsNotReleased(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := &pausing{Ledger: w.mx.ledger}
	x := w.mx.build(func(o *exchange.Options) { o.FourEyes, o.Ledger = true, p })
	id, err := x.Create(ctx, w.mx.actor(), w.composition())
	w.must(err)
	_, err = x.Send(ctx, w.mx.actor(), id)
	w.must(err)
	p.after = func() { w.must(x.Return(ctx, w.mx.actor(), id, "no")) }
	if sent, err := x.Approve(ctx, w.mx.actor(), id, message.Digest{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("approved after it was returned: %+v, %v", sent, err)
	}
}

// TestApprovalCoversFiles: DESIGN 9, any edit voids it; and a release by the author alone is never marked as two persons'.
func TestApprovalCoversFiles(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	x := w.mx.build(func(o *exchange.Options) { o.FourEyes = true })
	author, boss := w.mx.actor(), w.mx.actor()
	author.Account, boss.Account = "author", "boss"
	id, err := x.Create(ctx, author, w.composition())
	w.must(err)
	shown, err := x.Show(ctx, boss, id)
	w.must(err)
	_, err = x.AddAttachment(ctx, author, id, &formatv1.AttachmentNote{Name: "more"}, strings.NewReader("secret"))
	w.must(err)
	_, err = x.Send(ctx, author, id)
	w.must(err)
	if _, err := x.Approve(ctx, boss, id, shown.Digest); fault.CodeOf(err) != "edited" {
		t.Errorf("approved by the digest of what had no file: %v", err)
	}
	_, err = x.Approve(ctx, author, id, message.Digest{})
	w.must(err)
	v, err := x.Show(ctx, author, id)
	w.must(err)
	if v.Steps[0].Approval != message.Single {
		t.Errorf("released by its author and marked %s", v.Steps[0].Approval)
	}
}

// TestDraftWithoutCategory can be checked and shown.
func TestDraftWithoutCategory(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	c := w.composition()
	c.Category = authority.Category{}
	id, err := w.mx.Create(ctx, w.mx.actor(), c)
	w.must(err)
	found, err := w.mx.Check(ctx, w.mx.actor(), id)
	if err != nil || !hasField(found, "category") {
		t.Errorf("check: %v, %v", found, err)
	}
	_, err = w.mx.Show(ctx, w.mx.actor(), id)
	w.must(err)
}

// TestExpiryIsChecked: neither a date that has passed nor one beyond a year is sent.
func TestExpiryIsChecked(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, life := range []time.Duration{-time.Hour, 400 * 24 * time.Hour} {
		c := w.composition()
		c.Expires = w.now().Add(life)
		id, err := w.mx.Create(ctx, w.mx.actor(), c)
		w.must(err)
		if _, err := w.mx.Send(ctx, w.mx.actor(), id); fault.CodeOf(err) != "incomplete" {
			t.Errorf("sent with an expiry in %s: %v", life, err)
		}
	}
}

// scripted is a courier that answers as a test says.
type scripted struct {
	receipts func(n int) []byte
	handed   chan struct{}
	n        int
}

func (s *scripted) Deliver(context.Context, directory.NodeEntry, []byte) ([]byte, error) {
	s.n++
	if s.handed != nil {
		s.handed <- struct{}{}
	}
	if s.receipts == nil {
		return nil, errors.New("cut")
	}
	return s.receipts(s.n), nil
}

func (s *scripted) AttachmentStatus(context.Context, directory.NodeEntry, message.AttachmentRef) (message.Stored, error) {
	return message.Stored{Complete: true, Receipt: s.receipts(s.n + 1)}, nil
}

func (s *scripted) PushAttachment(context.Context, directory.NodeEntry, message.AttachmentRef, uint64, io.Reader) (message.Stored, error) {
	return message.Stored{}, errors.New("cut")
}

// TestNothingIsHandedToASuspendedAuthority: P7 at the moment of delivery, not of sending.
func TestNothingIsHandedToASuspendedAuthority(t *testing.T) {
	w := newWorld(t)
	w.jm.stop()
	w.mx.stopLoop()
	w.sent()
	payload, err := w.draft().Suspend(directory.OfAuthority(w.jm.name), w.now().Add(time.Hour), "compromised")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	c := &scripted{handed: make(chan struct{}, 8)}
	w.running(w.mx.build(func(o *exchange.Options) { o.Courier = c }))
	select {
	case <-c.handed:
		t.Error("a message was handed over to a suspended authority's node")
	case <-time.After(time.Second):
	}
}

// stopLoop ends the courier loop of a side, so that another may take its ledger's outbox over.
func (s *side) stopLoop() {
	s.cancel()
	<-s.done
}

// outgoingOf reads the one message of ours in a conversation.
func (w *world) outgoingOf(id message.ID) seal.Envelope {
	w.t.Helper()
	v, err := w.mx.Show(context.Background(), w.mx.actor(), id)
	w.must(err)
	var env seal.Envelope
	w.must(w.mx.ledger.View(context.Background(), func(r ledger.Reader) error {
		m, err := r.Message(message.Key{Sender: w.mx.name, ID: v.Steps[0].Message})
		if err == nil {
			env, err = seal.Stored(m.Envelope)
		}
		return err
	}))
	return env
}

// TestLyingReceipts: a receipt for the sender's own authority, one from the future, and a rejection after a receipt.
func TestLyingReceipts(t *testing.T) {
	for name, c := range map[string]struct {
		stages []message.StageOf
		ahead  time.Duration
		want   ledger.DeliveryState
	}{
		"own authority":         {[]message.StageOf{{Stage: message.Complete}}, 0, ledger.Queued},
		"future":                {[]message.StageOf{{Stage: message.Complete}}, time.Hour, ledger.Queued},
		"rejected after stored": {[]message.StageOf{{Stage: message.Received}, {Stage: message.Rejected, Code: "expired"}}, 0, ledger.Delivered},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.jm.stop()
			w.mx.stopLoop()
			id := w.sent([]byte("file"))
			env := w.outgoingOf(id)
			liar := &scripted{receipts: func(n int) []byte {
				st := c.stages[min(n, len(c.stages))-1]
				st.Authority = w.jm.name
				if name == "own authority" {
					st.Authority = w.mx.name
				}
				return w.receiptOf(env.Header, st, w.now().Add(c.ahead))
			}}
			w.running(w.mx.build(func(o *exchange.Options) { o.Courier = liar }))
			w.settled(env.Header.Key(), c.want)
		})
	}
}

// receiptOf is a receipt as the receiving node signs it.
func (w *world) receiptOf(h message.Header, st message.StageOf, at time.Time) []byte {
	key, err := w.jm.ring.Public(keyring.NodeSign)
	w.must(err)
	b, err := seal.SignReceipt(context.Background(), w.jm.ring, key.Fingerprint(), message.Receipt{
		Network: h.Network, Node: w.jm.node, Incarnation: message.Incarnation{Counter: 1, Random: [8]byte{1}}, Message: h.Key(),
		Digest: h.Digest, Time: at, Checkpoint: message.Digest{1}, Stages: []message.StageOf{st},
	})
	w.must(err)
	return b
}

// settled waits until an attempt has been made and checks what it left.
func (w *world) settled(key message.Key, want ledger.DeliveryState) {
	w.t.Helper()
	var d ledger.Delivery
	for range 300 {
		w.must(w.mx.ledger.View(context.Background(), func(r ledger.Reader) error {
			var err error
			d, err = r.Delivery(key, w.jm.node)
			return err
		}))
		if d.Attempts > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if d.State != want || d.Attempts == 0 || d.LastError == "" {
		w.t.Errorf("delivery is %s after %d attempts (%s), want %s and an error", d.State, d.Attempts, d.LastError, want)
	}
}

// TestReceiptedIsNeverUndeliverable: attachments may take longer than the message lives. DESIGN 7.
func TestReceiptedIsNeverUndeliverable(t *testing.T) {
	w := newWorld(t)
	w.jm.stop()
	w.mx.stopLoop()
	id := w.sent([]byte("file"))
	env := w.outgoingOf(id)
	received := message.StageOf{Authority: w.jm.name, Stage: message.Received}
	slow := &scripted{receipts: func(int) []byte { return w.receiptOf(env.Header, received, w.now()) }}
	ctx, cancel := context.WithCancel(context.Background())
	first := w.mx.build(func(o *exchange.Options) { o.Courier = slow })
	done := make(chan struct{})
	go func() { defer close(done); _ = first.Run(ctx) }()
	w.mx.until(id, state(message.Delivered))
	cancel()
	<-done
	w.advance(40 * 24 * time.Hour)
	w.running(w.mx.build(func(o *exchange.Options) { o.Courier = slow }))
	time.Sleep(500 * time.Millisecond)
	w.must(w.mx.ledger.View(context.Background(), func(r ledger.Reader) error {
		d, err := r.Delivery(env.Header.Key(), w.jm.node)
		if d.State != ledger.Delivered {
			t.Errorf("a receipted message became %s", d.State)
		}
		return err
	}))
}

// TestSuspendedAddresseeIsRetryLater: a suspension passes, a signed rejection would not.
func TestSuspendedAddresseeIsRetryLater(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{})
	payload, err := w.draft().Suspend(directory.OfAuthority(w.jm.name), w.now().Add(time.Hour), "for a while")
	w.must(err)
	w.apply(payload, w.by(directory.RoleSteward, w.stewards...)...)
	if _, err := w.receive(w.mx.node, env.Bytes); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "suspended" {
		t.Errorf("message for a suspended authority: %v", err)
	}
	w.advance(2 * time.Hour)
	late := w.forge(forgery{})
	_, err = w.receive(w.mx.node, late.Bytes)
	w.must(err)
}

// TestOneProofOfAConflict: two signed headers prove it; fifty only fill the disk.
func TestOneProofOfAConflict(t *testing.T) {
	w := newWorld(t)
	first := w.forge(forgery{})
	_, err := w.receive(w.mx.node, first.Bytes)
	w.must(err)
	for range 3 {
		e := w.forge(forgery{context: func(c *message.Context) { c.ID = first.Header.ID }})
		if _, err := w.receive(w.mx.node, e.Bytes); fault.CodeOf(err) != "same-id" {
			t.Fatalf("conflict: %v", err)
		}
	}
	if all, err := w.jm.conflicts(first.Header.Key()); err != nil || len(all) != 1 {
		t.Errorf("%d proofs kept, %v", len(all), err)
	}
}

// TestCompleteAttachmentIsNeverWritten: a stream that looked before another finished must not cut the whole file. P3.
func TestCompleteAttachmentIsNeverWritten(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := &pausing{Ledger: w.jm.ledger}
	x := w.jm.build(func(o *exchange.Options) { o.Ledger = p })
	var sealed bytes.Buffer
	key, line, err := seal.SealAttachment(&sealed, bytes.NewReader(make([]byte, 600<<10)), rand.Reader)
	w.must(err)
	env := w.forge(forgery{context: func(c *message.Context) { c.Attachments = []message.Attachment{line} },
		content: func(s *seal.Content) { s.Attachments = []seal.AttachmentKey{key} }})
	_, err = x.Receive(ctx, w.mx.node, env.Bytes)
	w.must(err)
	ref := message.AttachmentRef{Message: env.Header.Key()}
	p.after = func() {
		// Between look and write of the late stream, the whole file arrives by another.
		if st, err := x.ReceiveAttachment(ctx, w.mx.node, ref, 0, bytes.NewReader(sealed.Bytes())); err == nil && !st.Complete {
			t.Errorf("whole file: %+v", st)
		}
	}
	_, _ = x.ReceiveAttachment(ctx, w.mx.node, ref, 0, strings.NewReader("x"))
	st, err := x.AttachmentStatus(ctx, w.mx.node, ref)
	w.must(err)
	if !st.Complete {
		return // the other stream was told to come later; nothing was promised
	}
	r, _, err := x.OpenAttachment(ctx, w.jm.actor(), env.Header.Conversation, env.Header.ID, 0)
	w.must(err)
	defer r.Close()
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("a complete attachment cannot be read: %v", err)
	}
}

// TestMovedAuthorityIsFollowed: a message queued for one node goes to the node that serves the authority now.
func TestMovedAuthorityIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.jm.stop()
	w.mx.stopLoop()
	id := w.sent()
	env := w.outgoingOf(id)
	other, err := authority.ParseNode("jm/node/second")
	w.must(err)
	fresh := w.ring("jm2", func(r *keyring.Ring) error { return r.GenerateNode(time.Now()) }, "jm")
	keys := []*formatv1.Key{}
	for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{directory.PurposeSign: keyring.NodeSign, directory.PurposeSeal: keyring.NodeSeal} {
		k, err := fresh.Public(slot)
		w.must(err)
		keys = append(keys, directory.DeclareKey(purpose, k, time.Time{}))
	}
	payload, err := w.draft().DeclareNode(other, &formatv1.DeclareNode{Endpoints: []string{"127.0.0.1:1"}, Versions: []uint32{1}, NoteVerbale: "test", Keys: keys})
	w.must(err)
	w.declare(payload, w.jm)
	entry, _ := w.current.Load().At(w.now()).Authority(w.jm.name)
	amended := entry.Restate()
	amended.Node = other.String()
	payload, err = w.draft().DeclareAuthority(w.jm.name, amended)
	w.must(err)
	w.declare(payload, w.jm)
	c := &scripted{handed: make(chan struct{}, 8)}
	w.running(w.mx.build(func(o *exchange.Options) { o.Courier = c }))
	select {
	case <-c.handed:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was handed over")
	}
	w.must(w.mx.ledger.View(context.Background(), func(r ledger.Reader) error {
		rows, err := r.DeliveriesOf(env.Header.Key())
		if len(rows) != 2 || rows[0].Node != w.jm.node || rows[0].State != ledger.Undeliverable || rows[1].Node != other || rows[1].State != ledger.Queued {
			t.Errorf("deliveries: %+v", rows)
		}
		return err
	}))
}

// TestPeerQuota: one state cannot announce more than its quota; what has come whole makes room. P12.
func TestPeerQuota(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	var sealed bytes.Buffer
	key, line, err := seal.SealAttachment(&sealed, strings.NewReader("file"), rand.Reader)
	w.must(err)
	x := w.jm.build(func(o *exchange.Options) { o.PeerQuota = line.SealedSize })
	announce := func() seal.Envelope {
		return w.forge(forgery{context: func(c *message.Context) { c.Attachments = []message.Attachment{line} },
			content: func(s *seal.Content) { s.Attachments = []seal.AttachmentKey{key} }})
	}
	first, second := announce(), announce()
	_, err = x.Receive(ctx, w.mx.node, first.Bytes)
	w.must(err)
	if _, err := x.Receive(ctx, w.mx.node, second.Bytes); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "quota" {
		t.Fatalf("beyond the quota: %v", err)
	}
	_, err = x.ReceiveAttachment(ctx, w.mx.node, message.AttachmentRef{Message: first.Header.Key()}, 0, bytes.NewReader(sealed.Bytes()))
	w.must(err)
	_, err = x.Receive(ctx, w.mx.node, second.Bytes)
	w.must(err)
}

// standing is a courier under which one node takes calls and never answers.
type standing struct {
	scripted
	stuck authority.Node
	other chan struct{}
}

func (s *standing) Deliver(ctx context.Context, to directory.NodeEntry, _ []byte) ([]byte, error) {
	if to.Node == s.stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case s.other <- struct{}{}:
	default:
	}
	return nil, errors.New("cut")
}

// TestStuckNodeHidesNobody: more messages wait for a node that stands still than one scan reads, and the message to
// another node, which is the youngest, is tried all the same. DESIGN 8.
func TestStuckNodeHidesNobody(t *testing.T) {
	w := newWorld(t)
	br := w.join("br", "pf")
	w.jm.stop()
	w.mx.stopLoop()
	for range 520 {
		w.sent()
	}
	c := w.composition()
	c.To = br.name
	id, err := w.mx.Create(context.Background(), w.mx.actor(), c)
	w.must(err)
	_, err = w.mx.Send(context.Background(), w.mx.actor(), id)
	w.must(err)
	s := &standing{stuck: w.jm.node, other: make(chan struct{}, 1)}
	w.advance(time.Hour) // all of it is due
	w.running(w.mx.build(func(o *exchange.Options) { o.Courier = s }))
	select {
	case <-s.other:
	case <-time.After(20 * time.Second):
		t.Error("the other node's message was not tried")
	}
}

// TestAlertsWithoutADesk: a node whose assembly knows no alerts refuses their directed messages for good. PROTOCOL 5.3, 8.4.
func TestAlertsWithoutADesk(t *testing.T) {
	w := newWorld(t)
	env := w.forge(forgery{context: func(c *message.Context) { c.Kind = message.KindAlert }})
	receipt, err := w.receive(w.mx.node, env.Bytes)
	if code := w.rejection(receipt, err, env.Header); code != "unknown-kind" {
		t.Errorf("rejected as %q, want unknown-kind", code)
	}
	w.quiet()
}
