package wire

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/fault"
)

// recheckEvery is how often an open stream's right is looked at when nothing changed in the directory.
const recheckEvery = time.Minute

// watched is a server's stream that ends when its caller loses the right to it.
type watched struct {
	grpc.ServerStream
	ctx       context.Context
	admission *admission
	// idle is how long the caller may be silent where a message is waited for, 0 for ever; longest how long one may take to
	// come.
	idle, longest time.Duration
}

func (w *watched) Context() context.Context { return w.ctx }

// RecvMsg gives the handler no message that came after the directory turned against the caller, and waits for none
// that does not come on: a stream that stands still would hold its places for ever.
func (w *watched) RecvMsg(m any) error {
	late, stop := w.late()
	defer stop()
	if err := w.until(late, func() error { return w.ServerStream.RecvMsg(m) }); err != nil {
		return err
	}
	return w.admission.check()
}

// SendMsg sends nothing after the directory turned against the caller.
func (w *watched) SendMsg(m any) error {
	if err := w.admission.check(); err != nil {
		return err
	}
	return w.until(nil, func() error { return w.ServerStream.SendMsg(m) })
}

// late is closed when nothing has come for idle, or a message takes longer than longest; stop ends the watch.
func (w *watched) late() (<-chan struct{}, func()) {
	if w.idle == 0 {
		return nil, func() {}
	}
	l, start, late := loadFrom(w.ctx), time.Now(), make(chan struct{})
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		heard := l.heard()
		if heard.Before(start) {
			heard = start
		}
		rest := w.idle - time.Since(heard)
		if rest <= 0 || time.Since(start) > w.longest {
			close(late)
			return
		}
		timer.Reset(rest)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(w.idle, look)
	return late, func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// until gives up waiting when the stream is cut or late: gRPC waits for the other side's bytes or window whatever our
// context says, and only the handler's return ends the stream.
func (w *watched) until(late <-chan struct{}, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	case <-late:
		return fault.New(fault.Retry, "too-slow", "receive message", "nothing came for too long")
	}
}

// watch cuts the stream, by cancelling it with the reason, as soon as the right is gone.
func watch(ctx context.Context, a *admission, cut context.CancelCauseFunc) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-a.next():
			err = a.check()
		case <-tick.C:
			err = a.force()
		}
		if err != nil {
			cut(err)
			return
		}
	}
}
