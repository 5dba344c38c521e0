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

// TestAlerts measures the one-to-many road on a few nodes: whatever the figures are, all of it is delivered and
// receipted, and every figure is there.
func TestAlerts(t *testing.T) {
	o := Options{
		What: []string{fanoutRow}, Dir: t.TempDir(), Tell: func(line string) { t.Log(line) },
		fan: fanSize{states: members()[:4], alerts: 20, rounds: 1, paced: 20, perSecond: 20, missed: 300},
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r) != 1 || len(r[fanoutRow]) != 4 {
		t.Fatalf("report = %v, want four figures of one row", r)
	}
	for _, name := range []string{"deliveries_per_s", "wire_bytes", "catchup_per_s"} {
		if f := r[fanoutRow][name]; f.Floor <= 0 || f.Ours <= 0 || f.Ratio <= 0 {
			t.Errorf("%s = %+v, want floor, ours and ratio", name, f)
		}
	}
	if f := r[fanoutRow]["p99_ms"]; f.Ours <= 0 || f.Goal != paceGoal {
		t.Errorf("p99_ms = %+v, want a time and its goal", f)
	}
	if f := r[fanoutRow]["wire_bytes"]; f.Ours > wireGoal || f.Floor < alertSize {
		t.Errorf("wire_bytes = %+v, want at most %d for an alert of %d", f, wireGoal, alertSize)
	}
	t.Log(r)
}

// TestFanFloor holds the floor to what it is there for: a receiver that could not read fails the run.
func TestFanFloor(t *testing.T) {
	f, err := newFan(t.Context(), t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := f.round(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	other, err := newScript()
	if err != nil {
		t.Fatal(err)
	}
	frame, err := other.write()
	if err != nil {
		t.Fatal(err)
	}
	if f.read(frame) == nil {
		t.Error("a frame of another's key was taken")
	}
	f.script.epoch.key[0]++
	frame, err = f.write()
	f.script.epoch.key[0]--
	if err != nil || f.read(frame) == nil {
		t.Error("a frame under another epoch's key was taken")
	}
}

// BenchmarkCrowd is for profiles of our side of the one-to-many road.
func BenchmarkCrowd(b *testing.B) {
	c, err := newCrowd(context.Background(), b.TempDir(), members())
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	if err := c.prepare(context.Background(), b.N); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := used(b)
	perSecond, err := c.deliver(context.Background(), b.N)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(milliseconds(used(b)-before)/float64(b.N), "cpu-ms/op")
	b.ReportMetric(perSecond, "deliveries/s")
	if err := c.confirmed(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFan is the same for the floor.
func BenchmarkFan(b *testing.B) {
	f, err := newFan(context.Background(), b.TempDir(), len(members())-1)
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	before := used(b)
	b.ResetTimer()
	perSecond, err := f.round(context.Background(), b.N)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(milliseconds(used(b)-before)/float64(b.N), "cpu-ms/op")
	b.ReportMetric(perSecond, "deliveries/s")
}

// BenchmarkCatchUp is for profiles of a node that comes back.
func BenchmarkCatchUp(b *testing.B) {
	o := Options{Tell: func(string) {}, fan: fanSize{missed: b.N}.filled()}
	var f fanned
	if err := o.catchUp(context.Background(), b.TempDir(), &f); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(f.catch[0], "alerts/s")
}

// TestRegister measures the row of the directory on a small log: whatever the figures are, every one is there.
func TestRegister(t *testing.T) {
	o := Options{What: []string{directoryRow}, Dir: t.TempDir(), Tell: func(line string) { t.Log(line) },
		book: bookSize{authorities: 400, statements: 1000}, fan: fanSize{states: []string{"mx", "jm", "br"}}}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, goal := range map[string]float64{"verify_s": verifyGoal, "load_s": loadGoal, "who_p99_ms": whoGoal, "heap_mb": heapGoal, "change_p99_ms": changeGoal} {
		if f := r[directoryRow][name]; f.Ours <= 0 || f.Goal != goal {
			t.Errorf("%s = %+v, want a figure and the goal %v", name, f, goal)
		}
	}
}
