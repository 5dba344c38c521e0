package alert

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/nudge"
)

const (
	nudgePage  = 64
	nudgeRetry = time.Minute
)

// calls is what the desk needs to nudge people. What is tried is lost with the process: a crash between an attempt that
// was accepted and its record nudges once more, under another ID.
type calls struct {
	targets map[authority.Name]nudge.Target
	sending sync.Mutex // held while what is due is sent: one at a time
	mu      sync.Mutex
	tried   map[waiting]attempt // guarded by mu
}

// waiting is an alert that waits for somebody of an authority.
type waiting struct {
	alert message.ID
	own   authority.Name
}

// attempt is a nudge that did not get through whole.
type attempt struct {
	id    nudge.ID
	again nudge.Address
	since time.Time
}

// call notes, in the transaction of an arrival, that somebody is to be told of it: for what is immediate and real, where
// the authority has somebody to tell. Nobody is called for an exercise.
func (d *Desk) call(tx ledger.Tx, row ledger.Alert) error {
	_, ok := d.calls.targets[row.Own]
	if !ok || d.Sender == nil || row.Urgency != message.Immediate || row.Status != message.Actual {
		return nil
	}
	now := d.Clock()
	return tx.PutNudge(ledger.Nudge{Alert: row.ID, Own: row.Own, First: now, Next: now})
}

// nudging sends what is due until ctx ends.
func (d *Desk) nudging(ctx context.Context) {
	for ctx.Err() == nil {
		changed := d.Changed()
		wait := d.Nudge(ctx)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
}

// Nudge sends every nudge that is due by the plan of room nudge: the desk, in its quiet hours the duty desk, and that
// again until somebody of the authority has read the alert. It returns how long until it should be asked again.
func (d *Desk) Nudge(ctx context.Context) time.Duration {
	if d.Sender == nil || len(d.calls.targets) == 0 {
		return expireEvery
	}
	d.calls.sending.Lock()
	defer d.calls.sending.Unlock()
	var due []ledger.Nudge
	var next time.Time
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if due, err = r.NudgesDue(d.Clock(), nudgePage); err != nil {
			return err
		}
		next, err = r.NextNudge()
		return err
	})
	for _, n := range due {
		if err == nil {
			err = d.nudge(ctx, n)
		}
	}
	switch {
	case err != nil:
		if ctx.Err() == nil {
			d.Log.Error("nudges could not be sent", zap.Error(err))
		}
		return expireEvery
	case len(due) > 0:
		return 0
	case next.IsZero():
		return expireEvery
	}
	return min(max(next.Sub(d.Clock()), 10*time.Millisecond), expireEvery)
}

// nudge makes one attempt and writes down what comes next. If the machine stops in between, the attempt is repeated.
func (d *Desk) nudge(ctx context.Context, n ledger.Nudge) error {
	target, ok := d.calls.targets[n.Own]
	step, more := target.Next(nudge.Progress{Came: n.First, Sent: n.Sent, Last: n.First}, d.Clock())
	unread, err := d.unread(ctx, n)
	if err != nil {
		return err
	}
	if !ok || !more || !unread {
		return d.called(ctx, n, false)
	}
	over, err := d.try(ctx, target, step.To, n)
	n.LastError = ""
	if err != nil {
		n.LastError = fault.As(err).Say
	}
	if !over {
		n.Next = d.Clock().Add(nudgeRetry)
		return d.called(ctx, n, true)
	}
	n.Sent++
	step, more = target.Next(nudge.Progress{Came: n.First, Sent: n.Sent, Last: d.Clock()}, d.Clock())
	n.Next = step.Due
	return d.called(ctx, n, more)
}

// unread reports whether an alert in force still waits for its authority.
func (d *Desk) unread(ctx context.Context, n ledger.Nudge) (bool, error) {
	var row ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.Alert(n.Alert, n.Own)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return row.State.InForce() && row.Mark == "", err
}

// try sends to what is left of an address. It is over when everything was accepted or refused for good, or when it is
// time for the next nudge.
func (d *Desk) try(ctx context.Context, target nudge.Target, to nudge.Address, n ledger.Nudge) (bool, error) {
	key := waiting{n.Alert, n.Own}
	d.calls.mu.Lock()
	x, tried := d.calls.tried[key]
	d.calls.mu.Unlock()
	if !tried {
		x = attempt{nudge.NewID(), to, d.Clock()}
	}
	notice := nudge.Notice{Authority: n.Own, ID: x.id, Time: n.First}
	if entry, ok := d.view().Authority(n.Own); ok && len(entry.Languages) > 0 {
		notice.Language = entry.Languages[0]
	}
	again, err := d.Sender.Send(ctx, x.again, notice)
	patience := target.EscalateAfter
	if patience <= 0 {
		patience = nudge.DefaultEscalateAfter
	}
	over := err == nil || again.IsZero() || d.Clock().Sub(x.since) >= patience
	d.calls.mu.Lock()
	defer d.calls.mu.Unlock()
	if over {
		delete(d.calls.tried, key)
		return true, err
	}
	x.again = again
	if d.calls.tried == nil {
		d.calls.tried = map[waiting]attempt{}
	}
	d.calls.tried[key] = x
	return false, err
}

// called records an attempt, unless somebody has read the alert or it has ended meanwhile.
func (d *Desk) called(ctx context.Context, n ledger.Nudge, more bool) error {
	return d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := tx.Alert(n.Alert, n.Own)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if !more || err != nil || !row.State.InForce() || row.Mark != "" {
			return tx.DeleteNudge(n.Alert, n.Own)
		}
		if err := tx.PutNudge(n); err != nil {
			return err
		}
		return second(tx.Append(d.event("nudged", nodeActor, row.Latest, message.Digest{}, n.Own.String())))
	})
}
