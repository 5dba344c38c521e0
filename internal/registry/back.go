package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	opReturn = "return entries"
	// longestReturn is how long one may take: a log of 60 MB at 100 kbit/s.
	longestReturn = 2 * time.Hour
	// maxReturned is the most bytes of entries in one.
	maxReturned = 1 << 30
	spoolFolder = "returned-*"
)

// Return implements enlace.directory.v1: a node gives back what the hub has lost. The entries prove themselves, so it does
// not matter who brings them: they follow on what the hub has, are what a reader would store, and a head that the log key
// signed and the witnesses confirmed covers exactly these. All or nothing; durable on return. Errors: Invalid
// "out-of-order", "not-a-statement", "invalid-entries"; Conflict "not-consistent"; Denied "not-confirmed", "split";
// Retry "busy", "too-slow". PROTOCOL 11.11.
func (s *Service) Return(stream grpc.ClientStreamingServer[directoryv1.ReturnRequest, directoryv1.ReturnResponse]) error {
	by, _ := wire.PeerFrom(stream.Context())
	at := &s.strange
	if by.IsNode() {
		at = &s.returning
	}
	place, ctx, err := at.take(stream.Context(), by)
	if err != nil {
		return err
	}
	defer place.leave()
	r, err := s.spool()
	if err != nil {
		return err
	}
	defer r.close()
	r.bring = place.bring
	ctx, cancel := context.WithTimeoutCause(ctx, longestReturn, fault.New(fault.Retry, "too-slow", opReturn, "the entries take too long to come"))
	defer cancel()
	head, err := r.receive(ctx, stream)
	if err != nil {
		return err
	}
	if err := s.restore(r, head); err != nil {
		return s.fail(err)
	}
	size := s.book.tip().Position()
	s.notes.Info("entries were given back", zap.Uint64("size", size), zap.Stringer("by", by))
	return stream.SendAndClose(&directoryv1.ReturnResponse{Size: size})
}

// returned are entries that come back, on disk in a folder of their own until all are there.
type returned struct {
	folder string
	own    *Log // the hub's
	log    *Log // those beyond it
	fork   *book
	base   *directory.Snapshot // the hub's tip when they began to come
	next   uint64              // position of the next; 0 before the first
	owed   uint64              // invalid entries less the valid ones since; see debt
	bytes  int
	bring  func(bytes int) // told of each entry that the hub lacks and that holds
}

func (s *Service) spool() (*returned, error) {
	folder, err := os.MkdirTemp(s.o.Data, spoolFolder)
	if err != nil {
		return nil, broke(err)
	}
	// What is lost with the machine comes again: nothing of it is synced.
	log, err := OpenLog(filepath.Join(folder, logFile), func(*os.File) error { return nil })
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	fork := s.book.fork()
	return &returned{folder: folder, own: s.log, log: log, fork: fork, base: fork.tip()}, nil
}

func (r *returned) close() {
	_ = r.log.Close()
	_ = os.RemoveAll(r.folder)
}

// sweepSpools removes what a crash left.
func sweepSpools(data string) error {
	left, err := filepath.Glob(filepath.Join(data, spoolFolder))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

// receive takes entries up to the head, which is the last message.
func (r *returned) receive(ctx context.Context, stream grpc.ClientStreamingServer[directoryv1.ReturnRequest, directoryv1.ReturnResponse]) (directory.Head, error) {
	for {
		m, err := receiveIn(ctx, stream)
		switch {
		case errors.Is(err, io.EOF):
			return directory.Head{}, fault.New(fault.Invalid, "malformed", opReturn, "no head came after the entries")
		case err != nil:
			return directory.Head{}, err
		case len(m.GetHead()) == 0:
			err = r.take(m.GetPosition(), m.GetStatement())
		case m.GetPosition() != 0 || len(m.GetStatement()) > 0:
			err = fault.New(fault.Invalid, "malformed", opReturn, "a message has an entry or a head")
		default:
			return lastOf(ctx, stream, m.GetHead())
		}
		if err != nil {
			return directory.Head{}, err
		}
	}
}

// receiveIn is the next message, or why the stream is given up.
func receiveIn(ctx context.Context, stream grpc.ClientStreamingServer[directoryv1.ReturnRequest, directoryv1.ReturnResponse]) (*directoryv1.ReturnRequest, error) {
	type arrived struct {
		m   *directoryv1.ReturnRequest
		err error
	}
	next := make(chan arrived, 1)
	go func() { // the handler's return ends the stream, and with it what waits here
		m, err := stream.Recv()
		next <- arrived{m, err}
	}()
	select {
	case a := <-next:
		return a.m, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// lastOf reads the head and sees that nothing follows.
func lastOf(ctx context.Context, stream grpc.ClientStreamingServer[directoryv1.ReturnRequest, directoryv1.ReturnResponse], note []byte) (directory.Head, error) {
	head, err := directory.ParseHead(note)
	if err != nil {
		return directory.Head{}, err
	}
	if _, err := receiveIn(ctx, stream); !errors.Is(err, io.EOF) {
		return directory.Head{}, fault.New(fault.Invalid, "malformed", opReturn, "something came after the head")
	}
	return head, nil
}

// take looks at the next entry as a reader of the log does (PROTOCOL 4.15) and spools it.
func (r *returned) take(position uint64, entry []byte) error {
	if r.next == 0 && position >= 1 && position <= r.base.Position()+1 {
		r.next = position
	}
	if position != r.next || position == 0 {
		return fault.New(fault.Invalid, "out-of-order", opReturn, "an entry is not the next one of the hub's log")
	}
	r.next++
	if position <= r.base.Position() {
		if own, err := r.own.Read(position); err != nil || !bytes.Equal(own, entry) {
			return notReturned(fmt.Sprintf("entry %d is another one here", position), err)
		}
		return nil
	}
	if r.bytes += len(entry); r.bytes > maxReturned {
		return fault.New(fault.TooLarge, "too-large", opReturn, "more comes than a directory can have")
	}
	counted, err := r.fork.add(entry)
	if !counted {
		return err
	}
	if err != nil {
		if r.owed++; !storable(entry, r.base.NetworkID()) || r.owed > maxDebt {
			return fault.Wrap(err, fault.Invalid, "invalid-entries", opReturn, "entries come that no reader of the log would have stored")
		}
	} else {
		r.owed -= min(r.owed, 1)
		r.bring(len(entry))
	}
	return r.log.Append(entry)
}

// storable reports whether an entry that does not hold may be in a log at all: a statement of this network, or of a
// version of the rules that this program does not know. PROTOCOL 11.4.
func storable(entry []byte, network string) bool {
	st, err := directory.ParseStatement(entry)
	code := fault.CodeOf(err)
	return code == "unknown-kind" || code == "unknown-rules" || (err == nil && st.Network() == network)
}

// confirm holds the head against the entries; what witnesses stand behind it is judged from what the hub had.
func (r *returned) confirm(head directory.Head, now time.Time) (directory.Judgement, error) {
	tip := r.fork.tip()
	root, err := r.fork.root(head.Size)
	if err != nil || head.Position() != tip.Position() || root != head.Root {
		return directory.Judgement{}, notReturned("the head is not that of these entries", err)
	}
	if err := tip.CheckLog(head); err != nil {
		return directory.Judgement{}, err
	}
	j := tip.Judge(head, r.base, now)
	if !j.Confirmed {
		return j, fault.New(fault.Denied, "not-confirmed", opReturn, "the witnesses whom the hub knows do not stand behind the head").
			WithHint("another node may have a head that more have signed; or the operator moves directory.log, tiles and head away and starts the hub, so that it begins with the genesis")
	}
	return j, nil
}

func notReturned(say string, cause error) error {
	return fault.Wrap(cause, fault.Conflict, "not-consistent", opReturn, "the entries are not those of the hub's log: "+say)
}

// restore decides, commits and tells.
func (s *Service) restore(r *returned, head directory.Head) error {
	s.proposing.Lock()
	defer s.proposing.Unlock()
	if err := s.gate.halted(); err != nil {
		return err
	}
	if s.book.tip().Position() != r.base.Position() {
		return fault.New(fault.Retry, "busy", opReturn, "the hub's log has grown meanwhile")
	}
	j, err := r.confirm(head, s.o.Now())
	if err != nil {
		return err
	}
	if head.Position() == r.base.Position() && (j.Needed == 0 || !s.gate.isRecovering()) {
		return nil // nothing came, and nobody vouches for that being all, or nobody doubts it
	}
	if err := s.append(r); err != nil { // commit
		return err
	}
	// What nobody counts may stand in the head too, 64 KiB of it, and would go to every follower.
	if head, err = s.own(j.Cosignatures); err != nil {
		return err
	}
	if err := s.heads.keep(head.Note()); err != nil {
		return err
	}
	// If the machine stops here the log is whole, and the gate still shut; the same Return again opens it.
	s.heads.resume(head)
	// Where no witness was needed the hub's own key alone says that this is all: an old head says so too.
	if j.Needed > 0 {
		if err := s.gate.whole(); err != nil {
			return err
		}
	}
	s.current.Store(s.held.on(s.book.tip()))
	s.ask()
	if err := s.logHeld(); err != nil {
		return err
	}
	return s.tray.sweep(s.o.Now(), s.logged)
}

// own is the hub's newest head with these lines and no other.
func (s *Service) own(lines [][]byte) (directory.Head, error) {
	head, err := directory.ParseHead(s.tiles.Checkpoint())
	if err != nil {
		return head, err
	}
	return head.With(lines...)
}

// append adds what was spooled to the log and the tiles.
func (s *Service) append(r *returned) error {
	for from := uint64(1); from <= r.log.Size(); from += batch {
		var entries [][]byte
		for entry, err := range r.log.Entries(from) {
			if err != nil {
				return errors.Join(err, s.catchUp())
			}
			if entries = append(entries, entry); len(entries) == batch {
				break
			}
		}
		if err := s.log.Append(entries...); err != nil {
			return errors.Join(err, s.catchUp())
		}
		// If the machine stops here a part is in the log, all of it confirmed; the next Return brings the rest.
	}
	s.book.adopt(r.fork)
	return s.level()
}

// catchUp reads what the log has and the book does not.
func (s *Service) catchUp() error {
	for entry, err := range s.log.Entries(s.book.tip().Position() + 1) {
		if err != nil {
			return err
		}
		counted, err := s.book.add(entry)
		if !counted {
			return err
		}
		if err != nil {
			s.notes.Error("an entry of the log is not valid and is skipped", zap.Error(err))
		}
	}
	s.current.Store(s.held.on(s.book.tip()))
	return s.level()
}
