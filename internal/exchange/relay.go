package exchange

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	// relayWindow is how far a sender goes beyond what the receiver has on stable storage. DESIGN 8.
	relayWindow = 64 << 20
	// statusEvery and statusWithin are when the receiver of slices says how much it has: what comes first.
	statusEvery  = 4 << 20
	statusWithin = 20 * time.Second
	// askAfter is when a sender that heard nothing asks; quiet so often, it gives up until the next attempt.
	askAfter  = 30 * time.Second
	mostQuiet = 4
	// feedIdle ends the receiving of slices that stand still.
	feedIdle = 30 * time.Second
	// feedsPerState bounds the transfers that one state may have under way here by the mailbox.
	feedsPerState = 4
	syncLimit     = 30 * time.Second
	// gapEvery is how often a missing slice is told of, mostGaps how many attachments that is noted for.
	gapEvery = 5 * time.Second
	mostGaps = 1024
)

// relay is one attachment that we send by the mailbox.
type relay struct {
	node authority.Node
	// told has the newest status that was not looked at yet.
	told chan seal.SliceStatus
}

// orRelay sends the attachments of a message by the mailbox where no other road is open.
func (d *deliveries) orRelay(ctx context.Context, row ledger.Delivery, node directory.NodeEntry, env seal.Envelope, cause error) error {
	if !unreachable(cause) || !mailTurn(row, cause) || !d.e.mailroom.open() {
		return cause
	}
	files, err := d.e.attachmentsOf(ctx, ledger.OwnedBy(env.Header.Key()))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := d.e.mailroom.send(ctx, node.Node, f); err != nil {
			return err
		}
	}
	// The receipt comes by mail of its own, and ends the delivery.
	return fault.New(fault.Retry, codeInMailbox, "send attachment", "the peer has all attachments; its receipt is on its way")
}

// transfer is one attachment under way to a node.
type transfer struct {
	m    *mailroom
	node authority.Node
	ref  message.AttachmentRef
	file io.ReaderAt
	size uint64
	// at is what was posted, confirmed what the peer has.
	at, confirmed uint64
	// begun: the peer has said where to begin.
	begun bool
	// back is when and to where it last went back: what was posted before is still on its way.
	back   time.Time
	backTo uint64
}

// send posts an attachment in slices, and returns when the peer has it whole. Retry where the peer does not answer, or
// another road is open.
func (m *mailroom) send(ctx context.Context, node authority.Node, row ledger.Attachment) error {
	ref := message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}
	f, err := m.e.openSpool(row.File, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	r := &relay{node, make(chan seal.SliceStatus, 1)}
	if !m.join(ref, r) {
		return fault.New(fault.Retry, "busy", "send attachment", "this attachment is already being sent")
	}
	defer m.leave(ref)
	t := &transfer{m: m, node: node, ref: ref, file: f, size: row.SealedSize}
	if err := t.ask(ctx); err != nil {
		return err
	}
	for quiet := 0; quiet < mostQuiet; {
		s, ok := r.next(ctx)
		if ctx.Err() != nil {
			return fault.Wrap(ctx.Err(), fault.Retry, "", "send attachment", "the transfer was given up")
		}
		if ok {
			quiet = 0
		} else {
			quiet++
		}
		if done, err := t.step(ctx, s, ok); done || err != nil {
			return err
		}
	}
	return fault.New(fault.Retry, codeInMailbox, "send attachment", "the attachment waits in the mailbox at the hub; the peer has not taken it yet")
}

// next waits for a status.
func (r *relay) next(ctx context.Context) (seal.SliceStatus, bool) {
	t := time.NewTimer(askAfter)
	defer t.Stop()
	select {
	case s := <-r.told:
		return s, true
	case <-t.C:
	case <-ctx.Done():
	}
	return seal.SliceStatus{}, false
}

// step does what follows on a status, or on none, and reports whether the peer has all.
func (t *transfer) step(ctx context.Context, s seal.SliceStatus, told bool) (bool, error) {
	if told {
		if s.Complete {
			return true, nil
		}
		if s.Stored > t.size {
			return false, fault.New(fault.Invalid, "wrong-offset", "send attachment", "the peer claims more bytes than there are")
		}
		t.note(s)
	}
	if t.m.e.roadTo(t.node) != "" {
		return false, fault.New(fault.Retry, "reachable", "send attachment", "the node can be reached again: the rest goes straight to it")
	}
	if err := t.fill(ctx); err != nil {
		return false, err
	}
	if !told {
		return false, t.ask(ctx)
	}
	return false, nil
}

func (t *transfer) note(s seal.SliceStatus) {
	now := t.m.e.Clock()
	lost := s.Again && (s.Stored != t.backTo || now.Sub(t.back) > askAfter)
	if !t.begun || lost {
		t.at, t.begun, t.back, t.backTo = s.Stored, true, now, s.Stored
	}
	t.confirmed = max(t.confirmed, s.Stored)
	if s.Again {
		t.confirmed = s.Stored // after a power cut it may have less than it said
	}
	t.at = max(t.at, t.confirmed)
}

// fill posts slices as far as window and box allow. A box without room is tried again after the next status.
func (t *transfer) fill(ctx context.Context) error {
	buf := make([]byte, t.m.e.sliceSize())
	for t.begun && t.at < t.size && t.at < t.confirmed+relayWindow {
		n := min(uint64(len(buf)), t.size-t.at)
		if _, err := t.file.ReadAt(buf[:n], int64(t.at)); err != nil {
			return spoolFault(err)
		}
		err := t.m.post(ctx, t.node, seal.MailSlice, seal.Slice{Of: t.ref, Offset: t.at, Data: buf[:n]}.Marshal())
		if fault.CodeOf(err) == "mailbox-full" {
			return nil
		}
		if err != nil {
			return err
		}
		t.at += n
	}
	return nil
}

// ask asks for a status. It goes the way of the slices, so that what was posted before should have come before it.
func (t *transfer) ask(ctx context.Context) error {
	err := t.m.post(ctx, t.node, seal.MailSlice, seal.Slice{Of: t.ref, Offset: t.at}.Marshal())
	if fault.CodeOf(err) == "mailbox-full" && t.begun {
		return nil
	}
	return err
}

// sliceSize is how much of an attachment one mail carries.
func (e *Exchange) sliceSize() int {
	if e.MailSlice > 0 && e.MailSlice < message.HashChunk {
		return e.MailSlice
	}
	return message.HashChunk
}

func (m *mailroom) join(ref message.AttachmentRef, r *relay) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.relays[ref] != nil {
		return false
	}
	m.relays[ref] = r
	return true
}

func (m *mailroom) leave(ref message.AttachmentRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.relays, ref)
}

// heard hands a status to the transfer that it is about; one that nobody waits for says nothing.
func (m *mailroom) heard(from authority.Node, s seal.SliceStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.relays[s.Of]
	if r == nil || r.node != from {
		return
	}
	select {
	case old := <-r.told:
		s.Again = s.Again || (old.Again && old.Stored >= s.Stored)
	default:
	}
	r.told <- s
}

// feed is one attachment that comes in slices: a pipe into the same path that a call's stream takes.
type feed struct {
	from  authority.State
	pipe  *io.PipeWriter
	idle  *time.Timer
	done  chan struct{} // closed when the receiving has ended, however
	mu    sync.Mutex
	next  uint64 // guarded by mu; the offset of the slice that follows
	told  uint64 // guarded by mu; what the last status said
	spoke time.Time
}

// takeSlice stores a slice that follows on what is there. One that came before is passed over; where one is missing, the
// sender hears from where to begin again. PROTOCOL 10.11.
func (m *mailroom) takeSlice(ctx context.Context, from authority.Node, s seal.Slice) error {
	row, err := m.e.attachment(ctx, from, s.Of)
	if err != nil {
		return err
	}
	if row.State == ledger.AttachmentComplete {
		return m.whole(ctx, from, row)
	}
	f := m.feed(s.Of)
	at := m.e.spooled(row)
	if f != nil {
		f.mu.Lock()
		at = f.next
		f.mu.Unlock()
	}
	switch {
	case len(s.Data) == 0:
		return m.tell(ctx, from, row, f, s.Offset > at)
	case s.Offset < at, s.Offset > at && !m.gap(s.Of):
		return nil
	case s.Offset > at:
		return m.tell(ctx, from, row, f, true)
	}
	if f == nil {
		if f, err = m.begin(ctx, from, row, at); err != nil {
			return err
		}
	}
	return m.feedOn(ctx, from, row, f, s.Data)
}

// gap reports whether it is time to say that a slice is missing: those behind it are still on their way, one by one.
func (m *mailroom) gap(ref message.AttachmentRef) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.e.Clock()
	if now.Sub(m.gaps[ref]) < gapEvery {
		return false
	}
	if len(m.gaps) >= mostGaps {
		clear(m.gaps)
	}
	m.gaps[ref] = now
	return true
}

func (m *mailroom) feed(ref message.AttachmentRef) *feed {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.feeds[ref]
}

// begin opens the pipe. Its end, however it comes, is synced by ReceiveAttachment.
func (m *mailroom) begin(ctx context.Context, from authority.Node, row ledger.Attachment, at uint64) (*feed, error) {
	ref := message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}
	m.mu.Lock()
	defer m.mu.Unlock()
	mine := 0
	for _, f := range m.feeds {
		if f.from == from.State() {
			mine++
		}
	}
	if m.shut || mine >= feedsPerState {
		return nil, fault.New(fault.Retry, "busy", "receive attachment", "too many attachments of that state come by mail at once")
	}
	src, pipe := io.Pipe()
	f := &feed{from: from.State(), pipe: pipe, done: make(chan struct{}), next: at, told: at, spoke: m.e.Clock()}
	f.idle = time.AfterFunc(feedIdle, func() { _ = pipe.Close() })
	m.feeds[ref] = f
	m.wg.Go(func() { m.drain(ctx, from, ref, at, src, f) })
	return f, nil
}

// drain runs until the pipe ends. What is not whole then is told to the sender, so that it goes on from there.
func (m *mailroom) drain(ctx context.Context, from authority.Node, ref message.AttachmentRef, at uint64, src *io.PipeReader, f *feed) {
	stop := context.AfterFunc(ctx, func() { _ = src.Close() })
	defer stop()
	_, err := m.e.ReceiveAttachment(ctx, from, ref, at, src)
	_ = src.CloseWithError(io.ErrClosedPipe)
	f.idle.Stop()
	m.mu.Lock()
	delete(m.feeds, ref)
	m.mu.Unlock()
	close(f.done)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.e.Log.Info("an attachment that comes by mail was cut", zap.Stringer("from", from), zap.String("code", fault.CodeOf(err)), zap.Error(err))
	}
	// Who is told nothing, because the disk is full or the road is shut, asks after a while.
	if row, e := m.e.attachment(ctx, from, ref); e == nil && row.State != ledger.AttachmentComplete && (err == nil || fault.CodeOf(err) == "wrong-chunks") {
		_ = m.tell(ctx, from, row, nil, true)
	}
}

// feedOn writes a slice into the pipe, and says how far it is when that is due.
func (m *mailroom) feedOn(ctx context.Context, from authority.Node, row ledger.Attachment, f *feed, data []byte) error {
	f.idle.Reset(feedIdle)
	if _, err := f.pipe.Write(data); err != nil {
		return nil // it has ended, and its end tells
	}
	f.mu.Lock()
	f.next += uint64(len(data))
	next := f.next
	due := f.next-f.told >= statusEvery || m.e.Clock().Sub(f.spoke) >= statusWithin
	f.mu.Unlock()
	if next < row.SealedSize {
		if due {
			return m.tell(ctx, from, row, f, false)
		}
		return nil
	}
	_ = f.pipe.Close()
	<-f.done
	row, err := m.e.attachment(ctx, from, message.AttachmentRef{Message: row.Owner.Message, Index: row.Index})
	if err != nil || row.State != ledger.AttachmentComplete {
		return err
	}
	// It is on stable storage. If the machine stops here, the sender asks.
	return m.whole(ctx, from, row)
}

// tell posts how much is on stable storage. A status that is lost is asked for again, so a failure is none.
func (m *mailroom) tell(ctx context.Context, from authority.Node, row ledger.Attachment, f *feed, again bool) error {
	stored := m.e.spooled(row)
	if stored > 0 {
		file, err := m.e.openSpool(row.File, os.O_RDWR)
		if err != nil {
			return err
		}
		err = file.Sync()
		_ = file.Close()
		if err != nil {
			return spoolFault(err)
		}
	}
	if f != nil {
		f.mu.Lock()
		f.told, f.spoke = stored, m.e.Clock()
		f.mu.Unlock()
	}
	return m.status(ctx, from, seal.SliceStatus{Of: message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}, Stored: stored, Again: again})
}

// whole tells of an attachment that is complete, and gives the receipt where the message is.
func (m *mailroom) whole(ctx context.Context, from authority.Node, row ledger.Attachment) error {
	st, err := m.e.completed(ctx, row)
	if err != nil {
		return err
	}
	if len(st.Receipt) > 0 {
		if err := m.post(ctx, from, seal.MailReceipt, st.Receipt); err != nil {
			return err
		}
	}
	return m.status(ctx, from, seal.SliceStatus{Of: message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}, Stored: st.Bytes, Complete: true})
}

func (m *mailroom) status(ctx context.Context, to authority.Node, s seal.SliceStatus) error {
	ctx, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	if err := m.post(ctx, to, seal.MailStatus, s.Marshal()); err != nil {
		m.e.Log.Info("a status of an attachment was not posted", zap.Stringer("node", to), zap.String("code", fault.CodeOf(err)), zap.Error(err))
	}
	return nil
}

// stop ends what comes in slices, synced as far as it came.
func (m *mailroom) stop() {
	m.mu.Lock()
	m.shut = true
	for _, f := range m.feeds {
		_ = f.pipe.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}
