package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/bench"
)

// benchCommand measures against the floor. DESIGN 15.
func (a *app) benchCommand() *cobra.Command {
	var what []string
	c := &cobra.Command{
		Use: "bench", Short: "Measure this machine against the floor of unavoidable work", Args: cobra.NoArgs,
		Long: "Measures the floor (the same machine doing only what a message cannot avoid) before and after Enlace (two nodes in this process, " +
			"from the submission of a prepared draft to the signed receipt, durable at the sender). Ratios count; absolute numbers are this machine's.",
		Example: "  enlace bench\n  enlace bench --json --what directed",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := bench.Run(c.Context(), bench.Options{What: what, Tell: func(s string) { a.note("%s", s) }})
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { benchTable(w, r) })
		},
	}
	c.Flags().StringSliceVar(&what, "what", nil, "rows to measure: "+strings.Join(bench.Rows(), ", "))
	return c
}

func benchTable(w io.Writer, r bench.Report) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "figure\tfloor\tours\tratio\t")
	for _, row := range slices.Sorted(maps.Keys(r)) {
		for _, name := range slices.Sorted(maps.Keys(r[row])) {
			f := r[row][name]
			fmt.Fprintf(t, "%s.%s\t%.1f\t%.1f\t%.2f\t\n", row, name, f.Floor, f.Ours, f.Ratio)
		}
	}
	_ = t.Flush()
}
