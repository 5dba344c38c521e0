package registry

import (
	"context"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	// maxReturns is how many Returns may be under way, of nodes, and as many of callers who are not known.
	maxReturns = 4
	// settling is how long one may take before it is held against returnPace, the least bytes of new entries a second: then
	// whoever is slower makes room, or a few who bring nothing would keep the hub without its log.
	settling   = 10 * time.Second
	returnPace = 4 << 10
)

// places are the Returns under way. Safe for concurrent use.
type places struct {
	now func() time.Time

	mu    sync.Mutex
	taken []*place // guarded by mu
}

// place is that of one Return.
type place struct {
	of      *places
	by      wire.Peer
	since   time.Time
	brought int64 // guarded by of.mu; bytes of entries that the hub lacks and that hold
	cut     context.CancelCauseFunc
}

// take gives a place, and a context that ends when it is to be given up. A node has one, its newest, and so has a state; where
// all are taken, one who brings too little makes room. Retry "busy".
func (p *places) take(ctx context.Context, by wire.Peer) (*place, context.Context, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rival *place
	for _, t := range p.taken {
		if by.IsNode() && t.by.State() == by.State() {
			rival = t
		}
	}
	same := rival != nil && rival.by.Node == by.Node
	if rival == nil && len(p.taken) >= maxReturns {
		rival = p.slowest()
	}
	if rival != nil && !same && !p.slow(rival) {
		return nil, nil, fault.New(fault.Retry, "busy", opReturn, "others give entries back just now")
	}
	if rival != nil {
		p.drop(rival)
		rival.cut(fault.New(fault.Retry, "too-slow", opReturn, "another gives entries back in place of this caller"))
	}
	ctx, cut := context.WithCancelCause(ctx)
	t := &place{of: p, by: by, since: p.now(), cut: cut}
	p.taken = append(p.taken, t)
	return t, ctx, nil
}

// slowest is who has brought the least for the time it had.
func (p *places) slowest() *place {
	worst := p.taken[0]
	for _, t := range p.taken {
		if p.rate(t) < p.rate(worst) {
			worst = t
		}
	}
	return worst
}

// rate is bytes in a second; of who has just begun, as good as any.
func (p *places) rate(t *place) float64 {
	age := p.now().Sub(t.since)
	if age < settling {
		return returnPace
	}
	return float64(t.brought) / age.Seconds()
}

func (p *places) slow(t *place) bool { return p.rate(t) < returnPace }

func (p *places) drop(t *place) {
	for i, one := range p.taken {
		if one == t {
			p.taken = append(p.taken[:i:i], p.taken[i+1:]...)
			return
		}
	}
}

// bring notes what came of entries.
func (t *place) bring(bytes int) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.brought += int64(bytes)
}

// leave gives the place up, if it was not taken away.
func (t *place) leave() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.drop(t)
	t.cut(nil)
}
