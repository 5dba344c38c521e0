package wire

import (
	"context"
	"sync"
)

// Authorise decides whether a call may go on and returns the context its handler sees. It runs when the headers have
// come and before the message is read, again on every open stream when the directory changes, and once a minute
// there. It must answer fast: other calls of the same connection wait for it.
type Authorise func(ctx context.Context, fullMethod string) (context.Context, error)

// Changed returns a channel that is closed at the next change of the directory (directory.Current has it).
type Changed func() <-chan struct{}

// admission is one call's right to go on. The directory may turn against its caller while it runs.
type admission struct {
	again   func() error
	changed Changed

	mu      sync.Mutex
	seen    <-chan struct{} // guarded by mu; taken before the last decision, so no change falls between
	refused error           // guarded by mu; once refused, always refused
}

// admit decides for the first time.
func admit(ctx context.Context, method string, authorise Authorise, changed Changed) (context.Context, error) {
	a := &admission{changed: changed}
	a.look()
	admitted, err := authorise(ctx, method)
	if err != nil {
		return nil, err
	}
	a.again = func() error {
		_, err := authorise(ctx, method)
		return err
	}
	return context.WithValue(admitted, admissionKey{}, a), nil
}

type admissionKey struct{}

func admissionFrom(ctx context.Context) *admission {
	a, _ := ctx.Value(admissionKey{}).(*admission)
	return a
}

func (a *admission) look() {
	if a.changed != nil {
		a.seen = a.changed()
	}
}

// check decides anew if the directory has changed since the last decision; else it costs next to nothing.
func (a *admission) check() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.seen: // a nil channel never is ready
		return a.decide()
	default:
		return a.refused
	}
}

// force decides anew: certificates and tokens run out without any change of the directory.
func (a *admission) force() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.decide()
}

func (a *admission) decide() error {
	a.look()
	if a.refused == nil {
		a.refused = a.again()
	}
	return a.refused
}

// next is closed at the next change.
func (a *admission) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}
