package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/bench"
)

// benchCommand measures against the floor. DESIGN 15.
func (a *app) benchCommand() *cobra.Command {
	var (
		what []string
		idle time.Duration
	)
	c := &cobra.Command{
		Use: "bench", Short: "Measure this machine against the floor of unavoidable work", Args: cobra.NoArgs,
		Long: "Measures the floor (the same machine doing only what a message cannot avoid) before and after Enlace (two nodes in this process, " +
			"from the submission of a prepared draft to the signed receipt, durable at the sender; 34 for alerts, to the commit at every receiver). " +
			"The row fanout also has a node catch up on 100,000 alerts, which have to be published first: that takes minutes. Ratios count; absolute numbers are this machine's.",
		Example: "  enlace bench\n  enlace bench --json --what directed,latency",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := bench.Run(c.Context(), bench.Options{What: what, Idle: idle, Tell: func(s string) { a.note("%s", s) }})
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { benchTable(w, r) })
		},
	}
	c.Flags().StringSliceVar(&what, "what", nil, "rows to measure: "+strings.Join(bench.Rows(), ", "))
	c.Flags().DurationVar(&idle, "idle", 0, "how long the row idle watches a network with nothing to do (default 10m)")
	return c
}

func benchTable(w io.Writer, r bench.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "figure\tfloor\tours\tratio\tgoal\t")
	for _, row := range slices.Sorted(maps.Keys(r)) {
		for _, name := range slices.Sorted(maps.Keys(r[row])) {
			f := r[row][name]
			fmt.Fprintf(t, "%s.%s\t%s\t%.1f\t%s\t%s\t\n", row, name, orDash(f.Floor, "%.1f"), f.Ours, orDash(f.Ratio, "%.2f"), orDash(f.Goal, "%.0f"))
		}
	}
	_ = t.Flush()
}

// orDash shows what a figure does not have as a dash.
func orDash(x float64, form string) string {
	if x == 0 {
		return "–"
	}
	return fmt.Sprintf(form, x)
}
