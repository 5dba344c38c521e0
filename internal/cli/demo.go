package cli

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/testnet"
)

// demoCommand runs a whole network on loopback. DESIGN 11.
func (a *app) demoCommand() *cobra.Command {
	var once bool
	var sdn, dir string
	c := &cobra.Command{
		Use: "demo", Short: "Run a hub and three states on this machine and play a case through", Args: cobra.NoArgs,
		Long: "Starts a hub and three states on loopback, with real sockets, keys, files and ceremonies, on the code that the daemons run. " +
			"One request with a file is approved, delivered, acknowledged, answered and closed, one is refused; an alert is published, received by its subscribers, updated and cancelled; every receipt is verified. " +
			"Nothing leaves this machine. Without --once the network stays up, with a profile for each state.",
		Example: "  enlace demo --once\n  enlace demo --once --json --sdn DIR",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.demo(c, demoFlags{once, sdn, dir})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "stop when all of it was verified")
	c.Flags().StringVar(&sdn, "sdn", "", "also send 200 requests, and an alert for every entry for organised crime, made from the OFAC list in this folder")
	c.Flags().StringVar(&dir, "dir", "", "keep everything in this folder (default: a temporary one, removed at the end)")
	return c
}

type demoFlags struct {
	once     bool
	sdn, dir string
}

func (a *app) demo(c *cobra.Command, f demoFlags) error {
	if f.dir == "" {
		dir, err := os.MkdirTemp("", "enlace-demo-")
		if err != nil {
			return fault.Wrap(err, fault.Internal, "", "run demo", "no folder for the demo")
		}
		defer os.RemoveAll(dir)
		f.dir = dir
	}
	tell := func(line string) { a.note("%s", line) }
	n, err := testnet.Start(c.Context(), testnet.Options{Dir: f.dir, Tell: tell, Clock: a.clock})
	if err != nil {
		return err
	}
	r, err := n.Demo(c.Context(), f.sdn, tell)
	if err == nil {
		err = a.print(r, func(w io.Writer) { demoTable(w, r) })
	}
	if err == nil && !f.once {
		err = a.stayUp(c, n)
	}
	if stopped := n.Stop(); err == nil {
		err = stopped
	}
	return err
}

func demoTable(w io.Writer, r testnet.DemoResult) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "states\t%d\n", r.States)
	fmt.Fprintf(t, "alerts published\t%d\n", r.AlertsPublished)
	fmt.Fprintf(t, "alerts delivered\t%d\n", r.AlertsDelivered)
	fmt.Fprintf(t, "requests answered\t%d\n", r.RequestsAnswered)
	fmt.Fprintf(t, "attachment bytes compared\t%d\n", r.AttachmentsBytes)
	fmt.Fprintf(t, "receipts verified\t%d\n", r.ReceiptsVerified)
	fmt.Fprintf(t, "seconds\t%.1f\n", r.Elapsed)
	_ = t.Flush()
}

// stayUp says how to play along and waits to be interrupted.
func (a *app) stayUp(c *cobra.Command, n *testnet.Network) error {
	a.note("\nThe network stays up. Log in from another terminal; Ctrl-C ends it.")
	for _, m := range n.Members {
		a.note("\n  export ENLACE_PROFILE=demo-%s\n  enlace login %s --ca %s/operator-ca.pem --user officer     # password %s\n  (approver: %s, duty: %s)",
			m.State, m.Daemon.OperatorAddr, m.Dir, m.Passwords["officer"], m.Passwords["approver"], m.Passwords["duty"])
	}
	<-c.Context().Done()
	return nil
}
