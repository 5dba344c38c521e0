package alert

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// sending is what a message of an alert of ours is made of; category, distribution and operational status are the row's.
type sending struct {
	ledger.Alert
	kind      message.Kind
	inReplyTo message.ID
	to        []authority.Name
	states    []authority.State
	urgency   message.Urgency
	approval  message.Approval
	expires   time.Time
	content   seal.Content
	manifest  []message.Attachment
}

// outward is a message of ours on either road, sealed and signed. Nothing of it is stored yet.
type outward struct {
	header    message.Header
	freshness string
	audience  int
	// commit records it in the caller's transaction; told sends it after that.
	commit func(ledger.Tx) error
	told   func()
}

func commitAll(tx ledger.Tx, letters []outward) error {
	for _, o := range letters {
		if err := o.commit(tx); err != nil {
			return err
		}
	}
	return nil
}

// sent tells the world of what was committed.
func (d *Desk) sent(letters []outward) {
	for _, o := range letters {
		o.told()
	}
	d.tell()
}

// outward makes a message for the road of its distribution.
func (d *Desk) outward(ctx context.Context, a exchange.Actor, o sending) (outward, error) {
	if o.Distribution == message.Directed {
		return d.letter(ctx, a, o)
	}
	rule, err := ruleOf(o.Distribution)
	if err != nil {
		return outward{}, err
	}
	ready, err := d.Road.Prepare(ctx, o.Category, rule, o.states)
	if err != nil {
		return outward{}, err
	}
	alert, err := d.seal(ctx, ready, o)
	if err != nil {
		return outward{}, err
	}
	freshness, _ := d.Directory.Freshness(d.Clock())
	others := slices.DeleteFunc(slices.Clone(ready.Members), func(m directory.Member) bool { return m.Authority == o.Own })
	return outward{
		header: alert.Header, freshness: freshness, audience: len(others),
		commit: func(tx ledger.Tx) error { return d.Road.Commit(ctx, tx, ready, alert) },
		told:   func() { d.Road.Committed(alert) },
	}, nil
}

// seal signs a message to an audience. PROTOCOL 7.4.
func (d *Desk) seal(ctx context.Context, ready broadcast.Ready, o sending) (seal.Alert, error) {
	now := d.Clock()
	id, err := message.NewID(now, d.Random)
	if err != nil {
		return seal.Alert{}, err
	}
	signing, ok := d.view().Newest(directory.OfAuthority(o.Own), directory.PurposeSign)
	if !ok {
		return seal.Alert{}, fault.New(fault.Retry, "no-signing-key", opPublish, "the directory has no valid signing key for "+o.Own.String())
	}
	return seal.NewAlert(ctx, seal.AlertDraft{
		Context: message.Context{
			Network: d.Directory.Load().NetworkID(), ID: id, Conversation: o.ID, InReplyTo: o.inReplyTo, Kind: o.kind, Sender: o.Own,
			Audience: &ready.Audience, Category: o.Category, Urgency: o.urgency, Status: o.Status, Created: now, Expires: o.expires,
			Position: ready.Audience.Position, Approval: o.approval, Attachments: o.manifest,
			Required: []message.RequiredSignature{{Algorithm: authority.Ed25519, Key: signing.Fingerprint}},
		},
		Content: o.content,
	}, d.Keys, d.Random)
}

// letter makes a directed message. What is for another authority of this node is placed with the commit.
func (d *Desk) letter(ctx context.Context, a exchange.Actor, o sending) (outward, error) {
	p, err := d.Exchange.Compose(ctx, exchange.Outgoing{
		From: o.Own, To: o.to, Kind: o.kind, Conversation: o.ID, InReplyTo: o.inReplyTo, Category: o.Category, Urgency: o.urgency,
		Status: o.Status, Approval: o.approval, Expires: o.expires, Items: o.content.Items, Keys: o.content.Attachments, Manifest: o.manifest,
	})
	if err != nil {
		return outward{}, err
	}
	var here []authority.Name
	for _, name := range o.to {
		if d.Exchange.Serves(name) {
			here = append(here, name)
		}
	}
	return outward{
		header: p.Header(), freshness: p.Freshness, audience: len(o.to),
		commit: func(tx ledger.Tx) error {
			if err := d.Exchange.Commit(tx, a, p); err != nil || len(here) == 0 {
				return err
			}
			code, err := d.Admit(tx, p.Header(), o.content, here)
			if err == nil && code != "" {
				err = fault.New(fault.Internal, code, "place alert", "another authority of this node cannot take the message")
			}
			return err
		},
		told: func() { d.Exchange.Told(p) },
	}, nil
}

// reachable are those of an alert's addressees that may be written to now.
func (d *Desk) reachable(to []authority.Name) []authority.Name {
	view := d.view()
	return slices.DeleteFunc(slices.Clone(to), func(name authority.Name) bool {
		_, sealing := view.SealingKey(name)
		_, served := view.NodeOf(name)
		return view.CheckAuthority(name) != nil || !sealing || !served
	})
}

// firstOf is the header of the ALERT that a conversation of ours began with.
func (d *Desk) firstOf(ctx context.Context, row ledger.Alert) (message.Header, error) {
	var m ledger.Message
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		all, err := r.MessagesOf(row.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(m ledger.Message) bool { return m.Kind == message.KindAlert && m.Key.Sender == row.Issuer })
		if i < 0 {
			return wrongState("the alert has not been issued")
		}
		m, err = r.Message(all[i].Key)
		return err
	})
	if err != nil {
		return message.Header{}, err
	}
	h, _, err := d.open(ctx, row.Own, m)
	return h, err
}

// open opens a stored message of an alert, whichever road it took, with the key of one of this node's authorities.
func (d *Desk) open(ctx context.Context, own authority.Name, m ledger.Message) (message.Header, seal.Content, error) {
	if directed(m) {
		return d.Exchange.OpenMessage(ctx, own, m)
	}
	a, err := d.Road.Open(ctx, m)
	return a.Header, a.Content, err
}

// directed reports whether a stored message is an envelope; else it is a frame.
func directed(m ledger.Message) bool {
	_, err := seal.Stored(m.Envelope)
	return err == nil
}

// withdrawals tell those who may know an alert and are entitled to it no more: without content, each authority by itself,
// once for all that it was given. Whoever the directory bars altogether cannot be written to, and hears of it when it is
// back. DESIGN 8 (update and cancel).
func (d *Desk) withdrawals(ctx context.Context, a exchange.Actor, row ledger.Alert, version uint32) ([]outward, error) {
	called := calledOff(row)
	if row.Distribution == message.Directed && !called {
		return nil, nil
	}
	r, err := d.reached(ctx, row)
	if err != nil {
		return nil, err
	}
	names := d.reachable(r.untold())
	if len(names) == 0 {
		return nil, nil
	}
	first, err := d.firstOf(ctx, row)
	if err != nil {
		return nil, err
	}
	view := d.view()
	said, err := d.endOf(ctx, row)
	if err != nil {
		return nil, err
	}
	var out []outward
	for _, name := range names {
		c := &formatv1.Cancellation{Reason: reasonNotEntitled, Version: version}
		switch barred := !entitled(view, name, first); {
		case barred:
		case !called:
			continue // what is published reaches it
		case said != nil:
			c = said
		}
		items, err := d.item(nil, itemCancellation, c)
		if err != nil {
			return nil, err
		}
		o := sending{Alert: row, kind: message.KindAlertCancel, inReplyTo: first.ID, to: []authority.Name{name}, urgency: row.Urgency,
			approval: message.Single, expires: d.until(row), content: seal.Content{Items: items}}
		letter, err := d.letter(ctx, a, o)
		if err != nil {
			return nil, err
		}
		out = append(out, letter)
	}
	return out, nil
}

// calledOff reports whether people have ended an alert; else time has, or nobody.
func calledOff(row ledger.Alert) bool {
	return row.State == message.AlertCancelled || row.State == message.AlertSuperseded
}

// remind tells those who are back of what ended, or went on without them, while nobody could write to them. It looks at
// alerts of ours whose time is not over, and goes on where one fails.
func (d *Desk) remind(ctx context.Context) error {
	var rows []ledger.Alert
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		for _, state := range []message.AlertState{message.AlertCancelled, message.AlertSuperseded, message.AlertUpdated} {
			err := pages(r, ledger.AlertFilter{Direction: ledger.Out, State: state}, func(row ledger.Alert) error {
				if row.Version > 0 && row.Expires.After(d.Clock()) {
					rows = append(rows, row)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, row := range rows {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed := d.remindOf(ctx, row); failed != nil {
			err = failed
			d.Log.Warn("who is back could not be told of an alert", zap.Stringer("alert", row.ID), zap.Error(failed))
		}
	}
	return err
}

func (d *Desk) remindOf(ctx context.Context, seen ledger.Alert) error {
	node := exchange.Actor{Account: nodeActor, Authority: seen.Own}
	letters, err := d.withdrawals(ctx, node, seen, seen.Version)
	if err != nil || len(letters) == 0 {
		return err
	}
	err = d.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err := tx.Alert(seen.ID, seen.Own)
		if err != nil {
			return err
		}
		if row.Version != seen.Version || row.State != seen.State {
			return wrongState("the alert was updated or ended meanwhile")
		}
		if err := commitAll(tx, letters); err != nil {
			return err
		}
		return second(tx.Append(d.event("alert-withdrawn", nodeActor, about(row), message.Digest{}, "")))
	})
	if err != nil {
		return err
	}
	// If the machine stops here, the outbox has the letters, and start-up sends them.
	d.sent(letters)
	return nil
}

// back reports whether somebody can be written to who could not when known was read, and who can be now.
func (d *Desk) back(known map[authority.Name]bool) (map[authority.Name]bool, bool) {
	var all []authority.Name
	for _, entry := range d.view().Authorities() {
		all = append(all, entry.Name)
	}
	now, more := map[authority.Name]bool{}, known == nil
	for _, name := range d.reachable(all) {
		now[name] = true
		more = more || !known[name]
	}
	return now, more
}

// endOf is what the cancellation of an alert of ours said; nil where none was sent.
func (d *Desk) endOf(ctx context.Context, row ledger.Alert) (*formatv1.Cancellation, error) {
	if row.Ended.ID.IsZero() {
		return nil, nil
	}
	m, err := d.message(ctx, row.Ended)
	if err != nil {
		return nil, err
	}
	h, content, err := d.open(ctx, row.Own, m)
	if err != nil {
		return nil, err
	}
	s, err := read(h.Kind, content)
	return s.cancellation, err
}

// reach is which authorities an alert of ours may have reached and not by the messages to its audience of now: when they
// can have been given the newest version that they may have, and when they were last told of its end.
type reach struct{ given, told map[authority.Name]time.Time }

// untold are those who were told nothing since.
func (r reach) untold() []authority.Name {
	var out []authority.Name
	for name, at := range r.given {
		if told, ok := r.told[name]; !ok || told.Before(at) {
			out = append(out, name)
		}
	}
	return sorted(out)
}

// reached reads it from the messages of an alert.
func (d *Desk) reached(ctx context.Context, row ledger.Alert) (reach, error) {
	x := reach{given: map[authority.Name]time.Time{}, told: map[authority.Name]time.Time{}}
	var all []ledger.Message
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.MessagesOf(row.ID)
		return err
	})
	for _, m := range all {
		if err != nil {
			return reach{}, err
		}
		if m.Key.Sender != row.Own || m.Kind == message.KindAlertFeedback {
			continue
		}
		err = d.reachedBy(ctx, m, &x)
	}
	return x, err
}

func (d *Desk) reachedBy(ctx context.Context, m ledger.Message, x *reach) error {
	into := x.given
	if m.Kind == message.KindAlertCancel {
		into = x.told
	}
	m, err := d.message(ctx, m.Key)
	if err != nil {
		return err
	}
	if env, err := seal.Stored(m.Envelope); err == nil {
		for _, name := range env.Header.RecipientsBut(env.Header.Sender) {
			later(into, name, m.Key.ID.Time())
		}
		return nil
	}
	holders, err := d.Road.Holders(ctx, m.Key)
	for _, h := range holders {
		refused := h.State == broadcast.PassedOver || h.State == broadcast.Refused
		if ended := m.Kind == message.KindAlertCancel; ended && h.Removed && h.State != broadcast.Received || !ended && (!h.Removed || refused) {
			continue // the end did not come there; or the version is not there, or goes where all that follows goes
		}
		for _, name := range h.Authorities {
			later(into, name, h.Given)
		}
	}
	return err
}

func later(in map[authority.Name]time.Time, name authority.Name, at time.Time) {
	if at.After(in[name]) {
		in[name] = at
	}
}

// sorted is each name once, in order.
func sorted(names []authority.Name) []authority.Name {
	slices.SortFunc(names, func(a, b authority.Name) int { return compare(a.String(), b.String()) })
	return slices.Compact(names)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
