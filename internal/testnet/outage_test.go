package testnet_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/registry"
	"github.com/enlace-network/enlace/internal/testnet"
)

// TestAcceptance6TwoNodesWithoutTheHub: with the hub down, nodes exchange requests, files, answers and alerts (domain 14,
// acceptance check 6; P8).
func TestAcceptance6TwoNodesWithoutTheHub(t *testing.T) {
	n := start(t, testnet.Options{})
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	r, err := n.Demo(t.Context(), "", func(s string) { t.Log(s) })
	if err != nil || !r.OK || r.RequestsAnswered != 1 || r.AlertsDelivered != 2 {
		t.Errorf("without the hub: %+v, %v", r, err)
	}
}

// shifted is a clock that can be set ahead.
type shifted struct{ by atomic.Int64 }

func (s *shifted) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

// Without the hub traffic flows for 30 days, marked, and then sending is refused with the reason. P8, DESIGN 6.
func TestThirtyDaysWithoutTheHub(t *testing.T) {
	var clock shifted
	n := start(t, testnet.Options{FourEyes: "single", Clock: clock.now})
	mx, jm := n.Members[0], n.Members[1]
	if err := n.StopHub(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		want  registry.Freshness
	}{{0, registry.Fresh}, {time.Hour, registry.Degraded}, {29 * 24 * time.Hour, registry.Degraded}, {31 * 24 * time.Hour, registry.Stale}} {
		clock.by.Store(int64(step.after))
		if got, since := mx.Daemon.Follower.Freshness(); got != step.want {
			t.Fatalf("after %s the directory is %s (since %s), want %s", step.after, got, since, step.want)
		}
		relogin(t, mx, jm)
		id, err := mx.Submit(t.Context(), testnet.Exercise(mx, jm, "identify-person", "Is this person known to you?"))
		if step.want == registry.Stale {
			if fault.CodeOf(err) != "directory-stale" {
				t.Errorf("after %s a request was sent: %v", step.after, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("after %s: %v", step.after, err)
		}
		if _, err := jm.Await(t.Context(), jm.Duty, id, testnet.InState("DELIVERED")); err != nil {
			t.Fatalf("after %s: %v", step.after, err)
		}
	}
}

// relogin opens the sessions of officers again: theirs end within hours.
func relogin(t *testing.T, members ...*testnet.Member) {
	t.Helper()
	for _, m := range members {
		var err error
		if m.Officer, err = m.Login(context.Background(), "officer"); err != nil {
			t.Fatal(err)
		}
		if m.Duty, err = m.Login(context.Background(), "duty"); err != nil {
			t.Fatal(err)
		}
	}
}
