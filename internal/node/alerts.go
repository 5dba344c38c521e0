package node

import (
	"context"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/alert"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// alerts lets the operator door use the desk: it implements operator.Alerts.
type alerts struct{ d *alert.Desk }

func (s alerts) Create(ctx context.Context, who people.Principal, d *operatorv1.AlertDraft) (message.ID, error) {
	c, err := alertOf(d)
	if err != nil {
		return message.ID{}, err
	}
	return s.d.Create(ctx, actorOf(who), c)
}

// alertOf reads a draft. What is not named is ROUTINE, ACTUAL and for the category.
func alertOf(d *operatorv1.AlertDraft) (alert.Composition, error) {
	c := alert.Composition{AlertCompose: message.AlertCompose{
		Urgency: message.Routine, Status: message.Actual, Distribution: message.ByCategory,
		Notice: d.GetNotice(), Subjects: d.GetSubjects(), Files: d.GetFiles(),
	}}
	if d.GetExpires() != 0 {
		c.Expires = time.UnixMilli(d.GetExpires()).UTC()
	}
	for _, read := range []error{
		into(&c.From, d.GetAuthority(), authority.ParseName),
		into(&c.Category, d.GetCategory(), authority.ParseCategory),
		into(&c.Urgency, d.GetUrgency(), message.ParseUrgency),
		into(&c.Status, d.GetStatus(), message.ParseOperationalStatus),
		into(&c.Distribution, d.GetDistribution(), message.ParseDistribution),
		intoAll(&c.States, d.GetStates(), authority.ParseState),
		intoAll(&c.To, d.GetTo(), authority.ParseName),
	} {
		if read != nil {
			return alert.Composition{}, read
		}
	}
	return c, nil
}

// into reads text into a field; no text leaves the field as it is.
func into[T any](field *T, text string, parse func(string) (T, error)) error {
	if text == "" {
		return nil
	}
	v, err := parse(text)
	if err == nil {
		*field = v
	}
	return err
}

func intoAll[T any](field *[]T, texts []string, parse func(string) (T, error)) error {
	for _, text := range texts {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*field = append(*field, v)
	}
	return nil
}

func (s alerts) Check(ctx context.Context, who people.Principal, id message.ID) ([]message.Finding, []authority.Name, error) {
	c, err := s.d.Check(ctx, actorOf(who), id)
	return c.Findings, c.Audience, err
}

func (s alerts) Publish(ctx context.Context, who people.Principal, id message.ID) (operator.Published, error) {
	p, err := s.d.Publish(ctx, actorOf(who), id)
	return operator.Published(p), err
}

func (s alerts) Approve(ctx context.Context, who people.Principal, id message.ID, digest message.Digest) (operator.Published, error) {
	p, err := s.d.Approve(ctx, actorOf(who), id, digest)
	return operator.Published(p), err
}

func (s alerts) Return(ctx context.Context, who people.Principal, id message.ID, reason string) (message.AlertState, error) {
	return s.d.Return(ctx, actorOf(who), id, reason)
}

func (s alerts) Update(ctx context.Context, who people.Principal, id message.ID, d *operatorv1.AlertDraft) (message.AlertState, error) {
	c, err := alertOf(d)
	if err != nil {
		return "", err
	}
	return s.d.Update(ctx, actorOf(who), id, c)
}

func (s alerts) Cancel(ctx context.Context, who people.Principal, id message.ID, reason, text string) (operator.Published, error) {
	p, err := s.d.Cancel(ctx, actorOf(who), id, &formatv1.Cancellation{Reason: reason, Text: text})
	return operator.Published(p), err
}

func (s alerts) Feedback(ctx context.Context, who people.Principal, id message.ID, f *formatv1.Feedback) (message.ID, error) {
	return s.d.Feedback(ctx, actorOf(who), id, f)
}

func (s alerts) Holders(ctx context.Context, who people.Principal, id message.ID) ([]*operatorv1.Holder, error) {
	all, err := s.d.Holders(ctx, actorOf(who), id)
	if err != nil {
		return nil, err
	}
	out := make([]*operatorv1.Holder, 0, len(all))
	for _, h := range all {
		out = append(out, &operatorv1.Holder{
			Node: h.Node.String(), Authorities: texts(h.Authorities), Alert: h.Alert, Latest: h.Latest, Code: h.Code,
			Time: milli(h.Time), LastError: h.LastError,
		})
	}
	return out, nil
}

func (s alerts) List(ctx context.Context, who people.Principal, f operator.AlertFilter) ([]operator.AlertChange, error) {
	filter := alert.Filter{State: f.State, Type: f.Type, Category: f.Category, Limit: f.Limit, Before: f.Before}
	switch f.Direction {
	case operator.Issued:
		filter.Direction = ledger.Out
	case operator.Received:
		filter.Direction = ledger.In
	}
	all, err := s.d.List(ctx, actorOf(who), filter)
	return alertChangesOf(all), err
}

func (s alerts) Newest(ctx context.Context) (int64, error) { return s.d.Cursor(ctx) }

func (s alerts) Changed() <-chan struct{} { return s.d.Changed() }

func alertChangesOf(all []alert.Summary) []operator.AlertChange {
	out := make([]operator.AlertChange, 0, len(all))
	for _, a := range all {
		out = append(out, operator.AlertChange{Cursor: a.Cursor, Summary: alertSummaryOf(a)})
	}
	return out
}

func alertSummaryOf(a alert.Summary) *operatorv1.AlertSummary {
	out := &operatorv1.AlertSummary{
		Id: a.ID.String(), Reference: a.Reference, Direction: "received", Issuer: a.Issuer.String(), Own: a.Own.String(),
		Type: a.Type, Category: a.Category.String(), Urgency: string(a.Urgency), OperationalStatus: string(a.Status),
		Status: string(a.State), Title: a.Title, Version: a.Version, Created: milli(a.Created), Changed: milli(a.Changed),
		Expires: milli(a.Expires), Mark: a.Mark, Attachments: uint32(a.Attachments), Distribution: string(a.Distribution),
	}
	if a.Issued {
		out.Direction = "issued"
	}
	return out
}

func (s alerts) AddFile(ctx context.Context, who people.Principal, id message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error) {
	v, err := s.d.AddFile(ctx, actorOf(who), id, note, src)
	if err != nil {
		return nil, err
	}
	return attachmentOf(v), nil
}

func (s alerts) OpenFile(ctx context.Context, who people.Principal, id message.ID, index uint32) (io.ReadCloser, *operatorv1.AttachmentInfo, error) {
	src, v, err := s.d.OpenFile(ctx, actorOf(who), id, index)
	if err != nil {
		return nil, nil, err
	}
	return src, attachmentOf(v), nil
}

func (s alerts) Show(ctx context.Context, who people.Principal, id message.ID) (*operatorv1.GetAlertResponse, error) {
	v, err := s.d.Show(ctx, actorOf(who), id)
	if err != nil {
		return nil, err
	}
	return shownOf(v), nil
}

// shownOf presents the next version while it waits for approval, so that the approver sees what they sign off: status and
// version say so, and the steps are what was issued.
func shownOf(v alert.View) *operatorv1.GetAlertResponse {
	out := alertViewOf(v)
	if v.Draft == nil || v.Version == 0 || v.Draft.State != message.AlertPending {
		return out
	}
	draftInto(out, v.Draft)
	out.Summary.Status, out.Summary.Version = string(v.Draft.State), v.Version+1
	out.Summary.Title, out.Summary.Urgency = v.Draft.Notice.GetTitle(), string(v.Draft.Urgency)
	out.Summary.Attachments = uint32(len(v.Draft.Attached))
	return out
}

func (s alerts) Since(ctx context.Context, who people.Principal, cursor int64, received bool, limit int) ([]operator.AlertNews, int64, error) {
	all, upTo, err := s.d.Since(ctx, actorOf(who), cursor, received, limit)
	if err != nil {
		return nil, cursor, err
	}
	out := make([]operator.AlertNews, 0, len(all))
	for _, v := range all {
		out = append(out, operator.AlertNews{Cursor: v.Cursor, Alert: alertViewOf(v)})
	}
	return out, upTo, nil
}

// alertViewOf is an alert as it is issued; one that never was, as it is drafted.
func alertViewOf(v alert.View) *operatorv1.GetAlertResponse {
	out := &operatorv1.GetAlertResponse{
		Summary: alertSummaryOf(v.Summary), Notice: v.Notice, Subjects: v.Subjects, Files: v.Files,
		Attachments: attachmentsOf(v.Attached),
	}
	for _, step := range v.Steps {
		out.Steps = append(out.Steps, &operatorv1.AlertStep{
			MessageId: step.Message.String(), Kind: string(step.Kind), Sender: step.Sender.String(), Created: milli(step.Created),
			Version: step.Version, Approval: string(step.Approval), Digest: digestText(step.Digest),
			Cancellation: step.Cancellation, Feedback: step.Feedback,
		})
	}
	if v.Draft == nil {
		return out
	}
	out.Returned = v.Draft.Returned
	if v.Version == 0 {
		draftInto(out, v.Draft)
	}
	return out
}

// draftInto shows what is drafted, with the digest that an approver signs off.
func draftInto(out *operatorv1.GetAlertResponse, d *alert.DraftView) {
	out.Notice, out.Subjects, out.Files = d.Notice, d.Subjects, d.Files
	out.Attachments, out.Digest = attachmentsOf(d.Attached), digestText(d.Digest)
}

func attachmentsOf(all []exchange.AttachmentView) []*operatorv1.AttachmentInfo {
	var out []*operatorv1.AttachmentInfo
	for _, a := range all {
		out = append(out, attachmentOf(a))
	}
	return out
}

// subscriptions lets the operator door use the desk: it implements operator.Subscriptions.
type subscriptions struct{ d *alert.Desk }

func (s subscriptions) Add(ctx context.Context, who people.Principal, in *operatorv1.Subscription) (message.ID, string, error) {
	w := alert.Wish{Categories: in.GetCategories(), Types: in.GetTypes()}
	for _, read := range []error{
		into(&w.Own, in.GetAuthority(), authority.ParseName),
		into(&w.Urgency, in.GetUrgency(), message.ParseUrgency),
		intoAll(&w.States, in.GetStates(), authority.ParseState),
	} {
		if read != nil {
			return message.ID{}, "", read
		}
	}
	made, err := s.d.AddSubscription(ctx, actorOf(who), w)
	return made.ID, made.Status, err
}

func (s subscriptions) Approve(ctx context.Context, who people.Principal, id message.ID) (string, error) {
	made, err := s.d.ApproveSubscription(ctx, actorOf(who), id)
	return made.Status, err
}

func (s subscriptions) List(ctx context.Context, who people.Principal) ([]*operatorv1.Subscription, error) {
	all, err := s.d.Subscriptions(ctx, actorOf(who))
	if err != nil {
		return nil, err
	}
	out := make([]*operatorv1.Subscription, 0, len(all))
	for _, one := range all {
		out = append(out, &operatorv1.Subscription{
			Id: one.ID.String(), Authority: one.Own.String(), Categories: one.Categories, Types: one.Types,
			States: texts(one.States), Urgency: string(one.Urgency), Status: one.Status, Author: one.Author, Created: milli(one.Created),
		})
	}
	return out, nil
}

func (s subscriptions) Remove(ctx context.Context, who people.Principal, id message.ID) error {
	return s.d.RemoveSubscription(ctx, actorOf(who), id)
}

func texts[T interface{ String() string }](all []T) []string {
	out := make([]string, 0, len(all))
	for _, v := range all {
		out = append(out, v.String())
	}
	return out
}

var (
	_ operator.Alerts        = alerts{}
	_ operator.Subscriptions = subscriptions{}
)
