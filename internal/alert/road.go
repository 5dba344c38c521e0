package alert

import (
	"context"
	"slices"
	"time"

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
// once. Whoever the directory bars altogether cannot be written to, and hears of it when it is a member again.
// DESIGN 8 (update and cancel).
func (d *Desk) withdrawals(ctx context.Context, a exchange.Actor, row ledger.Alert, version uint32) ([]outward, error) {
	if row.Distribution == message.Directed {
		return nil, nil
	}
	names, first, err := d.removed(ctx, row)
	if err != nil {
		return nil, err
	}
	var out []outward
	for _, name := range d.reachable(names) {
		items, err := d.item(nil, itemCancellation, &formatv1.Cancellation{Reason: reasonNotEntitled, Version: version})
		if err != nil {
			return nil, err
		}
		o := sending{Alert: row, kind: message.KindAlertCancel, inReplyTo: first, to: []authority.Name{name}, urgency: row.Urgency,
			approval: message.Single, expires: row.Expires, content: seal.Content{Items: items}}
		letter, err := d.letter(ctx, a, o)
		if err != nil {
			return nil, err
		}
		out = append(out, letter)
	}
	return out, nil
}

// removed are the authorities that an alert of ours was for and is for no more, but those that were told so.
func (d *Desk) removed(ctx context.Context, row ledger.Alert) ([]authority.Name, message.ID, error) {
	var all []ledger.Message
	told := map[authority.Name]bool{}
	err := d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if all, err = r.MessagesOf(row.ID); err != nil {
			return err
		}
		for _, m := range all {
			if m.Kind == message.KindAlertCancel && m.Key.Sender == row.Own {
				if err := addressedBy(r, m, told); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, message.ID{}, err
	}
	var names []authority.Name
	var first message.ID
	for _, m := range all {
		if m.Key.Sender != row.Own || (m.Kind != message.KindAlert && m.Kind != message.KindAlertUpdate) {
			continue
		}
		if m.Kind == message.KindAlert {
			first = m.Key.ID
		}
		holders, err := d.Road.Holders(ctx, m.Key)
		if err != nil {
			return nil, first, err
		}
		for _, h := range holders {
			if h.Removed && h.State != broadcast.PassedOver && h.State != broadcast.Refused {
				names = append(names, h.Authorities...)
			}
		}
	}
	return slices.DeleteFunc(sorted(names), func(n authority.Name) bool { return told[n] }), first, nil
}

// addressedBy notes whom a directed message of ours is for.
func addressedBy(r ledger.Reader, m ledger.Message, told map[authority.Name]bool) error {
	whole, err := r.Message(m.Key)
	if err != nil {
		return err
	}
	if env, err := seal.Stored(whole.Envelope); err == nil {
		for _, name := range env.Header.RecipientsBut(env.Header.Sender) {
			told[name] = true
		}
	}
	return nil
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
