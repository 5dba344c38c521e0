package bus_test

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/bus"
	"github.com/enlace-network/enlace/internal/fault"
)

const subject = "alert.drugs.trafficking.routine.mx"

func (r *reader) publish(text string) error {
	return r.Publish(within(r.m.w.t, 5*time.Second), subject, []byte(text))
}

// TestRestart: the hub with its embedded server goes and comes back, once with its data and once without; nodes find it
// and go on. What waited for a node that was away is there only where the data is.
func TestRestart(t *testing.T) {
	for _, wiped := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped %v", wiped), func(t *testing.T) {
			w := newWorld(t)
			mx, us := w.admit("mx"), w.admit("us")
			w.start()
			from, to := mx.read(), us.read()
			must(t, from.publish("first"))
			soon(t, 5*time.Second, "first", to.has("first"))
			to.stop()
			must(t, from.publish("while away"))
			must(t, from.Flush(within(t, 5*time.Second)))
			soon(t, 5*time.Second, "stored", func() bool { return w.stored("MX") == 2 })
			addr := w.bus().Addr()
			w.stop()
			soon(t, 2*time.Second, "the loss is noticed", func() bool { return fault.CodeOf(from.publish("nobody there")) == "bus-away" })
			if wiped {
				must(t, os.RemoveAll(w.data))
				must(t, os.MkdirAll(w.data, 0o700))
			}
			w.startAt(addr)
			soon(t, 20*time.Second, "the publisher is back", func() bool { return from.publish("second") == nil })
			to = us.read()
			soon(t, 10*time.Second, "second", to.has("second"))
			if got := to.has("while away")(); got == wiped {
				t.Errorf("what waited arrived: %v", got)
			}
			if to.has("first")() {
				t.Error("what was acknowledged came again")
			}
		})
	}
}

// TestRenewal: over many renewals of a short access nothing is lost, doubled, or refused.
func TestRenewal(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start(func(o *bus.Options) { o.Lifetime = 8 * time.Second })
	from, to := mx.read(), us.read()
	since := to.Status().Connected
	var want []string
	for end := time.Now().Add(17 * time.Second); time.Now().Before(end); time.Sleep(4 * time.Millisecond) {
		text := fmt.Sprintf("%06d", len(want))
		if err := from.publish(text); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	soon(t, 30*time.Second, "all arrive", func() bool { return len(to.texts()) >= len(want) })
	if got := to.texts(); !slices.Equal(got, want) {
		t.Errorf("%d of %d arrived, or some twice", len(got), len(want))
	}
	if got := to.Status().Connected; got != since {
		t.Errorf("the connection was lost meanwhile: since %v, was %v", got, since)
	}
}

// TestSlowHandler: a handler that is far slower than what comes gets all of it, once, and holds up no other publisher
// for long; nobody is cut as too slow.
func TestSlowHandler(t *testing.T) {
	w := newWorld(t)
	mx, br, us := w.admit("mx"), w.admit("br"), w.admit("us")
	w.start()
	var slow atomic.Bool
	slow.Store(true)
	to := us.read(func(r *reader) {
		r.refuse = func(a bus.Arrival) error {
			if slow.Load() {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
	})
	since := to.Status().Connected
	from, other := mx.read(), br.read()
	const n = 3000
	body := make([]byte, 16<<10)
	for i := range n {
		must(t, from.Publish(within(t, 10*time.Second), subject, fmt.Appendf(body[:0:0], "%05d%s", i, body)))
	}
	must(t, from.Flush(within(t, 10*time.Second)))
	soon(t, 5*time.Second, "something has come", func() bool { return len(to.texts()) > 0 })
	if !to.Expecting(mx.state) {
		t.Error("nothing is expected of who has sent 3,000")
	}
	must(t, other.Publish(within(t, 5*time.Second), "alert.drugs.trafficking.immediate.br", []byte("other")))
	soon(t, 10*time.Second, "another's passes", to.has("other"))
	if got := len(to.texts()); got >= n {
		t.Errorf("the other came after all %d: the window is not one", got)
	}
	slow.Store(false)
	soon(t, 60*time.Second, "all arrive", func() bool { return len(to.texts()) >= n+1 })
	time.Sleep(200 * time.Millisecond)
	seen := map[string]bool{}
	for _, text := range to.texts() {
		if seen[text[:5]] {
			t.Fatalf("%s came twice", text[:5])
		}
		seen[text[:5]] = true
	}
	if len(seen) != n+1 {
		t.Errorf("%d arrived, want %d", len(seen), n+1)
	}
	if got := to.Status().Connected; got != since {
		t.Error("the connection was cut meanwhile")
	}
	soon(t, 15*time.Second, "nothing more is expected", func() bool { return !to.Expecting(mx.state) })
}

// TestRetry: what the handler cannot take now is handed over again, the rest goes on, and it is not acknowledged before
// it is done: a node that stops then gets it again.
func TestRetry(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start(func(o *bus.Options) { o.AckWait = 2 * time.Second })
	var full atomic.Bool
	full.Store(true)
	var tries atomic.Int32
	picky := func(r *reader) {
		r.refuse = func(a bus.Arrival) error {
			switch {
			case string(a.Data) == "hard" && full.Load():
				tries.Add(1)
				return fault.New(fault.Retry, "disk-full", "store", "the disk is full")
			case string(a.Data) == "bad":
				return fault.New(fault.Invalid, "malformed", "store", "not a frame")
			}
			return nil
		}
	}
	to, from := us.read(picky), mx.read()
	for _, text := range []string{"a", "bad", "hard", "b", "c"} {
		must(t, from.publish(text))
	}
	soon(t, 5*time.Second, "the others pass", to.has("a", "b", "c"))
	soon(t, 10*time.Second, "it is tried again", func() bool { return tries.Load() >= 2 })
	to.stop()
	full.Store(false)
	to = us.read(picky)
	// The server gives it again when it has waited long enough for the acknowledgement.
	soon(t, 60*time.Second, "it comes again", to.has("hard"))
	if got := to.texts(); slices.Contains(got, "a") || slices.Contains(got, "bad") {
		t.Errorf("acknowledged ones came again: %q", got)
	}
}

// TestFilters: other filters, wider and narrower, keep the place in the stream; without any, nothing comes.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start()
	from := mx.read()
	to := us.read(func(r *reader) { r.filters = []string{"drugs.trafficking.*"} })
	must(t, from.publish("1"))
	soon(t, 5*time.Second, "1", to.has("1"))
	to.wish("fraud.financial.urgent")
	ctx := within(t, 30*time.Second)
	soon(t, 10*time.Second, "the new filter works", func() bool {
		must(t, from.Publish(ctx, "alert.fraud.financial.urgent.mx", []byte("fraud")))
		time.Sleep(50 * time.Millisecond)
		return to.has("fraud")()
	})
	must(t, from.publish("2"))
	must(t, from.Flush(ctx))
	to.wish("drugs.*.*", "fraud.*.*")
	soon(t, 10*time.Second, "wider", func() bool {
		must(t, from.publish("3"))
		time.Sleep(50 * time.Millisecond)
		return to.has("3")()
	})
	ones := 0
	for _, text := range to.texts() {
		if text == "1" {
			ones++
		}
	}
	if ones != 1 {
		t.Errorf("the first came %d times", ones)
	}
	us.designate("tip.sexual") // no longer competent for drugs
	soon(t, 10*time.Second, "the consumer follows the competence", func() bool {
		before := len(to.texts())
		must(t, from.publish("4"))
		must(t, from.Flush(ctx))
		time.Sleep(100 * time.Millisecond)
		return len(to.texts()) == before
	})
	for _, bad := range []string{"drugs", "*.trafficking.*", "*.*", "*.*.bulk", "*.>.*", "drugs.*", "drugs.*.bulk", "drugs.*.*.x", "Drugs.*.*", "drugs.>.*", ""} {
		if _, err := us.access(ctx, []string{bad}); fault.CodeOf(err) != "malformed-filter" {
			t.Errorf("%q: %v, want malformed-filter", bad, err)
		}
	}
}

// TestEverything: a filter of any group gets all that the node is competent for, in the lanes that it names, and
// nothing else. PROTOCOL 11.7.
func TestEverything(t *testing.T) {
	w := newWorld(t)
	mx, us, br := w.admit("mx"), w.admit("us"), w.admit("br", "drugs")
	w.start()
	from := mx.read()
	whole := us.read(func(r *reader) { r.filters = []string{"*.*.*"} })
	urgent := br.read(func(r *reader) { r.filters = []string{"*.*.urgent"} })
	for _, of := range []string{"drugs.trafficking.urgent", "drugs.precursors.routine", "fraud.financial.urgent", "tip.sexual.immediate"} {
		must(t, from.Publish(within(t, 5*time.Second), "alert."+of+".mx", []byte(of)))
	}
	soon(t, 5*time.Second, "all", whole.has("drugs.trafficking.urgent", "drugs.precursors.routine", "fraud.financial.urgent", "tip.sexual.immediate"))
	soon(t, 5*time.Second, "the urgent one", urgent.has("drugs.trafficking.urgent"))
	time.Sleep(100 * time.Millisecond)
	if got := urgent.texts(); len(got) != 1 {
		t.Errorf("competent for drugs, urgent alone asked for: %q", got)
	}
}

// TestNewState: a state that is admitted while the bus runs publishes to those who were there, without their doing.
func TestNewState(t *testing.T) {
	w := newWorld(t)
	us := w.admit("us")
	w.start()
	to := us.read()
	mx := w.admit("mx")
	from := mx.read()
	must(t, from.publish("hello"))
	soon(t, 10*time.Second, "it comes", to.has("hello"))
}

// TestLapse: a suspension that ends by time alone needs nobody's doing.
func TestLapse(t *testing.T) {
	w := newWorld(t)
	mx, us := w.admit("mx"), w.admit("us")
	w.start()
	to, from := us.read(), mx.read()
	mx.suspend(time.Hour)
	soon(t, 2*time.Second, "cut", func() bool { return from.publish("x") != nil })
	soon(t, 5*time.Second, "the reason is known", func() bool { return fault.CodeOf(from.Status().Last) == "suspended" })
	w.ahead.Store(int64(2 * time.Hour))
	soon(t, 40*time.Second, "back", func() bool { return from.publish("lapsed") == nil })
	soon(t, 5*time.Second, "it comes", to.has("lapsed"))
}
