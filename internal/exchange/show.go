package exchange

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/seal"
)

const (
	defaultPage = 50
	maxPage     = 500
)

// List returns an actor's requests, newest change first.
func (e *Exchange) List(ctx context.Context, a Actor, f Filter) ([]Summary, error) {
	if err := e.Gate.Allow(ctx, a, "request:list", Resource{Own: a.Authority}); err != nil {
		return nil, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	var cases []ledger.Case
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		cases, err = r.Cases(ledger.CaseFilter{Own: a.Authority, Side: f.Side, State: f.State, Peer: f.Peer, Limit: min(limit, maxPage), BeforeCursor: f.Before})
		return err
	})
	return summaries(cases), err
}

// Since returns changes after a cursor, oldest first, of the actor's authority. A change that is overtaken by a newer
// change of the same request is not told apart.
func (e *Exchange) Since(ctx context.Context, a Actor, cursor int64, limit int) ([]Summary, error) {
	if err := e.Gate.Allow(ctx, a, "request:list", Resource{Own: a.Authority}); err != nil {
		return nil, err
	}
	var cases []ledger.Case
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		cases, err = e.ownSince(r, a.Authority, cursor, min(limit, maxPage))
		return err
	})
	return summaries(cases), err
}

// ownSince passes over other authorities' changes, page by page.
func (e *Exchange) ownSince(r ledger.Reader, own authority.Name, cursor int64, limit int) ([]ledger.Case, error) {
	var out []ledger.Case
	for {
		page, err := r.CasesSince(cursor, maxPage)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, c := range page {
			if c.Own == own {
				out = append(out, c)
			}
			if len(out) == limit {
				return out, nil
			}
		}
		cursor = page[len(page)-1].Cursor
	}
}

// Cursor is the newest change.
func (e *Exchange) Cursor(ctx context.Context) (int64, error) {
	var n int64
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		n, err = r.Cursor()
		return err
	})
	return n, err
}

func summaries(cases []ledger.Case) []Summary {
	out := make([]Summary, 0, len(cases))
	for _, c := range cases {
		out = append(out, summaryOf(c))
	}
	return out
}

func summaryOf(c ledger.Case) Summary {
	return Summary{
		Conversation: c.Conversation, Own: c.Own, Peer: c.Peer, Side: c.Side, Reference: c.Reference, Local: c.LocalReference,
		Kind: c.RequestKind.String(), Category: c.Category, Urgency: c.Urgency, Status: c.Status, State: c.State, Title: c.Title,
		Created: c.Created, Changed: c.Changed, Due: c.Due, Attachments: c.Attachments, Cursor: c.Cursor,
	}
}

// Show opens a request for an actor. The reading is an event of its own (P14), committed before anything is shown.
func (e *Exchange) Show(ctx context.Context, a Actor, conversation message.ID) (View, error) {
	s, err := e.show(ctx, a, "request:show", conversation)
	if err != nil {
		return View{}, err
	}
	err = e.Ledger.Update(ctx, func(tx ledger.Tx) error {
		return second(tx.Append(e.event("read", a.Account, message.Key{Sender: s.own, ID: conversation}, message.Digest{}, "")))
	})
	return s.View, err
}

// shown is a view with what only this room may hold: file names and attachment keys.
type shown struct {
	View
	own   authority.Name
	files []file
}

type file struct {
	row  ledger.Attachment
	view AttachmentView
	key  seal.AttachmentKey
}

func (e *Exchange) show(ctx context.Context, a Actor, action string, conversation message.ID) (shown, error) {
	c, err := e.open(ctx, a, action, conversation)
	if err != nil {
		return shown{}, err
	}
	s := shown{View: View{Summary: summaryOf(c)}, own: c.Own}
	if c.State == message.Draft || c.State == message.PendingApproval {
		return s, e.showDraft(ctx, c, &s)
	}
	var all []ledger.Message
	err = e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		all, err = r.MessagesOf(conversation)
		return err
	})
	if err != nil {
		return shown{}, err
	}
	for _, m := range all {
		if m.Key.Sender != c.Own && m.Key.Sender != c.Peer {
			continue // another case of the same conversation
		}
		if m, err = e.whole(ctx, m.Key); err != nil {
			return shown{}, err
		}
		if err := e.showMessage(ctx, c, m, &s); err != nil {
			return shown{}, err
		}
	}
	return s, nil
}

func (e *Exchange) showDraft(ctx context.Context, c ledger.Case, s *shown) error {
	var d ledger.Draft
	err := e.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		d, err = r.Draft(c.Conversation)
		return err
	})
	if err != nil {
		return err
	}
	comp, err := readDraft(d.Content)
	if err != nil {
		return err
	}
	s.Compose = comp.Compose
	rows, err := e.attachmentsOf(ctx, ledger.OwnedByDraft(c.Conversation))
	if err != nil {
		return err
	}
	for _, row := range rows {
		note, key, err := DraftFile(row)
		if err != nil {
			return err
		}
		s.addFile(row, note, key, message.ID{})
	}
	s.Digest = draft{stored: d, rows: rows}.digest()
	return nil
}

func (s *shown) addFile(row ledger.Attachment, note *formatv1.AttachmentNote, key seal.AttachmentKey, msg message.ID) {
	v := AttachmentView{Message: msg, Index: row.Index, Note: note, Size: key.Size, Digest: key.Digest,
		SealedSize: row.SealedSize, Stored: row.Stored, Complete: row.State != ledger.AttachmentReceiving}
	s.Attachments = append(s.Attachments, v)
	s.files = append(s.files, file{row, v, key})
}

// headerOf reads the header of a stored envelope. Its signature was verified, or made, before it was stored.
func (e *Exchange) headerOf(m ledger.Message) (message.Header, error) {
	env, err := seal.Stored(m.Envelope)
	return env.Header, err
}

// openStored opens a stored message with the key of this node's authority among its recipients.
func (e *Exchange) openStored(ctx context.Context, own authority.Name, m ledger.Message) (seal.Envelope, seal.Content, error) {
	env, err := seal.Stored(m.Envelope)
	if err != nil {
		return seal.Envelope{}, seal.Content{}, err
	}
	for _, r := range env.Header.Recipients {
		if r.Authority == own {
			content, err := env.Open(ctx, e.Keys, r.Key)
			return env, content, err
		}
	}
	return env, seal.Content{}, fault.New(fault.Internal, "", "open message", "the stored message is not addressed to its authority")
}

// composeOf opens the request a case began with.
func (e *Exchange) composeOf(ctx context.Context, c ledger.Case) (message.Compose, error) {
	first, err := e.requestOf(ctx, c)
	if err != nil {
		return message.Compose{}, err
	}
	_, content, err := e.openStored(ctx, c.Own, first)
	if err != nil {
		return message.Compose{}, err
	}
	var out message.Compose
	for _, it := range content.Items {
		if err := readItem(it, &out); err != nil {
			return message.Compose{}, err
		}
	}
	return out, nil
}

func (e *Exchange) showMessage(ctx context.Context, c ledger.Case, m ledger.Message, s *shown) error {
	env, content, err := e.openStored(ctx, c.Own, m)
	if err != nil {
		return err
	}
	if m.Kind == message.KindRequest {
		for _, it := range content.Items {
			if err := readItem(it, &s.Compose); err != nil {
				return err
			}
		}
	}
	step, err := readSteps(content)
	if err != nil {
		return err
	}
	if m.Kind == message.KindRequest {
		step.Subjects = nil // they stand with the request itself
	}
	h := env.Header
	step.Message, step.Kind, step.Sender, step.Created, step.Digest, step.Approval = h.ID, h.Kind, h.Sender, h.Created, h.Digest, h.Approval
	if err := e.showFiles(ctx, h, content, s); err != nil {
		return err
	}
	if err := e.showReceipts(ctx, m, h, &step); err != nil {
		return err
	}
	s.Steps = append(s.Steps, step)
	return nil
}

func (e *Exchange) showFiles(ctx context.Context, h message.Header, content seal.Content, s *shown) error {
	rows, err := e.attachmentsOf(ctx, ledger.OwnedBy(h.Key()))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.State == ledger.AttachmentReceiving {
			row.Stored = e.spooled(row)
		}
		s.addFile(row, noteOf(content, row.Index), content.Attachments[row.Index], h.ID)
	}
	return nil
}

func noteOf(c seal.Content, index uint32) *formatv1.AttachmentNote {
	for _, it := range c.Items {
		n := new(formatv1.AttachmentNote)
		if it.Type == itemAttachment && it.Read(itemAttachment, n) == nil && n.GetIndex() == index {
			return n
		}
	}
	return &formatv1.AttachmentNote{Index: index}
}

// readSteps reads the content of every message but a request.
func readSteps(c seal.Content) (Step, error) {
	var s Step
	for _, it := range c.Items {
		var err error
		switch it.Type {
		case itemAcknowledgement:
			s.Acknowledgement = new(formatv1.Acknowledgement)
			err = it.Read(it.Type, s.Acknowledgement)
		case itemAnswer:
			x := new(formatv1.Answer)
			s.Answers = append(s.Answers, x)
			err = it.Read(it.Type, x)
		case itemRefusal:
			s.Refusal = new(formatv1.Refusal)
			err = it.Read(it.Type, s.Refusal)
		case itemClosing:
			s.Closing = new(formatv1.Closing)
			err = it.Read(it.Type, s.Closing)
		case itemSubject:
			x := new(formatv1.Subject)
			s.Subjects = append(s.Subjects, x)
			err = it.Read(it.Type, x)
		}
		if err != nil {
			return Step{}, err
		}
	}
	return s, nil
}

// showReceipts adds the receipts that stand for a message, each verified against the directory of now.
func (e *Exchange) showReceipts(ctx context.Context, m ledger.Message, h message.Header, step *Step) error {
	view := e.Directory.Load().At(e.Clock())
	if m.Direction == ledger.In {
		var r ledger.Receipt
		err := e.Ledger.View(ctx, func(rd ledger.Reader) error {
			var err error
			r, err = rd.ReceiptFor(m.Key)
			return err
		})
		if err != nil {
			return err
		}
		step.Receipts = e.receiptViews(view, h, newest(r))
		return nil
	}
	var ds []ledger.Delivery
	err := e.Ledger.View(ctx, func(rd ledger.Reader) error {
		var err error
		ds, err = rd.DeliveriesOf(m.Key)
		return err
	})
	for _, d := range ds {
		step.Deliveries = append(step.Deliveries, DeliveryView{d.Node, string(d.State), d.Attempts, d.Next, d.LastError, d.Road})
		step.Receipts = append(step.Receipts, e.receiptViews(view, h, newest(ledger.Receipt{Received: d.Receipt, Complete: d.CompleteReceipt}))...)
	}
	return err
}

func (e *Exchange) receiptViews(view directory.View, h message.Header, signed []byte) []ReceiptView {
	if len(signed) == 0 {
		return nil
	}
	r, err := seal.VerifyReceipt(signed, h, view.NodeKey)
	out := make([]ReceiptView, 0, len(r.Stages))
	for _, s := range r.Stages {
		out = append(out, ReceiptView{Node: r.Node, Authority: s.Authority, Stage: s.Stage, Code: s.Code, Time: r.Time, Verified: err == nil})
	}
	return out
}
