package exchange_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func limits() *formatv1.Limits {
	return &formatv1.Limits{Handling: []string{"H1", "H2"}, Tlp: "AMBER+STRICT"}
}

func (w *world) composition() exchange.Composition {
	category, err := authority.ParseCategory("drugs.trafficking")
	w.must(err)
	return exchange.Composition{From: w.mx.name, To: w.jm.name, Category: category, Urgency: message.Routine, Status: message.Test,
		Compose: message.Compose{
			Request: &formatv1.Request{Kind: "identify-person", Title: "Título de prueba", Language: "es", Stage: "investigation", LegalBasis: []string{"untoc"},
				Purpose: "test purpose", Necessity: "test necessity", IntendedUse: "operational-lead", Facts: "facts that are long enough to be facts",
				Link: "a link", Limits: limits()},
			Asks: []*formatv1.Ask{{Number: 1, Kind: "identify-person", Question: "¿Quién es José Núñez?"}, {Number: 2, Kind: "known-to-you", Question: "Known?"}},
			Subjects: []*formatv1.Subject{{Type: "person", Role: "suspect", Reason: "named by a witness",
				Attributes: []*formatv1.Attribute{{Name: "name", Value: "NÚÑEZ de la Peña, José María", Kind: "primary"}}}},
		}}
}

// sent drafts and sends a request with files and returns its conversation.
func (w *world) sent(files ...[]byte) message.ID {
	w.t.Helper()
	ctx := context.Background()
	id, err := w.mx.Create(ctx, w.mx.actor(), w.composition())
	w.must(err)
	for _, f := range files {
		_, err := w.mx.AddAttachment(ctx, w.mx.actor(), id, &formatv1.AttachmentNote{Name: "file"}, bytes.NewReader(f))
		w.must(err)
	}
	_, err = w.mx.Send(ctx, w.mx.actor(), id)
	w.must(err)
	return id
}

// until reads a request until it is as wanted.
func (s *side) until(id message.ID, wanted func(exchange.View) bool) exchange.View {
	s.w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		v, err := s.Show(context.Background(), s.actor(), id)
		if err == nil && wanted(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.w.t.Fatalf("%s: request %s did not become as wanted: %+v, %v", s.name, id, v.Summary, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func state(want message.State) func(exchange.View) bool {
	return func(v exchange.View) bool { return v.State == want }
}

func TestRequestAnsweredEndToEnd(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	file := make([]byte, 3*message.HashChunk+17)
	rand.NewChaCha8([32]byte{1}).Read(file)
	id := w.sent(file, nil)
	got := w.jm.until(id, func(v exchange.View) bool {
		return len(v.Attachments) == 2 && v.Attachments[0].Complete && v.Attachments[1].Complete
	})
	if got.Subjects[0].GetAttributes()[0].GetValue() != "NÚÑEZ de la Peña, José María" {
		t.Errorf("subject arrived as %q", got.Subjects[0].GetAttributes()[0].GetValue())
	}
	r, _, err := w.jm.OpenAttachment(ctx, w.jm.actor(), id, got.Attachments[0].Message, 0)
	w.must(err)
	plain, err := io.ReadAll(r)
	w.must(err)
	r.Close()
	if !bytes.Equal(plain, file) {
		t.Error("the attachment is not the same at the other end")
	}
	_, err = w.jm.Acknowledge(ctx, w.jm.actor(), id, &formatv1.Acknowledgement{ExpectedAt: w.now().UnixMilli(), LocalReference: "J-1"})
	w.must(err)
	w.mx.until(id, state(message.Acknowledged))
	_, err = w.jm.Answer(ctx, w.jm.actor(), id, []*formatv1.Answer{
		{Ask: 1, Result: "FOUND", Text: "Es él.", Evaluation: "eu4x4:A1", Limits: limits()}, {Ask: 2, Result: "NOT_FOUND"}}, nil)
	w.must(err)
	back := w.mx.until(id, state(message.Answered))
	if n := len(back.Steps); n != 3 || back.Steps[2].Answers[0].GetText() != "Es él." || back.Local != "J-1" {
		t.Errorf("answer came back as %d steps, local reference %q", n, back.Local)
	}
	_, err = w.mx.Close(ctx, w.mx.actor(), id, &formatv1.Closing{Feedback: "hit"})
	w.must(err)
	w.jm.until(id, state(message.Closed))
	end := w.mx.until(id, receipted)
	for _, s := range end.Steps {
		if len(s.Receipts) != 1 || !s.Receipts[0].Verified || s.Receipts[0].Stage != message.Complete {
			t.Errorf("%s: receipts %+v", s.Kind, s.Receipts)
		}
	}
	for _, s := range []*side{w.mx, w.jm} {
		_, err := s.ledger.VerifyEvidence(ctx)
		w.must(err)
	}
}

func receipted(v exchange.View) bool {
	for _, s := range v.Steps {
		if len(s.Receipts) == 0 || s.Receipts[0].Stage != message.Complete {
			return false
		}
	}
	return true
}

func TestRefusalNeedsAReason(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.sent()
	w.jm.until(id, state(message.Delivered))
	if _, err := w.jm.Refuse(ctx, w.jm.actor(), id, &formatv1.Refusal{Reason: "BECAUSE"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("refusal without a known reason: %v", err)
	}
	_, err := w.jm.Refuse(ctx, w.jm.actor(), id, &formatv1.Refusal{Reason: "DISPROPORTIONATE", Text: "x", Cure: "y"})
	w.must(err)
	v := w.mx.until(id, state(message.Refused))
	if v.Steps[1].Refusal.GetCure() != "y" {
		t.Errorf("refusal arrived as %v", v.Steps[1].Refusal)
	}
	if _, err := w.jm.Answer(ctx, w.jm.actor(), id, []*formatv1.Answer{{Ask: 1, Result: "NOT_FOUND"}, {Ask: 2, Result: "NOT_FOUND"}}, nil); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("answer after refusal: %v", err)
	}
}

func TestIncompleteRequestIsNotSent(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	c := w.composition()
	c.Request.Facts, c.Request.LegalBasis, c.Subjects[0].Reason = "", nil, ""
	id, err := w.mx.Create(ctx, w.mx.actor(), c)
	w.must(err)
	_, err = w.mx.Send(ctx, w.mx.actor(), id)
	if fault.CodeOf(err) != "incomplete" {
		t.Fatalf("send: %v", err)
	}
	found, err := w.mx.Check(ctx, w.mx.actor(), id)
	w.must(err)
	for _, field := range []string{"facts", "legal_basis", "subjects[0]"} {
		if !hasField(found, field) {
			t.Errorf("nothing said about %s in %v", field, found)
		}
	}
}

func hasField(fs []message.Finding, field string) bool {
	for _, f := range fs {
		if f.Field == field && f.Level == message.LevelError {
			return true
		}
	}
	return false
}

// TestDeliversAfterRestartAndOutage: P1 at the sender; the peer is away, the sender restarts, the message arrives once.
func TestDeliversAfterRestartAndOutage(t *testing.T) {
	w := newWorld(t)
	w.jm.stop()
	id := w.sent(make([]byte, 2*message.HashChunk))
	w.mx.restart()
	if v, err := w.mx.Show(context.Background(), w.mx.actor(), id); err != nil || v.State != message.Queued {
		t.Fatalf("while the peer is away: %v, %v", v.State, err)
	}
	w.jm.restart()
	w.mx.until(id, receipted)
	all, err := w.jm.List(context.Background(), w.jm.actor(), exchange.Filter{})
	w.must(err)
	if len(all) != 1 {
		t.Errorf("the receiver has %d requests, want 1", len(all))
	}
}

// TestAnswerNamesSubjects: what an answer found comes back typed, in its own step.
func TestAnswerNamesSubjects(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.sent()
	w.jm.until(id, state(message.Delivered))
	found := []*formatv1.Subject{{Type: "vehicle", Role: "owner", Attributes: []*formatv1.Attribute{{Name: "plate", Value: "JM-1234"}}}}
	_, err := w.jm.Answer(ctx, w.jm.actor(), id, []*formatv1.Answer{{Ask: 1, Result: "NOT_FOUND"}, {Ask: 2, Result: "NOT_FOUND"}}, found)
	w.must(err)
	v := w.mx.until(id, state(message.Answered))
	if len(v.Steps[0].Subjects) != 0 || len(v.Steps[1].Subjects) != 1 || v.Steps[1].Subjects[0].GetAttributes()[0].GetValue() != "JM-1234" {
		t.Errorf("subjects came back as %v and %v", v.Steps[0].Subjects, v.Steps[1].Subjects)
	}
}
