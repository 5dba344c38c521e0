package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
)

func (a *app) stewardCommand() *cobra.Command {
	return group("steward", "Keys of the stewards, who decide together for the network", a.stewardKeygenCommand(), a.stewardListCommand())
}

func (a *app) stewardKeygenCommand() *cobra.Command {
	var out string
	var lock newLock
	c := &cobra.Command{
		Use: "keygen NAME", Short: "Make a steward's key, locked by a passphrase",
		Long: "Make the key of a steward. NAME says whose it is and is public. The file stays with its holder, on a\n" +
			"machine or stick of their own; what is handed out is the line in FILE.pub.",
		Example: "  enlace steward keygen ana --out ana.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.keygen(c, "steward "+args[0], or(out, args[0]+".key"), lock)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to make (default: NAME.key)")
	c.Flags().StringVar(&lock.file, "passphrase-file", "", "file whose first line is the new passphrase (default: ask)")
	lock.registerEffort(c.Flags())
	return c
}

func (a *app) printKey(k authority.PublicKey, comment string) error {
	out := map[string]string{"fingerprint": k.Fingerprint().String(), "comment": comment}
	return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s  %s\n", k.Fingerprint(), clean(comment)) })
}

func (a *app) stewardListCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	c := &cobra.Command{
		Use: "ls", Short: "List the stewards' keys and how many of them decide",
		Example: "  enlace steward ls --log genesis.statement",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			key, err := k.openIf(c.Context(), a)
			if err != nil {
				return err
			}
			s, err := f.read(c.Context(), a, key)
			if err != nil {
				return err
			}
			return a.printStewards(s)
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	return c
}

func (a *app) printStewards(s *directory.Snapshot) error {
	out := struct {
		Threshold int      `json:"threshold"`
		Stewards  []string `json:"stewards"`
	}{Threshold: s.Stewards().Threshold}
	for _, k := range s.Stewards().Keys {
		out.Stewards = append(out.Stewards, k.Public.Fingerprint().String())
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%d of these %d decide:\n", out.Threshold, len(out.Stewards))
		for _, f := range out.Stewards {
			fmt.Fprintln(w, f)
		}
	})
}
