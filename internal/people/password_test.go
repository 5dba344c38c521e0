package people

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/enlace-network/enlace/internal/fault"
)

// TestGateBoundsHashes holds both slots, then all places of the queue.
func TestGateBoundsHashes(t *testing.T) {
	g, err := newGate(argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for range maxHashing {
		if err := g.enter(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := g.compare(ctx, "not the password", g.decoy); !fault.Is(err, fault.Retry) {
		t.Errorf("a wait given up = %v, want Retry", err)
	}
	if len(g.waiting) != 0 {
		t.Errorf("who gave up still stands in the queue")
	}
	for range maxWaiting {
		g.waiting <- struct{}{}
	}
	if _, err := g.hash(context.Background(), "any password"); !fault.Is(err, fault.Retry) {
		t.Errorf("beyond the queue = %v, want Retry", err)
	}
	<-g.waiting
	g.leave()
	if v, err := g.compare(context.Background(), "not the password", g.decoy); err != nil || v.right {
		t.Errorf("with a slot free = %+v, %v; want a wrong password", v, err)
	}
}

func TestDrawnPasswordsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p, err := draw(rand.Reader)
		if err != nil || seen[p] || normalise(p) != p {
			t.Fatalf("draw = a repeat or no password (%v)", err)
		}
		seen[p] = true
	}
}

// TestWaits holds the table of the package comment.
func TestWaits(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 4: 0, 5: 5 * time.Second, 6: 10 * time.Second, 12: 640 * time.Second, 13: 15 * time.Minute, maxFailures: 15 * time.Minute,
	} {
		if got := wait(failures); got != want {
			t.Errorf("wait after %d failures = %v, want %v", failures, got, want)
		}
	}
}
