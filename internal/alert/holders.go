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
	h := holding{d: d, ctx: ctx, row: row, by: map[authority.Node]*Holder{}}
	last := row.Latest
	if !row.Ended.ID.IsZero() {
		last = row.Ended
	}
	for _, m := range all {
		first := m.Kind == message.KindAlert
		if m.Key.Sender != row.Own || m.Kind == message.KindAlertFeedback || (!first && m.Key != last && m.Kind != message.KindAlertCancel) {
			continue
		}
		if err := h.add(m.Key, first); err != nil {
			return nil, err
		}
	}
	return h.all(), nil
}

// holding puts together what is known of each node.
type holding struct {
	d   *Desk
	ctx context.Context
	row ledger.Alert
	by  map[authority.Node]*Holder
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

// add takes in what is known of one message: the alert itself, or what came last.
func (h *holding) add(key message.Key, first bool) error {
	m, err := h.d.message(h.ctx, key)
	if err != nil {
		return err
	}
	if directed(m) {
		return h.letter(m, first)
	}
	holders, err := h.d.Road.Holders(h.ctx, key)
	if err != nil {
		return err
	}
	for _, x := range holders {
		h.note(x.Node, x.Authorities, first, string(x.State), x.Code, x.LastError, x.Time)
	}
	return nil
}

// letter takes in the deliveries of a directed message.
func (h *holding) letter(m ledger.Message, first bool) error {
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
		h.note(row.Node, names, first, state, code, row.LastError, at)
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

func (h *holding) note(node authority.Node, names []authority.Name, first bool, state, code, last string, at time.Time) {
	x := h.by[node]
	if x == nil {
		x = &Holder{Node: node}
		h.by[node] = x
	}
	x.Authorities = append(x.Authorities, names...)
	if first {
		x.Alert = state
	} else {
		x.Latest = state
	}
	if code != "" {
		x.Code = code
	}
	if last != "" {
		x.LastError = last
	}
	if at.After(x.Time) {
		x.Time = at
	}
}
