package postgres

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger/records"
)

const (
	leaseLength = 10 * time.Second
	// writerIdle is how long the server lets a transaction of ours stand idle before it ends it. It is shorter than the
	// lease: the transaction of a process that was stopped must not hold up who takes over.
	writerIdle = 5 * time.Second
	// lockWithin is how long taking the lease waits for a transaction that runs under the token before.
	lockWithin = 2 * time.Second
	pollEvery  = time.Second
)

// lease is this process's right to write. Time is the server's clock alone; the token is what counts, and it is checked
// by the server in every transaction, so a process that believes in a lease it has lost writes nothing.
type lease struct {
	server *server
	// holder names this process in the table, unlike any other.
	holder string
	length time.Duration

	mu   sync.Mutex // over the line of the keeper, and who changes the token
	line *conn
	// token is read without waiting for a renewal that runs.
	token atomic.Int64

	once sync.Once
	lost chan struct{} // closed when the lease is lost, after why was written
	why  error
}

func newLease(s *server, holder string, length time.Duration, random io.Reader) (*lease, error) {
	var own [8]byte
	if _, err := io.ReadFull(random, own[:]); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "open ledger", "no randomness")
	}
	return &lease{server: s, holder: holder + " " + hex.EncodeToString(own[:]), length: length, lost: make(chan struct{})}, nil
}

// lose says that this process is active no more.
func (l *lease) lose(why error) {
	l.once.Do(func() { l.why = why; close(l.lost) })
}

// state is nil while the lease is not known to be lost.
func (l *lease) state() error {
	select {
	case <-l.lost:
		return l.why
	default:
		return nil
	}
}

// wait takes the lease as soon as it is free. told is called once, where another process holds it. A server that fails
// meanwhile is waited for.
func (l *lease) wait(ctx context.Context, told func(holder string)) error {
	for {
		held, err := l.takeOver(ctx)
		if held || err != nil && !fault.Is(err, fault.Retry) {
			return err
		}
		if err == nil && told != nil {
			if err := l.tell(told); err == nil {
				told = nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

func (l *lease) tell(told func(holder string)) error {
	holder, _, err := l.line.first("SELECT holder FROM lease")
	if err == nil {
		told(holder)
	}
	return err
}

// takeOver takes a lease that has run out.
func (l *lease) takeOver(ctx context.Context) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connect(ctx); err != nil {
		return false, err
	}
	return l.take(l.line, "expires <= clock_timestamp()")
}

// turn takes the next token while the lease is ours. When it returns true, every transaction under our tokens before is
// over, done or undone: they hold the row until then.
func (l *lease) turn(c *conn) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(c, "holder = ?", l.holder)
}

// take counts the token up where the condition holds. The key of the row changes, which waits for all that hold it.
func (l *lease) take(c *conn, condition string, args ...any) (bool, error) {
	if err := c.do(fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = %d", lockWithin.Milliseconds())); err != nil {
		return false, err
	}
	token, held, err := c.number(`UPDATE lease SET token = token + 1, holder = ?,
		expires = clock_timestamp() + ? * interval '1 millisecond' WHERE `+condition+" RETURNING token",
		append([]any{l.holder, l.length.Milliseconds()}, args...)...)
	if err == nil && held {
		// A statement of its own: it sees what was committed while the one before waited.
		_, err = c.Exec("INSERT INTO tenure SELECT ?, ?, number, clock_timestamp() FROM committed", token, l.holder)
	}
	if err == nil {
		// A stop here and the lease runs out, held by nobody.
		c.warned = false
		if err = c.do("COMMIT"); err == nil && c.warned {
			err = fault.New(fault.Retry, "storage-failed", "take lease", "the database server has not waited for its standby")
		}
	}
	if err != nil || !held {
		if c.inside() {
			c.do("ROLLBACK")
		}
		return false, err
	}
	l.token.Store(token)
	return true, nil
}

// connect opens the keeper's line where there is none.
func (l *lease) connect(ctx context.Context) error {
	if l.line != nil && !l.line.gone() {
		return nil
	}
	var err error
	l.line, err = l.server.connect(ctx, writerIdle)
	return err
}

// keep renews the lease until ctx ends or it is lost. A server that cannot be reached takes it from nobody: the lease may
// run out meanwhile, and is ours until another takes it.
func (l *lease) keep(ctx context.Context) {
	every := time.NewTicker(l.length / 4)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.lost:
			return
		case <-every.C:
		}
		if err := l.renew(ctx); err != nil && !fault.Is(err, fault.Retry) && ctx.Err() == nil {
			l.lose(err)
		}
	}
}

// renew also looks at the server's settings again: some of them change without a restart.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connect(ctx); err != nil {
		return err
	}
	if err := checkSettings(l.line); err != nil {
		return err
	}
	n, err := l.line.Exec("UPDATE lease SET expires = clock_timestamp() + ? * interval '1 millisecond' WHERE token = ? AND holder = ?",
		l.length.Milliseconds(), l.token.Load(), l.holder)
	if err == nil && n == 0 {
		err = notActive()
	}
	return err
}

// release ends the lease at once, for a standby that waits.
func (l *lease) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == nil || l.line.gone() {
		return
	}
	l.line.Exec("UPDATE lease SET expires = clock_timestamp() WHERE holder = ?", l.holder)
	l.line.close()
}

// baseAfter is how many groups were committed when the next token after this one was given.
func baseAfter(c records.Conn, token int64) (base int64, found bool, err error) {
	err = c.Each(func(row records.Columns) bool { base, found = row.Integer(0), true; return true },
		"SELECT base FROM tenure WHERE token > ? ORDER BY token LIMIT 1", token)
	return base, found, err
}
