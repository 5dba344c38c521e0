package exchange

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	// returnPatience is how long a node may be silent before it is no longer waited for. PROTOCOL 9.7.
	returnPatience = 10 * time.Minute
	// directoryWait is how long the directory is given to be brought up to date, where it is not fresh: it may name nodes that
	// joined after the backup.
	directoryWait = time.Minute
	// returnMargin is how long before the backup peers are asked from: clocks may differ by 5 minutes.
	returnMargin = 2 * message.MaxAhead
	// returnEvery is the longest rest between two attempts at one node.
	returnEvery = 15 * time.Second
	// lateEvery is the rest where the node is no longer waited for.
	lateEvery = 5 * time.Minute

	opRecover = "recover"
)

// recovery is a recovery under way: one goroutine for each node that is asked.
type recovery struct {
	e     *Exchange
	since time.Time
	wait  sync.WaitGroup

	mu     sync.Mutex
	asked  map[authority.Node]bool      // guarded by mu; a goroutine runs, or ran
	states map[authority.Node]returning // guarded by mu
}

// returning is how one node stands.
type returning struct {
	since time.Time // when it was asked first, or gave something last
	row   ledger.Return
}

// recover asks every other node for what was exchanged with it, until all have given it back or are no longer waited for;
// then this node is as any other. What was stored stays: a stop in between goes on where it was. It does nothing where the
// node does not recover. PROTOCOL 9.7, 10.12.
func (e *Exchange) recover(ctx context.Context) {
	if fault.CodeOf(e.Ready()) != codeRecovering || e.Peers == nil {
		return
	}
	r := &recovery{e: e, asked: map[authority.Node]bool{}, states: map[authority.Node]returning{}}
	if err := r.load(ctx); err != nil {
		e.Log.Error("the recovery cannot be read", zap.Error(err))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer r.wait.Wait()
	defer cancel()
	began := e.Clock()
	for tick := time.NewTicker(time.Second); ; {
		r.ask(ctx)
		if r.done(began) {
			tick.Stop()
			r.finish(ctx)
			break
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-e.over:
			tick.Stop()
			return
		case <-tick.C:
		}
	}
	e.refetch(ctx)
	// Those that were silent are asked on: what they have is welcome whenever it comes.
	select {
	case <-ctx.Done():
	case <-e.over:
	}
}

func (r *recovery) load(ctx context.Context) error {
	return r.e.Ledger.View(ctx, func(rd ledger.Reader) error {
		rec, err := rd.Recovery()
		if err != nil {
			return err
		}
		if !rec.Taken.IsZero() {
			r.since = rec.Taken.Add(-returnMargin)
		}
		rows, err := rd.Returns()
		for _, row := range rows {
			r.states[row.Node] = returning{since: r.e.Clock(), row: row}
		}
		return err
	})
}

// ask begins with every node that was not asked yet: the directory may bring more of them meanwhile.
func (r *recovery) ask(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.e.others() {
		if r.asked[n.Node] {
			continue
		}
		r.asked[n.Node] = true
		st, ok := r.states[n.Node]
		if !ok {
			st.row = ledger.Return{Node: n.Node, State: ledger.ReturnAsked}
		}
		if st.row.State == ledger.ReturnDone {
			continue
		}
		st.since = r.e.Clock()
		r.states[n.Node] = st
		r.wait.Go(func() { r.one(ctx, n.Node) })
	}
}

// done reports whether nobody is waited for. Nodes that joined after the backup are in no directory before that was brought
// up to date.
func (r *recovery) done(began time.Time) bool {
	now := r.e.Clock()
	if f, _ := r.e.Directory.Freshness(now); f != "fresh" && now.Sub(began) < directoryWait {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.e.others() {
		st, ok := r.states[n.Node]
		if !ok || st.row.State == ledger.ReturnAsked {
			return false
		}
	}
	return true
}

// one asks one node until it has given everything back.
func (r *recovery) one(ctx context.Context, node authority.Node) {
	for rest := time.Second; ctx.Err() == nil && !r.e.ended(); rest = min(2*rest, returnEvery) {
		err := r.from(ctx, node)
		st := r.state(node)
		switch {
		case err == nil:
			st.row.State, st.row.LastError = ledger.ReturnDone, ""
		case ctx.Err() != nil || r.e.ended():
			return
		default:
			st.row.LastError = fault.As(err).Say
			r.e.Log.Info("a node has not given everything back yet", zap.Stringer("peer", node), zap.String("code", fault.CodeOf(err)), zap.Error(err))
			if st.row.State == ledger.ReturnAsked && r.e.Clock().Sub(st.since) >= returnPatience {
				st.row.State = ledger.ReturnNot
			}
		}
		if err := r.put(ctx, st); err != nil && ctx.Err() == nil {
			r.e.Log.Error("a return cannot be recorded", zap.Error(err))
		}
		if st.row.State == ledger.ReturnDone {
			return
		}
		if st.row.State == ledger.ReturnNot {
			rest = lateEvery
		}
		select {
		case <-ctx.Done():
		case <-r.e.over:
		case <-time.After(rest):
		}
	}
}

func (r *recovery) state(node authority.Node) returning {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[node]
}

// put records how a node stands, with an event where it is no longer asked.
func (r *recovery) put(ctx context.Context, st returning) error {
	err := r.e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if err := tx.PutReturn(st.row); err != nil {
			return err
		}
		if st.row.State == ledger.ReturnAsked {
			return nil
		}
		return second(tx.Append(r.e.event("given-back", nodeActor, message.Key{}, message.Digest{}, fmt.Sprintf("%s %s: %d received, %d sent, %d refused",
			st.row.Node, st.row.State, st.row.Received, st.row.Sent, st.row.Refused))))
	})
	if err == nil {
		r.mu.Lock()
		r.states[st.row.Node] = st
		r.mu.Unlock()
	}
	return err
}

// from greets a node and stores what it gives back, item by item: each with the cursor behind it, in one transaction.
func (r *recovery) from(ctx context.Context, node authority.Node) error {
	to, ok := r.e.Directory.Load().At(r.e.Clock()).Node(node)
	if !ok || to.Status != directory.Active {
		return fault.New(fault.Denied, "unknown-node", opRecover, "the node is not in good standing now")
	}
	if err := r.e.Peers.Meet(ctx, to); err != nil {
		return err
	}
	st := r.state(node)
	if random, err := r.e.randomOf(ctx, node); err != nil {
		return err
	} else if random != st.row.Random {
		st.row.Random, st.row.Cursor = random, 0 // the cursor was another life's
	}
	for item, err := range r.e.Peers.GiveBack(ctx, to, r.since, st.row.Cursor) {
		if err != nil {
			return err
		}
		if item.Cursor < st.row.Cursor {
			return fault.New(fault.Invalid, "malformed", opRecover, "the node gives its messages back in no order")
		}
		if st.row, err = r.e.takeBack(ctx, to, item, st.row); err != nil {
			return err
		}
		// If the machine stops here the item is stored with the cursor behind it.
		st.since = r.e.Clock()
		r.mu.Lock()
		r.states[node] = st
		r.mu.Unlock()
	}
	return nil
}

// randomOf is the random part of the incarnation in which a node has just greeted.
func (e *Exchange) randomOf(ctx context.Context, node authority.Node) ([8]byte, error) {
	var random [8]byte
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		l, err := r.Life(node)
		random = l.Incarnation.Random
		return err
	})
	return random, err
}

// finish makes this node one like any other, and tells those that have answered.
func (r *recovery) finish(ctx context.Context) {
	e := r.e
	err := e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		rec, err := tx.Recovery()
		if err != nil {
			return err
		}
		rec.State, rec.Ended = ledger.Recovered, e.Clock()
		if err := tx.PutRecovery(rec); err != nil {
			return err
		}
		rows, err := tx.Returns()
		if err != nil {
			return err
		}
		return second(tx.Append(e.event("recovered", nodeActor, message.Key{}, message.Digest{}, reportOf(rows))))
	})
	if err != nil {
		e.Log.Error("the end of the recovery cannot be recorded", zap.Error(err))
		return
	}
	// If the machine stops here the next start is as any other.
	e.setStanding(standing{})
	close(e.recovered)
	e.tell()
	e.Log.Info("recovered")
	for node, st := range r.all() {
		if to, ok := e.Directory.Load().At(e.Clock()).Node(node); ok && st.row.State == ledger.ReturnDone {
			r.wait.Go(func() { _ = e.Peers.Meet(ctx, to) }) // who is not told now hears it at the next greeting
		}
	}
}

func (r *recovery) all() map[authority.Node]returning {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[authority.Node]returning{}
	for n, st := range r.states {
		out[n] = st
	}
	return out
}

// reportOf says in words what came back and who did not answer.
func reportOf(rows []ledger.Return) string {
	var received, sent, refused int
	var not []string
	for _, row := range rows {
		received, sent, refused = received+row.Received, sent+row.Sent, refused+row.Refused
		if row.State != ledger.ReturnDone {
			not = append(not, row.Node.String())
		}
	}
	text := fmt.Sprintf("%d received and %d sent messages came back from %d nodes", received, sent, len(rows)-len(not))
	if refused > 0 {
		text += fmt.Sprintf("; %d did not hold and were left", refused)
	}
	if len(not) > 0 {
		text += "; not returned: " + strings.Join(not, ", ")
	}
	return text
}

// Recovered is what an administrator sees of a recovery.
type Recovered struct {
	ledger.Recovery
	// Report says what came back, in words; empty where nothing was ever restored.
	Report string
	// Waiting are the nodes that are asked still, Missing those that did not answer.
	Waiting, Missing []authority.Node
	// Files counts attachments that were here and are not.
	Files int
}

// Recovery reads how this node's incarnation began.
func (e *Exchange) Recovery(ctx context.Context) (Recovered, error) {
	var out Recovered
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if out.Recovery, err = r.Recovery(); err != nil || out.State == "" {
			return err
		}
		rows, err := r.Returns()
		if err != nil {
			return err
		}
		known := map[authority.Node]bool{}
		for _, row := range rows {
			known[row.Node] = row.State != ledger.ReturnAsked
			if row.State == ledger.ReturnNot {
				out.Missing = append(out.Missing, row.Node)
			}
		}
		for _, n := range e.others() {
			if out.State == ledger.Recovering && !known[n.Node] {
				out.Waiting = append(out.Waiting, n.Node)
			}
		}
		out.Report = reportOf(rows)
		return nil
	})
	e.mu.Lock()
	out.Files = e.lostFiles
	e.mu.Unlock()
	return out, err
}

// refetch takes back attachments that were receipted here and whose bytes are not: each from who sent it. What cannot be got
// is counted. PROTOCOL 10.12.
func (e *Exchange) refetch(ctx context.Context) {
	lost := 0
	for after := ""; ctx.Err() == nil; {
		var page []ledger.Attachment
		err := e.Ledger.View(ctx, func(r ledger.Reader) error {
			var err error
			page, err = r.AttachmentFiles(after, ledger.MaxPage)
			return err
		})
		if err != nil || len(page) == 0 {
			break
		}
		for _, row := range page {
			if err := e.refetchOne(ctx, row); err != nil {
				lost++
				e.Log.Warn("an attachment is not here any more", zap.Stringer("message", row.Owner.Message.ID), zap.String("code", fault.CodeOf(err)), zap.Error(err))
			}
		}
		after = page[len(page)-1].File
	}
	e.mu.Lock()
	e.lostFiles = lost
	e.mu.Unlock()
}

func (e *Exchange) refetchOne(ctx context.Context, row ledger.Attachment) error {
	if row.State == ledger.AttachmentReceiving {
		if whole, err := e.receiptedWhole(ctx, row.Owner.Message); err != nil || !whole {
			return err // its sender pushes it
		}
	} else if info, err := os.Stat(filepath.Join(e.Spool, filepath.Base(row.File))); err == nil && uint64(info.Size()) == row.SealedSize {
		return nil
	}
	if row.Direction == ledger.Out {
		return fault.New(fault.NotFound, "unknown-attachment", opRecover, "a file that was sent from here is only at its receivers now")
	}
	return e.pullBack(ctx, row)
}

// receiptedWhole reports whether this node once confirmed all attachments of a message.
func (e *Exchange) receiptedWhole(ctx context.Context, key message.Key) (bool, error) {
	var rec ledger.Receipt
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		rec, err = r.ReceiptFor(key)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return len(rec.Complete) > 0, err
}

// pullBack makes one attachment whole again. Its receipts stay as they were.
func (e *Exchange) pullBack(ctx context.Context, row ledger.Attachment) error {
	maker, ok := e.Directory.Load().At(e.Clock()).NodeOf(row.Owner.Message.Sender)
	if !ok {
		return fault.New(fault.NotFound, "no-node", opRecover, "the directory names no node for the sender")
	}
	name := fmt.Sprint(row.Owner.Message.Sender, row.Owner.Message.ID, row.Index)
	if !e.uploads.take(name) {
		return fault.New(fault.Retry, "busy", opRecover, "the file is on its way")
	}
	defer e.uploads.release(name)
	offset := e.spooled(row)
	src, err := e.Peers.PullAttachment(ctx, maker, message.AttachmentRef{Message: row.Owner.Message, Index: row.Index}, offset)
	if err != nil {
		return err
	}
	defer src.Close()
	whole, err := e.write(row, offset, src)
	if err != nil {
		return err
	}
	if !whole {
		return fault.New(fault.Retry, "cut", opRecover, "the file ended before it was whole")
	}
	row.State, row.Stored = ledger.AttachmentComplete, row.SealedSize
	return e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if err := tx.PutAttachment(row); err != nil {
			return err
		}
		return second(tx.Append(e.event("attachment-returned", nodeActor, row.Owner.Message, row.Root, "")))
	})
}
