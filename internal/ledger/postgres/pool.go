package postgres

import (
	"context"
	"time"

	"github.com/enlace-network/enlace/internal/ledger/records"
)

const (
	// readers is how many views run at once.
	readers    = 4
	readerIdle = time.Minute
)

// pool holds the reading connections: places for all of them, opened when first needed.
type pool struct {
	open func(context.Context) (*conn, error)
	// places holds a connection, or nil for one not opened yet. Who has taken a place gives it back.
	places chan *conn
	closed chan struct{}
}

func newPool(s *server) *pool {
	open := func(ctx context.Context) (*conn, error) { return s.connect(ctx, readerIdle) }
	p := &pool{open, make(chan *conn, readers), make(chan struct{})}
	for range readers {
		p.places <- nil
	}
	return p
}

// view runs f in a read transaction, over one state of the database.
func (p *pool) view(ctx context.Context, f func(*conn) error) error {
	select {
	case <-p.closed:
		return records.Closed()
	default:
	}
	var c *conn
	select {
	case c = <-p.places:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closed:
		return records.Closed()
	}
	defer func() { p.places <- c }()
	c, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	// Deferred, because f is another room's code and may panic.
	defer func() {
		c.ctx = context.Background()
		if !c.gone() {
			c.do("ROLLBACK")
		}
	}()
	err = f(c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// begin starts the transaction, on a new line where the old one was cut.
func (p *pool) begin(ctx context.Context, c *conn) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return c, err
	}
	if c != nil && !c.gone() {
		c.ctx = ctx
		err := c.do(beginView)
		if err == nil || !c.gone() || ctx.Err() != nil {
			return c, err
		}
	}
	c, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	c.ctx = ctx
	return c, c.do(beginView)
}

const beginView = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

// close waits for the views that run.
func (p *pool) close() {
	close(p.closed)
	for range readers {
		if c := <-p.places; c != nil {
			c.close()
		}
	}
}
