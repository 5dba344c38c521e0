package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// recheckEvery is how often an open stream's right is looked at when nothing changed in the directory.
const recheckEvery = time.Minute

// watched is a server's stream that ends when its caller loses the right to it.
type watched struct {
	grpc.ServerStream
	ctx       context.Context
	admission *admission
}

func (w *watched) Context() context.Context { return w.ctx }

// RecvMsg gives the handler no message that came after the directory turned against the caller.
func (w *watched) RecvMsg(m any) error {
	if err := w.until(func() error { return w.ServerStream.RecvMsg(m) }); err != nil {
		return err
	}
	return w.admission.check()
}

// SendMsg sends nothing after the directory turned against the caller.
func (w *watched) SendMsg(m any) error {
	if err := w.admission.check(); err != nil {
		return err
	}
	return w.until(func() error { return w.ServerStream.SendMsg(m) })
}

// until gives up waiting when the stream is cut: gRPC waits for the other side's bytes or window whatever our
// context says, and only the handler's return ends the stream.
func (w *watched) until(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
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
