package bench

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// used is the processor time of this process: a busy neighbour distorts it less than the clock.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPair is for profiles of our side alone.
func BenchmarkPair(b *testing.B) {
	p, err := newPair(context.Background(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	if err := p.prepare(context.Background(), b.N); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := used(b)
	s, err := measure(context.Background(), b.N, inFlight, p.one)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(milliseconds(used(b)-before)/float64(b.N), "cpu-ms/op")
	b.ReportMetric(s.perSecond, "msg/s")
	b.ReportMetric(milliseconds(s.p50), "p50-ms")
}

// BenchmarkFloor is the same for the floor.
func BenchmarkFloor(b *testing.B) {
	f, err := newFloor(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	before := used(b)
	s, err := measure(context.Background(), b.N, inFlight, f.one)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(milliseconds(used(b)-before)/float64(b.N), "cpu-ms/op")
	b.ReportMetric(s.perSecond, "msg/s")
}
