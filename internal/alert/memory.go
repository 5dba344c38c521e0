package alert

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// lookEvery is for what changes by time alone: a suspension that lapses.
const lookEvery = time.Minute

// memory is what the desk keeps at hand of subscriptions, directory and alerts in force, so that Wants asks nobody. All of
// it is made again from them. It is asked inside transactions: whoever holds mu never waits for the ledger.
type memory struct {
	reading sync.Mutex // held by refresh, never inside a transaction
	mu      sync.RWMutex
	// All guarded by mu.
	snapshot *directory.Snapshot // that local was read from
	local    []authority.Name    // served by this node, whatever their status
	wishes   []wish
	npcs     int             // of this node that may act
	inForce  map[origin]bool // received alerts in force; may have more than there are, never fewer
	ended    map[origin]bool // where there may be none left
	filters  []string
	// filtersChanged is closed and replaced when filters changes.
	filtersChanged chan struct{}
	print          string    // of wishes: whether they say something else than before
	clock          time.Time // the latest that was seen; zero before the first look
}

// steppedBack reports whether the clock says less than it did, or was not looked at yet.
func (m *memory) steppedBack(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clock.IsZero() || now.Before(m.clock) {
		return true
	}
	m.clock = now
	return false
}

func (m *memory) seenClock(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = now
}

// origin is what a subject tells of an alert in force.
type origin struct {
	state    authority.State
	category authority.Category
}

// Wants reports whether this node takes an alert that goes under a subject: a subscription has its category and lane, or
// one of our authorities is a national point of contact of such an alert, or received alerts of that state and category
// are in force here, whose updates and cancellations must come. It only looks at memory.
func (d *Desk) Wants(rule directory.Rule, s message.Subject) bool {
	m := &d.memory
	m.mu.RLock()
	defer m.mu.RUnlock()
	if rule == directory.AllNPC && m.npcs > 0 || m.inForce[origin{s.State(), s.Category()}] {
		return true
	}
	u := urgencyOf(s.Lane())
	return rule == directory.ByCategory && slices.ContainsFunc(m.wishes, func(w wish) bool { return w.wants(s.Category(), u) })
}

// urgencyOf is the urgency that goes in a lane.
func urgencyOf(l authority.Lane) message.Urgency {
	for _, u := range []message.Urgency{message.Immediate, message.Urgent} {
		if u.Lane() == l {
			return u
		}
	}
	return message.Routine
}

// Filters are what the bus is to bring: "<group>.<category>.<lane>", of all active subscriptions, as far as competence
// goes; no two of them overlap.
func (d *Desk) Filters() []string {
	d.memory.mu.RLock()
	defer d.memory.mu.RUnlock()
	return slices.Clone(d.memory.filters)
}

// FiltersChanged is closed when Filters says something else. Take it before Filters, or a change goes unnoticed.
func (d *Desk) FiltersChanged() <-chan struct{} {
	d.memory.mu.RLock()
	defer d.memory.mu.RUnlock()
	return d.memory.filtersChanged
}

// recall reads which alerts are in force, at start-up.
func (d *Desk) recall(ctx context.Context) error {
	inForce := map[origin]bool{}
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		for _, state := range []message.AlertState{message.AlertIssued, message.AlertUpdated} {
			err := pages(r, ledger.AlertFilter{Direction: ledger.In, State: state}, func(row ledger.Alert) error {
				inForce[originOf(row)] = true
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	d.memory.inForce, d.memory.ended = inForce, map[origin]bool{}
	return err
}

func originOf(row ledger.Alert) origin { return origin{row.Issuer.State(), row.Category} }

// pages goes through a list of alerts, last changed first.
func pages(r ledger.Reader, f ledger.AlertFilter, each func(ledger.Alert) error) error {
	for {
		rows, err := r.Alerts(f)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			if err := each(row); err != nil {
				return err
			}
		}
		f.BeforeCursor = rows[len(rows)-1].Cursor
	}
}

// keep notes an alert that will be in force when the caller's transaction commits. Its cancellation may be asked for
// before the caller is back, so this does not wait; should the transaction fail, a little more is taken than is wanted.
func (d *Desk) keep(row ledger.Alert) {
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	d.memory.inForce[originOf(row)] = true
}

// ended notes that an alert will be in force no more, for trim to look whether others of its origin are.
func (d *Desk) ended(row ledger.Alert) {
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	if row.Direction == ledger.In {
		d.memory.ended[originOf(row)] = true
	}
}

// trim drops origins that have no alert in force any more. It asks inside a transaction: there every alert that keep has
// noted is either written or given up, so none is dropped whose update could still come.
func (d *Desk) trim(ctx context.Context) error {
	m := &d.memory
	m.mu.Lock()
	ended := m.ended
	m.ended = map[origin]bool{}
	m.mu.Unlock()
	if len(ended) == 0 {
		return nil
	}
	return d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		for o := range ended {
			left, err := tx.AlertsIn(o.state, o.category)
			if err != nil {
				return err
			}
			if !left {
				m.mu.Lock()
				delete(m.inForce, o)
				m.mu.Unlock()
			}
		}
		return nil
	})
}

// locals are the authorities that this node serves, whatever their status.
func (d *Desk) locals() []authority.Name {
	s := d.Directory.Load()
	m := &d.memory
	m.mu.RLock()
	known, local := m.snapshot == s, m.local
	m.mu.RUnlock()
	if known {
		return local
	}
	local = nil
	for _, entry := range s.At(d.Clock()).Authorities() {
		if entry.Node == d.Node {
			local = append(local, entry.Name)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot, m.local = s, local
	return local
}

// refresh reads subscriptions and directory anew, and reports whether somebody may want what was not wanted before.
func (d *Desk) refresh(ctx context.Context) (bool, error) {
	d.memory.reading.Lock() // or who read before a change could be the last to write
	defer d.memory.reading.Unlock()
	var subs []ledger.Subscription
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		subs, err = r.Subscriptions()
		return err
	})
	if err != nil {
		return false, err
	}
	local, view := d.locals(), d.view()
	wishes, npcs := wishesOf(view, local, subs), 0
	print := ""
	for _, name := range local {
		if isNPC(view, name) {
			npcs++
			print += name.String() + "\n"
		}
	}
	for _, w := range wishes {
		print += fmt.Sprintln(w.Own, w.parts, w.Types, w.States, w.Urgency)
	}
	filters := filtersOf(wishes)
	m := &d.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := print != m.print
	m.wishes, m.npcs, m.print = wishes, npcs, print
	if !slices.Equal(filters, m.filters) {
		m.filters = filters
		close(m.filtersChanged)
		m.filtersChanged = make(chan struct{})
	}
	return changed, nil
}

// unread makes the next refresh report a change, whatever it finds.
func (m *memory) unread() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.print = "unread"
}

// wishesOf are the active subscriptions of authorities that may act here, as far as their competence goes.
func wishesOf(view directory.View, local []authority.Name, subs []ledger.Subscription) []wish {
	var out []wish
	for _, s := range subs {
		p, err := parsePattern(s.Categories)
		if err != nil || s.Status != subscriptionActive || !slices.Contains(local, s.Own) {
			continue
		}
		if parts := p.within(view, s.Own); len(parts) > 0 {
			out = append(out, wish{s, parts})
		}
	}
	return out
}

// filtersOf writes wishes for the bus. Lanes are spelt out and of patterns only the widest is kept, so no two overlap: a
// consumer with overlapping filters is refused.
func filtersOf(wishes []wish) []string {
	var out []string
	for _, u := range []message.Urgency{message.Immediate, message.Urgent, message.Routine} {
		var parts []pattern
		for _, w := range wishes {
			if !u.LowerThan(w.Urgency) {
				parts = append(parts, w.parts...)
			}
		}
		for i, p := range parts {
			covered := slices.Contains(parts[:i], p) || slices.ContainsFunc(parts, func(q pattern) bool {
				return q != p && q.covers(p.category) && !(p.category.IsZero())
			})
			if !covered {
				out = append(out, p.tokens()+"."+u.Lane().String())
			}
		}
	}
	slices.Sort(out)
	return out
}

// wishesFor are the active wishes of one authority.
func (d *Desk) wishesFor(name authority.Name) []wish {
	d.memory.mu.RLock()
	defer d.memory.mu.RUnlock()
	var out []wish
	for _, w := range d.memory.wishes {
		if w.Own == name {
			out = append(out, w)
		}
	}
	return out
}

// following keeps the memory as directory and subscriptions have it.
func (d *Desk) following(ctx context.Context) {
	first := true
	var reachable map[authority.Name]bool
	for ctx.Err() == nil {
		changed := d.Directory.Changed()
		more, err := d.refresh(ctx)
		if err == nil && (more || first) {
			if err = d.reconsider(ctx); err != nil {
				d.memory.unread()
			}
			first = false
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Error("subscriptions could not be followed", zap.Error(err))
		}
		if now, more := d.back(reachable); !more || d.remind(ctx) == nil {
			reachable = now
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-d.stale:
		case <-time.After(lookEvery):
		}
	}
}
