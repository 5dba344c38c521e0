package exchange_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// commitPoint is a place where somebody is told of a fact, which must be on stable storage by then. P1.
type commitPoint struct {
	name string
	at   *side
	// act returns when the caller has their answer.
	act func() error
	// parts are what the fact consists of in the ledger: all there, or none.
	parts func(ledger.Reader) []bool
}

// TestAnswersWaitForSync goes through the life of a request with an attachment. At each commit point the sync is held
// back: no answer may come, no reader may see the fact, and what a power cut would leave then has nothing of it. After
// the sync it has all of it. P1, P2, P3.
func TestAnswersWaitForSync(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.jm.stop()
	w.mx.stop()
	w.jm.use()
	w.mx.use()
	w.mx.restart()
	file := make([]byte, 2*message.HashChunk+5)
	var id message.ID
	var err error
	w.durable(commitPoint{"create", w.mx, func() error { id, err = w.mx.Create(ctx, w.mx.actor(), w.composition()); return err },
		func(r ledger.Reader) []bool { return []bool{w.cases(r, "") == 1, w.events(r, "drafted") == 1} }})
	w.durable(commitPoint{"attach", w.mx, func() error {
		_, err := w.mx.AddAttachment(ctx, w.mx.actor(), id, &formatv1.AttachmentNote{Name: "file"}, bytes.NewReader(file))
		return err
	}, func(r ledger.Reader) []bool { return []bool{w.attachments(r, id) == 1, w.events(r, "attached") == 1} }})
	w.durable(commitPoint{"send", w.mx, func() error { _, err := w.mx.Send(ctx, w.mx.actor(), id); return err },
		func(r ledger.Reader) []bool {
			return []bool{w.cases(r, message.Queued) == 1, w.waiting(r) == 1, w.events(r, "submitted") == 1}
		}})
	env, ref, sealed := w.sealed(id)
	w.mx.stop() // so that its courier does not do what the test does

	w.jm.restart()
	var receipt []byte
	w.durable(commitPoint{"receive", w.jm, func() error { receipt, err = w.receive(w.mx.node, env); return err },
		func(r ledger.Reader) []bool {
			_, missing := r.ReceiptFor(ref.Message)
			return []bool{w.cases(r, message.Delivered) == 1, missing == nil, w.events(r, "received") == 1}
		}})
	var done message.Stored
	w.durable(commitPoint{"complete", w.jm, func() error {
		done, err = w.jm.ReceiveAttachment(ctx, w.mx.node, ref, 0, bytes.NewReader(sealed))
		return err
	}, func(r ledger.Reader) []bool {
		rec, _ := r.ReceiptFor(ref.Message)
		a, _ := r.Attachment(ledger.OwnedBy(ref.Message), 0)
		return []bool{a.State == ledger.AttachmentComplete, len(rec.Complete) > 0, w.events(r, "complete") == 1}
	}})
	if !done.Complete || len(done.Receipt) == 0 || bytes.Equal(done.Receipt, receipt) {
		t.Error("the attachment was not answered by a COMPLETE receipt of its own")
	}
	again, err := w.receive(w.mx.node, env)
	w.must(err)
	if !bytes.Equal(again, done.Receipt) {
		t.Error("a repeat is not answered by the same receipt bytes")
	}
	w.durable(commitPoint{"acknowledge", w.jm, func() error {
		_, err := w.jm.Acknowledge(ctx, w.jm.actor(), id, &formatv1.Acknowledgement{ExpectedAt: w.now().UnixMilli()})
		return err
	}, func(r ledger.Reader) []bool {
		return []bool{w.cases(r, message.Acknowledged) == 1, w.waiting(r) == 1, w.events(r, "submitted") == 1}
	}})
}

// TestReceiptWaitsForSync is the commit point that nobody waits for: the sender's, of the receipt. Until it is synced
// the request is shown as queued; a power cut leaves it queued, to be sent again.
func TestReceiptWaitsForSync(t *testing.T) {
	w := newWorld(t)
	w.mx.stop()
	w.mx.use()
	w.mx.restart()
	w.jm.stop()
	w.jm.use()
	w.jm.restart()
	// The receiver's commit is held first: when it is let go, the sender's next is that of the receipt.
	received, deliver := w.jm.disk.hold()
	defer deliver()
	id := w.sent()
	w.reached(received, nil)
	w.durable(commitPoint{"receipt", w.mx, func() error { deliver(); w.mx.until(id, state(message.Delivered)); return nil },
		func(r ledger.Reader) []bool {
			return []bool{w.cases(r, message.Delivered) == 1, w.waiting(r) == 0, w.events(r, "receipted") == 1}
		}})
}

// durable runs one commit point.
func (w *world) durable(p commitPoint) {
	w.t.Helper()
	w.has(p, p.at.ledger, false, "before")
	entered, release := p.at.disk.hold()
	defer release()
	answered := make(chan error, 1)
	go func() { answered <- p.act() }()
	w.reached(entered, answered)
	select {
	case err := <-answered:
		w.t.Fatalf("%s was answered (%v) before the sync had returned", p.name, err)
	case <-time.After(100 * time.Millisecond):
	}
	w.has(p, p.at.ledger, false, "to a reader during the sync")
	w.afterPowerCut(p, false, "during the sync")
	release()
	w.must(<-answered)
	w.has(p, p.at.ledger, true, "after the sync")
	w.afterPowerCut(p, true, "after the sync")
}

// reached waits until a sync is held.
func (w *world) reached(entered <-chan struct{}, answered <-chan error) {
	w.t.Helper()
	select {
	case <-entered:
	case err := <-answered:
		w.t.Fatalf("answered (%v) without a sync", err)
	case <-time.After(20 * time.Second):
		w.t.Fatal("no sync was asked for")
	}
}

// afterPowerCut opens what only syncs have covered.
func (w *world) afterPowerCut(p commitPoint, want bool, when string) {
	w.t.Helper()
	cfg := p.at.config(p.at.survivors())
	cfg.VFS = nil
	l, err := sqlite.Open(context.Background(), cfg)
	w.must(err)
	defer l.Close()
	_, err = l.VerifyEvidence(context.Background())
	w.must(err)
	w.has(p, l, want, "on the disk of a power cut "+when)
}

// has checks that a ledger has all of a fact or nothing.
func (w *world) has(p commitPoint, l *sqlite.Ledger, want bool, when string) {
	w.t.Helper()
	w.must(l.View(context.Background(), func(r ledger.Reader) error {
		for i, got := range p.parts(r) {
			if got != want {
				w.t.Errorf("%s %s: part %d of the fact is there: %t, want %t", p.name, when, i, got, want)
			}
		}
		return nil
	}))
}

// cases counts those of a state; empty = all.
func (w *world) cases(r ledger.Reader, state message.State) int {
	all, err := r.Cases(ledger.CaseFilter{State: state})
	if err != nil {
		w.t.Error(err)
	}
	return len(all)
}

// waiting counts deliveries.
func (w *world) waiting(r ledger.Reader) int {
	all, err := r.Due(w.now().Add(24*time.Hour), 0)
	if err != nil {
		w.t.Error(err)
	}
	return len(all)
}

func (w *world) attachments(r ledger.Reader, id message.ID) int {
	all, err := r.AttachmentsIn(id)
	if err != nil {
		w.t.Error(err)
	}
	return len(all)
}

// events counts those of a kind.
func (w *world) events(r ledger.Reader, kind string) int {
	all, err := r.Events(0, 0)
	if err != nil {
		w.t.Error(err)
	}
	n := 0
	for _, e := range all {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// sealed is the envelope of a request of mx that waits, and its one sealed file.
func (w *world) sealed(id message.ID) (envelope []byte, ref message.AttachmentRef, file []byte) {
	w.t.Helper()
	w.must(w.mx.ledger.View(context.Background(), func(r ledger.Reader) error {
		all, err := r.AttachmentsIn(id)
		if err != nil {
			return err
		}
		m, err := r.Message(all[0].Owner.Message)
		if err != nil {
			return err
		}
		envelope, ref = m.Envelope, message.AttachmentRef{Message: m.Key, Index: all[0].Index}
		file, err = os.ReadFile(filepath.Join(w.mx.spool, all[0].File))
		return err
	}))
	return envelope, ref, file
}
