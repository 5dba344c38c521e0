package testnet

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/format"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// alertsInFlight is how many alerts of a list are submitted at once.
const alertsInFlight = 16

// Publish drafts an alert, publishes it and, where two persons are wanted, approves it; it returns the alert's ID.
func (m *Member) Publish(ctx context.Context, d *operatorv1.AlertDraft) (string, error) {
	made, err := m.Officer.Alerts.CreateAlert(ctx, &operatorv1.CreateAlertRequest{Draft: d})
	if err != nil {
		return "", err
	}
	return made.GetId(), m.release(ctx, made.GetId())
}

// release publishes a draft, by two persons where two are wanted.
func (m *Member) release(ctx context.Context, id string) error {
	out, err := m.Officer.Alerts.PublishAlert(ctx, &operatorv1.PublishAlertRequest{Id: id})
	if err != nil || out.GetStatus() != "PENDING_APPROVAL" {
		return err
	}
	_, err = m.Approver.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: id})
	return err
}

// Subscribe adds a subscription of the member's authority and has it approved where that is wanted.
func (m *Member) Subscribe(ctx context.Context, s *operatorv1.Subscription) (string, error) {
	out, err := m.Officer.Subscriptions.AddSubscription(ctx, &operatorv1.AddSubscriptionRequest{Subscription: s})
	if err != nil || out.GetStatus() != "PENDING_APPROVAL" {
		return out.GetId(), err
	}
	_, err = m.Approver.Subscriptions.ApproveSubscription(ctx, &operatorv1.ApproveSubscriptionRequest{Id: out.GetId()})
	return out.GetId(), err
}

// AwaitAlert reads an alert until it is as wanted. One that has not arrived yet is waited for too.
func (m *Member) AwaitAlert(ctx context.Context, as *operator.Client, id string, wanted func(*operatorv1.GetAlertResponse) bool) (*operatorv1.GetAlertResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		r, err := as.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
		if err == nil && wanted(r) {
			return r, nil
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Retry, "timeout", "await alert", "the alert did not become as expected at "+m.Authority.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// AwaitHolders waits until so many nodes have confirmed an alert of the member's, and none is pending.
func (m *Member) AwaitHolders(ctx context.Context, id string, confirmed int) (*operatorv1.ListHoldersResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		h, err := m.Officer.Alerts.ListHolders(ctx, &operatorv1.ListHoldersRequest{Id: id})
		if err != nil {
			return nil, err
		}
		if int(h.GetConfirmed()) >= confirmed && h.GetPending() == 0 {
			return h, nil
		}
		select {
		case <-ctx.Done():
			return h, fault.Wrap(ctx.Err(), fault.Retry, "timeout", "await holders", fmt.Sprintf("%d nodes confirmed, %d pending, %d wanted", h.GetConfirmed(), h.GetPending(), confirmed))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ExerciseAlert is a complete alert in a category, marked as an exercise.
func ExerciseAlert(from *Member, category, title string) *operatorv1.AlertDraft {
	return &operatorv1.AlertDraft{
		Authority: from.Authority.String(), Category: category, Status: "EXERCISE",
		Notice: &formatv1.AlertNotice{
			Type: "modus-operandi", Title: title, Summary: "Made-up facts for an exercise; nothing of this happened.", Language: "en",
			Severity: "MODERATE", Certainty: "LIKELY", ActionRequested: "INFORM_ONLY", Evaluation: "eu4x4:B2", Limits: usualLimits(),
			LegalBasis: []string{"untoc"}, CallBack: &formatv1.CallBack{Phone: "+1 555 0100"},
		},
	}
}

// alerts plays the life of an alert: published to the category, received by who subscribed, updated, cancelled, and
// each step confirmed by the receivers' signed receipts.
func (d *demo) alerts(ctx context.Context, from *Member, to []*Member) error {
	for _, m := range to {
		if _, err := m.Subscribe(ctx, &operatorv1.Subscription{Categories: ">"}); err != nil {
			return err
		}
	}
	draft := ExerciseAlert(from, "drugs.trafficking", "Exercise: semi-submersible off the coast")
	id, err := from.Publish(ctx, draft)
	if err != nil {
		return err
	}
	d.r.AlertsPublished++
	if err := d.delivered(ctx, from, to, id, draft.GetNotice()); err != nil {
		return err
	}
	d.r.AlertsDelivered += len(to)
	d.tell(fmt.Sprintf("%s published an alert; %d subscribers received it, signed receipts in hand", from.Authority, len(to)))
	draft.Notice.Title = "Exercise: semi-submersible, second sighting"
	if _, err := from.Officer.Alerts.UpdateAlert(ctx, &operatorv1.UpdateAlertRequest{Id: id, Draft: draft}); err != nil {
		return err
	}
	if err := from.release(ctx, id); err != nil {
		return err
	}
	if err := d.delivered(ctx, from, to, id, draft.GetNotice()); err != nil {
		return err
	}
	if _, err := from.Approver.Alerts.CancelAlert(ctx, &operatorv1.CancelAlertRequest{Id: id, Reason: "RESOLVED", Text: "end of the exercise"}); err != nil {
		return err
	}
	for _, m := range to {
		if _, err := m.AwaitAlert(ctx, m.Duty, id, AlertIn("CANCELLED")); err != nil {
			return err
		}
	}
	if _, err := from.AwaitHolders(ctx, id, len(to)); err != nil {
		return err
	}
	d.tell(fmt.Sprintf("%s updated and cancelled it; every holder confirmed", from.Authority))
	return nil
}

// delivered waits until every receiver shows what was written, and has confirmed it.
func (d *demo) delivered(ctx context.Context, from *Member, to []*Member, id string, want *formatv1.AlertNotice) error {
	for _, m := range to {
		_, err := m.AwaitAlert(ctx, m.Duty, id, func(r *operatorv1.GetAlertResponse) bool { return sameNotice(r.GetNotice(), want) })
		if err != nil {
			return err
		}
	}
	h, err := from.AwaitHolders(ctx, id, len(to))
	if err != nil {
		return err
	}
	d.r.ReceiptsVerified += int(h.GetConfirmed())
	return nil
}

// sameNotice compares what arrived with what was written; reference and version are given when it is published.
func sameNotice(got, want *formatv1.AlertNotice) bool {
	if got == nil {
		return false
	}
	bare := func(n *formatv1.AlertNotice) *formatv1.AlertNotice {
		c := proto.Clone(n).(*formatv1.AlertNotice)
		c.Reference, c.Version = "", 0
		return c
	}
	return proto.Equal(bare(got), bare(want))
}

// AlertIn is for AwaitAlert: the alert has come to a state, such as "CANCELLED".
func AlertIn(state string) func(*operatorv1.GetAlertResponse) bool {
	return func(r *operatorv1.GetAlertResponse) bool { return r.GetSummary().GetStatus() == state }
}

// listAlerts publishes an alert for every entry of the list for organised crime, and holds what every subscriber's
// stream brings against it: each alert once, and as it was written.
func (d *demo) listAlerts(ctx context.Context, dir string, from *Member, to []*Member) error {
	drafts, err := readAlerts(dir, from)
	if err != nil {
		return err
	}
	d.tell(fmt.Sprintf("%d entries of the list become alerts", len(drafts)))
	streams := make([]*counted, len(to))
	for i, m := range to {
		if streams[i], err = count(ctx, m); err != nil {
			return err
		}
		defer streams[i].cancel()
	}
	ids, err := d.publishAll(ctx, from, drafts)
	if err != nil {
		return err
	}
	for i, m := range to {
		if err := streams[i].await(ctx, ids); err != nil {
			return fault.Wrap(err, fault.Internal, "demo", "check the demo", "what "+m.Authority.String()+" received is not what was published")
		}
		d.r.AlertsDelivered += len(ids)
		d.tell(fmt.Sprintf("%s received all %d, each once", m.Authority, len(ids)))
	}
	return nil
}

// readAlerts makes drafts of the whole list.
func readAlerts(dir string, from *Member) ([]*operatorv1.AlertDraft, error) {
	var out []*operatorv1.AlertDraft
	for a, err := range format.OFACAlerts(os.DirFS(dir), time.Now(), func(format.Problem) {}) {
		if err != nil {
			return nil, err
		}
		out = append(out, &operatorv1.AlertDraft{
			Authority: from.Authority.String(), Category: a.Category.String(), Urgency: string(a.Urgency), Status: string(a.Status),
			Distribution: string(a.Distribution), Expires: a.Expires.UnixMilli(), Notice: a.Notice, Subjects: a.Subjects, Files: a.Files,
		})
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "", "read the list", "the list in "+dir+" has no entry that fits")
	}
	return out, nil
}

// publishAll submits drafts, several at once, and returns them by ID.
func (d *demo) publishAll(ctx context.Context, from *Member, drafts []*operatorv1.AlertDraft) (map[string]*operatorv1.AlertDraft, error) {
	var mu sync.Mutex
	ids := make(map[string]*operatorv1.AlertDraft, len(drafts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(alertsInFlight)
	for _, draft := range drafts {
		g.Go(func() error {
			id, err := from.Publish(ctx, draft)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			ids[id] = draft
			if d.r.AlertsPublished++; len(ids)%500 == 0 {
				d.tell(fmt.Sprintf("%d alerts published", len(ids)))
			}
			return nil
		})
	}
	return ids, g.Wait()
}

// counted is what a subscriber's stream has brought.
type counted struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	seen   map[string][]*operatorv1.GetAlertResponse // guarded by mu; by alert ID
	failed error                                     // guarded by mu
}

// count watches a member's alerts from now on, as an agency system would.
func count(ctx context.Context, m *Member) (*counted, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := m.Officer.Alerts.WatchAlerts(ctx, &operatorv1.WatchAlertsRequest{Cursor: "0", Received: true})
	if err != nil {
		cancel()
		return nil, err
	}
	c := &counted{cancel: cancel, seen: map[string][]*operatorv1.GetAlertResponse{}}
	go func() {
		for {
			r, err := stream.Recv()
			c.mu.Lock()
			if err != nil {
				c.failed = err
				c.mu.Unlock()
				return
			}
			id := r.GetAlert().GetSummary().GetId()
			c.seen[id] = append(c.seen[id], r.GetAlert())
			c.mu.Unlock()
		}
	}()
	return c, nil
}

// await waits for every alert, and a while longer for what must not come.
func (c *counted) await(ctx context.Context, want map[string]*operatorv1.AlertDraft) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		missing, err := c.compare(want)
		if err != nil {
			return err
		}
		if missing == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return wrong(fmt.Sprintf("%d alerts are missing", missing))
		case <-time.After(50 * time.Millisecond):
		}
	}
	time.Sleep(200 * time.Millisecond)
	_, err := c.compare(want)
	return err
}

// compare counts what is missing, and fails on an alert that came twice or is not what was written.
func (c *counted) compare(want map[string]*operatorv1.AlertDraft) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	missing := 0
	for id, draft := range want {
		got := c.seen[id]
		switch {
		case len(got) == 0:
			missing++
		case len(got) > 1:
			return 0, wrong("an alert came twice")
		case !sameNotice(got[0].GetNotice(), draft.GetNotice()) || !sameSubjects(got[0].GetSubjects(), draft.GetSubjects()):
			return 0, wrong("an alert is not the same at the other end")
		}
	}
	return missing, nil
}
