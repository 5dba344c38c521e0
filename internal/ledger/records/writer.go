package records

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
)

// largestGroup bounds how many transactions one commit carries.
const largestGroup = 128

// job is one caller's transaction, and where the answer goes.
type job struct {
	ctx  context.Context
	f    func(ledger.Tx) error
	done chan error
}

// Session is the one connection of an engine that writes.
type Session interface {
	Conn
	// Begin starts the transaction of a group.
	Begin() error
	// Savepoint starts one job in it; Release ends one that did well, RollbackTo takes back one that did not, with its
	// savepoint.
	Savepoint() error
	Release() error
	RollbackTo() error
	// Commit returns nil once the group is on stable storage, and an error only where it is not and never will be: an
	// engine in doubt finds out first.
	Commit() error
	// Rollback takes the whole group back.
	Rollback() error
	// Standing is false when the transaction is gone without our doing, as on a full disk or a cut line.
	Standing() bool
	// Close ends the connection.
	Close() error
}

// Writer is the one goroutine that changes the database.
type Writer struct {
	session Session
	log     *ledger.Log
	// part is where the incarnation's log lies.
	part part
	// at is how far the changes have come, with those of the open group.
	at cursors
	// chains are numbers of chains, those given in the open group too: whatever is undone empties it.
	chains map[ledger.Chain]int64

	jobs chan job
	// gate is held for reading while a caller hands in a job, for writing by close.
	gate    sync.RWMutex
	closing bool
	stopped chan struct{}
}

// cursors are the numbers of the newest change of a case and of an alert.
type cursors struct{ cases, alerts int64 }

func readCursors(r reader) (cursors, error) {
	cases, err := r.Cursor()
	if err != nil {
		return cursors{}, err
	}
	alerts, err := r.AlertCursor()
	if err != nil {
		return cursors{}, err
	}
	floor, err := r.cursorFloor()
	return cursors{max(cases, floor), max(alerts, floor)}, err
}

// StartWriter takes the session over; it is closed when the writer is.
func StartWriter(s Session, log *ledger.Log) (*Writer, error) {
	at, err := readCursors(reader{conn{s}})
	if err != nil {
		return nil, err
	}
	p, err := reader{conn{s}}.part()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		session: s, log: log, part: p, at: at, chains: map[ledger.Chain]int64{}, jobs: make(chan job, largestGroup), stopped: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// Update hands f to the writer and waits until it is on stable storage, or was refused.
func (w *Writer) Update(ctx context.Context, f func(ledger.Tx) error) error {
	j := job{ctx, f, make(chan error, 1)}
	if err := w.submit(j); err != nil {
		return err
	}
	return <-j.done
}

func (w *Writer) submit(j job) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closing {
		return Closed()
	}
	select {
	case w.jobs <- j:
		return nil
	case <-j.ctx.Done():
		return j.ctx.Err()
	}
}

// run commits groups until the writer is closed. What waits while one group is being synced is the next group.
func (w *Writer) run() {
	defer close(w.stopped)
	for first := range w.jobs {
		w.commit(w.gather(first))
	}
}

func (w *Writer) gather(first job) []job {
	group := []job{first}
	for len(group) < largestGroup {
		select {
		case j, ok := <-w.jobs:
			if !ok {
				return group
			}
			group = append(group, j)
		default:
			return group
		}
	}
	return group
}

// commit runs a group in one transaction and answers its callers. Nobody is answered with nil before the sync has
// returned (P1).
func (w *Writer) commit(group []job) {
	before := w.at
	w.log.Begin()
	answers, err := w.transact(group)
	if err != nil {
		// A stop anywhere before here leaves nothing of the group.
		w.log.Rollback()
		w.at = before
		clear(w.chains)
	} else {
		// A stop here leaves a committed group that nobody was told of: callers repeat, and find their fact recorded.
		w.log.Commit()
	}
	for i, j := range group {
		if err != nil && answers[i] == nil {
			j.done <- err
			continue
		}
		j.done <- answers[i]
	}
}

// transact returns each job's own answer, and the error that has undone the whole group.
func (w *Writer) transact(group []job) ([]error, error) {
	answers := make([]error, len(group))
	if err := w.session.Begin(); err != nil {
		return answers, err
	}
	for i, j := range group {
		answers[i] = w.runOne(j)
		if !w.session.Standing() {
			err := undone(answers[i])
			answers[i] = nil
			return answers, err
		}
	}
	err := w.storeCheckpoint()
	if err == nil {
		err = w.session.Commit()
	}
	if err != nil && w.session.Standing() {
		err = errors.Join(err, w.session.Rollback())
	}
	return answers, err
}

// undone is why a group ended inside one of its transactions.
func undone(answer error) error {
	if fault.Is(answer, fault.Retry) {
		return answer
	}
	return fault.Wrap(answer, fault.Retry, "storage-failed", "commit", "the storage failed in the middle of a transaction")
}

// runOne runs one job in a savepoint, so that its failure takes nothing else with it.
func (w *Writer) runOne(j job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if err := w.session.Savepoint(); err != nil {
		return err
	}
	before := w.at
	w.log.Savepoint()
	err := guarded(j.f, tx{reader{conn{w.session}}, w})
	if err == nil {
		return w.session.Release()
	}
	w.log.Undo()
	w.at = before
	clear(w.chains)
	if w.session.Standing() {
		err = errors.Join(err, w.session.RollbackTo())
	}
	return err
}

// guarded keeps a defect in one caller's function from stopping the writer for all.
func guarded(f func(ledger.Tx) error, t tx) error {
	var err error
	func() {
		defer func() {
			if r := recover(); r != nil {
				err = fault.Wrap(fmt.Errorf("panic: %v", r), fault.Internal, "", "update ledger", "something failed inside the program")
			}
		}()
		err = f(t)
	}()
	return err
}

func (w *Writer) storeCheckpoint() error {
	c := w.log.Pending()
	if c == nil {
		return nil
	}
	return conn{w.session}.exec("INSERT INTO checkpoint ("+checkpointColumns+") VALUES (?, ?, ?, ?, ?, ?)",
		w.part.checkpoint+int64(c.Sequence), c.Size, c.Root[:], c.Note, c.Salted, c.Commitment)
}

// Close ends the writer after what was handed in, signs a last checkpoint, and closes the session.
func (w *Writer) Close() error {
	w.gate.Lock()
	w.closing = true
	close(w.jobs)
	w.gate.Unlock()
	<-w.stopped
	if w.log.Uncited() {
		// Best effort: a key that is away leaves the newest events to the next checkpoint.
		last := job{context.Background(), func(t ledger.Tx) error { _, err := t.Checkpoint(); return err }, make(chan error, 1)}
		w.commit([]job{last})
	}
	return w.session.Close()
}

// Closed is the answer of a ledger that is closing.
func Closed() error {
	return fault.New(fault.Retry, "closed", "use ledger", "the node is stopping")
}
