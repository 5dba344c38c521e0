package alert_test

import (
	"context"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// TestClockStep: what a clock that was ahead has ended is in force again when the clock is right, on both sides; and the
// issuer cancels what its own clock says is over.
func TestClockStep(t *testing.T) {
	ctx := context.Background()
	w, s := newWorld(t, "mx", "jm")
	mx, jm := s[0], s[1]
	jm.subscribe(">")
	id := mx.issued(w.composition("Early"))
	jm.until("issued", id, state(message.AlertIssued))
	w.advance(2 * message.AlertLife)
	w.must(mx.Expire(ctx))
	w.must(jm.Expire(ctx))
	if mx.row(id, mx.name).State != message.AlertExpired || jm.row(id, jm.name).State != message.AlertExpired {
		t.Fatal("not expired")
	}
	w.advance(-2 * message.AlertLife)
	w.must(mx.Expire(ctx))
	w.must(jm.Expire(ctx))
	if mx.row(id, mx.name).State != message.AlertIssued || jm.row(id, jm.name).State != message.AlertIssued {
		t.Fatal("a step of the clock has ended the alert for good")
	}
	soon := w.composition("Soon")
	soon.Expires = w.now().Add(time.Hour)
	over := mx.issued(soon)
	w.advance(2 * time.Hour)
	w.must(mx.Expire(ctx))
	if p, err := mx.Cancel(ctx, mx.actor(), over, &formatv1.Cancellation{Reason: "ERROR"}); err != nil || p.Message.IsZero() {
		t.Errorf("cancelled: %+v, %v", p, err)
	}
}

// TestCancelOfOthers: what no subscription wanted does not exist, and what another issued is not ours to end.
func TestCancelOfOthers(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx := w.join("mx", police())
	jm := w.join("jm", police(), office{slug: "customs", in: []string{"drugs"}})
	mx.start()
	jm.start()
	jm.subscribe(">")
	id := mx.issued(w.composition("Theirs"))
	jm.until("issued", id, state(message.AlertIssued))
	error := &formatv1.Cancellation{Reason: "ERROR"}
	if _, err := jm.Cancel(ctx, jm.actor(), id, error); fault.CodeOf(err) != "not-issuer" || !fault.Is(err, fault.Denied) {
		t.Errorf("another's alert: %v", err)
	}
	if jm.row(id, jm.office("customs")).State != "UNMATCHED" {
		t.Fatal("no row that nobody sees")
	}
	if _, err := jm.Cancel(ctx, jm.of("customs"), id, error); !fault.Is(err, fault.NotFound) {
		t.Errorf("what nobody is shown: %v", err)
	}
}
