package alert

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const (
	maxDraft = 4 << 20
	// Parts of a stored draft beside its items: what will be the header, and a mark that it was submitted.
	partContext   = "context"
	partHand      = "hand"
	partSubmitted = "submitted"
	// maxStored leaves room for the parts that are no content.
	maxStored = maxDraft + 64<<10
)

// newDraft is a draft as the ledger keeps it. Its digest does not cover whether it was submitted: what an approver signs
// off is what the author submitted.
func (d *Desk) newDraft(id message.ID, a exchange.Actor, c Composition, pending bool) (ledger.Draft, error) {
	m := draftParts(c)
	content := canonical.Marshal(m)
	if len(content) > maxDraft {
		return ledger.Draft{}, fault.New(fault.TooLarge, "too-large", "write alert", "the alert is larger than 4 MiB").
			WithHint("move long material into an attachment")
	}
	out := ledger.Draft{Conversation: id, Content: content, Digest: message.DigestOf(content), Author: authorOf(a)}
	return marked(out, m, pending), nil
}

// marked sets or takes away the mark of a draft.
func marked(x ledger.Draft, m *formatv1.Content, pending bool) ledger.Draft {
	items := m.GetItems()
	if n := len(items); n > 0 && items[n-1].GetType() == partSubmitted {
		items = items[:n-1]
	}
	if pending {
		items = append(items, &formatv1.Item{Type: partSubmitted})
	}
	x.Content = canonical.Marshal(&formatv1.Content{Items: items})
	return x
}

// remark is a stored draft with another mark.
func remark(x ledger.Draft, pending bool) (ledger.Draft, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(x.Content, &m, maxStored); err != nil {
		return ledger.Draft{}, err
	}
	return marked(x, &m, pending), nil
}

// handled notes that somebody beside its author added to a draft or submitted it. Its digest stays: it covers content.
func handled(x ledger.Draft, who string) (ledger.Draft, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(x.Content, &m, maxStored); err != nil {
		return ledger.Draft{}, err
	}
	known := slices.ContainsFunc(m.GetItems(), func(it *formatv1.Item) bool {
		return it.GetType() == partHand && string(it.GetBody()) == who
	})
	if known || who == x.Author {
		return x, nil
	}
	m.Items = append(m.Items, &formatv1.Item{Type: partHand, Body: []byte(who)})
	x.Content = canonical.Marshal(&m)
	return x, nil
}

// draftParts keeps a composition in the form it will be signed in.
func draftParts(c Composition) *formatv1.Content {
	ctx := &formatv1.Context{Sender: c.From.String(), Kind: string(c.Distribution), Category: c.Category.String(), Urgency: string(c.Urgency), Status: string(c.Status)}
	if len(c.States) > 0 {
		ctx.Audience = &formatv1.Audience{States: message.StateNames(c.States)}
	}
	for _, name := range c.To {
		ctx.Recipients = append(ctx.Recipients, &formatv1.Recipient{Authority: name.String()})
	}
	if !c.Expires.IsZero() {
		ctx.Expires = c.Expires.UnixMilli()
	}
	m := &formatv1.Content{}
	add := func(kind string, body proto.Message) {
		m.Items = append(m.Items, &formatv1.Item{Type: kind, Body: canonical.Marshal(body)})
	}
	add(partContext, ctx)
	add(itemAlert, c.Notice)
	for _, s := range c.Subjects {
		add(itemSubject, s)
	}
	for _, f := range c.Files {
		add(itemFile, f)
	}
	return m
}

// readDraft is the inverse of newDraft, remark and handled.
func readDraft(b []byte) (x draft, err error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(b, &m, maxStored); err != nil {
		return draft{}, err
	}
	c := &x.Composition
	for _, it := range m.GetItems() {
		switch it.GetType() {
		case partSubmitted:
			x.pending = true
		case partHand:
			x.hands = append(x.hands, string(it.GetBody()))
		case partContext:
			err = readDraftContext(it.GetBody(), c)
		case itemAlert:
			c.Notice = new(formatv1.AlertNotice)
			err = canonical.Unmarshal(it.GetBody(), c.Notice, maxDraft)
		case itemSubject:
			s := new(formatv1.Subject)
			c.Subjects, err = append(c.Subjects, s), canonical.Unmarshal(it.GetBody(), s, maxDraft)
		case itemFile:
			f := new(formatv1.File)
			c.Files, err = append(c.Files, f), canonical.Unmarshal(it.GetBody(), f, maxDraft)
		}
		if err != nil {
			return draft{}, err
		}
	}
	return x, nil
}

func readDraftContext(b []byte, c *Composition) error {
	var m formatv1.Context
	err := canonical.Unmarshal(b, &m, maxDraft)
	if err != nil {
		return err
	}
	if c.From, err = authority.ParseName(m.GetSender()); err != nil {
		return err
	}
	if m.GetCategory() != "" {
		if c.Category, err = authority.ParseCategory(m.GetCategory()); err != nil {
			return err
		}
	}
	for _, s := range m.GetAudience().GetStates() {
		state, err := authority.ParseState(s)
		if err != nil {
			return err
		}
		c.States = append(c.States, state)
	}
	for _, r := range m.GetRecipients() {
		name, err := authority.ParseName(r.GetAuthority())
		if err != nil {
			return err
		}
		c.To = append(c.To, name)
	}
	if m.GetExpires() != 0 {
		c.Expires = time.UnixMilli(m.GetExpires())
	}
	c.Distribution, c.Urgency, c.Status = message.Distribution(m.GetKind()), message.Urgency(m.GetUrgency()), message.OperationalStatus(m.GetStatus())
	return nil
}
