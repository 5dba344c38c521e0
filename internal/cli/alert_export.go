package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/format"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

type exportFlags struct {
	in          operatorv1.ListAlertsRequest
	format, out string
	force       bool
}

func (a *app) exportAlertsCommand() *cobra.Command {
	f := new(exportFlags)
	c := &cobra.Command{
		Use: "export --format csv", Short: "Write alerts as a table",
		Long: "Write alerts as a table, for spreadsheets and for agencies' own programs. An alert whose copy here is locked is\n" +
			"left out, and so are files. Each alert's limits stand in its row and hold for the table. Reading is recorded.",
		Example: "  enlace alert export --format csv --direction received --category drugs -o drugs.csv\n  enlace alert export --format csv --status ISSUED > alerts.csv",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.exportAlerts(c, f) },
	}
	c.Flags().StringVar(&f.format, "format", "", "csv (required)")
	c.Flags().StringVar(&f.in.Direction, "direction", "", "issued or received (default both)")
	c.Flags().StringVar(&f.in.Status, "status", "", "only this state, such as ISSUED")
	a.narrowing(c.Flags(), &f.in)
	c.Flags().StringVarP(&f.out, "output", "o", "", "file to write (default: the standard output)")
	c.Flags().BoolVar(&f.force, "force", false, "replace a file that is there")
	a.complete(c, "status", "alert_state")
	a.complete(c, "category", "crime-categories")
	a.complete(c, "type", "alert-types")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatCSV}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("direction", cobra.FixedCompletions([]string{"issued", "received"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// exported is what "alert export -o" reports.
type exported struct {
	File    string   `json:"file"`
	Alerts  int      `json:"alerts"`
	LeftOut []string `json:"left_out"`
}

func (a *app) exportAlerts(c *cobra.Command, f *exportFlags) error {
	switch {
	case f.format != formatCSV:
		return misused(c, "say in what form").WithHint("add --format csv")
	case f.out == "" && a.json:
		return misused(c, "with --json the table needs a file").WithHint("add -o FILE")
	case f.out != "" && !f.force && fileExists(f.out):
		return fault.New(fault.Conflict, "exists", "write "+f.out, "there is such a file already").WithHint("choose another with -o, or add --force")
	}
	return a.with(c, func(ctx context.Context, node *operator.Client) error {
		if f.out == "" {
			out, err := a.writeTable(ctx, node, f, a.streams.Out)
			if err == nil {
				a.note("%d alerts, left out %d", out.Alerts, len(out.LeftOut))
			}
			return err
		}
		return a.exportFile(ctx, node, f)
	})
}

func (a *app) exportFile(ctx context.Context, node *operator.Client, f *exportFlags) error {
	tmp, err := beside(f.out)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "unwritable", "write "+f.out, "no file can be made there")
	}
	out, err := a.writeTable(ctx, node, f, tmp)
	if err != nil {
		discard(tmp)
		return written(f.out, err)
	}
	if err := settleAs(tmp, f.out); err != nil {
		return written(f.out, err)
	}
	return a.print(out, func(wr io.Writer) {
		fmt.Fprintf(wr, "%s: %d alerts, left out %d\n", out.File, out.Alerts, len(out.LeftOut))
	})
}

// writeTable reads the alerts one after the other, so that memory is that of one. What is left out is named.
func (a *app) writeTable(ctx context.Context, node *operator.Client, f *exportFlags, dst io.Writer) (exported, error) {
	out := exported{File: f.out, LeftOut: []string{}}
	var ids []string
	err := eachAlert(ctx, node, &f.in, func(s *operatorv1.AlertSummary) error {
		ids = append(ids, s.GetId())
		return nil
	})
	if err != nil {
		return out, err
	}
	count := a.counter("reading", len(ids))
	defer count.end()
	leave := func(id, why string) {
		out.LeftOut = append(out.LeftOut, id)
		a.note("%s is left out: %s", id, why)
	}
	var failed error
	var order []string // of what was handed over, for WriteAlerts reports by place
	alerts := func(yield func(format.Alert) bool) {
		for _, id := range ids {
			x, err := tabled(ctx, node, id)
			count.done()
			if failed = err; err != nil {
				return
			}
			if x.Notice == nil {
				leave(id, "its copy here is locked")
				continue
			}
			if order = append(order, id); !yield(x) {
				return
			}
		}
	}
	report := func(p format.Problem) { leave(order[p.Line-1], clean(p.Reason)) }
	if err := format.WriteAlerts(dst, alerts, report); err != nil {
		return out, err
	}
	out.Alerts = len(ids) - len(out.LeftOut)
	return out, failed
}

// tabled is one alert as a table has it; without notice where it is locked.
func tabled(ctx context.Context, node *operator.Client, id string) (format.Alert, error) {
	r, err := node.Alerts.GetAlert(ctx, &operatorv1.GetAlertRequest{Id: id})
	if err != nil {
		return format.Alert{}, err
	}
	s := r.GetSummary()
	category, err := authority.ParseCategory(s.GetCategory())
	if err != nil {
		return format.Alert{}, err
	}
	x := format.Alert{AlertCompose: message.AlertCompose{
		Category: category, Urgency: message.Urgency(s.GetUrgency()), Status: message.OperationalStatus(s.GetOperationalStatus()),
		Distribution: message.Distribution(s.GetDistribution()), Notice: r.GetNotice(), Subjects: r.GetSubjects(),
	}}
	if s.GetExpires() != 0 {
		x.Expires = unixTime(s.GetExpires())
	}
	return x, nil
}

func unixTime(milli int64) time.Time { return time.UnixMilli(milli).UTC() }
