package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// maxBodyFile bounds the JSON of a statement's body.
const maxBodyFile = 256 << 10

func (a *app) statementCommand() *cobra.Command {
	return group("statement", "Draft, read, sign and hand in statements of the directory",
		a.statementNewCommand(), a.statementShowCommand(), a.statementSignCommand(), a.statementSubmitCommand(), a.statementListCommand(), a.statementGetCommand())
}

// issueFlags are common to all commands that draft a statement.
type issueFlags struct {
	sourceFlags
	keyFlags
	out    string
	submit bool
}

func (f *issueFlags) register(fs *pflag.FlagSet) {
	f.sourceFlags.register(fs)
	f.keyFlags.register(fs)
	fs.StringVar(&f.out, "out", "", "statement file to write (default: named after the statement)")
	fs.BoolVar(&f.submit, "submit", false, "hand it in at --hub at once, where no other signature is needed")
}

// issue drafts a statement on the directory as it is now, shows it, signs it with the key if there is one, and writes
// it to a file for the other signers or hands it in.
func (a *app) issue(c *cobra.Command, f issueFlags, draft func(directory.Draft) ([]byte, [][]byte, error)) error {
	if f.submit && (f.hub == "" || f.path == "") {
		return misused(c, "--submit needs --hub and --key")
	}
	key, err := f.openIf(c.Context(), a)
	if err != nil {
		return err
	}
	snapshot, err := f.read(c.Context(), a, key)
	if err != nil {
		return err
	}
	payload, cards, err := draft(directory.Draft{Snapshot: snapshot, Created: a.clock(), Random: a.random})
	if err != nil {
		return err
	}
	st, err := directory.ParseStatement(directory.Attach(payload))
	if err != nil {
		return err
	}
	b := directory.Bundle{Statements: []directory.Statement{st}, Cards: cards}
	if key != nil {
		if b, err = a.consent(c.Context(), b, key, newSigners(snapshot, b), ""); err != nil {
			return err
		}
	}
	if f.submit {
		return a.handIn(c.Context(), f.hub, key, b)
	}
	return a.lay(f.out, b, newSigners(snapshot, b))
}

// lay writes a drafted bundle to a file and shows it.
func (a *app) lay(out string, b directory.Bundle, who signers) error {
	if out == "" {
		out = fileName(b.Statements[0])
	}
	if err := writeBundle(out, b); err != nil {
		return err
	}
	a.note("Written to %s. Others add their signatures with: enlace statement sign %s --key FILE", out, filepath.Base(out))
	return a.printReadings(b, who)
}

func (a *app) printReadings(b directory.Bundle, who signers) error {
	all := a.readings(b, who)
	return a.print(map[string]any{"statements": all}, func(w io.Writer) { a.tell(w, all) })
}

// consent shows what is to be signed, asks, and signs.
func (a *app) consent(ctx context.Context, b directory.Bundle, key *keyring.OfflineKey, who signers, fixed directory.Role) (directory.Bundle, error) {
	signed, added, err := a.signAll(b, key, who, fixed)
	if err != nil {
		return b, err
	}
	if added == 0 {
		a.note("This key has signed all of it already.")
		return b, nil
	}
	if !a.json {
		a.tell(a.streams.Err, a.readings(b, who))
		fmt.Fprintf(a.streams.Err, "\nkey %s (%s)\n", key.Public().Fingerprint(), clean(key.Comment()))
		tellSpoken(a.streams.Err, "  ", a.spokenKey(key.Public().Fingerprint()))
	}
	// Until here the signatures are in memory only; without consent they are forgotten.
	return signed, a.sure(ctx, fmt.Sprintf("Sign %d of %d statements for network %.16s…?", added, len(b.Statements), networkOf(b.Statements[0])))
}

// handIn submits and prints what the log took.
func (a *app) handIn(ctx context.Context, hub string, key *keyring.OfflineKey, b directory.Bundle) error {
	done, err := a.submit(ctx, hub, key, b)
	if err != nil {
		return err
	}
	return a.print(map[string]any{"submitted": done}, func(w io.Writer) {
		for _, s := range done {
			fmt.Fprintf(w, "%d  %s %s\n", s.Position, s.Kind, s.Subject)
		}
	})
}

func (a *app) statementNewCommand() *cobra.Command {
	var f issueFlags
	var body string
	var shipped bool
	c := &cobra.Command{
		Use: "new KIND SUBJECT", Short: "Draft a statement of any kind from its body in JSON",
		Long: "Draft a statement. KIND is a slug of PROTOCOL 4.3, SUBJECT a state, an authority or a node, and the body\n" +
			"has the fields of the message that the kind names. With --key it is signed as well.",
		Example: "  enlace statement new retire mx/fgr --body body.json --log network.statements --out retire.statements",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := directory.ParseSubject(args[1])
			if err != nil {
				return err
			}
			text, err := a.bodyFor(c, directory.Kind(args[0]), body, shipped)
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.FromJSON(directory.Kind(args[0]), subject, text)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&body, "body", "", "file with the body in JSON")
	c.Flags().BoolVar(&shipped, "from-list", false, "for categories and instruments: register the list that this program ships with")
	return c
}

// bodyFor is the JSON of a body: of a file, or of a shipped list.
func (a *app) bodyFor(c *cobra.Command, kind directory.Kind, path string, shipped bool) ([]byte, error) {
	if shipped == (path != "") {
		return nil, misused(c, "give --body FILE, or --from-list for categories and instruments")
	}
	if !shipped {
		return readSmall(path, maxBodyFile)
	}
	lists, err := message.LoadLists()
	if err != nil {
		return nil, err
	}
	switch kind {
	case directory.KindCategories:
		return protojson.Marshal(shippedCategories(lists))
	case directory.KindInstruments:
		return protojson.Marshal(shippedInstruments(lists))
	}
	return nil, misused(c, "--from-list is for categories and instruments")
}

func shippedCategories(lists message.Lists) *formatv1.Categories {
	m := &formatv1.Categories{}
	for _, e := range lists.All("crime-categories") {
		if e.Fields["status"] != "active" {
			continue
		}
		m.Categories = append(m.Categories, &formatv1.Category{Slug: e.Code, Status: "active", IccsCode: e.Fields["iccs_code"], Titles: titles(lists, "crime-categories", e.Code)})
	}
	return m
}

func shippedInstruments(lists message.Lists) *formatv1.Instruments {
	m := &formatv1.Instruments{}
	for _, e := range lists.All("legal-instruments") {
		m.Instruments = append(m.Instruments, &formatv1.Instrument{Code: e.Code, Titles: titles(lists, "legal-instruments", e.Code)})
	}
	return m
}

// titles are the labels of a code in the languages of the network.
func titles(lists message.Lists, list, code string) []*formatv1.Text {
	var all []*formatv1.Text
	for _, tag := range []string{"en", "es", "fr", "pt"} {
		if l, err := authority.ParseLanguage(tag); err == nil {
			all = append(all, &formatv1.Text{Language: tag, Value: lists.Label(list, code, l)})
		}
	}
	return all
}

func (a *app) statementShowCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	c := &cobra.Command{
		Use: "show FILE...", Short: "Say in words what statements change, and who has signed",
		Long: "Read statement files and say what they would change. With --hub or --log they are compared with the\n" +
			"directory: what an amendment changes, which signatures are good, and what is still missing.",
		Example: "  enlace statement show mx.statements --log genesis.statement",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := readBundles(args)
			if err != nil {
				return err
			}
			key, err := k.openIf(c.Context(), a)
			if err != nil {
				return err
			}
			snapshot, err := f.readIf(c.Context(), a, key, b)
			if err != nil {
				return err
			}
			return a.printReadings(b, newSigners(snapshot, b))
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	return c
}

// readIf is the directory where a source was named, else nil. The statements say which network they are for.
func (f sourceFlags) readIf(ctx context.Context, a *app, key *keyring.OfflineKey, b directory.Bundle) (*directory.Snapshot, error) {
	if err := oneNetwork(b); err != nil || !f.isSet() {
		return nil, err
	}
	id := networkOf(b.Statements[0])
	if f.network != "" && f.network != id {
		return nil, fault.New(fault.Denied, "wrong-network", "read statement files", "the statements are for another network than --network names").
			WithHint("sign nothing for a network that you do not know")
	}
	f.network = id
	return f.read(ctx, a, key)
}

type signFlags struct {
	sourceFlags
	keyFlags
	role         string
	submit, tray bool
}

func (a *app) statementSignCommand() *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use: "sign {FILE... | --tray [ID...]}", Short: "Show statements, ask, and sign them",
		Long: "Show what statement files would change, ask, and add the signature of a state or steward key to each\n" +
			"statement that lacks it. The role follows from the key: a state's key signs for the state; a steward's\n" +
			"admits, verifies a declaration that nobody verified yet, and counter-signs one that another steward did.\n" +
			"Signed files replace the old ones. With --submit they are handed in as well, in the order given. With --tray\n" +
			"what waits in the hub's tray is signed, as far as the key has a say in it, and put back there.",
		Example: "  enlace statement sign mx.statements jm.statements --key steward-1.key\n  enlace statement sign mx.statements jm.statements --key steward-2.key --hub hub.example:7400 --submit\n  enlace statement sign --tray --key steward-1.key --hub hub.example:7400 --network FINGERPRINT",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.tray:
				return a.signTray(c, args, f)
			case len(args) == 0:
				return misused(c, "name files, or --tray")
			}
			return a.statementSign(c, args, f)
		},
	}
	f.sourceFlags.register(c.Flags())
	f.keyFlags.register(c.Flags())
	c.Flags().StringVar(&f.role, "role", "", "role to sign in: state, steward, verify, countersign or new (default: what the key is)")
	c.Flags().BoolVar(&f.submit, "submit", false, "hand the statements in at --hub when they are signed")
	c.Flags().BoolVar(&f.tray, "tray", false, "sign what waits in the hub's tray: all of it, or the statements or states named")
	return c
}

func (a *app) statementSign(c *cobra.Command, paths []string, f signFlags) error {
	if f.submit && f.hub == "" {
		return misused(c, "--submit needs --hub")
	}
	all, err := readBundles(paths)
	if err != nil {
		return err
	}
	key, err := f.open(c.Context(), a)
	if err != nil {
		return err
	}
	snapshot, err := f.readIf(c.Context(), a, key, all)
	if err != nil {
		return err
	}
	who := newSigners(snapshot, all)
	signed, err := a.consent(c.Context(), all, key, who, directory.Role(f.role))
	if err != nil {
		return err
	}
	if err := splitBack(paths, signed); err != nil {
		return err
	}
	// If the program stops here the files are signed; submitting them is another command.
	if f.submit {
		return a.handIn(c.Context(), f.hub, key, signed)
	}
	return a.printReadings(signed, who)
}

// splitBack writes signed statements back to the files they came from.
func splitBack(paths []string, signed directory.Bundle) error {
	rest := signed.Statements
	for _, p := range paths {
		old, err := readBundle(p)
		if err != nil {
			return err
		}
		n := len(old.Statements)
		if n > len(rest) || !samePayloads(old.Statements, rest[:n]) {
			return fault.New(fault.Conflict, "changed-file", "write "+p, "the file was changed meanwhile; it was not signed")
		}
		if err := rewriteBundle(p, directory.Bundle{Statements: rest[:n], Cards: old.Cards}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func samePayloads(a, b []directory.Statement) bool {
	for i := range a {
		if a[i].Hash() != b[i].Hash() || len(a[i].Signatures()) > len(b[i].Signatures()) {
			return false
		}
	}
	return true
}

type submitFlags struct {
	sourceFlags
	keyFlags
	via string
}

func (a *app) statementSubmitCommand() *cobra.Command {
	var f submitFlags
	c := &cobra.Command{
		Use: "submit [FILE...]", Short: "Hand statements in at the directory hub, in the order given",
		Long: "Hand signed statements in at the hub; without files, what waits in its tray. The key only says who is calling;\n" +
			"it signs nothing. What lacks signatures goes to the tray (exit code 5). To hand in the same statement again is\n" +
			"harmless: the answer is the position that it has. With --via they are handed in at a node, as when the hub is\n" +
			"down: a suspension, a revocation, a veto takes effect there at once, and is passed on.",
		Example: "  enlace statement submit mx.statements jm.statements --hub hub.example:7400 --key steward-2.key\n  enlace statement submit revoke.statements --via jm/node/primary --log network.statements --key mx.state-key",
		RunE:    func(c *cobra.Command, args []string) error { return a.statementSubmit(c, args, f) },
	}
	f.sourceFlags.register(c.Flags())
	f.keyFlags.register(c.Flags())
	c.Flags().StringVar(&f.via, "via", "", "hand them in at this node, by name or address, and not at the hub")
	return c
}

func (a *app) statementSubmit(c *cobra.Command, paths []string, f submitFlags) error {
	b, err := readBundles(paths)
	if err == nil && len(paths) > 0 {
		err = oneNetwork(b)
	}
	if err == nil && len(paths) > 0 && f.network != "" && f.network != networkOf(b.Statements[0]) {
		err = fault.New(fault.Denied, "wrong-network", "submit", "the statements are for another network than --network names")
	}
	if err != nil {
		return err
	}
	key, err := f.open(c.Context(), a)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		if b, _, err = a.tray(c.Context(), f.sourceFlags, key); err != nil {
			return err
		}
	}
	if len(b.Statements) == 0 {
		return fault.New(fault.NotFound, "not-in-tray", "submit", "the tray is empty")
	}
	if f.via == "" {
		return a.handIn(c.Context(), f.hub, key, b)
	}
	snapshot, err := f.readIf(c.Context(), a, key, b)
	if err != nil {
		return err
	}
	if snapshot == nil {
		return misused(c, "--via needs --log FILE, or --hub, to know the node by")
	}
	return a.via(c.Context(), f.via, snapshot, key, b)
}

func (a *app) statementListCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	c := &cobra.Command{
		Use: "ls [FILE...]", Short: "List the statements of files, or of the hub's tray",
		Long:    "List the statements of files. Without files, those that wait in the hub's tray, and who has yet to sign them.",
		Example: "  enlace statement ls mx.statements jm.statements\n  enlace statement ls --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listTray(c.Context(), f, k)
			}
			b, err := readBundles(args)
			if err != nil {
				return err
			}
			return a.printList(a.readings(b, newSigners(nil, b)))
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	return c
}

func (a *app) printList(all []reading) error {
	return a.print(map[string]any{"statements": all}, func(w io.Writer) {
		t := newTable(w)
		t.row("KIND", "SUBJECT", "MADE", "SIGNATURES", "STATEMENT")
		for _, r := range all {
			t.row(r.Kind, r.Subject, when(r.Created*1000), fmt.Sprint(len(r.Signatures)), r.Hash[:16])
		}
		t.end()
	})
}
