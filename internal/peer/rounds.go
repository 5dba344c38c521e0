package peer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/authority"
)

// rounds does one kind of work for each peer at most once at a time, so that a peer which does not answer delays no
// other. Who asks while a round runs gets another one after it.
type rounds struct {
	work func(context.Context, authority.Node)
	wake chan struct{} // holds one

	mu    sync.Mutex
	asked map[authority.Node]bool // guarded by mu; peers whose round runs or is to begin; true: once more after it
	fresh []authority.Node        // guarded by mu; to begin
}

func newRounds(work func(context.Context, authority.Node)) *rounds {
	return &rounds{work: work, wake: make(chan struct{}, 1), asked: map[authority.Node]bool{}}
}

// ask never waits. There are at most as many rounds as nodes in the directory.
func (r *rounds) ask(node authority.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, runs := r.asked[node]; runs {
		r.asked[node] = true
		return
	}
	r.asked[node] = false
	r.fresh = append(r.fresh, node)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run does the rounds until ctx ends, and waits for those that run.
func (r *rounds) run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for _, node := range r.begin() {
			wait.Go(func() { r.round(ctx, node) })
		}
	}
}

func (r *rounds) begin() []authority.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.fresh
	r.fresh = nil
	return fresh
}

func (r *rounds) round(ctx context.Context, node authority.Node) {
	for {
		r.work(ctx, node)
		if !r.again(node) || ctx.Err() != nil {
			return
		}
	}
}

func (r *rounds) again(node authority.Node) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[node] {
		r.asked[node] = false
		return true
	}
	delete(r.asked, node)
	return false
}

// maxRationed is how many names a ration remembers: more than a network has callers.
const maxRationed = 4096

// ration bounds how often each caller may ask for something that costs.
type ration struct {
	each  rate.Limit
	burst int

	mu sync.Mutex
	of map[string]*rate.Limiter // guarded by mu
}

func newRation(each rate.Limit, burst int) *ration {
	return &ration{each: each, burst: burst, of: map[string]*rate.Limiter{}}
}

// allow reports whether the caller may once more, and counts it.
func (r *ration) allow(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.of[name]
	if l == nil {
		r.forget(now)
		if len(r.of) >= maxRationed {
			return false
		}
		l = rate.NewLimiter(r.each, r.burst)
		r.of[name] = l
	}
	return l.AllowN(now, 1)
}

// forget drops who has all of his ration, where there are too many names. It must be called with mu held.
func (r *ration) forget(now time.Time) {
	if len(r.of) < maxRationed {
		return
	}
	for name, l := range r.of {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.of, name)
		}
	}
}
