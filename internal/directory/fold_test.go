package directory

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func entries(log [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range log {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// PROTOCOL 4.15: an entry that is not valid counts a position, raises an alarm, and nothing else.
func TestFold(t *testing.T) {
	w := populated(t)
	spoilt := bytes.Clone(w.log[3])
	spoilt[len(spoilt)-1] ^= 1
	log := [][]byte{w.log[0], []byte("junk"), w.log[1], w.log[0], spoilt, w.log[2]}
	// The drafts after the junk were made at positions of a log without it: they are valid at any later one.
	log = append(log, w.log[3:]...)
	type alarm struct {
		position uint64
		code     string
	}
	var alarms []alarm
	s, err := Fold(nil, entries(log), func(position uint64, err error) { alarms = append(alarms, alarm{position, code(err)}) })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(alarms), "[{2 malformed} {4 already-founded} {5 bad-signature}]"; got != want {
		t.Errorf("alarms %s, want %s", got, want)
	}
	if got := s.Position(); got != uint64(len(log)) {
		t.Errorf("position %d, want %d", got, len(log))
	}
	if got := len(s.At(w.now).Authorities()); got != 2 {
		t.Errorf("%d authorities, want 2", got)
	}
	half, err := Fold(nil, entries(w.log[:4]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if half, err = Fold(half, entries(w.log[4:]), nil); err != nil || inLog(half) != inLog(w.s) {
		t.Errorf("in two halves: %v", err)
	}
}

func TestFoldRefuses(t *testing.T) {
	w := populated(t)
	if _, err := Fold(nil, entries(w.log[1:]), nil); code(err) != "no-genesis" {
		t.Errorf("no genesis: %v", err)
	}
	torn := errors.New("torn")
	broken := func(yield func([]byte, error) bool) { _ = yield(w.log[0], nil) && yield(nil, torn) }
	if _, err := Fold(nil, broken, nil); !errors.Is(err, torn) {
		t.Errorf("storage that fails: %v", err)
	}
}

// A snapshot may be read while others are made from it.
func TestConcurrentReads(t *testing.T) {
	w := populated(t)
	s := w.s
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				v := s.At(start)
				if len(v.Find(Query{})) != 2 || v.CheckNode(nodeOf("mx/node/primary")) != nil {
					t.Error("the snapshot changed")
				}
			}
		})
	}
	for i := range 50 {
		w.now = w.now.Add(time.Second)
		payload, err := w.draft().RotateNode(nodeOf("mx/node/primary"), &formatv1.RotateNode{Endpoints: []string{fmt.Sprintf("127.0.0.1:%d", i+1)}})
		w.do(payload, err, byMX)
	}
	wg.Wait()
}

// large is a log of 10,000 authorities in 34 states and 30,000 statements.
var large = sync.OnceValue(func() [][]byte {
	w := founded(quiet{})
	seal := sealing("large")
	var states []string
	for i := range 34 {
		states = append(states, fmt.Sprintf("x-s%d", i))
		w.admit(states[i])
		w.declareNode(states[i] + "/node/primary")
	}
	for i := range 10_000 {
		state := states[i%len(states)]
		name := fmt.Sprintf("%s/a%d", state, i)
		body := authorityBody("x", state+"/node/primary")
		// Real sealing keys cost more to make than to declare; only their shape is read here.
		text := append(seal.Bytes(), fmt.Sprintf("%05d", i)...)
		unique, err := authority.ParsePublicKey(authority.AgeHybrid, text)
		if err != nil {
			panic(err)
		}
		body.Keys = []*formatv1.Key{declared(PurposeSign, name)[0], DeclareKey(PurposeSeal, unique, time.Time{})}
		payload, err := w.draft().DeclareAuthority(nameOf(name), body)
		w.do(payload, err, stateKeys(state)+designated)
		for n := range 2 {
			payload, err = w.draft().RotateAuthorityKeys(nameOf(name), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, fmt.Sprintf("%s-%d", name, n))})
			w.do(payload, err, stateKeys(state))
		}
	}
	return w.log
})

type quiet struct{ testing.TB }

func (quiet) Helper()                      {}
func (quiet) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// The goal of DESIGN 15 for full verification is 8 s on 2 cores.
func BenchmarkFold30000(b *testing.B) {
	log := large()
	b.ResetTimer()
	for range b.N {
		s, err := Fold(nil, entries(log), func(position uint64, err error) { b.Fatal(position, err) })
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(log)), "statements")
		b.ReportMetric(heap(s), "heap-MB")
	}
}

func heap(s *Snapshot) float64 {
	var with runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(s)
	return float64(with.HeapAlloc) / 1e6
}

// The goal of DESIGN 15 for who-do-I-ask is 1 ms.
func BenchmarkFind(b *testing.B) {
	s, err := Fold(nil, entries(large()), nil)
	if err != nil {
		b.Fatal(err)
	}
	category, err := authority.ParseCategory("firearms.trafficking")
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]Query{
		"state": {State: stateOf("x-s3"), Function: "requests", Category: category},
		"none":  {Function: "fiu"},
		"all":   {Function: "requests", Category: category},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				s.At(start).Find(q)
			}
		})
	}
}

// What one change costs with 10,000 authorities, signatures aside.
func BenchmarkRestrict(b *testing.B) {
	s, err := Fold(nil, entries(large()), nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &world{t: b, s: s, now: start}
	payload, err := w.draft().Suspend(OfState(stateOf("x-s3")), w.now.Add(time.Hour), "")
	st := w.parse(payload, err, stewards)
	b.ResetTimer()
	for range b.N {
		if _, err := Restrict(s, st); err != nil {
			b.Fatal(err)
		}
	}
}
