package directory

import (
	"errors"
	"sync"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// remember is a history of what the world has in its log, and of what comes.
func (w *world) remember() *History {
	w.t.Helper()
	h := &History{}
	if err := h.Fold(entries(w.log), nil); err != nil {
		w.t.Fatal(err)
	}
	w.s = h.Newest()
	return h
}

func (w *world) suspendAndNote(h *History) {
	w.now = w.now.Add(time.Second)
	payload, err := w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(time.Hour), "")
	w.do(payload, err, byMX)
	h.Add(w.s)
}

// PROTOCOL 7.3: 64 changes can be looked back, and what changes no audience does not count.
func TestHistory(t *testing.T) {
	w := populated(t)
	h := w.remember()
	first := w.s.Position()
	if w.s.Changed() != first {
		t.Fatalf("last change at %d, want %d", w.s.Changed(), first)
	}
	for range 100 { // of these, none counts
		payload, err := w.draft().RotateNode(nodeOf("mx/node/primary"), &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:1"}})
		w.do(payload, err, byMX)
		h.Add(w.s)
		w.s, w.log = w.s.Skip(), append(w.log, w.log[0]) // a second genesis
		h.Add(w.s)
	}
	quiet := w.s.Position()
	if w.s.Changed() != first || quiet != first+200 {
		t.Fatalf("last change at %d of %d, want %d of %d", w.s.Changed(), quiet, first, first+200)
	}
	for range remembered - 1 {
		w.suspendAndNote(h)
	}
	for _, position := range []uint64{first, first + 1, quiet, quiet + 1, w.s.Position()} {
		s, ok := h.At(position)
		if !ok || s.Position() != position {
			t.Fatalf("position %d: %t", position, ok)
		}
		suspended := s.At(w.now).CheckState(stateOf("mx")) != nil
		if want := position > quiet; suspended != want {
			t.Errorf("position %d: mx suspended %t, want %t", position, suspended, want)
		}
	}
	if _, ok := h.At(first - 1); ok {
		t.Error("what was 65 changes ago is remembered")
	}
	if _, ok := h.At(w.s.Position() + 1); ok {
		t.Error("a position beyond the log is known")
	}
	w.suspendAndNote(h)
	if _, ok := h.At(quiet); ok {
		t.Error("64 changes later it is still remembered")
	}
	if again := w.remember(); again.Newest().Changed() != again.Newest().Position() || len(again.kept) != remembered {
		t.Errorf("built from the log: %d kept up to %d", len(again.kept), again.Newest().Changed())
	}
}

func TestHistoryEmpty(t *testing.T) {
	var h History
	if _, ok := h.At(0); ok || h.Newest() != nil {
		t.Error("an empty history knows something")
	}
	torn := errors.New("torn")
	if err := h.Fold(func(yield func([]byte, error) bool) { yield(nil, torn) }, nil); !errors.Is(err, torn) {
		t.Errorf("storage that fails: %v", err)
	}
}

// Every kind of statement that an audience or the signers of a restriction depend on counts. PROTOCOL 7.3.
func TestChanged(t *testing.T) {
	w := populated(t)
	counts := func(what string, want bool, do func()) {
		t.Helper()
		w.now = w.now.Add(time.Second)
		do()
		if got := w.s.Changed() == w.s.Position(); got != want {
			t.Errorf("%s counts: %t, want %t", what, got, want)
		}
	}
	d := func() Draft { return w.draft() }
	counts("a state", true, func() { w.admit("br") })
	counts("a node", true, func() { w.declareNode("br/node/primary") })
	counts("an authority", true, func() { w.declareAuthority("br/pf", "br/node/primary") })
	counts("an amendment", true, func() { w.amend("br/pf", func(b *formatv1.DeclareAuthority) { b.Competences = nil }) })
	counts("keys of a state", true, func() {
		payload, err := d().RotateState(stateOf("br"), &formatv1.RotateState{Threshold: 2, Keys: declared(PurposeState, "br-1", "br-2")})
		w.do(payload, err, stateKeys("br")+" new:br-1 new:br-2")
	})
	counts("keys of an authority", false, func() {
		payload, err := d().RotateAuthorityKeys(nameOf("br/pf"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "br/pf-2")})
		w.do(payload, err, stateKeys("br"))
	})
	counts("a suspension", true, func() {
		payload, err := d().Suspend(OfNode(nodeOf("br/node/primary")), w.now.Add(time.Hour), "")
		w.do(payload, err, stewards)
	})
	counts("a reinstatement", true, func() {
		payload, err := d().Reinstate(OfNode(nodeOf("br/node/primary")), "")
		w.do(payload, err, stewards)
	})
	counts("a retirement", true, func() {
		payload, err := d().Retire(nameOf("br/pf"), "")
		w.do(payload, err, stateKeys("br"))
	})
	counts("a revocation", true, func() {
		payload, err := d().RevokeNode(nodeOf("br/node/primary"), "")
		w.do(payload, err, stateKeys("br"))
	})
	counts("an entry that is skipped", false, func() { w.s = w.s.Skip() })
	last := w.s.Changed()
	payload, err := d().Retire(nameOf("jm/fgr"), "")
	w.see(payload, err, stateKeys("jm"))
	if w.s.Changed() != last {
		t.Error("what was only seen counts as logged")
	}
}

// Many may ask while the log grows.
func TestHistoryConcurrent(t *testing.T) {
	w := populated(t)
	h := w.remember()
	position := w.s.Position()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				s, ok := h.At(position)
				if !ok {
					return // forgotten meanwhile
				}
				if m, err := s.At(start).Audience(categoryOf("drugs"), ByCategory, nil); err != nil || len(m) != 2 {
					t.Errorf("%s, %v", listed(m), err)
				}
			}
		})
	}
	for range 70 {
		w.suspendAndNote(h)
	}
	wg.Wait()
}
