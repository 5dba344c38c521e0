package torture

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
	"github.com/enlace-network/enlace/internal/node"
)

// clockEvery is how soon a daemon notices that its clock was set.
const clockEvery = 20 * time.Millisecond

// Daemon is the life of one daemon in this process, as its own program lives it, but for its clock: that is as far off
// as the file says, a duration such as "-10m0s", read again and again. An empty or missing file is no offset. Which is
// "node" or "hub".
func Daemon(ctx context.Context, which, config, clockFile string) error {
	c := &clock{file: clockFile}
	c.read()
	go c.follow(ctx)
	switch which {
	case "node":
		return node.Main(ctx, config, c.now, rand.Reader)
	case hubName:
		return hub.Main(ctx, config, c.now)
	}
	return fault.New(fault.Usage, "usage", "run daemon", "a daemon is a node or a hub, not "+which)
}

// clock is the system's with an offset.
type clock struct {
	file   string
	offset atomic.Int64
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) follow(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(clockEvery)
		c.read()
	}
}

func (c *clock) read() {
	b, err := os.ReadFile(c.file)
	if err != nil {
		return
	}
	if d, err := time.ParseDuration(strings.TrimSpace(string(b))); err == nil {
		c.offset.Store(int64(d))
	}
}
