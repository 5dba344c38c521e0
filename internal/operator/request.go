package operator

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	defaultPage = 50
	maxPage     = 500
)

// CreateRequest stores a draft.
func (d *Door) CreateRequest(ctx context.Context, in *operatorv1.CreateRequestRequest) (*operatorv1.CreateRequestResponse, error) {
	if in.GetDraft() == nil {
		return nil, fault.New(fault.Invalid, "no-draft", "create request", "there is no draft")
	}
	id, err := d.c.Requests.Create(ctx, callerFrom(ctx).Principal, in.GetDraft())
	if err != nil {
		return nil, err
	}
	return &operatorv1.CreateRequestResponse{Id: id.String()}, nil
}

// CheckRequest lists what is missing or doubtful.
func (d *Door) CheckRequest(ctx context.Context, in *operatorv1.CheckRequestRequest) (*operatorv1.CheckRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	found, err := d.c.Requests.Check(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.CheckRequestResponse{Sendable: message.Sendable(found), Findings: findingsOf(found)}, nil
}

// SendRequest submits a draft.
func (d *Door) SendRequest(ctx context.Context, in *operatorv1.SendRequestRequest) (*operatorv1.SendRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	sent, err := d.c.Requests.Send(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	return &operatorv1.SendRequestResponse{Status: string(sent.State), MessageId: idText(sent.Message), Freshness: d.freshness(sent.Freshness)}, nil
}

// ApproveRequest releases a request.
func (d *Door) ApproveRequest(ctx context.Context, in *operatorv1.ApproveRequestRequest) (*operatorv1.ApproveRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	digest, err := readDigest(in.GetDigest())
	if err != nil {
		return nil, err
	}
	sent, err := d.c.Requests.Approve(ctx, callerFrom(ctx).Principal, id, digest)
	if err != nil {
		return nil, err
	}
	return &operatorv1.ApproveRequestResponse{Status: string(sent.State), MessageId: idText(sent.Message), Freshness: d.freshness(sent.Freshness)}, nil
}

// ReturnRequest gives a draft back to its author.
func (d *Door) ReturnRequest(ctx context.Context, in *operatorv1.ReturnRequestRequest) (*operatorv1.ReturnRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if err := d.c.Requests.Return(ctx, callerFrom(ctx).Principal, id, in.GetReason()); err != nil {
		return nil, err
	}
	return &operatorv1.ReturnRequestResponse{Status: string(message.Draft)}, nil
}

// ListRequests lists requests, newest change first.
func (d *Door) ListRequests(ctx context.Context, in *operatorv1.ListRequestsRequest) (*operatorv1.ListRequestsResponse, error) {
	f, err := filterOf(in)
	if err != nil {
		return nil, err
	}
	page, err := d.c.Requests.List(ctx, callerFrom(ctx).Principal, f)
	if err != nil {
		return nil, err
	}
	out := &operatorv1.ListRequestsResponse{}
	for _, c := range page {
		out.Requests = append(out.Requests, c.Summary)
	}
	if len(page) == f.Limit {
		out.NextCursor = cursorText(page[len(page)-1].Cursor)
	}
	return out, nil
}

func filterOf(in *operatorv1.ListRequestsRequest) (Filter, error) {
	f := Filter{Limit: defaultPage, State: message.State(in.GetStatus())}
	wrong := func(code, say string) (Filter, error) {
		return Filter{}, fault.New(fault.Invalid, code, "list requests", say)
	}
	switch in.GetDirection() {
	case "":
	case "sent":
		f.Side = message.Requesting
	case "received":
		f.Side = message.Requested
	default:
		return wrong("unknown-direction", "a direction is sent or received")
	}
	if f.State != "" && !slices.Contains(states(), f.State) {
		return wrong("unknown-status", "there is no such status of a request")
	}
	if in.GetLimit() > maxPage {
		return wrong("limit", "a page has at most 500 requests")
	}
	if in.GetLimit() > 0 {
		f.Limit = int(in.GetLimit())
	}
	var err error
	if in.GetAuthority() != "" {
		if f.Peer, err = authority.ParseName(in.GetAuthority()); err != nil {
			return Filter{}, err
		}
	}
	if in.GetCursor() != "" {
		f.Before, err = readCursor(in.GetCursor())
	}
	return f, err
}

func states() []message.State {
	return []message.State{message.Draft, message.PendingApproval, message.Queued, message.Delivered, message.Undeliverable,
		message.Acknowledged, message.Answered, message.Refused, message.Closed}
}

// GetRequest opens one request. Where the newest message of ours in it could not be delivered, it says whom to telephone.
func (d *Door) GetRequest(ctx context.Context, in *operatorv1.GetRequestRequest) (*operatorv1.GetRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	shown, err := d.c.Requests.Show(ctx, callerFrom(ctx).Principal, id)
	if err != nil {
		return nil, err
	}
	shown.Fallback = d.fallBackOf(ctx, shown)
	return shown, nil
}

// AcknowledgeRequest takes a request on.
func (d *Door) AcknowledgeRequest(ctx context.Context, in *operatorv1.AcknowledgeRequestRequest) (*operatorv1.AcknowledgeRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if in.GetAcknowledgement() == nil {
		return nil, missing("acknowledge request", "acknowledgement")
	}
	msg, err := d.c.Requests.Acknowledge(ctx, callerFrom(ctx).Principal, id, in.GetAcknowledgement())
	if err != nil {
		return nil, err
	}
	return &operatorv1.AcknowledgeRequestResponse{MessageId: msg.String(), Freshness: d.freshness("")}, nil
}

// AnswerRequest answers every question of a request.
func (d *Door) AnswerRequest(ctx context.Context, in *operatorv1.AnswerRequestRequest) (*operatorv1.AnswerRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if len(in.GetAnswers())+len(in.GetSubjects()) > message.MaxItems {
		return nil, fault.New(fault.TooLarge, "too-many", "answer request", "there are more than 1,024 answers and subjects")
	}
	msg, err := d.c.Requests.Answer(ctx, callerFrom(ctx).Principal, id, in.GetAnswers(), in.GetSubjects())
	if err != nil {
		return nil, err
	}
	return &operatorv1.AnswerRequestResponse{MessageId: msg.String(), Freshness: d.freshness("")}, nil
}

// RefuseRequest refuses a request with a reason.
func (d *Door) RefuseRequest(ctx context.Context, in *operatorv1.RefuseRequestRequest) (*operatorv1.RefuseRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if in.GetRefusal() == nil {
		return nil, missing("refuse request", "refusal")
	}
	msg, err := d.c.Requests.Refuse(ctx, callerFrom(ctx).Principal, id, in.GetRefusal())
	if err != nil {
		return nil, err
	}
	return &operatorv1.RefuseRequestResponse{MessageId: msg.String(), Freshness: d.freshness("")}, nil
}

// CloseRequest ends a request.
func (d *Door) CloseRequest(ctx context.Context, in *operatorv1.CloseRequestRequest) (*operatorv1.CloseRequestResponse, error) {
	id, err := message.ParseID(in.GetId())
	if err != nil {
		return nil, err
	}
	if in.GetClosing() == nil {
		return nil, missing("close request", "closing")
	}
	msg, err := d.c.Requests.Close(ctx, callerFrom(ctx).Principal, id, in.GetClosing())
	if err != nil {
		return nil, err
	}
	return &operatorv1.CloseRequestResponse{MessageId: msg.String(), Freshness: d.freshness("")}, nil
}

func missing(op, what string) error {
	return fault.New(fault.Invalid, "incomplete", op, "the "+what+" is missing")
}

// idText is empty for no message.
func idText(id message.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// readDigest reads lower-case hex; empty is the zero digest.
func readDigest(s string) (message.Digest, error) {
	b, err := hex.DecodeString(s)
	if err != nil || hex.EncodeToString(b) != s || (s != "" && len(b) != len(message.Digest{})) {
		return message.Digest{}, fault.New(fault.Invalid, "malformed-digest", "read digest", "a digest is 64 of 0-9 and a-f")
	}
	if s == "" {
		return message.Digest{}, nil
	}
	d, err := message.DigestFromBytes(b)
	if err == nil && d == (message.Digest{}) {
		// Inward the zero digest means "whatever is there now"; who names a digest must not get that.
		return d, fault.New(fault.Invalid, "malformed-digest", "read digest", "no content has this digest")
	}
	return d, err
}

// readCursor reads a cursor; there is one text for each.
func readCursor(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fault.New(fault.Invalid, "malformed-cursor", "read cursor", "this is not a cursor of this node").
			WithHint("take it from an answer, unchanged")
	}
	return n, nil
}

// freshness is that of the directory a message was addressed by or, where none has left yet, of the directory of now.
func (d *Door) freshness(of string) string {
	if of != "" {
		return of
	}
	now, _ := d.c.Directory.Freshness(d.c.Now())
	return now
}
