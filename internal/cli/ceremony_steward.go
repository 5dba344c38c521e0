package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func (a *app) stewardCommand() *cobra.Command {
	return group("steward", "Keys of the stewards, who decide together for the network", a.stewardKeygenCommand(), a.stewardListCommand(), a.stewardRotateCommand())
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
	said := a.spokenKey(k.Fingerprint())
	out := map[string]any{"fingerprint": k.Fingerprint().String(), "words": said, "comment": comment}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s\n", k.Fingerprint(), clean(comment))
		tellSpoken(w, "  ", said)
	})
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

func (a *app) stewardRotateCommand() *cobra.Command {
	var f issueFlags
	var public []string
	var threshold int
	c := &cobra.Command{
		Use: "rotate", Short: "Replace the stewards' keys",
		Long: "Draft the rotation of the stewards: --steward names the whole new set; who stays is named again. The old\n" +
			"threshold signs, and the new one with the new keys. Who is not named signs nothing more.",
		Example: "  enlace steward rotate --steward ana.key.pub --steward eva.key.pub --threshold 2 --hub hub.example:7400 --network FINGERPRINT --key ana.key --out stewards.statements",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			body := &formatv1.RotateStewards{Threshold: uint32(max(threshold, 0))}
			for _, path := range public {
				k, _, err := readPublic(path)
				if err != nil {
					return err
				}
				body.Stewards = append(body.Stewards, directory.DeclareKey(directory.PurposeSteward, k, time.Time{}))
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.RotateStewards(body)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringArrayVar(&public, "steward", nil, "public key file of a steward of the new set; two or more")
	c.Flags().IntVar(&threshold, "threshold", 0, "how many stewards decide together")
	_ = c.MarkFlagRequired("steward")
	_ = c.MarkFlagRequired("threshold")
	return c
}
