package seal

import (
	"bytes"
	"context"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// The largest envelope that a call carries fits into a mail; mail is not taken where calls are, nor the other way round.
// PROTOCOL 10.11.
func TestMailCarriesTheLargestEnvelope(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	d := controlDraft(t)
	d.Kind, d.Body = MailEnvelope, vectortest.Bytes("mail", message.MaxEnvelope)
	mail, err := NewMail(ctx, d, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(mail.Bytes) > message.MaxMail {
		t.Fatalf("a mail of %d bytes", len(mail.Bytes))
	}
	p, err := ParseMail(mail.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Verify(w.findNode)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := c.Open(ctx, w); err != nil || !bytes.Equal(body, d.Body) {
		t.Errorf("opens as %d bytes, %v", len(body), err)
	}
	if _, err := NewControl(ctx, d, w, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("mail as an envelope of a call: %v", err)
	}
}

func TestMailAndCallsAreKeptApart(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	d := controlDraft(t)
	if _, err := NewMail(ctx, d, w, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("an envelope of a call as mail: %v", err)
	}
	call := w.control(t, d)
	p, err := ParseMail(call.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Verify(w.findNode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(ctx, w); fault.CodeOf(err) != "unknown-kind" {
		t.Errorf("an envelope of a call opens as mail: %v", err)
	}
	d.Kind = MailStatus
	mail, err := NewMail(ctx, d, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.takeControl(mail.Bytes); fault.CodeOf(err) != "unknown-kind" {
		t.Errorf("mail opens as an envelope of a call: %v", err)
	}
}

// What slices and statuses say is read as it was written, within bounds. PROTOCOL 10.11.
func TestSlices(t *testing.T) {
	of := message.AttachmentRef{Message: message.Key{Sender: nameOf(t, "mx/fgr"), ID: idOf(t, "slice")}, Index: 3}
	s, err := ParseSlice(Slice{Of: of, Offset: 512 << 10, Data: vectortest.Bytes("slice", message.HashChunk)}.Marshal())
	if err != nil || s.Of != of || s.Offset != 512<<10 || len(s.Data) != message.HashChunk {
		t.Errorf("a slice reads as %+v, %v", s.Of, err)
	}
	if _, err := ParseSlice(Slice{Of: of, Data: make([]byte, message.HashChunk+1)}.Marshal()); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a slice that is too large: %v", err)
	}
	want := SliceStatus{Of: of, Stored: 7, Complete: true, Again: true}
	if got, err := ParseSliceStatus(want.Marshal()); err != nil || got != want {
		t.Errorf("a status reads as %+v, %v", got, err)
	}
	if _, err := ParseSliceStatus([]byte("nonsense")); err == nil {
		t.Error("nonsense was read as a status")
	}
}
