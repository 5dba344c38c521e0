package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/registry"
)

func (a *app) nodeCommand() *cobra.Command {
	return group("node", "Set up a node, and end one", a.nodeInitCommand(), a.nodeEnrolCommand(), a.nodeTokenCommand(), a.nodeStatusCommand(), a.nodeRevokeCommand(),
		a.nodeBackupCommand(), a.nodeRestoreCommand())
}

// unlockFlags say how a key file that is made will be unlocked.
type unlockFlags struct {
	file       string
	onDataDisk bool
	lock       newLock
}

func (f *unlockFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "unlock-file", "", "make an unlock file here, on another disk than the data (default: a passphrase)")
	fs.BoolVar(&f.onDataDisk, "unlock-on-data-disk", false, "accept an unlock file on the disk of the data: whoever takes the disk has the keys")
	fs.StringVar(&f.lock.file, "unlock-passphrase-file", "", "file whose first line is the new passphrase of the key file (default: ask)")
	f.lock.registerEffort(fs)
}

type nodeInitFlags struct {
	dir, slug, note, hub, network, genesis     string
	authorities, categories, roles             []string
	kind, language                             string
	contactPoint                               bool
	advertise, listen, grpc, http, systemd     string
	hosts                                      []string
	profile, fourEyes, user, stateKey, keyFile string
	unlock                                     unlockFlags
	// token and head are those of an enrolment.
	token, head string
}

func (a *app) nodeInitCommand() *cobra.Command {
	var f nodeInitFlags
	c := &cobra.Command{
		Use: "init STATE", Short: "Make a new node of a state, and its application to the network",
		Long: "Make everything the first node of a state needs: its keys and CA, the state's own key, node.yaml, the\n" +
			"first account, and the application STATE.statements, signed by the state, which two stewards verify and\n" +
			"counter-sign. The hub is held against the fingerprint before anything is made. The state's key signs\n" +
			"for the state: keep STATE.state-key, and a copy, off this machine.",
		Example: "  enlace node init mx --authority fgr='Fiscalía General de la República' --type prosecution --language es --note-verbale 'NV 14/2026' --dir mx --hub hub.example:7400 --network FINGERPRINT --advertise mx.example:7443",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.nodeInit(c.Context(), args[0], f) },
	}
	f.register(c)
	return c
}

func (a *app) nodeEnrolCommand() *cobra.Command {
	var f nodeInitFlags
	c := &cobra.Command{
		Use: "enrol STATE", Short: "Make a new node of a state and hand its application to the stewards",
		Long: "As 'enlace node init', and leave the application in the hub's tray, for which a steward gave the one-time\n" +
			"--token. The hub is held against the network's fingerprint, and its log against a recently published --head:\n" +
			"without one, whoever controls the hub and old keys could show a history that is long over. When two stewards\n" +
			"have signed and handed it in, start the node.",
		Example: "  enlace node enrol mx --token TOKEN --network FINGERPRINT --head 'SIZE ROOT' --authority fgr='Fiscalía General de la República' --language es --note-verbale 'NV 14/2026' --hub hub.example:7400 --advertise mx.example:7443",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			head, err := anchorOf(f.head)
			if err != nil {
				return err
			}
			f.head = head
			return a.nodeInit(c.Context(), args[0], f)
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.token, "token", "", "one-time token that a steward gave for the state")
	c.Flags().StringVar(&f.head, "head", "", "recently published head of the log: a file, or its size and root, 'SIZE ROOT'")
	_ = c.MarkFlagRequired("token")
	return c
}

// anchorOf is a head as node.yaml takes it: size and root.
func anchorOf(given string) (string, error) {
	fields := strings.Fields(given)
	if given == "" || len(fields) == 2 {
		anchor := strings.Join(fields, " ")
		return anchor, registry.CheckAnchor(anchor)
	}
	h, err := readHead(given)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s", h.Size, h.Root), nil
}

func (f *nodeInitFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.dir, "dir", "", "folder of the node (default: STATE)")
	fs.StringVar(&f.hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(fs, &f.network)
	fs.StringVar(&f.genesis, "genesis", "", "statement file with the genesis, instead of asking the hub for it")
	f.registerEntry(fs)
	f.registerConfig(fs)
	fs.StringVar(&f.stateKey, "state-key", "", "key file of the state, where it has one (default: one is made)")
	fs.StringVar(&f.keyFile, "passphrase-file", "", "file with the passphrase of the state's key (default: ask)")
	f.unlock.register(fs)
	for _, required := range []string{"hub", "network", "authority", "note-verbale"} {
		_ = c.MarkFlagRequired(required)
	}
}

// registerEntry adds what the directory entries will say.
func (f *nodeInitFlags) registerEntry(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.authorities, "authority", nil, "authority the node serves, as SLUG='its name'; may be repeated")
	fs.StringVar(&f.kind, "type", "other", "type of the authorities: police, prosecution, customs, migration, coast-guard, fiu, tax, justice, prison, npc or other")
	fs.StringArrayVar(&f.categories, "category", nil, "category or group they are competent for (default: all)")
	fs.BoolVar(&f.contactPoint, "national-point-of-contact", false, "the first authority is the state's national point of contact")
	fs.StringVar(&f.note, "note-verbale", "", "reference of the note verbale that the stewards hold the application against")
	fs.StringVar(&f.advertise, "advertise", "", "host:port where other nodes reach this one (default: it only dials out)")
	fs.StringVar(&f.slug, "node", "primary", "name of the node within the state")
}

// registerConfig adds what node.yaml will say.
func (f *nodeInitFlags) registerConfig(fs *pflag.FlagSet) {
	fs.StringVar(&f.listen, "listen", "", "address of the door to other nodes (default: the port of --advertise)")
	fs.StringVar(&f.grpc, "operator", "", "address of the door to your own people (default: localhost:7444)")
	fs.StringVar(&f.http, "operator-http", "", "address of its REST face (default: none)")
	fs.StringArrayVar(&f.hosts, "operator-host", nil, "name by which your people call the door; may be repeated (default: localhost)")
	fs.StringVar(&f.profile, "node-profile", "", "standard or small-state")
	fs.StringVar(&f.language, "language", "en", "language of the authorities' names, and of refusals where it is es, en, pt or fr")
	fs.StringVar(&f.fourEyes, "four-eyes", "", "two-person: a second person approves what leaves (default); single: nobody does")
	fs.StringVar(&f.user, "user", "admin", "name of the first account")
	fs.StringArrayVar(&f.roles, "role", nil, "role of the first account; may be repeated (default: administrator and user)")
	fs.StringVar(&f.systemd, "unlock-credential", "", "name of the systemd credential that will hold the passphrase")
}

func (a *app) nodeInit(ctx context.Context, state string, f nodeInitFlags) error {
	o, err := f.options(state)
	if err != nil {
		return err
	}
	o.Clock, o.Random = a.clock, a.random
	if f.stateKey != "" {
		if o.StateKey, err = (keyFlags{f.stateKey, f.keyFile}).open(ctx, a); err != nil {
			return err
		}
	}
	o.StatePassphrase = func() (keyring.Passphrase, error) {
		return newLock{f.keyFile, f.unlock.lock.workFactor}.ask(ctx, a, "the state's key")
	}
	if f.unlock.file == "" {
		o.Unlock.Prompt = func() (keyring.Passphrase, error) { return f.unlock.lock.ask(ctx, a, "the node's key file") }
	}
	bounded, cancel := a.bounded(ctx)
	defer cancel()
	r, err := node.Init(bounded, o)
	if err != nil {
		return err
	}
	// If the program stops here the node is made, and its application in the file; nobody was told.
	if err := a.printInit(r); err != nil || f.token == "" {
		return err
	}
	return a.apply(bounded, f, r)
}

// apply leaves the application in the hub's tray.
func (a *app) apply(ctx context.Context, f nodeInitFlags, r node.InitResult) error {
	b, err := readBundle(r.Bundle)
	if err != nil {
		return err
	}
	client, err := registry.Connect(ctx, f.hub, f.network, a.clock, clientTLS(keyring.Visitor(a.clock)))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := deposit(ctx, client, b, f.token); err != nil {
		f := fault.As(err)
		return fault.Wrap(err, f.Kind, f.Code, "apply", f.Say).WithHint("the node is made; give " + r.Bundle + " to the stewards by another road")
	}
	a.note("The application is in the hub's tray. When two stewards have signed it: enlace-node --config %s", r.Config)
	return nil
}

// options reads the flags; what a person is asked comes later.
func (f nodeInitFlags) options(state string) (node.InitOptions, error) {
	o := node.InitOptions{Dir: or(f.dir, state), NoteVerbale: f.note, Fingerprint: f.network, Hubs: []string{f.hub},
		Advertise: f.advertise, Listen: f.listen, OperatorGRPC: f.grpc, OperatorHTTP: f.http, OperatorHosts: f.hosts,
		Head: f.head, Profile: f.profile, FourEyes: f.fourEyes, Unlock: node.InitUnlock{File: f.unlock.file, OnDataDisk: f.unlock.onDataDisk}}
	if f.systemd != "" {
		o.Unlock.Setting = "systemd:" + f.systemd
	}
	if strings.Contains(" es en pt fr ", " "+f.language+" ") {
		o.Language = f.language
	}
	var err error
	if o.Node, err = authority.ParseNode(state + "/node/" + f.slug); err != nil {
		return o, err
	}
	if o.User, err = people.ParseUser(f.user); err != nil {
		return o, err
	}
	if len(f.roles) > 0 {
		if o.Roles, err = people.ParseRoles(f.roles); err != nil {
			return o, err
		}
	}
	if o.Authorities, err = f.entries(state); err != nil {
		return o, err
	}
	if f.genesis == "" {
		return o, nil
	}
	b, err := readBundle(f.genesis)
	if err != nil {
		return o, err
	}
	o.Genesis = b.Statements[0].Signed()
	return o, nil
}

func (f nodeInitFlags) entries(state string) ([]node.NewAuthority, error) {
	language, err := authority.ParseLanguage(f.language)
	if err != nil {
		return nil, err
	}
	var categories []authority.Category
	for _, s := range f.categories {
		c, err := authority.ParseCategory(s)
		if err != nil {
			return nil, err
		}
		categories = append(categories, c)
	}
	var all []node.NewAuthority
	for i, s := range f.authorities {
		slug, title, ok := strings.Cut(s, "=")
		if !ok || title == "" {
			return nil, fault.New(fault.Usage, "malformed-authority", "read --authority", "an authority is a slug, an equals sign and its name").
				WithHint("for instance --authority fgr='Fiscalía General de la República'")
		}
		name, err := authority.ParseName(state + "/" + slug)
		if err != nil {
			return nil, err
		}
		all = append(all, node.NewAuthority{Name: name, Title: title, Language: language, Type: f.kind,
			NationalPointOfContact: f.contactPoint && i == 0, Categories: categories})
	}
	return all, nil
}

// printInit is the only place where the first password is shown.
func (a *app) printInit(r node.InitResult) error {
	said := a.spokenKey(r.StateFingerprint)
	out := map[string]any{"state_words": said, "network": r.Network, "config": r.Config, "statements": r.Bundle, "operator_ca": r.OperatorCA,
		"state_key": r.StateKey, "state_fingerprint": r.StateFingerprint.String(), "user": r.User.String(), "password": r.Password}
	return a.print(out, func(w io.Writer) {
		t := newTable(w)
		t.row("network", r.Network)
		t.row("configuration", r.Config)
		t.row("application", r.Bundle+"  (give it to two stewards)")
		if r.StateKey != "" {
			t.row("state's key", r.StateKey+"  (move it off this machine, and keep a copy)")
		}
		t.row("its fingerprint", r.StateFingerprint.String()+"  (for the note verbale)")
		for i, line := range spokenLines(said) {
			t.row(map[bool]string{true: "the same in words"}[i == 0], line)
		}
		t.row("operator CA", r.OperatorCA+"  (for enlace login --ca)")
		t.row("first account", r.User.String()+"  password "+r.Password+"  (shown once)")
		t.end()
	})
}

func (a *app) nodeStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the node is", Args: cobra.NoArgs,
		Example: "  enlace node status",
		RunE: a.onNode(func(ctx context.Context, n *operator.Client, _ []string) error {
			s, err := n.Node.GetStatus(ctx, &operatorv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			return a.show(s, func(w io.Writer) { printStatus(w, s) })
		}),
	}
}

func (a *app) nodeRevokeCommand() *cobra.Command {
	var f issueFlags
	var reason, keyHex string
	c := &cobra.Command{
		Use: "revoke NODE", Short: "End a node, or one of its keys, for good",
		Long: "Draft and sign the revocation of a node, as when its machine is lost or stolen, or with --revoke-key of one\n" +
			"of its keys. It takes effect wherever it arrives and is never undone.",
		Example: "  enlace node revoke mx/node/primary --reason stolen --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := authority.ParseNode(args[0])
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := revocation(d, n, keyHex, reason)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&keyHex, "revoke-key", "", "fingerprint of the one key to revoke (default: the node and all its keys)")
	reasonFlag(c.Flags(), &reason)
	return c
}

func revocation(d directory.Draft, n authority.Node, key, reason string) ([]byte, error) {
	if key == "" {
		return d.RevokeNode(n, reason)
	}
	for _, h := range d.Snapshot.At(d.Created).Keys(directory.OfNode(n)) {
		if h.Fingerprint.String() == key {
			return d.RevokeKey(directory.OfNode(n), h.Fingerprint, reason)
		}
	}
	return nil, fault.New(fault.NotFound, "unknown-key", "revoke key", fmt.Sprintf("%s has no key of that fingerprint in the directory", n))
}
