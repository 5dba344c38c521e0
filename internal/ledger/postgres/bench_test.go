package postgres

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
)

// BenchmarkUpdate writes messages with their events, one transaction each, from one caller and from many.
func BenchmarkUpdate(b *testing.B) {
	server := postgrestest.Start(b)
	for i, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := openAt(b, testConfig(b, server.Database()))
			defer l.Close()
			var n atomic.Int64
			b.SetParallelism(max(1, callers/2)) // for each of two processors
			b.ResetTimer()
			if callers == 1 {
				for b.Loop() {
					if err := writeFact(b.Context(), l, byte(i), int(n.Add(1))); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := writeFact(b.Context(), l, byte(i), int(n.Add(1))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
}
