package exchange

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

// Item types of content. PROTOCOL 5.5.
const (
	itemRequest         = "request"
	itemAsk             = "ask"
	itemSubject         = "subject"
	itemAttachment      = "attachment"
	itemAcknowledgement = "acknowledgement"
	itemAnswer          = "answer"
	itemRefusal         = "refusal"
	itemClosing         = "closing"
)

const (
	maxDraft = 4 << 20
	// itemHand is part of a stored draft alone: an account that had a hand in it. maxStored leaves room for those.
	itemHand  = "hand"
	maxStored = maxDraft + 64<<10
)

// Create stores a draft. Nothing leaves the node; what is missing is told by Check. The conversation ID it returns
// names the request for life, on both sides.
func (e *Exchange) Create(ctx context.Context, a Actor, c Composition) (message.ID, error) {
	if err := e.checkParties(c); err != nil {
		return message.ID{}, err
	}
	kind, err := authority.ParseRequestKind(c.Request.GetKind())
	if err != nil {
		return message.ID{}, err
	}
	now := e.Clock()
	id, err := message.NewID(now, e.Random)
	if err != nil {
		return message.ID{}, err
	}
	row := ledger.Case{
		Conversation: id, Own: c.From, Peer: c.To, Side: message.Requesting, RequestKind: kind,
		Category: c.Category, Urgency: c.Urgency, Status: c.Status, State: message.Draft, Title: c.Request.GetTitle(),
		Author: a.author(), Created: now, Changed: now,
	}
	if err := e.Gate.Allow(ctx, a, "request:create", Resource{Own: c.From, Author: a.author(), State: message.Draft, Urgency: c.Urgency, Side: message.Requesting, FourEyes: e.FourEyes}); err != nil {
		return message.ID{}, err
	}
	content := e.draftBytes(c)
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		ref, err := tx.NextReference(c.From, now.Year())
		if err != nil {
			return err
		}
		row.Reference = e.reference(c, now, ref)
		if err := tx.PutDraft(ledger.Draft{Conversation: id, Content: content, Digest: message.DigestOf(content), Author: a.author()}); err != nil {
			return err
		}
		if _, err := tx.PutCase(row); err != nil {
			return err
		}
		return second(tx.Append(e.event("drafted", a.Account, message.Key{Sender: c.From, ID: id}, message.DigestOf(content), "")))
	})
	if err != nil {
		return message.ID{}, err
	}
	e.tell()
	return id, nil
}

// checkParties refuses what can never be sent, before anything is stored.
func (e *Exchange) checkParties(c Composition) error {
	const op = "create request"
	if c.Request == nil {
		return fault.New(fault.Invalid, "empty", op, "the request is empty")
	}
	view := e.Directory.Load().At(e.Clock())
	own, err := e.served(view, c.From)
	if err != nil {
		return err
	}
	if !own {
		return fault.New(fault.Denied, "not-served", op, "this node does not serve the requesting authority")
	}
	if c.From.State() == c.To.State() {
		return fault.New(fault.Denied, "same-state", op, "a request goes to an authority of another state")
	}
	return view.CheckAuthority(c.To)
}

// referencePrefix names the requesting authority and the requested state: numbers are counted by authority.
func referencePrefix(from, to authority.Name) string {
	return fmt.Sprintf("%s-%s-%s-", from.State(), from.Slug(), to.State())
}

// reference is phone-readable: requesting authority, requested state, year, number, and the node's incarnation once it is
// not the first, so that a restored node never gives one twice (PROTOCOL 9.5).
func (e *Exchange) reference(c Composition, now time.Time, n int) string {
	ref := fmt.Sprintf("%s%d-%06d", referencePrefix(c.From, c.To), now.Year(), n)
	if e.Incarnation.Counter > 1 {
		ref += fmt.Sprintf("-%d", e.Incarnation.Counter)
	}
	return ref
}

// draftBytes keeps a composition in the form it will be signed in.
func (e *Exchange) draftBytes(c Composition) []byte {
	ctx := &formatv1.Context{Sender: c.From.String(), Category: c.Category.String(), Urgency: string(c.Urgency), Status: string(c.Status)}
	ctx.Recipients = []*formatv1.Recipient{{Authority: c.To.String()}}
	if !c.Expires.IsZero() {
		ctx.Expires = c.Expires.UnixMilli()
	}
	m := &formatv1.Content{Items: []*formatv1.Item{
		{Type: "context", Body: canonical.Marshal(ctx)},
		{Type: itemRequest, Body: canonical.Marshal(c.Request)},
	}}
	for _, q := range c.Asks {
		m.Items = append(m.Items, &formatv1.Item{Type: itemAsk, Body: canonical.Marshal(q)})
	}
	for _, s := range c.Subjects {
		m.Items = append(m.Items, &formatv1.Item{Type: itemSubject, Body: canonical.Marshal(s)})
	}
	return canonical.Marshal(m)
}

// readDraft is the inverse of draftBytes.
func readDraft(b []byte) (Composition, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(b, &m, maxStored); err != nil {
		return Composition{}, err
	}
	var c Composition
	for i, it := range m.GetItems() {
		if i == 0 {
			if err := readDraftContext(it.GetBody(), &c); err != nil {
				return Composition{}, err
			}
			continue
		}
		if err := readItem(seal.Item{Type: it.GetType(), Body: it.GetBody()}, &c.Compose); err != nil {
			return Composition{}, err
		}
	}
	return c, nil
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
	if c.To, err = authority.ParseName(m.GetRecipients()[0].GetAuthority()); err != nil {
		return err
	}
	if m.GetCategory() != "" {
		if c.Category, err = authority.ParseCategory(m.GetCategory()); err != nil {
			return err
		}
	}
	if m.GetExpires() != 0 {
		c.Expires = time.UnixMilli(m.GetExpires())
	}
	c.Urgency, c.Status = message.Urgency(m.GetUrgency()), message.OperationalStatus(m.GetStatus())
	return nil
}

// readItem adds one content item to a composition; items of other types are left to others.
func readItem(it seal.Item, c *message.Compose) error {
	switch it.Type {
	case itemRequest:
		c.Request = new(formatv1.Request)
		return it.Read(itemRequest, c.Request)
	case itemAsk:
		q := new(formatv1.Ask)
		c.Asks = append(c.Asks, q)
		return it.Read(itemAsk, q)
	case itemSubject:
		s := new(formatv1.Subject)
		c.Subjects = append(c.Subjects, s)
		return it.Read(itemSubject, s)
	}
	return nil
}

// draft is all that a request is made of before it is sent.
type draft struct {
	ledger.Case
	stored ledger.Draft
	rows   []ledger.Attachment
}

// handled notes that somebody beside its author added to a draft or submitted it. Its digest stays: it covers content.
func handled(x ledger.Draft, who string) (ledger.Draft, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(x.Content, &m, maxStored); err != nil {
		return ledger.Draft{}, err
	}
	if who == x.Author || hadHand(&m, who) {
		return x, nil
	}
	m.Items = append(m.Items, &formatv1.Item{Type: itemHand, Body: []byte(who)})
	x.Content = canonical.Marshal(&m)
	return x, nil
}

func hadHand(m *formatv1.Content, who string) bool {
	return slices.ContainsFunc(m.GetItems(), func(it *formatv1.Item) bool {
		return it.GetType() == itemHand && string(it.GetBody()) == who
	})
}

// authorFor is whose work the draft is where an actor is asked about: who had a hand in it is no second person.
func (d draft) authorFor(a Actor) (string, error) {
	var m formatv1.Content
	if err := canonical.Unmarshal(d.stored.Content, &m, maxStored); err != nil {
		return "", err
	}
	if hadHand(&m, a.author()) {
		return a.author(), nil
	}
	return d.Author, nil
}

// digest is what an approver signs for: the content and every file, so that any edit voids the approval (DESIGN 9).
func (d draft) digest() message.Digest {
	all := bytes.Clone(d.stored.Digest[:])
	for _, row := range d.rows {
		all = append(all, row.Root[:]...)
		note := message.DigestOf(row.Meta)
		all = append(all, note[:]...)
	}
	return message.DigestOf(all)
}

// loadDraft reads a draft that an actor may act on, in one view.
func (e *Exchange) loadDraft(ctx context.Context, a Actor, action string, conversation message.ID) (draft, error) {
	var d draft
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		if d.Case, err = r.Case(conversation, a.Authority); err != nil {
			return err
		}
		if d.State != message.Draft && d.State != message.PendingApproval {
			return nil
		}
		if d.stored, err = r.Draft(conversation); err != nil {
			return err
		}
		d.rows, err = r.AttachmentsOf(ledger.OwnedByDraft(conversation))
		return err
	})
	if err != nil {
		return draft{}, err
	}
	asked := d.Case
	if !d.stored.Conversation.IsZero() {
		if asked.Author, err = d.authorFor(a); err != nil {
			return draft{}, err
		}
	}
	if err := e.allow(ctx, a, action, asked); err != nil {
		return draft{}, err
	}
	if d.State != message.Draft && d.State != message.PendingApproval {
		return draft{}, fault.New(fault.Conflict, "wrong-state", "open draft", "the request has been sent and can no longer be changed")
	}
	return d, nil
}

// Check lists what a draft lacks.
func (e *Exchange) Check(ctx context.Context, a Actor, conversation message.ID) ([]message.Finding, error) {
	d, err := e.loadDraft(ctx, a, "request:check", conversation)
	if err != nil {
		return nil, err
	}
	c, err := readDraft(d.stored.Content)
	if err != nil {
		return nil, err
	}
	return e.findings(c), nil
}

func (e *Exchange) findings(c Composition) []message.Finding {
	lists := catalog.Now(e.Directory.Load().At(e.Clock()), e.Lists)
	out := message.CheckRequest(c.Compose, lists)
	out = append(out, message.CheckUrgency(c.Urgency, c.Request)...)
	if err := lists.CheckCategory(c.Category.String()); err != nil {
		out = append(out, message.Finding{Field: "category", Level: message.LevelError, Text: fault.As(err).Say})
	}
	if life := c.Expires.Sub(e.Clock()); !c.Expires.IsZero() && (life <= 0 || life > message.MaxLife) {
		out = append(out, message.Finding{Field: "expires", Level: message.LevelError, Text: "a message expires in the future, and within a year"})
	}
	if to, ok := e.Directory.Load().At(e.Clock()).Authority(c.To); ok && !covers(to, c) {
		out = append(out, message.Finding{Field: "to", Level: message.LevelWarning, Text: "this authority has not declared competence for the category"})
	}
	return out
}

// AddAttachment seals a file into the spool of a draft. On return the sealed file and its row are on stable storage.
// Memory is constant whatever the size.
func (e *Exchange) AddAttachment(ctx context.Context, a Actor, conversation message.ID, note *formatv1.AttachmentNote, src io.Reader) (AttachmentView, error) {
	c, err := e.loadDraft(ctx, a, "attachment:add", conversation)
	if err != nil {
		return AttachmentView{}, err
	}
	file, err := e.SealFile(src)
	if err != nil {
		return AttachmentView{}, err
	}
	var row ledger.Attachment
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		row, err = e.putDraftAttachment(tx, a, c.Case, note, file)
		return err
	})
	if err != nil {
		e.DropFile(file)
		return AttachmentView{}, err
	}
	e.tell()
	return file.View(row.Index, note), nil
}

func (e *Exchange) putDraftAttachment(tx ledger.Tx, a Actor, seen ledger.Case, note *formatv1.AttachmentNote, file SealedFile) (ledger.Attachment, error) {
	c, err := tx.Case(seen.Conversation, seen.Own)
	if err != nil {
		return ledger.Attachment{}, err
	}
	if c.State != message.Draft {
		return ledger.Attachment{}, fault.New(fault.Conflict, "wrong-state", "attach file", "the request is no longer a draft")
	}
	if c.Attachments >= message.MaxAttachments {
		return ledger.Attachment{}, fault.New(fault.TooLarge, "too-large", "attach file", "a message has at most 64 attachments")
	}
	if err := putHand(tx, a, c.Conversation); err != nil {
		return ledger.Attachment{}, err
	}
	row := file.Row(c.Conversation, uint32(c.Attachments), note)
	c.Attachments++
	c.Changed = e.Clock()
	if err := tx.PutAttachment(row); err != nil {
		return ledger.Attachment{}, err
	}
	if _, err := tx.PutCase(c); err != nil {
		return ledger.Attachment{}, err
	}
	return row, second(tx.Append(e.event("attached", a.Account, message.Key{Sender: c.Own, ID: row.Conversation}, row.Root, "")))
}

// putHand notes in a draft who added to it or submitted it.
func putHand(tx ledger.Tx, a Actor, conversation message.ID) error {
	x, err := tx.Draft(conversation)
	if err != nil {
		return err
	}
	if x, err = handled(x, a.author()); err != nil {
		return err
	}
	return tx.PutDraft(x)
}

// Return sends a draft back to its author with a reason.
func (e *Exchange) Return(ctx context.Context, a Actor, conversation message.ID, reason string) error {
	seen, err := e.loadDraft(ctx, a, "request:return", conversation)
	if err != nil {
		return err
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		c, err := tx.Case(conversation, seen.Own)
		if err != nil {
			return err
		}
		if c.State != message.PendingApproval {
			return fault.New(fault.Conflict, "wrong-state", "return request", "the request does not wait for approval")
		}
		c.State, c.Changed, seen.stored.Returned = message.Draft, e.Clock(), reason
		if err := tx.PutDraft(seen.stored); err != nil {
			return err
		}
		if _, err := tx.PutCase(c); err != nil {
			return err
		}
		return second(tx.Append(e.event("returned", a.Account, message.Key{Sender: c.Own, ID: conversation}, seen.stored.Digest, reason)))
	})
	if err == nil {
		e.tell()
	}
	return err
}
