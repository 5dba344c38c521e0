package exchange

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Acknowledge tells the requesting side that a person took the request on and when they expect to answer.
func (e *Exchange) Acknowledge(ctx context.Context, a Actor, conversation message.ID, ack *formatv1.Acknowledgement) (message.ID, error) {
	c, err := e.open(ctx, a, "request:acknowledge", conversation)
	if err != nil {
		return message.ID{}, err
	}
	if ack.GetUrgency() == "" {
		ack.Urgency = string(c.Urgency)
	}
	if fs := message.CheckAcknowledgement(ack, c.Urgency); !message.Sendable(fs) {
		return message.ID{}, unsendable(fs)
	}
	return e.respond(ctx, a, c, message.KindAcknowledge, []part{{itemAcknowledgement, ack}}, ack.GetLocalReference())
}

// Answer replies to every question of the request, item by item.
func (e *Exchange) Answer(ctx context.Context, a Actor, conversation message.ID, answers []*formatv1.Answer, subjects []*formatv1.Subject) (message.ID, error) {
	c, err := e.open(ctx, a, "request:answer", conversation)
	if err != nil {
		return message.ID{}, err
	}
	asked, err := e.composeOf(ctx, c)
	if err != nil {
		return message.ID{}, err
	}
	if fs := message.CheckAnswers(asked.Asks, answers, e.Lists); !message.Sendable(fs) {
		return message.ID{}, unsendable(fs)
	}
	var parts []part
	for _, x := range answers {
		parts = append(parts, part{itemAnswer, x})
	}
	for _, s := range subjects {
		parts = append(parts, part{itemSubject, s})
	}
	return e.respond(ctx, a, c, message.KindReply, parts, "")
}

// Refuse declines the request with a reason and what would cure it.
func (e *Exchange) Refuse(ctx context.Context, a Actor, conversation message.ID, r *formatv1.Refusal) (message.ID, error) {
	c, err := e.open(ctx, a, "request:refuse", conversation)
	if err != nil {
		return message.ID{}, err
	}
	if fs := message.CheckRefusal(r, e.Lists); !message.Sendable(fs) {
		return message.ID{}, unsendable(fs)
	}
	return e.respond(ctx, a, c, message.KindRefuse, []part{{itemRefusal, r}}, "")
}

// Close ends an answered or refused request with feedback.
func (e *Exchange) Close(ctx context.Context, a Actor, conversation message.ID, cl *formatv1.Closing) (message.ID, error) {
	c, err := e.open(ctx, a, "request:close", conversation)
	if err != nil {
		return message.ID{}, err
	}
	if fs := message.CheckClosing(cl); !message.Sendable(fs) {
		return message.ID{}, unsendable(fs)
	}
	return e.respond(ctx, a, c, message.KindClose, []part{{itemClosing, cl}}, "")
}

// respond sends one message of a conversation that has begun, moving the case in the same transaction.
func (e *Exchange) respond(ctx context.Context, a Actor, c ledger.Case, kind message.Kind, parts []part, local string) (message.ID, error) {
	if _, err := message.Next(c.State, kind, c.Side); err != nil {
		return message.ID{}, err
	}
	first, err := e.requestOf(ctx, c)
	if err != nil {
		return message.ID{}, err
	}
	out := outgoing{from: c.Own, to: []authority.Name{c.Peer}, kind: kind, conversation: c.Conversation, inReplyTo: first.Key.ID, approval: message.Single,
		category: c.Category, urgency: c.Urgency, status: c.Status}
	if out.items, err = e.itemsOf(parts); err != nil {
		return message.ID{}, err
	}
	p, err := e.compose(ctx, out)
	if err != nil {
		return message.ID{}, err
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		now, err := tx.Case(c.Conversation, c.Own)
		if err != nil {
			return err
		}
		if now.State, err = message.Next(now.State, kind, now.Side); err != nil {
			return err
		}
		now.Changed = e.Clock()
		if kind == message.KindAcknowledge {
			now.LocalReference, now.Author = local, a.author() // who took it on; a refusal wants a second person
		}
		if _, err := tx.PutCase(now); err != nil {
			return err
		}
		return e.Commit(tx, a, p)
	})
	if err != nil {
		return message.ID{}, err
	}
	// If the machine stops here, the outbox has the message and start-up delivers it.
	e.Told(p)
	return p.Header().ID, nil
}

// whole reads a message with its envelope, which lists leave out.
func (e *Exchange) whole(ctx context.Context, key message.Key) (ledger.Message, error) {
	var m ledger.Message
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		m, err = r.Message(key)
		return err
	})
	return m, err
}

// requestOf finds the message that began a conversation.
func (e *Exchange) requestOf(ctx context.Context, c ledger.Case) (ledger.Message, error) {
	var all []ledger.Message
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.MessagesOf(c.Conversation)
		return err
	})
	if err != nil {
		return ledger.Message{}, err
	}
	for _, m := range all {
		if m.Kind == message.KindRequest && (m.Key.Sender == c.Own || m.Key.Sender == c.Peer) {
			return e.whole(ctx, m.Key)
		}
	}
	return ledger.Message{}, fault.New(fault.Conflict, "wrong-state", "answer request", "the request has not been sent")
}
