package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
)

func (a *app) directoryLogCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	var out string
	c := &cobra.Command{
		Use: "log", Short: "Fetch the whole log of the directory into a file",
		Long: "Write all statements of the log, the genesis first, to a file, and the newest signed head beside it as\n" +
			"FILE.head. The file is what --log takes everywhere, and what 'enlace directory verify' proves off-line.",
		Example: "  enlace directory log --out network.statements --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.directoryLog(c, f, k, out) },
	}
	c.Flags().StringVar(&f.hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(c.Flags(), &f.network)
	k.register(c.Flags())
	c.Flags().StringVar(&out, "out", "", "file to write")
	for _, required := range []string{"out", "hub", "network"} {
		_ = c.MarkFlagRequired(required)
	}
	return c
}

func (a *app) directoryLog(c *cobra.Command, f sourceFlags, k keyFlags, out string) error {
	key, err := k.open(c.Context(), a)
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(c.Context())
	defer cancel()
	client, err := a.hub(ctx, f.hub, f.network, key)
	if err != nil {
		return err
	}
	defer client.Close()
	entries, head, err := client.Log(ctx, f.network)
	if err != nil {
		return err
	}
	if err := writeLog(out, entries); err != nil {
		return err
	}
	result := map[string]any{"file": out, "entries": len(entries)}
	if head != nil {
		// If the program stops here the log is there, without a head.
		if err := os.WriteFile(out+".head", head, 0o644); err != nil {
			return fault.Wrap(err, fault.Internal, "", "write "+out+".head", "the file cannot be written")
		}
		result["head"] = out + ".head"
	}
	return a.print(result, func(w io.Writer) {
		fmt.Fprintf(w, "%d entries in %s\n", len(entries), out)
		if head == nil {
			fmt.Fprintln(w, "the hub sent no signed head that covers them")
		}
	})
}
