package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ncruces/go-sqlite3"

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

// writer is the one goroutine that changes the database.
type writer struct {
	conn *conn
	log  *ledger.Log
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
	return cursors{cases, alerts}, err
}

// startWriter takes the connection over; it is closed when the writer is.
func startWriter(c *conn, log *ledger.Log) (*writer, error) {
	at, err := readCursors(reader{c})
	if err != nil {
		return nil, err
	}
	w := &writer{
		conn: c, log: log, at: at, chains: map[ledger.Chain]int64{}, jobs: make(chan job, largestGroup), stopped: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// update hands f to the writer and waits until it is on stable storage, or was refused.
func (w *writer) update(ctx context.Context, f func(ledger.Tx) error) error {
	j := job{ctx, f, make(chan error, 1)}
	if err := w.submit(j); err != nil {
		return err
	}
	return <-j.done
}

func (w *writer) submit(j job) error {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if w.closing {
		return closed()
	}
	select {
	case w.jobs <- j:
		return nil
	case <-j.ctx.Done():
		return j.ctx.Err()
	}
}

// run commits groups until the writer is closed. What waits while one group is being synced is the next group.
func (w *writer) run() {
	defer close(w.stopped)
	for first := range w.jobs {
		w.commit(w.gather(first))
	}
}

func (w *writer) gather(first job) []job {
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
func (w *writer) commit(group []job) {
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
func (w *writer) transact(group []job) ([]error, error) {
	answers := make([]error, len(group))
	if err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return answers, err
	}
	for i, j := range group {
		answers[i] = w.runOne(j)
		if w.conn.db.GetAutocommit() {
			// The engine has rolled everything back by itself, as it does on a full disk.
			err := undone(answers[i])
			answers[i] = nil
			return answers, err
		}
	}
	err := w.storeCheckpoint()
	if err == nil {
		err = w.conn.exec("COMMIT")
	}
	if err != nil && !w.conn.db.GetAutocommit() {
		err = errors.Join(err, w.conn.exec("ROLLBACK"))
	}
	return answers, failed("commit", err)
}

// undone is why a group ended inside one of its transactions.
func undone(answer error) error {
	if fault.Is(answer, fault.Retry) {
		return answer
	}
	return fault.Wrap(answer, fault.Retry, "storage-failed", "commit", "the data disk failed in the middle of a transaction")
}

// runOne runs one job in a savepoint, so that its failure takes nothing else with it.
func (w *writer) runOne(j job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if err := w.conn.exec("SAVEPOINT job"); err != nil {
		return err
	}
	before := w.at
	w.log.Savepoint()
	err := guarded(j.f, tx{reader{w.conn}, w})
	if err == nil {
		return w.conn.exec("RELEASE job")
	}
	w.log.Undo()
	w.at = before
	clear(w.chains)
	if !w.conn.db.GetAutocommit() {
		err = errors.Join(err, w.conn.exec("ROLLBACK TO job"), w.conn.exec("RELEASE job"))
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

func (w *writer) storeCheckpoint() error {
	c := w.log.Pending()
	if c == nil {
		return nil
	}
	return w.conn.exec("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)",
		int64(c.Sequence), c.Size, c.Root[:], c.Note, c.Salted, c.Commitment)
}

// close ends the writer after what was handed in, signs a last checkpoint, and copies the -wal into the database.
func (w *writer) close() error {
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
	_, err := w.conn.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	return errors.Join(failed("close ledger", err), w.conn.close())
}
