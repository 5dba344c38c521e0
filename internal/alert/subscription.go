package alert

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

const (
	subscriptionPending = "PENDING_APPROVAL"
	subscriptionActive  = "ACTIVE"
	// maxSubscriptions of one authority.
	maxSubscriptions = 256
	opSubscribe      = "subscribe"
)

// Wish is what somebody asks to receive.
type Wish struct {
	// Own is zero for the actor's own authority.
	Own authority.Name
	// Categories is "drugs.trafficking", "drugs.>" or ">".
	Categories string
	// Types are slugs of alert types; none = all.
	Types []string
	// States that an alert must concern, by a place, a subject or its issuer; none = all.
	States []authority.State
	// Urgency is the least; empty = ROUTINE.
	Urgency message.Urgency
}

// AddSubscription notes what an authority wants to receive, within what the directory of now says that it may (Denied
// "not-competent"). Of a wider wish only that part counts, now and later. Where policy wants two persons it waits for an
// approver. What comes from then on is shown, and what is stored here and in force. domain.md 7.
func (d *Desk) AddSubscription(ctx context.Context, a exchange.Actor, w Wish) (ledger.Subscription, error) {
	if w.Own.IsZero() {
		w.Own = a.Authority
	}
	if w.Urgency == "" {
		w.Urgency = message.Routine
	}
	if err := d.checkWish(w); err != nil {
		return ledger.Subscription{}, err
	}
	now := d.Clock()
	id, err := message.NewID(now, d.Random)
	if err != nil {
		return ledger.Subscription{}, err
	}
	s := ledger.Subscription{ID: id, Own: w.Own, Categories: w.Categories, Types: w.Types, States: message.SortStates(w.States),
		Urgency: w.Urgency, Status: subscriptionActive, Author: authorOf(a), Created: now}
	if d.FourEyes {
		s.Status = subscriptionPending
	}
	if err := d.allowSubscription(ctx, a, "subscription:add", s); err != nil {
		return ledger.Subscription{}, err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		all, err := tx.Subscriptions()
		if err != nil {
			return err
		}
		if len(own(all, s.Own)) >= maxSubscriptions {
			return fault.New(fault.TooLarge, "too-many", opSubscribe, "the authority has 256 subscriptions already")
		}
		if err := tx.PutSubscription(s); err != nil {
			return err
		}
		return second(tx.Append(d.event("subscription-added", a.Account, message.Key{Sender: s.Own, ID: s.ID}, message.Digest{}, s.Categories)))
	})
	if err != nil {
		return ledger.Subscription{}, err
	}
	d.subscribed(ctx)
	return s, nil
}

func (d *Desk) checkWish(w Wish) error {
	p, err := parsePattern(w.Categories)
	if err != nil {
		return badPattern()
	}
	if _, err := message.ParseUrgency(string(w.Urgency)); err != nil {
		return err
	}
	for _, t := range w.Types {
		if err := d.Lists.CheckCode("alert-types", t); err != nil {
			return err
		}
	}
	if !p.category.IsZero() && !catalog.All(d.view(), d.Lists).Has(catalog.Categories, p.category.String()) {
		return fault.New(fault.Invalid, "unknown-code", opSubscribe, "the category is not in the list crime-categories")
	}
	if len(w.States) > message.MaxStates {
		return fault.New(fault.TooLarge, "too-many", opSubscribe, "a subscription names at most 256 states")
	}
	if !d.Exchange.Serves(w.Own) {
		return fault.New(fault.Denied, "not-served", opSubscribe, "this node does not serve the authority, or it may not act now")
	}
	if len(p.within(d.view(), w.Own)) == 0 {
		return fault.New(fault.Denied, "not-competent", opSubscribe, "the directory does not say that this authority receives alerts of these categories").
			WithHint("amend the authority's competences with the function alerts-in")
	}
	return nil
}

func badPattern() error {
	return fault.New(fault.Invalid, "malformed-categories", opSubscribe, "say a category such as drugs.trafficking, a group such as drugs.>, or > for all")
}

func own(all []ledger.Subscription, name authority.Name) []ledger.Subscription {
	return slices.DeleteFunc(slices.Clone(all), func(s ledger.Subscription) bool { return s.Own != name })
}

func (d *Desk) allowSubscription(ctx context.Context, a exchange.Actor, action string, s ledger.Subscription) error {
	return d.Gate.Allow(ctx, a, action, exchange.Resource{Own: s.Own, Author: s.Author, State: message.State(s.Status), FourEyes: d.FourEyes})
}

// subscribed makes a committed change of subscriptions count for what comes, at once; the loop looks at what is stored.
// If the machine stops before, start-up does both.
func (d *Desk) subscribed(ctx context.Context) {
	more, err := d.refresh(ctx)
	if err != nil {
		d.Log.Warn("a subscription does not count yet", zap.Error(err))
	}
	if more || err != nil {
		d.memory.unread()
	}
	poke(d.stale)
}

// ApproveSubscription confirms a subscription that waits.
func (d *Desk) ApproveSubscription(ctx context.Context, a exchange.Actor, id message.ID) (ledger.Subscription, error) {
	s, err := d.subscription(ctx, a, "subscription:approve", id)
	if err != nil {
		return ledger.Subscription{}, err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if s, err = tx.Subscription(id); err != nil {
			return err
		}
		if s.Status != subscriptionPending {
			return fault.New(fault.Conflict, "wrong-state", opSubscribe, "the subscription does not wait for approval")
		}
		s.Status = subscriptionActive
		if err := tx.PutSubscription(s); err != nil {
			return err
		}
		return second(tx.Append(d.event("subscription-approved", a.Account, message.Key{Sender: s.Own, ID: id}, message.Digest{}, s.Categories)))
	})
	if err != nil {
		return ledger.Subscription{}, err
	}
	d.subscribed(ctx)
	return s, nil
}

// Subscriptions lists those of the actor's authority.
func (d *Desk) Subscriptions(ctx context.Context, a exchange.Actor) ([]ledger.Subscription, error) {
	if err := d.allowSubscription(ctx, a, "subscription:list", ledger.Subscription{Own: a.Authority}); err != nil {
		return nil, err
	}
	var all []ledger.Subscription
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.Subscriptions()
		return err
	})
	return own(all, a.Authority), err
}

// RemoveSubscription ends a subscription. Alerts that came by it stay, and their updates go on coming.
func (d *Desk) RemoveSubscription(ctx context.Context, a exchange.Actor, id message.ID) error {
	s, err := d.subscription(ctx, a, "subscription:remove", id)
	if err != nil {
		return err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		if err := tx.DeleteSubscription(id); err != nil {
			return err
		}
		return second(tx.Append(d.event("subscription-removed", a.Account, message.Key{Sender: s.Own, ID: id}, message.Digest{}, s.Categories)))
	})
	if err != nil {
		return err
	}
	d.subscribed(ctx)
	return nil
}

// subscription reads one of the actor's authority. Another authority's does not exist for them.
func (d *Desk) subscription(ctx context.Context, a exchange.Actor, action string, id message.ID) (ledger.Subscription, error) {
	var s ledger.Subscription
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		s, err = r.Subscription(id)
		return err
	})
	if err == nil && s.Own != a.Authority {
		err = fault.New(fault.NotFound, "", "read subscription", "there is no such subscription")
	}
	if err != nil {
		return ledger.Subscription{}, err
	}
	return s, d.allowSubscription(ctx, a, action, s)
}

// reconsider shows alerts in force that are stored here to authorities that want them now: they were taken for another
// subscription, or issued here. What the node itself passed over is for the publishers to send again.
func (d *Desk) reconsider(ctx context.Context) error {
	local := d.locals()
	var open []ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		seen := map[message.ID]bool{}
		for _, state := range []message.AlertState{message.AlertIssued, message.AlertUpdated, unmatched} {
			err := pages(r, ledger.AlertFilter{State: state}, func(row ledger.Alert) error {
				if seen[row.ID] || row.Distribution == message.Directed || !row.Ended.ID.IsZero() || !row.Expires.After(d.Clock()) {
					return nil
				}
				seen[row.ID] = true
				lacking, err := d.lacking(r, row, local)
				if lacking {
					open = append(open, row)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for len(open) > 0 && ctx.Err() == nil {
		page := open[:min(len(open), placePage)]
		open = open[len(page):]
		if failed := d.placeAll(ctx, page); failed != nil {
			err = failed
		}
	}
	return err
}

// placePage is how many alerts are placed in one transaction.
const placePage = 64

// lacking reports whether an authority that may want an alert does not see it.
func (d *Desk) lacking(r ledger.Reader, row ledger.Alert, local []authority.Name) (bool, error) {
	for _, name := range local {
		wanted := slices.ContainsFunc(d.wishesFor(name), func(w wish) bool { return w.mayWant(row) })
		if name == row.Issuer || !wanted && row.Distribution != message.AllNPC {
			continue
		}
		has, err := r.Alert(row.ID, name)
		if fault.Is(err, fault.NotFound) || err == nil && has.State == unmatched {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// mayWant asks what a row tells: all but the states that the alert concerns.
func (w wish) mayWant(row ledger.Alert) bool {
	return w.wants(row.Category, row.Urgency) && (len(w.Types) == 0 || slices.Contains(w.Types, row.Type))
}

// placeAll puts the newest versions of stored alerts into the rows of those who want them now. One that cannot be opened
// keeps no other waiting.
func (d *Desk) placeAll(ctx context.Context, rows []ledger.Alert) error {
	var all []placing
	for _, row := range rows {
		h, s, err := d.newest(ctx, row)
		if err != nil {
			d.Log.Warn("a stored alert could not be looked at for a subscription", zap.Stringer("alert", row.ID), zap.Error(err))
			continue
		}
		p := placing{d: d, h: h, s: s, view: d.view(), to: d.locals()}
		if p.wanted() {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	placed := false
	err := d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		placed = false
		for _, p := range all {
			p.tx = tx
			now, err := p.late()
			if err != nil {
				return err
			}
			placed = placed || now
		}
		return nil
	})
	if placed && err == nil {
		d.tell()
	}
	return err
}

// wanted reports whether anybody of this node may see the alert.
func (p *placing) wanted() bool {
	return slices.ContainsFunc(p.to, func(own authority.Name) bool {
		return own != p.h.Sender && entitled(p.view, own, p.h) && p.matches(own)
	})
}

// newest opens the newest version of a stored alert.
func (d *Desk) newest(ctx context.Context, row ledger.Alert) (message.Header, said, error) {
	m, err := d.message(ctx, row.Latest)
	if err != nil {
		return message.Header{}, said{}, err
	}
	h, content, err := d.open(ctx, row.Own, m)
	if err != nil {
		return message.Header{}, said{}, err
	}
	s, err := read(h.Kind, content)
	return h, s, err
}

// late is run for an alert that was stored before: it makes rows where there are none, and shows those that nobody was
// shown.
func (p *placing) late() (bool, error) {
	var err error
	if p.ended, err = p.cancelled(); err != nil || !p.ended.ID.IsZero() {
		return false, err
	}
	placed := false
	for _, own := range p.to {
		row, err := p.tx.Alert(p.h.Conversation, own)
		missing := fault.Is(err, fault.NotFound)
		if err != nil && !missing {
			return false, err
		}
		if own == p.h.Sender || !missing && row.State != unmatched || !entitled(p.view, own, p.h) || !p.matches(own) {
			continue
		}
		if missing {
			row = ledger.Alert{ID: p.h.Conversation, Own: own, Issuer: p.h.Sender, Direction: ledger.In, Created: p.h.Created}
		}
		row.Version = 0 // what it says is shown for the first time
		if err := p.say(row, !missing); err != nil {
			return false, err
		}
		placed = true
	}
	return placed, nil
}
