package wire

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate is how often something may be done: so many times a second, and so many at once after a pause.
type Rate struct {
	PerSecond float64
	Burst     int
}

// anyMethod is the name in ServerOptions.Rates of every method that is not named there.
const anyMethod = ""

// maxPaced is how many callers are remembered at once; more than a network has.
const maxPaced = 4096

// pace bounds how often each caller may do a thing. It remembers callers without a connection too: who connects anew has
// no new allowance.
type pace struct {
	rates map[string]Rate // by thing; nil bounds nothing

	mu sync.Mutex
	of map[paced]*rate.Limiter // guarded by mu
}

type paced struct{ caller, thing string }

func newPace(rates map[string]Rate) *pace { return &pace{rates: rates, of: map[paced]*rate.Limiter{}} }

// allow reports whether the caller may do it once more, and counts it.
func (p *pace) allow(caller, thing string, now time.Time) bool {
	r, named := p.rates[thing]
	if !named {
		thing = anyMethod
		if r, named = p.rates[thing]; !named {
			return true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name := paced{caller, thing}
	l := p.of[name]
	if l == nil {
		if !p.room(now) {
			return false
		}
		l = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
		p.of[name] = l
	}
	return l.AllowN(now, 1)
}

// room forgets who has all of their allowance, where there are too many. It must be called with mu held.
func (p *pace) room(now time.Time) bool {
	if len(p.of) < maxPaced {
		return true
	}
	for name, l := range p.of {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(p.of, name)
		}
	}
	return len(p.of) < maxPaced
}
