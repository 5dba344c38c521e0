package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// narrowing registers the flags that narrow a listing of alerts.
func (a *app) narrowing(f *pflag.FlagSet, in *operatorv1.ListAlertsRequest) {
	f.StringVar(&in.Category, "category", "", "only this category, or this group, such as drugs")
	f.StringVar(&in.Type, "type", "", "only this type, such as seizure")
}

func (a *app) listAlertsCommand() *cobra.Command {
	in := new(operatorv1.ListAlertsRequest)
	c := &cobra.Command{
		Use: "ls", Short: "List alerts, newest change first",
		Long: "List alerts that were issued here or received. An exercise and a test are marked at the beginning of the line,\n" +
			"and have a column that says so.",
		Example: "  enlace alert ls --direction received --category drugs\n  enlace alert ls --direction issued --status PENDING_APPROVAL\n  enlace alert ls --limit 20 --cursor 117",
		Args:    cobra.NoArgs,
		RunE:    a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error { return a.listAlerts(ctx, node, in) }),
	}
	c.Flags().StringVar(&in.Direction, "direction", "", "issued or received (default both)")
	c.Flags().StringVar(&in.Status, "status", "", "only this state, such as ISSUED")
	a.narrowing(c.Flags(), in)
	c.Flags().Uint32Var(&in.Limit, "limit", 0, "at most so many, up to 500 (default 50)")
	c.Flags().StringVar(&in.Cursor, "cursor", "", "go on where the page before ended")
	a.complete(c, "status", "alert_state")
	a.complete(c, "category", "crime-categories")
	a.complete(c, "type", "alert-types")
	_ = c.RegisterFlagCompletionFunc("direction", cobra.FixedCompletions([]string{"issued", "received"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) listAlerts(ctx context.Context, node *operator.Client, in *operatorv1.ListAlertsRequest) error {
	w, err := a.wordsNow(ctx, node)
	if err != nil {
		return err
	}
	out, err := node.Alerts.ListAlerts(ctx, in)
	if err != nil {
		return err
	}
	return a.show(out, func(wr io.Writer) {
		w.alertTable(wr, out.GetAlerts())
		if out.GetNextCursor() != "" {
			fmt.Fprintf(wr, "more: --cursor %s\n", out.GetNextCursor())
		}
	})
}

// alertTable prints one line an alert. Whatever is no real situation begins its line with that, in English and in the
// reader's words; the column of marks is there only where one is needed.
func (w words) alertTable(wr io.Writer, all []*operatorv1.AlertSummary) {
	marks := slices.ContainsFunc(all, func(s *operatorv1.AlertSummary) bool { return w.mark(s.GetOperationalStatus()) != "" })
	t := newTable(wr)
	row := func(mark string, cells ...string) {
		if marks {
			cells = slices.Insert(cells, 0, mark)
		}
		t.row(cells...)
	}
	row("", "ID", "REFERENCE", "SITUATION", "ISSUER", "TYPE", "CATEGORY", "URGENCY", "STATE", "EXPIRES", "MARK", "TITLE")
	for _, s := range all {
		row(w.mark(s.GetOperationalStatus()), s.GetId(), or(clean(s.GetReference()), "-"), w.situation(s), s.GetIssuer(), w.label("alert-types", s.GetType()),
			clean(s.GetCategory()), w.label("urgency", s.GetUrgency()), w.label("alert_state", s.GetStatus()), when(s.GetExpires()),
			w.receiverMark(s.GetMark()), w.alertTitle(s, 60))
	}
	t.end()
}

// situation is the operational status, in capitals where it is not a real one.
func (w words) situation(s *operatorv1.AlertSummary) string {
	label := w.label("operational_status", s.GetOperationalStatus())
	if w.mark(s.GetOperationalStatus()) != "" {
		return strings.ToUpper(label)
	}
	return label
}

// receiverMark is what came of an alert here; READ is no feedback and in no list.
func (w words) receiverMark(mark string) string {
	if mark == "" || w.lists.Has("feedback", mark) {
		return w.label("feedback", mark)
	}
	return clean(mark)
}

// alertTitle is a title that no issuer can make look like the mark of an exercise.
func (w words) alertTitle(s *operatorv1.AlertSummary, most int) string {
	return strings.TrimSpace(cut(strings.ReplaceAll(s.GetTitle(), "**", ""), most))
}
