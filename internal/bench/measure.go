package bench

import (
	"context"
	"slices"
	"sync"
	"time"
)

// sample is what one run of an operation gave.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
}

// measure runs one operation n times with so many in flight.
func measure(ctx context.Context, n, inFlight int, one func(context.Context) error) (sample, error) {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		times  = make([]time.Duration, 0, n)
		failed error
		slots  = make(chan struct{}, inFlight)
	)
	start := time.Now()
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t := time.Now()
			err := one(ctx)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(t))
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if failed != nil {
		return sample{}, failed
	}
	slices.Sort(times)
	return sample{float64(n) / elapsed.Seconds(), times[n/2], times[n*99/100]}, nil
}
