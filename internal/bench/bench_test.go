package bench

import (
	"context"
	"testing"
)

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
	s, err := measure(context.Background(), b.N, inFlight, p.one)
	if err != nil {
		b.Fatal(err)
	}
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
	s, err := measure(context.Background(), b.N, inFlight, f.one)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(s.perSecond, "msg/s")
}
