package alert

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	expirePage = 256
	// expireEvery bounds how late an end is noticed after the machine slept or its clock was set.
	expireEvery = 15 * time.Second
)

// Expire ends every alert whose time is over, on both sides: each row is changed, locked for its receiver, and leaves an
// event. domain.md 4.9.
//
// What a clock that was ahead has ended is in force again, once the clock is right: at start-up, and when it is seen to
// step back.
func (d *Desk) Expire(ctx context.Context) error {
	if err := d.unexpire(ctx); err != nil {
		return err
	}
	for {
		if idle, err := d.noneOver(ctx); err != nil || idle {
			return errors.Join(err, d.trim(ctx))
		}
		ended := 0
		err := d.Ledger.Update(ctx, func(tx ledger.Tx) error {
			rows, err := tx.AlertsExpired(d.Clock(), expirePage)
			ended = len(rows)
			for _, row := range rows {
				if err == nil {
					err = d.expire(tx, row)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		if ended > 0 {
			d.tell()
		}
	}
}

// noneOver looks before anything is written.
func (d *Desk) noneOver(ctx context.Context) (bool, error) {
	var rows []ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		rows, err = r.AlertsExpired(d.Clock(), 1)
		return err
	})
	return len(rows) == 0, err
}

func (d *Desk) expire(tx ledger.Tx, row ledger.Alert) error {
	row.State, row.Changed = message.AlertExpired, d.Clock()
	d.ended(row)
	if row.Direction == ledger.Out {
		if err := dropDraft(tx, row.ID); err != nil {
			return err
		}
	}
	if err := tx.DeleteNudge(row.ID, row.Own); err != nil {
		return err
	}
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	return second(tx.Append(d.event("alert-expired", nodeActor, row.Latest, message.Digest{}, row.Own.String())))
}

// unexpire puts alerts in force again that were ended before their time.
func (d *Desk) unexpire(ctx context.Context) error {
	now := d.Clock()
	if !d.memory.steppedBack(now) {
		return nil
	}
	var early []ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		return pages(r, ledger.AlertFilter{State: message.AlertExpired}, func(row ledger.Alert) error {
			if row.Expires.After(now) && row.Ended.ID.IsZero() && row.Version > 0 {
				early = append(early, row)
			}
			return nil
		})
	})
	for len(early) > 0 && err == nil {
		page := early[:min(len(early), expirePage)]
		early = early[len(page):]
		err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
			for _, row := range page {
				if err := d.backInForce(tx, row); err != nil {
					return err
				}
			}
			return nil
		})
		d.tell()
	}
	if err == nil {
		d.memory.seenClock(now)
	}
	return err
}

func (d *Desk) backInForce(tx ledger.Tx, seen ledger.Alert) error {
	row, err := tx.Alert(seen.ID, seen.Own)
	if err != nil || row.State != message.AlertExpired {
		return err
	}
	row.State, row.Changed = stateAfter(row.Version-1), d.Clock()
	if row.Direction == ledger.In {
		d.keep(row)
	}
	if _, err := tx.PutAlert(row); err != nil {
		return err
	}
	return second(tx.Append(d.event("alert-unexpired", nodeActor, row.Latest, message.Digest{}, row.Own.String())))
}

// expiring ends alerts in time, from start-up on.
func (d *Desk) expiring(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.Expire(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("alerts that are over could not be ended", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-d.rows:
			rest(ctx, time.Second) // changes come in swarms
		case <-time.After(d.untilExpiry(ctx)):
		}
	}
}

// untilExpiry is how long to sleep.
func (d *Desk) untilExpiry(ctx context.Context) time.Duration {
	var next time.Time
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		next, err = r.NextExpiry()
		return err
	})
	if err != nil || next.IsZero() {
		return expireEvery
	}
	return min(max(next.Sub(d.Clock()), 10*time.Millisecond), expireEvery)
}

// rest sleeps, or less when ctx ends.
func rest(ctx context.Context, t time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(t):
	}
}
