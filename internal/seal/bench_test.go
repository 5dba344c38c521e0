package seal

import (
	"context"
	"crypto/rand"
	"testing"
)

// alertSize is the body that the goal of the wire size is about, alertWire the goal itself, in bytes.
const (
	alertSize = 1000
	alertWire = 2500
)

// An alert of 1 kB is sealed once, whatever its audience, and stays within its goal on the wire. PROTOCOL 7.4.
func TestAlertOnTheWire(t *testing.T) {
	w := newWorld(t)
	content := notice(t, 0)
	content = notice(t, alertSize-len(content.Items[0].Body)-3) // tag and length of the details
	if n := len(content.Items[0].Body); n != alertSize {
		t.Fatalf("the body has %d bytes", n)
	}
	framed := w.frame(t, w.newAlert(t, broadcastContext(t), content), framingOf(t))
	t.Logf("%d bytes on the wire", len(framed.Bytes))
	if len(framed.Bytes) > alertWire {
		t.Errorf("%d bytes on the wire, more than %d", len(framed.Bytes), alertWire)
	}
}

func BenchmarkAlert(b *testing.B) {
	w := newWorld(b)
	ctx, framing, key := context.Background(), framingOf(b), epochKey(b, "epoch key")
	a := w.newAlert(b, broadcastContext(b), notice(b, alertSize))
	framed := w.frame(b, a, framing)
	p, err := ParseFrame(framed.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	f, err := p.Verify(w.findNode)
	if err != nil {
		b.Fatal(err)
	}
	o, err := f.Open(key)
	if err != nil {
		b.Fatal(err)
	}
	for name, step := range map[string]func() error{
		"new": func() error {
			_, err := NewAlert(ctx, AlertDraft{a.Header.Context, notice(b, alertSize)}, w, rand.Reader)
			return err
		},
		"frame":         func() error { _, err := a.Frame(ctx, framing, w, rand.Reader); return err },
		"verify-frame":  func() error { p, _ := ParseFrame(framed.Bytes); _, err := p.Verify(w.findNode); return err },
		"open":          func() error { _, err := f.Open(key); return err },
		"verify-alert":  func() error { _, err := o.Verify(w.find); return err },
		"receive-whole": func() error { _, _, err := w.receive(framed.Bytes, key); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := step(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(framed.Bytes)), "wire-bytes")
		})
	}
}
