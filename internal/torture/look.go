package torture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	pageOf = 200
	// pollEvery is how often a state's lists are looked at while faults go on, pollDeep how many requests are opened then.
	pollEvery = 700 * time.Millisecond
	pollDeep  = 3
	pollLimit = 3 * time.Second
)

// requestContent stands for what an officer wrote into a request.
func requestContent(r *formatv1.Request, asks []*formatv1.Ask) string {
	parts := []string{r.GetTitle(), r.GetFacts(), r.GetPurpose(), r.GetNecessity(), r.GetLink()}
	for _, a := range asks {
		parts = append(parts, a.GetQuestion())
	}
	return digest(parts...)
}

func answersContent(answers []*formatv1.Answer) string {
	var parts []string
	for _, a := range answers {
		parts = append(parts, a.GetText())
	}
	return digest(parts...)
}

// stepContent is the same of a step as it is shown.
func stepContent(r *operatorv1.GetRequestResponse, s *operatorv1.Step) string {
	switch s.GetKind() {
	case "REQUEST":
		return requestContent(r.GetRequest(), r.GetAsks())
	case "ACKNOWLEDGE":
		return digest(s.GetAcknowledgement().GetLocalReference())
	case "REPLY_FINAL":
		return answersContent(s.GetAnswers())
	case "REFUSE":
		return digest(s.GetRefusal().GetText())
	case "CLOSE":
		return digest(s.GetClosing().GetOutcome())
	}
	return "unknown"
}

// reader reads what the officers of one state can see.
type reader struct {
	people *people
	// whole are files that were read, by case and name, to the digest of their bytes.
	whole map[string]string
}

// look reads these cases of a state, and the lists whole. Drafts that were never sent are left out.
func (r *reader) look(ctx context.Context, wanted func(id string) bool) (View, error) {
	view := View{}
	if err := r.requests(ctx, view, wanted); err != nil {
		return nil, err
	}
	return view, r.alerts(ctx, view, wanted)
}

// sent reports whether a case has left its sender's desk.
func sent(status string) bool { return status != "DRAFT" && status != "PENDING_APPROVAL" }

func (r *reader) requests(ctx context.Context, view View, wanted func(string) bool) error {
	listed, err := listRequests(ctx, r.people)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, s := range listed {
		if times[s.GetId()]++; times[s.GetId()] > 1 || !sent(s.GetStatus()) || !wanted(s.GetId()) {
			continue
		}
		if view[s.GetId()], err = r.request(ctx, s.GetId()); err != nil {
			return fmt.Errorf("read request %s: %w", s.GetId(), err)
		}
	}
	listedTimes(view, times)
	return nil
}

// listRequests reads the whole list. Changes while it is read may bring a request twice, so a quiet time is meant.
func listRequests(ctx context.Context, p *people) ([]*operatorv1.RequestSummary, error) {
	var all []*operatorv1.RequestSummary
	in := &operatorv1.ListRequestsRequest{Limit: pageOf}
	for {
		page, err := p.officer.Requests.ListRequests(ctx, in)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetRequests()...)
		if in.Cursor = page.GetNextCursor(); in.Cursor == "" {
			return all, nil
		}
	}
}

func (r *reader) request(ctx context.Context, id string) (Case, error) {
	got, err := r.people.officer.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
	if err != nil {
		return Case{}, err
	}
	c := Case{ID: id, Status: got.GetSummary().GetStatus()}
	for _, s := range got.GetSteps() {
		c.Steps = append(c.Steps, r.step(got, s))
	}
	for _, a := range got.GetAttachments() {
		f := Shown{Message: a.GetMessageId(), Complete: a.GetComplete(), File: File{Name: a.GetName(), Size: a.GetSize(), Digest: a.GetDigest()}}
		if f.Complete {
			f.Read, f.Refused = r.read(ctx, id, a)
			f.Complete = f.Read != "" || f.Refused != ""
		}
		c.Files = append(c.Files, f)
	}
	return c, nil
}

func (r *reader) step(got *operatorv1.GetRequestResponse, s *operatorv1.Step) Step {
	st := Step{ID: s.GetMessageId(), Kind: s.GetKind(), From: stateOf(s.GetSender()), Digest: s.GetDigest(), Delivery: s.GetDelivery(), Content: stepContent(got, s)}
	for _, rec := range s.GetReceipts() {
		st.Receipts = append(st.Receipts, Receipt{Stage: rec.GetStage(), Verified: rec.GetVerified()})
	}
	return st
}

// read downloads a file once. It is neither read nor refused where it can be had later.
func (r *reader) read(ctx context.Context, id string, a *operatorv1.AttachmentInfo) (got, refusal string) {
	name := fmt.Sprint(id, " ", a.GetMessageId(), " ", a.GetIndex())
	if known := r.whole[name]; known != "" {
		return known, ""
	}
	h := sha256.New()
	_, err := r.people.officer.Download(ctx, &operatorv1.GetAttachmentRequest{RequestId: id, MessageId: a.GetMessageId(), Index: a.GetIndex()}, h)
	if fault.Is(err, fault.Retry) {
		return "", ""
	}
	if err != nil {
		return "", fault.As(err).Say
	}
	r.whole[name] = hex.EncodeToString(h.Sum(nil))
	return r.whole[name], ""
}

func (r *reader) alerts(ctx context.Context, view View, wanted func(string) bool) error {
	listed, err := listAlerts(ctx, r.people)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, s := range listed {
		if times[s.GetId()]++; times[s.GetId()] > 1 || !sent(s.GetStatus()) || !wanted(s.GetId()) {
			continue
		}
		if view[s.GetId()], err = r.alert(ctx, s); err != nil {
			return fmt.Errorf("read alert %s: %w", s.GetId(), err)
		}
	}
	listedTimes(view, times)
	return nil
}

func listAlerts(ctx context.Context, p *people) ([]*operatorv1.AlertSummary, error) {
	var all []*operatorv1.AlertSummary
	in := &operatorv1.ListAlertsRequest{Limit: pageOf}
	for {
		page, err := p.officer.Alerts.ListAlerts(ctx, in)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetAlerts()...)
		if in.Cursor = page.GetNextCursor(); in.Cursor == "" {
			return all, nil
		}
	}
}

func (r *reader) alert(ctx context.Context, s *operatorv1.AlertSummary) (Case, error) {
	got, err := r.people.officer.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: s.GetId()})
	if err != nil {
		return Case{}, err
	}
	c := Case{ID: s.GetId(), Status: got.GetSummary().GetStatus()}
	if got.GetNotice() != nil {
		c.Content = digest(got.GetNotice().GetSummary())
	}
	for _, st := range got.GetSteps() {
		if st.GetMessageId() == "" {
			continue // an update on the approver's desk
		}
		one := Step{ID: st.GetMessageId(), Kind: st.GetKind(), From: stateOf(st.GetSender()), Digest: st.GetDigest()}
		if st.GetCancellation() != nil {
			one.Content = digest(st.GetCancellation().GetText())
		}
		c.Steps = append(c.Steps, one)
	}
	if stateOf(s.GetIssuer()) == r.people.state {
		c.Holders, err = r.holders(ctx, s.GetId())
	}
	return c, err
}

// holders says what each state's node confirmed of the newest message of an alert.
func (r *reader) holders(ctx context.Context, id string) (map[string]string, error) {
	got, err := r.people.officer.Alerts.ListHolders(ctx, &operatorv1.ListHoldersRequest{Id: id})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, h := range got.GetHolders() {
		held := h.GetAlert()
		if h.GetLatest() != "" {
			held = h.GetLatest()
		}
		out[stateOf(h.GetNode())] = held
	}
	return out, nil
}

// stateOf is the state in the name of an authority or a node.
func stateOf(name string) string {
	for i := range name {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return name
}

// watch looks at a state's lists again and again while faults go on, and notes what it sees. It is told nothing by a door
// that does not answer.
func (o *office) watch(ctx context.Context, state string) {
	p := o.net.people[state]
	for ctx.Err() == nil {
		o.glance(ctx, p)
		pause(ctx, pollEvery)
	}
}

func (o *office) glance(ctx context.Context, p *people) {
	ctx, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	st, err := p.duty.Node.GetStatus(ctx, &operatorv1.GetStatusRequest{})
	if err == nil {
		o.history.Root(SeenRoot{State: p.state, Size: st.GetEvidenceSize(), Root: st.GetEvidenceRoot()})
	}
	page, err := p.officer.Requests.ListRequests(ctx, &operatorv1.ListRequestsRequest{Limit: 60})
	if err != nil {
		return
	}
	at := o.since()
	for i, s := range page.GetRequests() {
		o.history.Status(at, p.state, s.GetId(), s.GetStatus())
		if i < pollDeep {
			o.glanceAt(ctx, p, s.GetId())
		}
	}
	alerts, err := p.officer.Alerts.ListAlerts(ctx, &operatorv1.ListAlertsRequest{Limit: 30})
	for _, s := range alerts.GetAlerts() {
		if err == nil && sent(s.GetStatus()) {
			o.history.Status(o.since(), p.state, s.GetId(), s.GetStatus())
		}
	}
}

// glanceAt notes how far the messages of a request have come.
func (o *office) glanceAt(ctx context.Context, p *people, id string) {
	got, err := p.officer.Requests.GetRequest(ctx, &operatorv1.GetRequestRequest{Id: id})
	if err != nil {
		return
	}
	for _, s := range got.GetSteps() {
		if s.GetDelivery() != "" {
			o.history.Status(o.since(), p.state, s.GetMessageId(), s.GetDelivery())
		}
	}
}

// listedTimes writes into a view how often each case is listed.
func listedTimes(view View, times map[string]int) {
	for id, c := range view {
		if times[id] > 0 {
			c.Listed = times[id]
			view[id] = c
		}
	}
}
