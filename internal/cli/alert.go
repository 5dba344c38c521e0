package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) alertCommand() *cobra.Command {
	return group("alert", "Publish alerts by crime category, and receive them",
		a.publishAlertCommand(), a.checkAlertCommand(), a.approveAlertCommand(), a.returnAlertCommand(), a.updateAlertCommand(), a.cancelAlertCommand(),
		a.listAlertsCommand(), a.showAlertCommand(), a.watchAlertsCommand(), a.feedbackCommand(), a.holdersCommand(), a.getAlertFileCommand(),
		a.importAlertsCommand(), a.exportAlertsCommand())
}

// onAlert is the body of a command whose first argument is an alert.
func (a *app) onAlert(do func(ctx context.Context, node *operator.Client, id string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, node *operator.Client) error {
			id, err := resolveAlert(ctx, node, args[0])
			if err != nil {
				return err
			}
			return do(ctx, node, id)
		})
	}
}

// resolveAlert is the ID of an alert that is named by its ID or, as over the telephone, by its reference.
func resolveAlert(ctx context.Context, node *operator.Client, ref string) (string, error) {
	if id, err := message.ParseID(strings.ToLower(ref)); err == nil {
		return id.String(), nil
	}
	found := map[string]bool{} // one alert may be listed for several authorities of the node
	err := eachAlert(ctx, node, &operatorv1.ListAlertsRequest{}, func(s *operatorv1.AlertSummary) error {
		if s.GetReference() != "" && strings.EqualFold(s.GetReference(), ref) {
			found[s.GetId()] = true
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", fault.New(fault.NotFound, "unknown-alert", "find alert", "no alert of yours has this ID or reference").WithHint("enlace alert ls")
	case 1:
		for id := range found {
			return id, nil
		}
	}
	return "", fault.New(fault.Usage, "ambiguous-reference", "find alert", fmt.Sprintf("%d alerts have this reference", len(found))).
		WithHint("give the ID of the one you mean: enlace alert ls")
}

// eachAlert calls do for every alert of a listing, page by page, each alert once.
func eachAlert(ctx context.Context, node *operator.Client, in *operatorv1.ListAlertsRequest, do func(*operatorv1.AlertSummary) error) error {
	in.Limit = 500
	seen := map[string]bool{} // an alert that changes meanwhile may be listed twice
	for range resolvePages {
		page, err := node.Alerts.ListAlerts(ctx, in)
		if err != nil {
			return err
		}
		for _, s := range page.GetAlerts() {
			key := s.GetOwn() + " " + s.GetId()
			if seen[key] {
				continue
			}
			seen[key] = true
			if err := do(s); err != nil {
				return err
			}
		}
		if in.Cursor = page.GetNextCursor(); in.Cursor == "" {
			return nil
		}
	}
	return fault.New(fault.TooLarge, "too-many", "list alerts", "there are too many alerts to list them all").WithHint("narrow the list, such as with --category")
}

func (a *app) checkAlertCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check ID", Short: "Say what a draft still lacks, and who would receive it",
		Long: "Say what a draft lacks, and which authorities would receive it. Errors keep it from being published, warnings\n" +
			"do not. Exit code 3 if there are errors.",
		Example: "  enlace alert check 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onAlert(func(ctx context.Context, node *operator.Client, id string) error { return a.checkAlert(ctx, node, id) }),
	}
}

func (a *app) checkAlert(ctx context.Context, node *operator.Client, id string) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	out, err := node.Alerts.CheckAlert(ctx, &operatorv1.CheckAlertRequest{Id: id})
	if err != nil {
		return err
	}
	err = a.show(out, func(wr io.Writer) {
		printFindings(wr, findingsOf(out.GetFindings()), w)
		fmt.Fprintf(wr, "audience: %d authorities\n", len(out.GetAudience()))
		for _, name := range out.GetAudience() {
			fmt.Fprintln(wr, "  "+clean(name))
		}
		if out.GetSendable() {
			fmt.Fprintf(wr, "ready: enlace alert publish %s\n", id)
		}
	})
	if err == nil && !out.GetSendable() {
		return fault.New(fault.Invalid, "incomplete", "check alert", "the draft cannot be published as it is")
	}
	return err
}

func findingsOf(all []*operatorv1.Finding) []finding {
	out := []finding{}
	for _, x := range all {
		out = append(out, finding{x.GetField(), x.GetLevel(), x.GetText()})
	}
	return out
}

func (a *app) returnAlertCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "return ID", Short: "Give a draft that waits for approval back to its author",
		Example: "  enlace alert return 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --reason 'the place is missing'", Args: cobra.ExactArgs(1),
		RunE: a.onAlert(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Alerts.ReturnAlert(ctx, &operatorv1.ReturnAlertRequest{Id: id, Reason: reason})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintln(wr, "returned to its author") })
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "what the author should change")
	return c
}

func (a *app) cancelAlertCommand() *cobra.Command {
	in := new(operatorv1.CancelAlertRequest)
	c := &cobra.Command{
		Use: "cancel ID", Short: "Withdraw an alert from everyone who has it, or drop a draft",
		Long: "Withdraw an alert. The cancellation goes to every node that has the alert, also to those that are away now;\n" +
			"their copies are locked. enlace alert holders says who has confirmed. A draft that was never issued is dropped.",
		Example: "  enlace alert cancel 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --reason RESOLVED\n" +
			"  enlace alert cancel mx-fgr-alert-2031-000007 --reason ERROR --text 'another vessel of that name' --yes",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.cancelAlert(c, args[0], in) },
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why: RESOLVED, ERROR, WITHDRAWN, SUPERSEDED or OTHER (required)")
	c.Flags().StringVar(&in.Text, "text", "", "the reason in words; needed for OTHER")
	a.complete(c, "reason", "cancel_reason")
	return c
}

func (a *app) cancelAlert(c *cobra.Command, ref string, in *operatorv1.CancelAlertRequest) error {
	w, err := a.words()
	if err != nil {
		return err
	}
	switch {
	case in.GetReason() == "":
		return misused(c, "a cancellation needs its reason").WithHint("add --reason, one of " + strings.Join(w.lists.Codes("cancel_reason"), ", "))
	case !w.lists.Has("cancel_reason", in.GetReason()):
		return w.unknown("--reason", "cancel_reason", in.GetReason())
	}
	if err := a.sure(c.Context(), "cancel alert "+clean(ref)+" for everyone who has it?"); err != nil {
		return err
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		if in.Id, err = resolveAlert(ctx, node, ref); err != nil {
			return err
		}
		out, err := node.Alerts.CancelAlert(ctx, in)
		if err != nil {
			return err
		}
		return a.show(out, func(wr io.Writer) {
			fmt.Fprintf(wr, "state: %s\n", w.coded("alert_state", out.GetStatus()))
			if out.GetMessageId() != "" {
				fmt.Fprintf(wr, "who has confirmed it: enlace alert holders %s\n", in.GetId())
			}
		})
	})
}

func (a *app) feedbackCommand() *cobra.Command {
	f := new(formatv1.Feedback)
	var request string
	c := &cobra.Command{
		Use: "feedback ID", Short: "Tell the issuer of an alert what was found",
		Long:    "Tell the issuer what was found. With a hit, the request that it led to may be named.",
		Example: "  enlace alert feedback 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --mark NO_HIT\n  enlace alert feedback 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f --mark HIT --text 'berthed here on 5 April' --request jm-jcf-mx-2031-000003",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.feedback(c, args[0], request, f) },
	}
	c.Flags().StringVar(&f.Mark, "mark", "", "HIT, NO_HIT or NOT_RELEVANT (required)")
	c.Flags().StringVar(&f.Text, "text", "", "what was found, in words")
	c.Flags().StringVar(&request, "request", "", "ID or reference of the request that a hit led to")
	a.complete(c, "mark", "feedback")
	return c
}

func (a *app) feedback(c *cobra.Command, ref, request string, f *formatv1.Feedback) error {
	w, err := a.words()
	if err != nil {
		return err
	}
	switch {
	case f.GetMark() == "":
		return misused(c, "say what was found").WithHint("add --mark, one of " + strings.Join(w.lists.Codes("feedback"), ", "))
	case !w.lists.Has("feedback", f.GetMark()):
		return w.unknown("--mark", "feedback", f.GetMark())
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		id, err := resolveAlert(ctx, node, ref)
		if err != nil {
			return err
		}
		if request != "" {
			found, err := resolve(ctx, node, request)
			if err != nil {
				return err
			}
			parsed, err := message.ParseID(found)
			if err != nil {
				return err
			}
			f.Request = parsed.Bytes()
		}
		out, err := node.Alerts.GiveFeedback(ctx, &operatorv1.GiveFeedbackRequest{Id: id, Feedback: f})
		if err != nil {
			return err
		}
		return a.show(out, func(wr io.Writer) { fmt.Fprintf(wr, "marked: %s\n", w.coded("feedback", f.GetMark())) })
	})
}

func (a *app) holdersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "holders ID", Short: "Say which nodes have an alert, by their signed receipts",
		Long: "Say per node of the audience what its signed receipts prove: of the alert itself, and of its last update or\n" +
			"cancellation. PASSED_OVER: the node has the number and nobody there wants the alert. OVERDUE: it should have\n" +
			"confirmed by now; what is missing goes to it directly.",
		Example: "  enlace alert holders 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onAlert(func(ctx context.Context, node *operator.Client, id string) error {
			out, err := node.Alerts.ListHolders(ctx, &operatorv1.ListHoldersRequest{Id: id})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { printHolders(wr, out) })
		}),
	}
}

func printHolders(wr io.Writer, out *operatorv1.ListHoldersResponse) {
	t := newTable(wr)
	t.row("NODE", "AUTHORITIES", "ALERT", "LATEST", "SIGNED", "REMARK")
	for _, h := range out.GetHolders() {
		remark := strings.Trim(clean(h.GetCode()+" "+h.GetLastError()), " ")
		t.row(h.GetNode(), clean(strings.Join(h.GetAuthorities(), ", ")), clean(h.GetAlert()), or(clean(h.GetLatest()), "-"), when(h.GetTime()), cut(remark, 80))
	}
	t.end()
	fmt.Fprintf(wr, "confirmed %d, pending %d, overdue %d\n", out.GetConfirmed(), out.GetPending(), out.GetOverdue())
}
