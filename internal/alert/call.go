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
	nudgeRetry = time.Minute
	// nudgeAgain is for what comes due, or ends, while attempts are under way.
	nudgeAgain = time.Second
)

// calls is what the desk needs to nudge people. What is tried is lost with the process: a crash between an attempt that
// was accepted and its record nudges once more, under another ID.
type calls struct {
	targets map[authority.Name]nudge.Target
	running sync.WaitGroup // attempts under way
	mu      sync.Mutex
	// All guarded by mu, by authority.
	busy  map[authority.Name]bool    // an attempt is under way: one at a time
	tried map[authority.Name]attempt // the nudge that is not through
	last  map[authority.Name]spoken  // the last that is
}

// spoken is a nudge that is over. Who has not looked since is not told again before it is time.
type spoken struct {
	about waiting
	at    time.Time
}

// waiting is an alert that waits for somebody of an authority.
type waiting struct {
	alert message.ID
	own   authority.Name
}

// attempt is a nudge that did not get through whole.
type attempt struct {
	about waiting
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
		wait := d.startNudges(ctx)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(wait):
		}
	}
	d.calls.running.Wait()
}

// Nudge sends every nudge that is due by the plan of room nudge: the desk, in its quiet hours the duty desk, and that
// again until somebody of the authority has read the alert. However many alerts wait for an authority, it is told once in
// each EscalateAfter. It returns when all is tried, with how long until it should be asked again.
func (d *Desk) Nudge(ctx context.Context) time.Duration {
	wait := d.startNudges(ctx)
	d.calls.running.Wait()
	return wait
}

// startNudges tries what is due, each authority by itself: a server that does not answer delays nobody else's.
func (d *Desk) startNudges(ctx context.Context) time.Duration {
	if d.Sender == nil || len(d.calls.targets) == 0 {
		return expireEvery
	}
	var due []ledger.Nudge
	var next time.Time
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if due, err = r.NudgesDue(d.Clock(), ledger.MaxPage); err != nil {
			return err
		}
		next, err = r.NextNudge()
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Error("nudges could not be read", zap.Error(err))
		}
		return expireEvery
	}
	by := map[authority.Name][]ledger.Nudge{}
	for _, n := range due {
		by[n.Own] = append(by[n.Own], n)
	}
	for own, all := range by {
		d.start(ctx, own, all)
	}
	switch {
	case len(due) > 0:
		return nudgeAgain
	case next.IsZero():
		return expireEvery
	}
	return min(max(next.Sub(d.Clock()), 10*time.Millisecond), expireEvery)
}

// start tries what is due of one authority, unless that is under way.
func (d *Desk) start(ctx context.Context, own authority.Name, due []ledger.Nudge) {
	d.calls.mu.Lock()
	defer d.calls.mu.Unlock()
	if d.calls.busy[own] {
		return
	}
	if d.calls.busy == nil {
		d.calls.busy, d.calls.tried = map[authority.Name]bool{}, map[authority.Name]attempt{}
		d.calls.last = map[authority.Name]spoken{}
	}
	d.calls.busy[own] = true
	d.calls.running.Go(func() {
		if err := d.nudge(ctx, own, due); err != nil && ctx.Err() == nil {
			d.Log.Error("nudges could not be sent", zap.Stringer("authority", own), zap.Error(err))
		}
		d.calls.mu.Lock()
		defer d.calls.mu.Unlock()
		delete(d.calls.busy, own)
	})
}

// nudge makes one attempt for all that is due of an authority, and writes down what comes next. The one that was told of
// most often says whom to tell. If the machine stops in between, the attempt is repeated.
func (d *Desk) nudge(ctx context.Context, own authority.Name, due []ledger.Nudge) error {
	target, ok := d.calls.targets[own]
	if err := d.forgetRead(ctx, own); err != nil {
		return err
	}
	var open []ledger.Nudge
	var to nudge.Address
	lead := 0
	for _, n := range due {
		step, more := target.Next(nudge.Progress{Came: n.First, Sent: n.Sent, Last: n.First}, d.Clock())
		unread, err := d.unread(ctx, n)
		if err != nil {
			return err
		}
		if !ok || !more || !unread {
			if err := d.called(ctx, n, false); err != nil {
				return err
			}
			continue
		}
		if open = append(open, n); len(open) == 1 || n.Sent > open[lead].Sent {
			lead, to = len(open)-1, step.To
		}
	}
	if len(open) == 0 {
		return nil
	}
	told, since := d.toldOf(own, target)
	over, say := true, ""
	if !told {
		var err error
		if over, err = d.try(ctx, target, to, open[lead]); err != nil {
			say = fault.As(err).Say
		}
		since = d.Clock()
	}
	for _, n := range open {
		if err := d.tried(ctx, target, n, over, say, since); err != nil {
			return err
		}
	}
	return nil
}

// tried writes down what an attempt was for one alert. Those that were not named count as told of with it.
func (d *Desk) tried(ctx context.Context, target nudge.Target, n ledger.Nudge, over bool, say string, since time.Time) error {
	n.LastError = say
	if !over {
		n.Next = d.Clock().Add(nudgeRetry)
		return d.called(ctx, n, true)
	}
	n.Sent++
	step, more := target.Next(nudge.Progress{Came: n.First, Sent: n.Sent, Last: since}, d.Clock())
	n.Next = step.Due
	return d.called(ctx, n, more)
}

// forgetRead drops what is remembered of an attempt or a nudge whose alert waits no more.
func (d *Desk) forgetRead(ctx context.Context, own authority.Name) error {
	d.calls.mu.Lock()
	x, tried := d.calls.tried[own]
	s, spoke := d.calls.last[own]
	d.calls.mu.Unlock()
	for _, w := range []struct {
		about  waiting
		had    bool
		forget func()
	}{
		{x.about, tried, func() { delete(d.calls.tried, own) }},
		{s.about, spoke, func() { delete(d.calls.last, own) }},
	} {
		if !w.had {
			continue
		}
		unread, err := d.unread(ctx, ledger.Nudge{Alert: w.about.alert, Own: w.about.own})
		if err != nil {
			return err
		}
		if !unread {
			d.calls.mu.Lock()
			w.forget()
			d.calls.mu.Unlock()
		}
	}
	return nil
}

// toldOf reports whether an authority was told less than EscalateAfter ago of something that it has not looked at, and when.
func (d *Desk) toldOf(own authority.Name, target nudge.Target) (bool, time.Time) {
	d.calls.mu.Lock()
	defer d.calls.mu.Unlock()
	s, ok := d.calls.last[own]
	return ok && d.Clock().Sub(s.at) < patience(target), s.at
}

func patience(target nudge.Target) time.Duration {
	if target.EscalateAfter > 0 {
		return target.EscalateAfter
	}
	return nudge.DefaultEscalateAfter
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
	d.calls.mu.Lock()
	x, tried := d.calls.tried[n.Own]
	d.calls.mu.Unlock()
	if !tried {
		x = attempt{waiting{n.Alert, n.Own}, nudge.NewID(), to, d.Clock()}
	}
	notice := nudge.Notice{Authority: n.Own, ID: x.id, Time: n.First}
	if entry, ok := d.view().Authority(n.Own); ok && len(entry.Languages) > 0 {
		notice.Language = entry.Languages[0]
	}
	again, err := d.Sender.Send(ctx, x.again, notice)
	over := err == nil || again.IsZero() || d.Clock().Sub(x.since) >= patience(target)
	d.calls.mu.Lock()
	defer d.calls.mu.Unlock()
	if over {
		delete(d.calls.tried, n.Own)
		d.calls.last[n.Own] = spoken{waiting{n.Alert, n.Own}, d.Clock()}
		return true, err
	}
	x.again = again
	d.calls.tried[n.Own] = x
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
