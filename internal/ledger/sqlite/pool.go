package sqlite

import (
	"context"
	"errors"

	"github.com/enlace-network/enlace/internal/ledger/records"
)

// pool holds the reading connections: places for all of them, opened when first needed.
type pool struct {
	open func() (*conn, error)
	// places holds a connection, or nil for one not opened yet. Who has taken a place gives it back.
	places chan *conn
	closed chan struct{}
}

func newPool(open func() (*conn, error)) *pool {
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
	if c == nil {
		var err error
		if c, err = p.open(); err != nil {
			return err
		}
	}
	return c.view(ctx, f)
}

func (c *conn) view(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	old := c.db.SetInterrupt(ctx)
	// Deferred, because f is another room's code and may panic.
	defer func() {
		c.db.SetInterrupt(old)
		c.exec("ROLLBACK")
	}()
	if err := f(c); err != nil {
		return err
	}
	return ctx.Err()
}

// close waits for the views that run.
func (p *pool) close() error {
	close(p.closed)
	var err error
	for range readers {
		if c := <-p.places; c != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}
