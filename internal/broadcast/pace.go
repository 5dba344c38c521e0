package broadcast

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/enlace-network/enlace/internal/authority"
)

// pace bounds how often each node may have this one work for it. There are as many as the directory has nodes, since
// only those reach this room.
type pace struct {
	mu    sync.Mutex
	nodes map[authority.Node]*rate.Limiter // guarded by mu
}

func (p *pace) allow(n authority.Node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.nodes[n]
	if l == nil {
		if p.nodes == nil {
			p.nodes = map[authority.Node]*rate.Limiter{}
		}
		l = rate.NewLimiter(controlRate, controlBurst)
		p.nodes[n] = l
	}
	return l.Allow()
}
