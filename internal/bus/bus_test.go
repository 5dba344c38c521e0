package bus_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

func writeFile(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }

// TestDeliver: what a node publishes comes to every node that wants it and is competent, once, and to no other.
func TestDeliver(t *testing.T) {
	w := newWorld(t)
	mx, br, jm, ca := w.admit("mx"), w.admit("br"), w.admit("jm", "drugs.trafficking"), w.admit("ca")
	w.start()
	from, all := mx.read(), br.read()
	some := jm.read()
	narrow := ca.read(func(r *reader) { r.filters = []string{"drugs.*.immediate"} })
	ctx := within(t, 20*time.Second)
	for i, subject := range []string{"alert.drugs.trafficking.routine.mx", "alert.drugs.precursors.immediate.mx", "alert.fraud.financial.urgent.mx"} {
		must(t, from.Publish(ctx, subject, fmt.Appendf(nil, "%d", i)))
	}
	must(t, from.Flush(ctx))
	soon(t, 5*time.Second, "all come", func() bool { return len(all.texts()) >= 3 })
	soon(t, 5*time.Second, "one comes", func() bool { return len(some.texts()) >= 1 && len(narrow.texts()) >= 1 })
	time.Sleep(200 * time.Millisecond)
	for _, c := range []struct {
		r    *reader
		want []string
	}{{all, []string{"0", "1", "2"}}, {some, []string{"0"}}, {narrow, []string{"1"}}, {from, nil}} {
		if got := c.r.texts(); !slices.Equal(got, c.want) {
			t.Errorf("%s got %q, want %q", c.r.m.node, got, c.want)
		}
	}
	a := all.arrivals()[0]
	if a.Publisher != mx.state || a.Subject[:6] != "alert." {
		t.Errorf("arrival %+v", a)
	}
	if err := from.Publish(ctx, "alert.drugs.trafficking.routine.mx", make([]byte, 3<<20)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("3 MiB: %v, want too large", err)
	}
}
