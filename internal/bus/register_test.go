package bus_test

import (
	"slices"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// TestRegisteredWhileRunning: a category that the directory registers flows through a bus that runs, to a node that took
// all of its group before, and one that it does not register is stored nowhere. PROTOCOL 4.18.
func TestRegisteredWhileRunning(t *testing.T) {
	w := newWorld(t)
	mx, br := w.admit("mx"), w.admit("br")
	w.start()
	from, to := mx.read(), br.read()
	payload, err := w.draft().Categories(&formatv1.Categories{Categories: []*formatv1.Category{
		{Slug: "drugs", Status: "active"}, {Slug: "drugs.trafficking", Status: "active"}, {Slug: "drugs.sea-drones", Status: "active"}}})
	must(t, err)
	w.apply(payload, w.both(payload)...)
	ctx := within(t, 60*time.Second)
	// The hub changes its streams soon after the statement; what comes before that is lost, as it may be.
	soon(t, 30*time.Second, "the new category comes", func() bool {
		must(t, from.Publish(ctx, "alert.drugs.sea-drones.routine.mx", []byte("new")))
		must(t, from.Flush(ctx))
		return slices.Contains(to.texts(), "new")
	})
	must(t, from.Publish(ctx, "alert.fraud.financial.routine.mx", []byte("unregistered")))
	must(t, from.Publish(ctx, "alert.drugs.trafficking.routine.mx", []byte("old")))
	must(t, from.Flush(ctx))
	soon(t, 30*time.Second, "a registered one still comes", func() bool { return slices.Contains(to.texts(), "old") })
	if slices.Contains(to.texts(), "unregistered") {
		t.Error("an alert of a category that is not registered came by the bus")
	}
}
