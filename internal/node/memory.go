package node

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	quietEvery = 15 * time.Second
	// quietMallocs is how many allocations in that time still count as rest: heartbeats, certificate checks.
	quietMallocs = 20_000
)

// giveBack returns memory to the system once after each burst of work. Go's runtime does so by itself, minutes later; a
// small state's laptop has other uses for it (P13).
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	var before uint64
	worked := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		switch busy := m.Mallocs-before > quietMallocs; {
		case busy:
			worked = true
		case worked:
			debug.FreeOSMemory()
			worked = false
		}
		before = m.Mallocs
	}
}
