package alert_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"sync"
	"testing"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// cutting breaks a pull after some bytes and remembers where pulls began.
type cutting struct {
	alert.Puller
	mu    sync.Mutex
	after int64    // guarded by mu; 0 = whole
	from  []uint64 // guarded by mu
}

func (c *cutting) PullAttachment(ctx context.Context, from directory.NodeEntry, a message.AttachmentRef, offset uint64) (io.ReadCloser, error) {
	src, err := c.Puller.PullAttachment(ctx, from, a, offset)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from = append(c.from, offset)
	if c.after == 0 {
		return src, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(src, c.after), src}, nil
}

func (c *cutting) set(after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = after
}

// TestFiles: small ones come with the alert; a larger one is pulled from the issuer when somebody opens it, goes on where
// it stopped, over a restart too, and is given to members alone, while the alert is in force. PROTOCOL 6.3.
func TestFiles(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm, bb := w.join("mx", police()), w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}}),
		w.join("bb", office{slug: "police", in: []string{"firearms"}})
	cut := &cutting{}
	jm.puller = func(p alert.Puller) alert.Puller { cut.Puller = p; return cut }
	for _, s := range []*side{mx, jm, bb} {
		s.start()
	}
	jm.subscribe("drugs.>")
	photo, film := make([]byte, 4000), make([]byte, 5*message.HashChunk+77)
	_, _ = rand.Read(photo)
	_, _ = rand.Read(film)
	c := w.composition("With files")
	c.Files = []*formatv1.File{{Name: "photo.jpg", MediaType: "image/jpeg", Data: photo}}
	id, err := mx.Create(ctx, mx.actor(), c)
	w.must(err)
	added, err := mx.AddFile(ctx, mx.actor(), id, &formatv1.AttachmentNote{Name: "film.mp4"}, bytes.NewReader(film))
	w.must(err)
	if added.Size != uint64(len(film)) || added.Digest != sha256.Sum256(film) {
		t.Errorf("added: %+v", added)
	}
	r, _, err := mx.OpenFile(ctx, mx.actor(), id, 0)
	if got := w.read(r, err); !bytes.Equal(got, film) {
		t.Error("the draft's file is another")
	}
	mx.restart() // the sweep at the start leaves what the draft names
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	jm.until("issued", id, state(message.AlertIssued))
	v, err := jm.Show(ctx, jm.actor(), id)
	w.must(err)
	if len(v.Files) != 1 || !bytes.Equal(v.Files[0].GetData(), photo) {
		t.Error("the small file did not come with the alert")
	}
	if f := v.Attached; len(f) != 1 || f[0].Complete || f[0].Stored != 0 || f[0].Note.GetName() != "film.mp4" || f[0].Size != uint64(len(film)) {
		t.Errorf("before the pull: %+v", f)
	}

	cut.set(2*message.HashChunk + 100)
	if _, _, err := jm.OpenFile(ctx, jm.actor(), id, 0); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "cut" {
		t.Fatalf("a cut pull: %v", err)
	}
	jm.expects(0)
	jm.restart()
	if v, err := jm.Show(ctx, jm.actor(), id); err != nil || v.Attached[0].Stored != 2*message.HashChunk {
		t.Errorf("after a restart: %+v, %v", v.Attached, err)
	}
	cut.set(0)
	r, f, err := jm.OpenFile(ctx, jm.actor(), id, 0)
	if got := w.read(r, err); !bytes.Equal(got, film) || f.Note.GetName() != "film.mp4" {
		t.Error("the file is another")
	}
	r, _, err = jm.OpenFile(ctx, jm.actor(), id, 0)
	_ = w.read(r, err)
	if len(cut.from) != 2 || cut.from[1] != 2*message.HashChunk {
		t.Errorf("pulled from %v", cut.from)
	}
	if _, _, err := jm.OpenFile(ctx, jm.actor(), id, 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("a file that there is not: %v", err)
	}
	if _, _, err := jm.OpenFile(ctx, jm.of("customs"), id, 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("opened for an authority that has no such alert: %v", err)
	}

	ref := message.AttachmentRef{Message: mx.row(id, mx.name).Latest}
	if _, err := mx.SealedFile(ctx, bb.node, ref, 0); !fault.Is(err, fault.Denied) {
		t.Errorf("pulled by a node outside the audience: %v", err)
	}
	if _, err := mx.SealedFile(ctx, jm.node, ref, 5); fault.CodeOf(err) != "wrong-offset" {
		t.Errorf("pulled from the middle of a chunk: %v", err)
	}
	if _, err := mx.SealedFile(ctx, jm.node, message.AttachmentRef{Message: ref.Message, Index: 1}, 0); fault.CodeOf(err) != "unknown-attachment" {
		t.Errorf("pulled what there is not: %v", err)
	}
	if _, err := jm.exchange.ReceiveAttachment(ctx, mx.node, ref, 0, bytes.NewReader(nil)); err == nil {
		t.Error("a file that was pulled is written again by a push")
	}
	_, err = mx.Cancel(ctx, mx.actor(), id, &formatv1.Cancellation{Reason: "RESOLVED"})
	w.must(err)
	jm.until("cancelled", id, state(message.AlertCancelled))
	if _, _, err := jm.OpenFile(ctx, jm.actor(), id, 0); fault.CodeOf(err) != "wrong-state" {
		t.Errorf("opened after the end: %v", err)
	}
	if _, err := mx.SealedFile(ctx, jm.node, ref, 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("pulled after the end: %v", err)
	}
}

// expects checks how much a side waits for as pushed: what it pulls counts against nobody's quota.
func (s *side) expects(want uint64) {
	s.w.t.Helper()
	s.w.must(s.ledger.View(context.Background(), func(r ledger.Reader) error {
		mx, err := authority.ParseState("mx")
		s.w.must(err)
		got, err := r.ExpectedFrom(mx)
		if got != want {
			s.w.t.Errorf("%d bytes are expected as announced, want %d", got, want)
		}
		return err
	}))
}

// TestDirectedFile: a file of a directed alert is pushed with it to every node, and the receipt is complete when it is
// there whole.
func TestDirectedFile(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm", "bb")
	mx, jm, bb := s[0], s[1], s[2]
	film := make([]byte, 2*message.HashChunk+5)
	_, _ = rand.Read(film)
	c := w.composition("With a file")
	c.Distribution, c.To = message.Directed, []authority.Name{jm.name, bb.name}
	id, err := mx.Create(ctx, mx.actor(), c)
	w.must(err)
	_, err = mx.AddFile(ctx, mx.actor(), id, &formatv1.AttachmentNote{Name: "film.mp4"}, bytes.NewReader(film))
	w.must(err)
	_, err = mx.Publish(ctx, mx.actor(), id)
	w.must(err)
	for _, x := range []*side{jm, bb} {
		var r io.ReadCloser
		w.eventually("the file", func() bool {
			r, _, err = x.OpenFile(ctx, x.actor(), id, 0)
			return err == nil
		})
		if got := w.read(r, err); !bytes.Equal(got, film) {
			t.Errorf("%s has another file", x.node)
		}
	}
	ref := message.AttachmentRef{Message: mx.row(id, mx.name).Latest}
	if _, err := mx.SealedFile(ctx, jm.node, ref, 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("a pushed file is pulled too: %v", err)
	}
	w.eventually("complete everywhere", func() bool {
		var rows []ledger.Delivery
		w.must(mx.ledger.View(ctx, func(r ledger.Reader) error {
			rows, err = r.DeliveriesOf(ref.Message)
			return err
		}))
		return len(rows) == 2 && rows[0].State == ledger.Complete && rows[1].State == ledger.Complete
	})
}

var _ exchange.Alerts = (*alert.Desk)(nil)
