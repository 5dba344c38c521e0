package alert_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// phone records nudges. What goes over the wire is tested in room nudge.
type phone struct {
	mu    sync.Mutex
	calls []call // guarded by mu
	err   error  // guarded by mu; what Send answers
}

type call struct {
	to nudge.Mailbox
	n  nudge.Notice
}

func (p *phone) Send(_ context.Context, to nudge.Address, n nudge.Notice) (nudge.Address, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call{to.Mail[0], n})
	if p.err != nil {
		return to, p.err
	}
	return nudge.Address{}, nil
}

func (p *phone) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *phone) all() []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]call(nil), p.calls...)
}

func mailbox(t *testing.T, s string) nudge.Mailbox {
	t.Helper()
	m, err := nudge.ParseMailbox(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNudges: an immediate real alert wakes the desk at once and the duty desk until somebody has read it, over restarts;
// no exercise and nothing less urgent does. domain.md 12.
func TestNudges(t *testing.T) {
	ctx := context.Background()
	w := emptyWorld(t)
	mx, jm := w.join("mx", police()), w.join("jm", police())
	desk, duty := mailbox(t, "desk@example.org"), mailbox(t, "duty@example.org")
	p := &phone{}
	jm.sender = p
	jm.targets = []nudge.Target{{Authority: jm.name, Desk: nudge.Address{Mail: []nudge.Mailbox{desk}}, Duty: nudge.Address{Mail: []nudge.Mailbox{duty}}}}
	mx.start()
	jm.start()
	jm.subscribe(">")
	urgent := w.composition("Now")
	urgent.Urgency, urgent.Notice.UrgencyReason = message.Immediate, &formatv1.Reason{Code: "THREAT_TO_LIFE"}
	drill := w.composition("Drill")
	drill.Urgency, drill.Notice.UrgencyReason, drill.Status = message.Immediate, &formatv1.Reason{Code: "THREAT_TO_LIFE"}, message.Exercise
	quiet := mx.issued(w.composition("Later"))
	exercise := mx.issued(drill)
	jm.until("issued", quiet, state(message.AlertIssued))
	jm.until("issued", exercise, state(message.AlertIssued))
	id := mx.issued(urgent)
	jm.until("issued", id, state(message.AlertIssued))
	w.eventually("the desk is told", func() bool { return len(p.all()) == 1 })
	if c := p.all()[0]; c.to != desk || c.n.Authority != jm.name || c.n.Language.String() != "en" {
		t.Errorf("first: %+v", c)
	}

	jm.Nudge(ctx) // comes after the one under way, and so after what it has noted
	jm.restart()
	w.advance(nudge.DefaultEscalateAfter - time.Minute)
	jm.Nudge(ctx)
	if len(p.all()) != 1 {
		t.Errorf("told too early: %+v", p.all())
	}
	p.fail(fault.New(fault.Retry, "", "send", "busy"))
	w.advance(2 * time.Minute)
	jm.Nudge(ctx)
	w.eventually("an attempt", func() bool { return len(p.all()) == 2 })
	p.fail(nil)
	w.advance(2 * time.Minute)
	jm.Nudge(ctx)
	w.eventually("the duty desk is told", func() bool { return len(p.all()) == 3 })
	calls := p.all()
	if calls[1].to != duty || calls[2].to != duty || calls[1].n.ID != calls[2].n.ID || calls[1].n.ID == calls[0].n.ID {
		t.Errorf("escalation: %+v", calls)
	}
	robot := jm.actor()
	robot.Token = true
	_, err := jm.Show(ctx, robot, id)
	w.must(err)
	w.advance(nudge.DefaultEscalateAfter + time.Minute)
	jm.Nudge(ctx)
	w.eventually("a machine's reading stops nothing", func() bool { return len(p.all()) == 4 })
	_, err = jm.Show(ctx, jm.actor(), id)
	w.must(err)
	w.advance(24 * time.Hour)
	jm.Nudge(ctx)
	if len(p.all()) != 4 {
		t.Error("somebody was told of what a person has read")
	}
	if jm.events("nudged") != 4 { // the attempt that failed is on record too
		t.Errorf("%d events", jm.events("nudged"))
	}
}
