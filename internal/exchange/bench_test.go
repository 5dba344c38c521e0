package exchange_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/enlace-network/enlace/internal/message"
)

// BenchmarkDirected is for profiles of the exchange alone; `enlace bench` measures against the floor.
func BenchmarkDirected(b *testing.B) {
	w := newWorld(b)
	ctx := context.Background()
	c := w.composition()
	c.Request.Facts = strings.Repeat("Facts of a made-up case. ", 135)
	ids := make([]message.ID, b.N)
	for i := range ids {
		id, err := w.mx.Create(ctx, w.mx.actor(), c)
		w.must(err)
		ids[i] = id
	}
	var mu sync.Mutex
	left := b.N
	done := make(chan struct{})
	slots := make(chan struct{}, 64)
	b.ResetTimer()
	go func() {
		var cursor int64
		seen := map[message.ID]bool{}
		for {
			changed := w.mx.Changed()
			page, err := w.mx.Since(ctx, w.mx.actor(), cursor, 500)
			if err != nil {
				return
			}
			for _, s := range page {
				cursor = s.Cursor
				if s.State == message.Delivered && !seen[s.Conversation] {
					seen[s.Conversation] = true
					<-slots
					mu.Lock()
					if left--; left == 0 {
						close(done)
					}
					mu.Unlock()
				}
			}
			if len(page) == 0 {
				<-changed
			}
		}
	}()
	for _, id := range ids {
		slots <- struct{}{}
		go func() {
			_, err := w.mx.Send(ctx, w.mx.actor(), id)
			if err != nil {
				b.Error(err)
			}
		}()
	}
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
