package exchange_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// inside keeps what a courier carries, as it is inside the encryption of the connection.
type inside struct {
	exchange.Courier
	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
}

func (i *inside) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.seen.Write(p)
}

// Deliver implements [exchange.Courier].
func (i *inside) Deliver(ctx context.Context, to directory.NodeEntry, envelope []byte) ([]byte, error) {
	_, _ = i.Write(envelope)
	receipt, err := i.Courier.Deliver(ctx, to, envelope)
	_, _ = i.Write(receipt)
	return receipt, err
}

// PushAttachment implements [exchange.Courier].
func (i *inside) PushAttachment(ctx context.Context, to directory.NodeEntry, a message.AttachmentRef, offset uint64, src io.Reader) (message.Stored, error) {
	return i.Courier.PushAttachment(ctx, to, a, offset, io.TeeReader(src, i))
}

// TestContentIsSealedInsideTheConnection: whoever sees what a connection carries, such as a relay of later days, can
// read who writes to whom and nothing of the content. P4.
func TestContentIsSealedInsideTheConnection(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	seen := &inside{Courier: w.mx.courier}
	w.mx.Courier = seen
	back := &inside{Courier: w.jm.courier}
	w.jm.Courier = back
	c := w.composition()
	id, err := w.mx.Create(ctx, w.mx.actor(), c)
	w.must(err)
	contents := strings.Repeat("a page with zopilote-contents in it\n", 20<<10)
	_, err = w.mx.AddAttachment(ctx, w.mx.actor(), id, &formatv1.AttachmentNote{Name: "zopilote-name"}, strings.NewReader(contents))
	w.must(err)
	_, err = w.mx.Send(ctx, w.mx.actor(), id)
	w.must(err)
	w.jm.until(id, func(v exchange.View) bool { return len(v.Attachments) == 1 && v.Attachments[0].Complete })
	_, err = w.jm.Answer(ctx, w.jm.actor(), id, []*formatv1.Answer{
		{Ask: 1, Result: "FOUND", Text: "zopilote-answer", Evaluation: "eu4x4:A1", Limits: limits()}, {Ask: 2, Result: "NOT_FOUND"}}, nil)
	w.must(err)
	w.mx.until(id, state(message.Answered))
	w.mx.until(id, receipted)
	w.jm.until(id, receipted)
	all := append(seen.seen.Bytes(), back.seen.Bytes()...)
	for _, secret := range []string{"zopilote", c.Request.Title, c.Request.Facts, c.Asks[0].Question, c.Subjects[0].Attributes[0].Value} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("%q can be read inside the connection", secret)
		}
	}
	if len(all) < len(contents) || !bytes.Contains(all, []byte("mx/fgr")) || !bytes.Contains(all, []byte("jm/jcf")) {
		t.Errorf("%d bytes were seen, without what is open in them", len(all))
	}
}
