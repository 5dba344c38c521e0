package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// mostReleased is how many alerts that went out are named one by one.
const mostReleased = 50

type approval struct {
	digest string
	all    bool
	of     operatorv1.ListAlertsRequest
}

func (a *app) approveAlertCommand() *cobra.Command {
	f := new(approval)
	c := &cobra.Command{
		Use: "approve ID...", Short: "Release alerts that somebody else wrote",
		Long: "Release alerts that wait for approval. Read each first with enlace alert show: the digest printed there,\n" +
			"given as --digest, makes sure that what leaves is exactly what was read. --all releases all that wait, such as\n" +
			"an imported list, after naming them; --category and --type narrow it.",
		Example: "  enlace alert approve 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --digest 9f86d0…\n  enlace alert approve --all --category drugs",
		RunE:    func(c *cobra.Command, args []string) error { return a.approveAlerts(c, f, args) },
	}
	c.Flags().StringVar(&f.digest, "digest", "", "digest of the one alert as it was read (default: as it is now)")
	c.Flags().BoolVar(&f.all, "all", false, "all that wait for approval")
	a.narrowing(c.Flags(), &f.of)
	a.complete(c, "category", "crime-categories")
	a.complete(c, "type", "alert-types")
	return c
}

// released is what is reported of one approval.
type released struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	MessageID string `json:"message_id"`
	Audience  uint32 `json:"audience"`
	Code      string `json:"code"`
	Error     string `json:"error"`
	err       error
}

func (a *app) approveAlerts(c *cobra.Command, f *approval, args []string) error {
	switch {
	case f.all == (len(args) > 0):
		return misused(c, "name the alerts, or all that wait with --all")
	case f.digest != "" && len(args) != 1:
		return misused(c, "a digest is of one alert")
	case !f.all && (f.of.GetCategory() != "" || f.of.GetType() != ""):
		return misused(c, "--category and --type narrow --all")
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		all, err := a.waiting(ctx, node, f, args)
		if err != nil {
			return err
		}
		return a.releaseAll(ctx, node, all)
	})
}

// toRelease is an alert with the digest of what was shown of it; empty for whatever it says now.
type toRelease struct{ id, digest string }

// waiting are the alerts to be released: those named, or those that wait, which a person confirms as they are shown.
func (a *app) waiting(ctx context.Context, node *operator.Client, f *approval, refs []string) ([]toRelease, error) {
	var all []toRelease
	for _, ref := range refs {
		id, err := resolveAlert(ctx, node, ref)
		if err != nil {
			return nil, err
		}
		all = append(all, toRelease{id, f.digest})
	}
	if !f.all {
		return all, nil
	}
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return nil, err
	}
	var ids []string
	f.of.Direction, f.of.Status = "issued", string(message.AlertPending)
	err = eachAlert(ctx, node, &f.of, func(s *operatorv1.AlertSummary) error {
		ids = append(ids, s.GetId())
		return nil
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	found, all, err := drafted(ctx, node, ids)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if !a.json && !a.yes {
		w.alertTable(a.streams.Err, found)
	}
	return all, a.sure(ctx, fmt.Sprintf("release these %d alerts?", len(all)))
}

// drafted reads what waits as an approver sees it: of an alert that is issued its next version. What waits no more since
// it was listed is left out.
func drafted(ctx context.Context, node *operator.Client, ids []string) ([]*operatorv1.AlertSummary, []toRelease, error) {
	read, failed := make([]*operatorv1.GetAlertResponse, len(ids)), make([]error, len(ids))
	team := gather(ctx, inFlight)
	for i, id := range ids {
		team.add(func(ctx context.Context) error {
			err := patiently(ctx, func() error {
				var err error
				read[i], err = node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
				return err
			})
			if !fault.Is(err, fault.NotFound) {
				failed[i] = err
			}
			return err
		})
	}
	if err := team.wait(); err != nil {
		return nil, nil, err
	}
	var found []*operatorv1.AlertSummary
	var all []toRelease
	for i, r := range read {
		if failed[i] != nil {
			return nil, nil, failed[i]
		}
		if r.GetDigest() != "" && r.GetSummary().GetStatus() == string(message.AlertPending) {
			found, all = append(found, r.GetSummary()), append(all, toRelease{ids[i], r.GetDigest()})
		}
	}
	return found, all, nil
}

func (a *app) releaseAll(ctx context.Context, node *operator.Client, all []toRelease) error {
	out := make([]released, len(all))
	count := a.counter("approving", len(all))
	var kept sync.Mutex
	team := gather(ctx, inFlight)
	for i, x := range all {
		one := released{ID: x.id, Code: "interrupted", Error: "not tried"}
		if !team.add(func(ctx context.Context) error {
			r := release(ctx, node, x.id, x.digest)
			count.done()
			kept.Lock()
			defer kept.Unlock()
			out[i] = r
			return r.err
		}) {
			kept.Lock()
			out[i] = one
			kept.Unlock()
		}
	}
	stopped := team.wait()
	count.end()
	return a.reportReleased(out, stopped)
}

func release(ctx context.Context, node *operator.Client, id, digest string) released {
	var got *operatorv1.ApproveAlertResponse
	err := patiently(ctx, func() error {
		var err error
		got, err = node.Alerts.ApproveAlert(ctx, &operatorv1.ApproveAlertRequest{Id: id, Digest: digest})
		return err
	})
	r := released{ID: id, Status: got.GetStatus(), MessageID: got.GetMessageId(), Audience: got.GetAudience(), err: err}
	if err != nil {
		r.Code, r.Error = or(fault.As(err).Code, fault.As(err).Kind.String()), sentence(err)
	}
	return r
}

// reportReleased says what became of each. One alert that failed is the error itself, so that its kind and hint are told.
func (a *app) reportReleased(out []released, stopped error) error {
	if stopped == nil && len(out) == 1 && out[0].err != nil {
		return out[0].err
	}
	w, err := a.words()
	if err != nil {
		return err
	}
	failed, first := 0, error(nil)
	for _, r := range out {
		if r.Error != "" {
			failed++
		}
		if first == nil {
			first = r.err
		}
	}
	err = a.print(map[string]any{"approved": len(out) - failed, "failed": failed, "alerts": out}, func(wr io.Writer) {
		for i, r := range out {
			if r.Error == "" && i >= mostReleased {
				continue // the sum says it
			}
			if r.Error != "" {
				fmt.Fprintf(wr, "%s  FAILED: %s\n", r.ID, strings.TrimSpace(r.Error))
				continue
			}
			fmt.Fprintf(wr, "%s  %s, for %d authorities\n", r.ID, w.coded("alert_state", r.Status), r.Audience)
		}
		fmt.Fprintf(wr, "released %d of %d\n", len(out)-failed, len(out))
	})
	switch {
	case err != nil || failed == 0:
		return err
	case stopped != nil:
		return stopped
	}
	return fault.New(fault.As(first).Kind, "not-all", "approve alerts", fmt.Sprintf("%d of %d were not released, see above", failed, len(out)))
}
