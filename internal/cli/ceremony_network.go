package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/registry"
)

func (a *app) networkCommand() *cobra.Command {
	return group("network", "Found a network, and see which one it is",
		a.networkCreateCommand(), a.networkShowCommand(), a.networkFingerprintCommand(), a.networkRotateHubCommand())
}

type networkFlags struct {
	stewards        []string
	threshold       int
	signers         []string
	passphraseFiles []string
	dir, genesis    string
	advertise       []string
	listen          string
	unlock          unlockFlags
}

func (a *app) networkCreateCommand() *cobra.Command {
	var f networkFlags
	c := &cobra.Command{
		Use: "create NAME", Short: "Make the directory hub of a new network, and its genesis",
		Long: "Make the keys and the configuration of a directory hub, and the genesis that founds the network. Every\n" +
			"steward signs the genesis: at once with --sign where the keys are at hand, or else with\n" +
			"'enlace statement sign DIR/genesis.draft', after which --genesis puts it in place. NAME becomes part of\n" +
			"every TLS identity, such as enlace.example.",
		Example: "  enlace network create enlace.example --steward s1.key.pub --steward s2.key.pub --threshold 2 --sign s1.key --sign s2.key --dir hub --advertise hub.example:7400\n  enlace network create --dir hub --genesis hub/genesis.draft",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.genesis != "" && len(args) == 0:
				return a.networkInstall(f)
			case f.genesis == "" && len(args) == 1:
				return a.networkCreate(c.Context(), args[0], f)
			}
			return misused(c, "name a new network, or give --genesis alone for one that is drafted")
		},
	}
	fs := c.Flags()
	fs.StringArrayVar(&f.stewards, "steward", nil, "public key file of a steward; two or more")
	fs.IntVar(&f.threshold, "threshold", 0, "how many stewards decide together")
	fs.StringArrayVar(&f.signers, "sign", nil, "key file of a steward who signs the genesis now")
	fs.StringArrayVar(&f.passphraseFiles, "passphrase-file", nil, "file with the passphrase of each --sign, in that order, or of all of them (default: ask)")
	fs.StringVar(&f.dir, "dir", "", "folder of the hub")
	fs.StringVar(&f.genesis, "genesis", "", "statement file with the genesis that every steward signed, to be put in place")
	fs.StringArrayVar(&f.advertise, "advertise", nil, "host:port under which nodes reach the hub; may be repeated")
	fs.StringVar(&f.listen, "listen", "", "address to listen on (default: every interface, the port of --advertise)")
	f.unlock.register(fs)
	_ = c.MarkFlagRequired("dir")
	return c
}

// created is what a person has to know of a network that was made.
type created struct {
	Name        string `json:"name,omitempty"`
	Fingerprint string `json:"fingerprint"`
	// Words say the fingerprint.
	Words  []string `json:"words"`
	Config string   `json:"config,omitempty"`
	// Signed is whether the genesis is complete and in place.
	Signed bool `json:"signed"`
}

func (a *app) networkCreate(ctx context.Context, name string, f networkFlags) error {
	if len(f.passphraseFiles) > 1 && len(f.passphraseFiles) != len(f.signers) {
		return fault.New(fault.Usage, "usage", "found network", "give one --passphrase-file for each --sign, or one for all")
	}
	o := hub.InitOptions{Dir: f.dir, Name: name, Threshold: f.threshold, Advertise: f.advertise, Listen: f.listen,
		UnlockFile: f.unlock.file, UnlockOnDataDisk: f.unlock.onDataDisk, Clock: a.clock, Random: a.random}
	if f.unlock.file == "" {
		o.Prompt = func() (keyring.Passphrase, error) { return f.unlock.lock.ask(ctx, a, "the hub's key file") }
	}
	for _, path := range f.stewards {
		k, _, err := readPublic(path)
		if err != nil {
			return err
		}
		o.Stewards = append(o.Stewards, k)
	}
	keys, err := a.openSigners(ctx, f, o.Stewards)
	if err != nil {
		return err
	}
	made, err := hub.Init(o)
	if err != nil {
		return err
	}
	// If the program stops here the genesis is drafted, and signed another time.
	out := created{Name: name, Fingerprint: made.Fingerprint, Config: made.Config}
	if err := a.signGenesis(made.Draft, keys); err != nil {
		return err
	}
	if len(keys) == len(o.Stewards) {
		if err := install(f.dir, made.Draft); err != nil {
			return err
		}
		out.Signed = true
	} else {
		a.note("Every steward signs the genesis with: enlace statement sign %s --key FILE\nthen: enlace network create --dir %s --genesis %s", made.Draft, f.dir, made.Draft)
	}
	return a.printCreated(out)
}

// openSigners opens the keys of stewards who sign at once; each must be one of those named.
func (a *app) openSigners(ctx context.Context, f networkFlags, stewards []authority.PublicKey) ([]*keyring.OfflineKey, error) {
	named := map[authority.PublicKey]bool{}
	for _, k := range stewards {
		named[k] = true
	}
	var keys []*keyring.OfflineKey
	for i, path := range f.signers {
		k, err := keyFlags{path, f.passphraseFileOf(i)}.open(ctx, a)
		if err != nil {
			return nil, err
		}
		if !named[k.Public()] {
			return nil, fault.New(fault.Usage, "not-a-steward", "found network", "a key of --sign is not, or not any more, to be found among --steward").
				WithHint("name each steward once with --steward, and each key once with --sign")
		}
		delete(named, k.Public())
		keys = append(keys, k)
	}
	return keys, nil
}

func (f networkFlags) passphraseFileOf(i int) string {
	switch len(f.passphraseFiles) {
	case 0:
		return ""
	case 1:
		return f.passphraseFiles[0]
	}
	return f.passphraseFiles[i]
}

func (a *app) signGenesis(draft string, keys []*keyring.OfflineKey) error {
	b, err := readBundle(draft)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if b, _, err = a.signAll(b, k, newSigners(nil, b), ""); err != nil {
			return err
		}
	}
	return rewriteBundle(draft, b)
}

func install(dir, genesis string) error {
	text, err := readSmall(genesis, directory.MaxBundle)
	if err != nil {
		return err
	}
	_, err = hub.Install(dir, text)
	return err
}

func (a *app) networkInstall(f networkFlags) error {
	b, err := readBundle(f.genesis)
	if err != nil {
		return err
	}
	if err := install(f.dir, f.genesis); err != nil {
		return err
	}
	return a.printCreated(created{Fingerprint: networkOf(b.Statements[0]), Signed: true})
}

func (a *app) printCreated(r created) error {
	if r.Signed {
		a.note("The genesis is in place. Publish the fingerprint by a road that is not this computer.")
	}
	r.Words = a.spoken(r.Fingerprint)
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "network %s\n", r.Fingerprint)
		tellSpoken(w, "  ", r.Words)
	})
}

func (a *app) networkShowCommand() *cobra.Command {
	var f sourceFlags
	c := &cobra.Command{
		Use: "show [FILE]", Short: "Say in words what the genesis of a network says",
		Long: "Read the genesis from a statement file, or from a hub that is held against the fingerprint. The genesis\n" +
			"is public: no key is needed.",
		Example: "  enlace network show hub/genesis.statement\n  enlace network show --hub hub.example:7400 --network FINGERPRINT",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.genesisOf(c, args, f)
			if err != nil {
				return err
			}
			return a.printReadings(b, newSigners(nil, b))
		},
	}
	c.Flags().StringVar(&f.hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(c.Flags(), &f.network)
	return c
}

// genesisOf is a bundle of the genesis alone.
func (a *app) genesisOf(c *cobra.Command, args []string, f sourceFlags) (directory.Bundle, error) {
	if len(args) == 1 {
		b, err := readBundle(args[0])
		if err == nil && b.Statements[0].Kind() != directory.KindGenesis {
			err = fault.New(fault.Invalid, "no-genesis", "read "+args[0], "the file does not begin with a genesis")
		}
		if err != nil {
			return b, err
		}
		return directory.Bundle{Statements: b.Statements[:1]}, nil
	}
	if f.hub == "" || f.network == "" {
		return directory.Bundle{}, misused(c, "name a file, or --hub and --network")
	}
	ctx, cancel := a.bounded(c.Context())
	defer cancel()
	genesis, err := registry.Bootstrap(ctx, f.hub, f.network, a.clock, clientTLS(keyring.Visitor(a.clock)))
	if err != nil {
		return directory.Bundle{}, err
	}
	st, err := directory.ParseStatement(genesis)
	return directory.Bundle{Statements: []directory.Statement{st}}, err
}

func (a *app) networkFingerprintCommand() *cobra.Command {
	var said bool
	c := &cobra.Command{
		Use: "fingerprint FILE", Short: "Print the fingerprint of the network that a genesis founds",
		Long: "Print the fingerprint of a network, to be compared by another road than this computer. With --words it is\n" +
			"24 words that are read over a telephone, of the list in the language of --lang; whoever asks for a\n" +
			"fingerprint takes them in place of the digits. There is no list in Portuguese: pt gives the Spanish one.",
		Example: "  enlace network fingerprint hub/genesis.statement\n  enlace network fingerprint hub/genesis.statement --words --lang es",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := a.genesisOf(c, args, sourceFlags{})
			if err != nil {
				return err
			}
			return a.printFingerprint(networkOf(b.Statements[0]), said)
		},
	}
	c.Flags().BoolVar(&said, "words", false, "print words to be read over a telephone, not digits")
	return c
}

func (a *app) printFingerprint(id string, said bool) error {
	list := a.spoken(id)
	if said {
		a.noteList()
	}
	return a.print(map[string]any{"fingerprint": id, "words": list}, func(w io.Writer) {
		if said {
			fmt.Fprintln(w, strings.Join(list, " "))
			return
		}
		fmt.Fprintln(w, id)
	})
}
