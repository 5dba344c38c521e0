package node

import (
	"context"
	"encoding/hex"
	"io"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/exchange"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
)

// requests lets the operator door use the exchange: it implements operator.Requests and operator.Attachments.
type requests struct{ x *exchange.Exchange }

// actorOf is a caller as the exchange knows one.
func actorOf(who people.Principal) exchange.Actor {
	a := exchange.Actor{Account: who.Actor(), Author: who.Author(), Authority: who.Authority, Token: who.IsToken()}
	for _, r := range who.Roles {
		a.Roles = append(a.Roles, r.String())
	}
	for _, s := range who.Scopes {
		a.Scopes = append(a.Scopes, s.String())
	}
	return a
}

func (r requests) Create(ctx context.Context, who people.Principal, d *operatorv1.Draft) (message.ID, error) {
	c, err := compositionOf(who, d)
	if err != nil {
		return message.ID{}, err
	}
	return r.x.Create(ctx, actorOf(who), c)
}

// compositionOf reads a draft. Who writes for no named authority writes for their own; urgency and status not named
// are ROUTINE and ACTUAL.
func compositionOf(who people.Principal, d *operatorv1.Draft) (exchange.Composition, error) {
	c := exchange.Composition{From: who.Authority, Urgency: message.Routine, Status: message.Actual}
	c.Compose = message.Compose{Request: d.GetRequest(), Asks: d.GetAsks(), Subjects: d.GetSubjects()}
	var err error
	if d.GetAuthority() != "" {
		if c.From, err = authority.ParseName(d.GetAuthority()); err != nil {
			return c, err
		}
	}
	if c.To, err = authority.ParseName(d.GetTo()); err != nil {
		return c, err
	}
	if d.GetCategory() != "" {
		if c.Category, err = authority.ParseCategory(d.GetCategory()); err != nil {
			return c, err
		}
	}
	if d.GetUrgency() != "" {
		if c.Urgency, err = message.ParseUrgency(d.GetUrgency()); err != nil {
			return c, err
		}
	}
	if d.GetStatus() != "" {
		if c.Status, err = message.ParseOperationalStatus(d.GetStatus()); err != nil {
			return c, err
		}
	}
	if d.GetExpires() != 0 {
		c.Expires = time.UnixMilli(d.GetExpires()).UTC()
	}
	return c, nil
}

func (r requests) Check(ctx context.Context, who people.Principal, id message.ID) ([]message.Finding, error) {
	return r.x.Check(ctx, actorOf(who), id)
}

func (r requests) Send(ctx context.Context, who people.Principal, id message.ID) (operator.Sent, error) {
	s, err := r.x.Send(ctx, actorOf(who), id)
	return operator.Sent(s), err
}

func (r requests) Approve(ctx context.Context, who people.Principal, id message.ID, digest message.Digest) (operator.Sent, error) {
	s, err := r.x.Approve(ctx, actorOf(who), id, digest)
	return operator.Sent(s), err
}

func (r requests) Return(ctx context.Context, who people.Principal, id message.ID, reason string) error {
	return r.x.Return(ctx, actorOf(who), id, reason)
}

func (r requests) Acknowledge(ctx context.Context, who people.Principal, id message.ID, a *formatv1.Acknowledgement) (message.ID, error) {
	return r.x.Acknowledge(ctx, actorOf(who), id, a)
}

func (r requests) Answer(ctx context.Context, who people.Principal, id message.ID, a []*formatv1.Answer, found []*formatv1.Subject) (message.ID, error) {
	return r.x.Answer(ctx, actorOf(who), id, a, found)
}

func (r requests) Refuse(ctx context.Context, who people.Principal, id message.ID, why *formatv1.Refusal) (message.ID, error) {
	return r.x.Refuse(ctx, actorOf(who), id, why)
}

func (r requests) Close(ctx context.Context, who people.Principal, id message.ID, c *formatv1.Closing) (message.ID, error) {
	return r.x.Close(ctx, actorOf(who), id, c)
}

func (r requests) List(ctx context.Context, who people.Principal, f operator.Filter) ([]operator.Change, error) {
	all, err := r.x.List(ctx, actorOf(who), exchange.Filter{Side: f.Side, State: f.State, Peer: f.Peer, Limit: f.Limit, Before: f.Before})
	return changesOf(all), err
}

func (r requests) Since(ctx context.Context, who people.Principal, cursor int64, limit int) ([]operator.Change, error) {
	all, err := r.x.Since(ctx, actorOf(who), cursor, limit)
	return changesOf(all), err
}

func (r requests) Newest(ctx context.Context) (int64, error) { return r.x.Cursor(ctx) }

func (r requests) Changed() <-chan struct{} { return r.x.Changed() }

func changesOf(all []exchange.Summary) []operator.Change {
	out := make([]operator.Change, 0, len(all))
	for _, s := range all {
		out = append(out, operator.Change{Cursor: s.Cursor, Summary: summaryOf(s)})
	}
	return out
}

func summaryOf(s exchange.Summary) *operatorv1.RequestSummary {
	out := &operatorv1.RequestSummary{
		Id: s.Conversation.String(), Reference: s.Reference, Direction: "sent", From: s.Own.String(), To: s.Peer.String(),
		Kind: s.Kind, Category: s.Category.String(), Urgency: string(s.Urgency), OperationalStatus: string(s.Status),
		Status: string(s.State), Title: s.Title, Created: milli(s.Created), Changed: milli(s.Changed), Due: milli(s.Due),
		Attachments: uint32(s.Attachments),
	}
	if s.Side == message.Requested {
		out.Direction, out.From, out.To = "received", out.To, out.From
	}
	return out
}

func (r requests) Show(ctx context.Context, who people.Principal, id message.ID) (*operatorv1.GetRequestResponse, error) {
	v, err := r.x.Show(ctx, actorOf(who), id)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.GetRequestResponse{
		Summary: summaryOf(v.Summary), Request: v.Request, Asks: v.Asks, Subjects: v.Subjects,
		LocalReference: v.Local, Digest: digestText(v.Digest),
	}
	for _, a := range v.Attachments {
		out.Attachments = append(out.Attachments, attachmentOf(a))
	}
	for _, s := range v.Steps {
		out.Steps = append(out.Steps, stepOf(s))
	}
	return out, nil
}

func stepOf(s exchange.Step) *operatorv1.Step {
	out := &operatorv1.Step{
		MessageId: s.Message.String(), Kind: string(s.Kind), Sender: s.Sender.String(), Created: milli(s.Created),
		Acknowledgement: s.Acknowledgement, Answers: s.Answers, Subjects: s.Subjects, Refusal: s.Refusal, Closing: s.Closing,
		Approval: string(s.Approval), Digest: digestText(s.Digest),
	}
	// A request goes to one authority. Where that moved to another node there is a row for each, the old one ended.
	for _, d := range s.Deliveries {
		if out.Delivery != "" && d.State == "UNDELIVERABLE" {
			continue
		}
		out.Delivery, out.Attempts, out.NextAttempt, out.LastError, out.Road = d.State, uint32(d.Attempts), milli(d.Next), d.LastError, string(d.Road)
	}
	for _, r := range s.Receipts {
		out.Receipts = append(out.Receipts, &operatorv1.ReceiptInfo{
			Node: r.Node.String(), Authority: r.Authority.String(), Stage: string(r.Stage), Code: r.Code,
			Time: milli(r.Time), Verified: r.Verified,
		})
	}
	return out
}

func attachmentOf(a exchange.AttachmentView) *operatorv1.AttachmentInfo {
	out := &operatorv1.AttachmentInfo{
		Index: a.Index, Name: a.Note.GetName(), MediaType: a.Note.GetMediaType(), Description: a.Note.GetDescription(),
		Size: a.Size, Stored: a.Stored, SealedSize: a.SealedSize, Digest: digestText(a.Digest), Complete: a.Complete,
	}
	if !a.Message.IsZero() {
		out.MessageId = a.Message.String()
	}
	return out
}

func (r requests) Add(ctx context.Context, who people.Principal, request message.ID, note *formatv1.AttachmentNote, src io.Reader) (*operatorv1.AttachmentInfo, error) {
	v, err := r.x.AddAttachment(ctx, actorOf(who), request, note, src)
	if err != nil {
		return nil, err
	}
	return attachmentOf(v), nil
}

func (r requests) Open(ctx context.Context, who people.Principal, ref operator.AttachmentRef) (io.ReadCloser, *operatorv1.AttachmentInfo, error) {
	src, v, err := r.x.OpenAttachment(ctx, actorOf(who), ref.Request, ref.Message, ref.Index)
	if err != nil {
		return nil, nil, err
	}
	return src, attachmentOf(v), nil
}

// digestText is empty for no digest.
func digestText(d message.Digest) string {
	if d == (message.Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// milli is a time as the proto has it; 0 is never.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

var (
	_ operator.Requests    = requests{}
	_ operator.Attachments = requests{}
)
