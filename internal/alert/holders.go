package alert

import (
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/broadcast"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// Holders says who has an alert of ours and who not, and of each who has confirmed its last update or its end, by node.
func (d *Desk) Holders(ctx context.Context, a exchange.Actor, id message.ID) ([]Holder, error) {
	row, err := d.row(ctx, a, "alert:holders", id)
	if err != nil {
		return nil, err
	}
	if row.Direction != ledger.Out || row.Version == 0 {
		return nil, wrongState("only an alert that this authority has issued has holders")
	}
	var all []ledger.Message
	err = d.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.MessagesOf(row.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	h := holding{d: d, ctx: ctx, row: row, by: map[authority.Node]*Holder{}, given: map[authority.Node]time.Time{}}
	last := row.Latest
	if !row.Ended.ID.IsZero() {
		last = row.Ended
	}
	slices.SortStableFunc(all, func(a, b ledger.Message) int { return ended(a) - ended(b) }) // versions first
	for _, m := range all {
		if m.Key.Sender != row.Own || m.Kind == message.KindAlertFeedback {
			continue
		}
		part := inLife{first: m.Kind == message.KindAlert, version: m.Kind != message.KindAlertCancel, last: m.Key == last}
		if err := h.add(m.Key, part); err != nil {
			return nil, err
		}
	}
	return h.all(), nil
}

func ended(m ledger.Message) int {
	if m.Kind == message.KindAlertCancel {
		return 1
	}
	return 0
}

// inLife is what a message is in an alert's life.
type inLife struct{ first, version, last bool }

// holding puts together what is known of each node.
type holding struct {
	d   *Desk
	ctx context.Context
	row ledger.Alert
	by  map[authority.Node]*Holder
	// given is when a node can first have been given the newest version that it may have.
	given map[authority.Node]time.Time
}

func (h *holding) all() []Holder {
	out := make([]Holder, 0, len(h.by))
	for _, x := range h.by {
		x.Authorities = sorted(x.Authorities)
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Holder) int { return compare(a.Node.String(), b.Node.String()) })
	return out
}

// add takes in what is known of one message.
func (h *holding) add(key message.Key, part inLife) error {
	m, err := h.d.message(h.ctx, key)
	if err != nil {
		return err
	}
	if directed(m) {
		return h.letter(m, part)
	}
	holders, err := h.d.Road.Holders(h.ctx, key)
	if err != nil {
		return err
	}
	for _, x := range holders {
		h.note(Holder{Node: x.Node, Authorities: x.Authorities, Latest: string(x.State), Code: x.Code, LastError: x.LastError, Time: x.Time}, part, x.Given)
	}
	return nil
}

// letter takes in the deliveries of a directed message.
func (h *holding) letter(m ledger.Message, part inLife) error {
	env, err := seal.Stored(m.Envelope)
	if err != nil {
		return err
	}
	var rows []ledger.Delivery
	err = h.d.Ledger.View(h.ctx, func(r ledger.Reader) error {
		rows, err = r.DeliveriesOf(m.Key)
		return err
	})
	view := h.d.view()
	for _, row := range rows {
		var names []authority.Name
		for _, name := range env.Header.RecipientsBut(env.Header.Sender) {
			if serving, ok := view.NodeOf(name); ok && serving.Node == row.Node {
				names = append(names, name)
			}
		}
		state, code, at := h.delivered(env.Header, row)
		h.note(Holder{Node: row.Node, Authorities: names, Latest: state, Code: code, LastError: row.LastError, Time: at}, part, m.Key.ID.Time())
	}
	return err
}

// delivered says of a delivery what is said of a frame.
func (h *holding) delivered(header message.Header, row ledger.Delivery) (state, code string, at time.Time) {
	at = h.d.Exchange.ReceiptTime(header, row)
	switch row.State {
	case ledger.Delivered, ledger.Complete:
		return string(broadcast.Received), "", at
	case ledger.Rejected:
		return string(broadcast.Refused), row.LastError, at
	case ledger.Undeliverable:
		return string(broadcast.Overdue), "", at
	}
	if h.d.Clock().Sub(row.Key.ID.Time()) > h.row.Urgency.AcknowledgeWithin()/2 {
		return string(broadcast.Overdue), "", at
	}
	return string(broadcast.Pending), "", at
}

// note takes in what is known of one message at one node; what.Latest is its state there. A withdrawal counts as long as
// nothing was given to the node after it.
func (h *holding) note(what Holder, part inLife, given time.Time) {
	node := what.Node
	x := h.by[node]
	if x == nil {
		x = &Holder{Node: node}
		h.by[node] = x
	}
	x.Authorities = append(x.Authorities, what.Authorities...)
	if part.version && given.After(h.given[node]) {
		h.given[node] = given
	}
	switch {
	case part.first:
		x.Alert = what.Latest
	case part.last, !part.version && !given.Before(h.given[node]):
		x.Latest = what.Latest
	case part.version && x.Alert == "":
		x.Alert = what.Latest // it came in with an update
	}
	if what.Code != "" {
		x.Code = what.Code
	}
	if what.LastError != "" {
		x.LastError = what.LastError
	}
	if what.Time.After(x.Time) {
		x.Time = what.Time
	}
}
