package operator

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// CreateAlert stores a draft.
func (d *Door) CreateAlert(ctx context.Context, in *operatorv1.CreateAlertRequest) (*operatorv1.CreateAlertResponse, error) {
	if err := checkDraft("create alert", in.GetDraft()); err != nil {
		return nil, err
	}
	id, err := d.c.Alerts.Create(ctx, callerFrom(ctx).Principal, in.GetDraft())
	if err != nil {
		return nil, err
	}
	return &operatorv1.CreateAlertResponse{Id: id.String()}, nil
}

// checkDraft refuses what could never become an alert, whoever asks.
func checkDraft(op string, d *operatorv1.AlertDraft) error {
	if d == nil {
		return fault.New(fault.Invalid, "no-draft", op, "there is no draft")
	}
	if len(d.GetSubjects())+len(d.GetFiles()) > message.MaxItems {
		return fault.New(fault.TooLarge, "too-many", op, "there are more than 1,024 subjects and files")
	}
	if proto.Size(d) > message.MaxSealedBody {
		return fault.New(fault.TooLarge, "too-large", op, "an alert has at most 1 MiB, with the files inside it").
			WithHint("add large files to the draft one by one: they do not travel inside the alert")
	}
	return nil
}

// CheckAlert lists what is missing or doubtful, and who would receive it.
func (d *Door) CheckAlert(ctx context.Context, in *operatorv1.CheckAlertRequest) (*operatorv1.CheckAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	found, audience, err := d.c.Alerts.Check(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.CheckAlertResponse{Sendable: message.Sendable(found), Findings: findingsOf(found), Audience: texts(audience)}, nil
}

// PublishAlert submits a draft.
func (d *Door) PublishAlert(ctx context.Context, in *operatorv1.PublishAlertRequest) (*operatorv1.PublishAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	p, err := d.c.Alerts.Publish(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.PublishAlertResponse{
		Status: string(p.State), MessageId: idText(p.Message), Freshness: d.freshness(p.Freshness), Audience: uint32(p.Audience),
	}, nil
}

// ApproveAlert releases an alert.
func (d *Door) ApproveAlert(ctx context.Context, in *operatorv1.ApproveAlertRequest) (*operatorv1.ApproveAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	digest, err := readDigest(in.GetDigest())
	if err != nil {
		return nil, err
	}
	p, err := d.c.Alerts.Approve(ctx, callerFrom(ctx).Principal, id, digest)
	if err != nil {
		return nil, err
	}
	return &operatorv1.ApproveAlertResponse{
		Status: string(p.State), MessageId: idText(p.Message), Freshness: d.freshness(p.Freshness), Audience: uint32(p.Audience),
	}, nil
}

// ReturnAlert gives a draft back to its author.
func (d *Door) ReturnAlert(ctx context.Context, in *operatorv1.ReturnAlertRequest) (*operatorv1.ReturnAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	state, err := d.c.Alerts.Return(ctx, callerFrom(ctx).Principal, id, in.GetReason())
	if err != nil {
		return nil, err
	}
	return &operatorv1.ReturnAlertResponse{Status: string(state)}, nil
}

// UpdateAlert drafts the next version.
func (d *Door) UpdateAlert(ctx context.Context, in *operatorv1.UpdateAlertRequest) (*operatorv1.UpdateAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if err := checkDraft("update alert", in.GetDraft()); err != nil {
		return nil, err
	}
	state, err := d.c.Alerts.Update(ctx, callerFrom(ctx).Principal, id, in.GetDraft())
	if err != nil {
		return nil, err
	}
	return &operatorv1.UpdateAlertResponse{Status: string(state)}, nil
}

// CancelAlert withdraws an alert.
func (d *Door) CancelAlert(ctx context.Context, in *operatorv1.CancelAlertRequest) (*operatorv1.CancelAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if in.GetReason() == "" {
		return nil, missing("cancel alert", "reason")
	}
	p, err := d.c.Alerts.Cancel(ctx, callerFrom(ctx).Principal, id, in.GetReason(), in.GetText())
	if err != nil {
		return nil, err
	}
	return &operatorv1.CancelAlertResponse{Status: string(p.State), MessageId: idText(p.Message), Freshness: d.freshness(p.Freshness)}, nil
}

// ListAlerts lists alerts, newest change first.
func (d *Door) ListAlerts(ctx context.Context, in *operatorv1.ListAlertsRequest) (*operatorv1.ListAlertsResponse, error) {
	f, err := alertFilterOf(in)
	if err != nil {
		return nil, err
	}
	page, err := d.c.Alerts.List(ctx, callerFrom(ctx).Principal, f)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.ListAlertsResponse{}
	for _, c := range page {
		out.Alerts = append(out.Alerts, c.Summary)
	}
	if len(page) == f.Limit {
		out.NextCursor = cursorText(page[len(page)-1].Cursor)
	}
	return out, nil
}

func alertFilterOf(in *operatorv1.ListAlertsRequest) (AlertFilter, error) {
	f := AlertFilter{Limit: defaultPage, State: message.AlertState(in.GetStatus()), Category: in.GetCategory(), Type: in.GetType()}
	wrong := func(code, say string) (AlertFilter, error) {
		return AlertFilter{}, fault.New(fault.Invalid, code, "list alerts", say)
	}
	switch in.GetDirection() {
	case "":
	case "issued":
		f.Direction = Issued
	case "received":
		f.Direction = Received
	default:
		return wrong("unknown-direction", "a direction is issued or received")
	}
	if f.State != "" && !slices.Contains(alertStates(), f.State) {
		return wrong("unknown-status", "there is no such status of an alert")
	}
	if in.GetLimit() > maxPage {
		return wrong("limit", "a page has at most 500 alerts")
	}
	if in.GetLimit() > 0 {
		f.Limit = int(in.GetLimit())
	}
	if f.Category != "" {
		if _, err := authority.ParseCategory(f.Category); err != nil {
			return AlertFilter{}, err
		}
	}
	var err error
	if in.GetCursor() != "" {
		f.Before, err = readCursor(in.GetCursor())
	}
	return f, err
}

func alertStates() []message.AlertState {
	return []message.AlertState{message.AlertDraft, message.AlertPending, message.AlertIssued, message.AlertUpdated,
		message.AlertCancelled, message.AlertExpired, message.AlertSuperseded}
}

// GetAlert opens one alert.
func (d *Door) GetAlert(ctx context.Context, in *operatorv1.GetAlertRequest) (*operatorv1.GetAlertResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	return d.c.Alerts.Show(ctx, callerFrom(ctx).Principal, id)
}

// GiveFeedback tells the issuer what was found.
func (d *Door) GiveFeedback(ctx context.Context, in *operatorv1.GiveFeedbackRequest) (*operatorv1.GiveFeedbackResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if in.GetFeedback() == nil {
		return nil, missing("give feedback", "feedback")
	}
	msg, err := d.c.Alerts.Feedback(ctx, callerFrom(ctx).Principal, id, in.GetFeedback())
	if err != nil {
		return nil, err
	}
	return &operatorv1.GiveFeedbackResponse{MessageId: idText(msg), Freshness: d.freshness("")}, nil
}

// ListHolders says who has an alert of ours, and counts by its newest message: confirmed are the nodes whose signed
// receipt says that they have it or that nobody there wants it; one that refused it or has left the audience is in no
// count.
func (d *Door) ListHolders(ctx context.Context, in *operatorv1.ListHoldersRequest) (*operatorv1.ListHoldersResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	all, err := d.c.Alerts.Holders(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.ListHoldersResponse{Holders: all}
	for _, h := range all {
		state := h.GetLatest()
		if state == "" {
			state = h.GetAlert()
		}
		switch state {
		case "RECEIVED", "PASSED_OVER":
			out.Confirmed++
		case "PENDING":
			out.Pending++
		case "OVERDUE":
			out.Overdue++
		}
	}
	return out, nil
}

func findingsOf(found []message.Finding) []*operatorv1.Finding {
	var out []*operatorv1.Finding
	for _, f := range found {
		out = append(out, &operatorv1.Finding{Field: f.Field, Level: string(f.Level), Text: f.Text})
	}
	return out
}
