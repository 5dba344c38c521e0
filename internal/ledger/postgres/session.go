package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

// session is the writing connection, made anew when it is lost; see [records.Session].
//
// A commit whose answer was lost is in doubt. Every group counts one up in the table committed and holds the row of the
// lease from its beginning. So the session takes a new token on a new line, which waits until the old transaction is
// over, and the count then tells what became of it.
type session struct {
	*conn
	server *server
	lease  *lease
	// token is that of the group that runs, or ran last; number counts the groups that were committed.
	token, number int64
	// released says that the savepoint that stands is done with.
	released bool
	// pid and since name the process of the server that serves the line.
	pid, since string
	// patience ends what a closing ledger waits for.
	patience context.Context
}

var _ records.Session = (*session)(nil)

// startSession opens the line under a lease that was just taken.
func startSession(ctx context.Context, patience context.Context, l *lease) (*session, error) {
	s := &session{server: l.server, lease: l, patience: patience}
	if err := s.attach(ctx); err != nil {
		return nil, err
	}
	var err error
	s.token = l.token.Load()
	s.number, _, err = s.conn.number("SELECT number FROM committed")
	return s, err
}

// attach makes the new line ours.
func (s *session) attach(ctx context.Context) error {
	c, err := s.server.connect(ctx, writerIdle)
	if err != nil {
		return err
	}
	pid, since := s.pid, s.since
	err = c.Each(func(row records.Columns) bool { s.pid, s.since = row.Text(0), row.Text(1); return true },
		"SELECT pid::text, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
	if err != nil {
		c.close()
		return err
	}
	if s.conn != nil {
		s.conn.close()
		// The server may not know yet that the old line is cut. Best effort: it finds out by itself, later.
		c.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid::text = ? AND backend_start::text = ?", pid, since)
	}
	s.conn = c
	return nil
}

// Begin implements [records.Session]. It holds the row of the lease in a mode that lets it be renewed, and not taken.
func (s *session) Begin() error {
	if err := s.lease.state(); err != nil {
		return err
	}
	if s.gone() {
		if err := s.again(); err != nil {
			return err
		}
	}
	err := s.begin()
	if err == nil || !s.gone() {
		return err
	}
	// The line was cut while it stood idle, so nothing was at stake on it.
	if err := s.again(); err != nil {
		return err
	}
	return s.begin()
}

func (s *session) begin() error {
	s.token, s.released = s.lease.token.Load(), false
	tag, err := s.command(fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT FROM lease WHERE token = %d FOR KEY SHARE", s.token))
	if err != nil {
		if s.inside() {
			s.do("ROLLBACK")
		}
		return err
	}
	if tag != "SELECT 1" {
		s.do("ROLLBACK")
		s.lease.lose(notActive())
		return notActive()
	}
	return nil
}

// again makes a new line after one that was lost outside of a commit.
func (s *session) again() error {
	done, err := s.settle(s.patience)
	if done >= 0 && done != s.number {
		err = setBack()
		s.lease.lose(err)
	}
	return err
}

// settle makes a new line and ends every transaction of the old one. It returns how many groups were committed when the
// next token was given, which is -1 as long as that is not known. Conflict "not-active" where another has the lease; the
// count is known then too.
func (s *session) settle(ctx context.Context) (int64, error) {
	if err := s.attach(ctx); err != nil {
		return -1, err
	}
	held, err := s.lease.turn(s.conn)
	if err != nil {
		return -1, err
	}
	var lost error
	if !held {
		lost = notActive()
		s.lease.lose(lost)
	}
	done, found, err := baseAfter(s.conn, s.token)
	if err != nil || !found {
		return -1, errors.Join(lost, err)
	}
	return done, lost
}

// Savepoint implements [records.Session]. It sends the release before it too, which nothing waits for: a round trip for
// each job is spared.
func (s *session) Savepoint() error {
	if !s.released {
		return s.do("SAVEPOINT job")
	}
	s.released = false
	return s.do("RELEASE job; SAVEPOINT job")
}

// Release implements [records.Session]. A commit releases the last.
func (s *session) Release() error {
	s.released = true
	return nil
}

func (s *session) RollbackTo() error { return s.do("ROLLBACK TO job; RELEASE job") }
func (s *session) Rollback() error   { return s.do("ROLLBACK") }
func (s *session) Standing() bool    { return s.inside() }

// Commit implements [records.Session].
func (s *session) Commit() error {
	s.warned = false
	tag, err := s.command(fmt.Sprintf("UPDATE committed SET number = %d; COMMIT", s.number+1))
	switch {
	case err == nil && tag == "COMMIT" && !s.warned:
		s.number++
		return nil
	case err == nil && tag != "COMMIT":
		return fault.New(fault.Internal, "", "commit", "the server has undone the transaction")
	case err != nil && !s.gone():
		return err // refused: the transaction is there to be rolled back, or gone
	}
	// In doubt, or done with a warning: the wait for the standby was cut short. A new token is committed after it, and
	// waits for the standby too.
	return s.resolve()
}

// resolve finds out whether the group was committed, however long that takes.
func (s *session) resolve() error {
	s.conn.close()
	wanted := s.number + 1
	for {
		done, err := s.settle(s.patience)
		if done >= wanted {
			// A stop before here: callers repeat, and find their fact recorded.
			s.number = wanted
			return nil
		}
		if done == s.number {
			return fault.Wrap(err, fault.Retry, "storage-failed", "commit", "the database server failed before the commit was done")
		}
		if done >= 0 {
			s.lease.lose(setBack())
			return setBack()
		}
		select {
		case <-s.patience.Done():
			return fault.Wrap(err, fault.Retry, "storage-failed", "commit",
				"the node stops without having learned whether the database server has committed")
		case <-time.After(pollEvery / 4):
		}
	}
}

func setBack() error {
	return fault.New(fault.Conflict, "set-back", "use ledger", "the database has lost what it had acknowledged, or another program has written in it").
		WithHint("a standby server that was not synchronous has taken over: keep both servers' files and restore from the newest")
}

// Close implements [records.Session].
func (s *session) Close() error {
	s.conn.close()
	return nil
}
