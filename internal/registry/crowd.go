package registry

import (
	"sync"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxFollows is how many streams of the log one caller may have open. It needs one; those of connections that died are not
// known to be dead at once. Each is woken at every head.
const maxFollows = 16

// crowd counts the streams of each caller. The zero value is ready; safe for concurrent use.
type crowd struct {
	mu   sync.Mutex
	open map[string]int // guarded by mu
}

// join counts one more until leave. Retry "busy".
func (c *crowd) join(name string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[name] >= maxFollows {
		return nil, fault.New(fault.Retry, "busy", opFollow, "this caller follows the directory too many times at once")
	}
	if c.open == nil {
		c.open = map[string]int{}
	}
	c.open[name]++
	return func() { c.left(name) }, nil
}

func (c *crowd) left(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[name]--; c.open[name] == 0 {
		delete(c.open, name)
	}
}
