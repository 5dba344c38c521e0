package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func (a *app) authorityCommand() *cobra.Command {
	return group("authority", "Competent authorities of a state in the directory",
		a.authorityDeclareCommand(), a.authorityRetireCommand(), a.suspendCommand("AUTHORITY", ofAuthority),
		a.reinstateCommand("AUTHORITY", ofAuthority), a.authorityRotateCommand(), a.authorityConfirmCommand(), a.authorityNoticeCommand())
}

// ringFlags name the key file of a node on this machine.
type ringFlags struct{ path, unlock, passphraseFile string }

func (f *ringFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.path, "keyring", "", "key file of the node that serves the authority, with the daemon stopped")
	fs.StringVar(&f.unlock, "unlock", "prompt", "how it opens: prompt, systemd:NAME or file:PATH")
	fs.StringVar(&f.passphraseFile, "unlock-passphrase-file", "", "file whose first line is its passphrase (default: ask)")
}

func (f ringFlags) open(ctx context.Context, a *app) (*keyring.Ring, error) {
	unlock, err := keyring.ParseUnlock(f.unlock, func() (keyring.Passphrase, error) {
		text, err := a.secret(ctx, "Passphrase of "+f.path, f.passphraseFile)
		return keyring.NewPassphrase(text), err
	})
	if err != nil {
		return nil, err
	}
	return keyring.Open(f.path, unlock)
}

// declared is the authority's current signing and sealing key in the ring, as statements carry them.
func declared(ring *keyring.Ring, name authority.Name) ([]*formatv1.Key, error) {
	sign, err := ring.Public(keyring.AuthoritySign(name))
	if err != nil {
		return nil, err
	}
	seal, err := ring.Public(keyring.AuthoritySeal(name))
	if err != nil {
		return nil, err
	}
	return []*formatv1.Key{directory.DeclareKey(directory.PurposeSign, sign, time.Time{}), directory.DeclareKey(directory.PurposeSeal, seal, time.Time{})}, nil
}

type declareFlags struct {
	issueFlags
	ring                        ringFlags
	titles, categories, kinds   []string
	functions, languages, desks []string
	acronym, kind, parent, node string
	note                        string
	hidden, contactPoint        bool
	changed                     func(flag string) bool
}

func (a *app) authorityDeclareCommand() *cobra.Command {
	var f declareFlags
	c := &cobra.Command{
		Use: "declare AUTHORITY", Aliases: []string{"amend"}, Short: "Declare an authority, or change its entry",
		Long: "Draft and sign the declaration of an authority; two stewards verify and counter-sign it. The first time\n" +
			"its keys are made in --keyring. Later only what is named by a flag changes; the rest stays as it is.",
		Example: "  enlace authority declare mx/sat --title 'es=Servicio de Administración Tributaria' --type tax --node mx/node/primary --note-verbale 'NV 15/2026' --keyring keys/keyring.age --key mx.state-key --hub hub.example:7400 --network FINGERPRINT\n" +
			"  enlace authority declare mx/fgr --desk 'duty;America/Mexico_City;24/7;es,en' --key mx.state-key --hub hub.example:7400 --network FINGERPRINT",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			f.changed = c.Flags().Changed
			return a.issue(c, f.issueFlags, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := a.declaration(c.Context(), f, d, name)
				return payload, nil, err
			})
		},
	}
	f.issueFlags.register(c.Flags())
	f.ring.register(c.Flags())
	f.registerEntry(c.Flags())
	return c
}

func (f *declareFlags) registerEntry(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.titles, "title", nil, "name as LANGUAGE=TEXT; may be repeated")
	fs.StringVar(&f.acronym, "acronym", "", "acronym")
	fs.StringVar(&f.kind, "type", "", "police, prosecution, customs, migration, coast-guard, fiu, tax, justice, prison, npc or other")
	fs.StringVar(&f.parent, "parent", "", "authority it belongs to")
	fs.StringVar(&f.node, "node", "", "node that serves it")
	fs.StringVar(&f.note, "note-verbale", "", "reference of the note verbale")
	fs.StringArrayVar(&f.functions, "function", nil, "competence: requests, alerts-in, alerts-out, mla-central, ...; may be repeated")
	fs.StringArrayVar(&f.categories, "category", nil, "category or group of its competences; none = all")
	fs.StringArrayVar(&f.kinds, "kind", nil, "request kind of its competences; none = all")
	fs.StringArrayVar(&f.languages, "language", nil, "language it works in; may be repeated")
	fs.StringArrayVar(&f.desks, "desk", nil, "desk as SLUG;ZONE;HOURS[+HOURS];LANGUAGE[,LANGUAGE]; may be repeated")
	fs.BoolVar(&f.hidden, "hidden", false, "reached by name only")
	fs.BoolVar(&f.contactPoint, "national-point-of-contact", false, "it is the state's national point of contact")
}

// declaration is the entry as it shall be: what is declared now, with the flags laid over it.
func (a *app) declaration(ctx context.Context, f declareFlags, d directory.Draft, name authority.Name) ([]byte, error) {
	body := &formatv1.DeclareAuthority{Competences: []*formatv1.Competence{{Function: "requests"}, {Function: "alerts-in"}, {Function: "alerts-out"}}}
	old, known := d.Snapshot.At(d.Created).Authority(name)
	if known {
		body = old.Restate()
	}
	if err := f.over(body); err != nil {
		return nil, err
	}
	if !known {
		if f.ring.path == "" {
			return nil, fault.New(fault.Usage, "no-keyring", "declare authority", "a new authority needs keys").WithHint("add --keyring FILE, the key file of its node")
		}
		ring, err := f.ring.open(ctx, a)
		if err != nil {
			return nil, err
		}
		// If a declaration was drafted before and given up, its keys are there already, known to nobody.
		if err := ring.GenerateAuthority(name, d.Created); err != nil && !fault.Is(err, fault.Conflict) {
			return nil, err
		}
		if body.Keys, err = declared(ring, name); err != nil {
			return nil, err
		}
	}
	return d.DeclareAuthority(name, body)
}

// over lays the flags that were given over an entry.
func (f declareFlags) over(body *formatv1.DeclareAuthority) error {
	set := func(flag string, field *string, value string) {
		if f.changed(flag) {
			*field = value
		}
	}
	set("acronym", &body.Acronym, f.acronym)
	set("type", &body.Type, f.kind)
	set("parent", &body.Parent, f.parent)
	set("node", &body.Node, f.node)
	set("note-verbale", &body.NoteVerbale, f.note)
	if f.changed("hidden") {
		body.Hidden = f.hidden
	}
	if f.changed("national-point-of-contact") {
		body.NationalPointOfContact = f.contactPoint
	}
	if len(f.languages) > 0 {
		body.Languages = f.languages
	}
	f.overCompetences(body)
	if err := f.overTitles(body); err != nil {
		return err
	}
	return f.overDesks(body)
}

func (f declareFlags) overCompetences(body *formatv1.DeclareAuthority) {
	if len(f.functions) > 0 {
		body.Competences = nil
		for _, function := range f.functions {
			body.Competences = append(body.Competences, &formatv1.Competence{Function: function})
		}
	}
	for _, c := range body.Competences {
		if len(f.categories) > 0 {
			c.Categories = f.categories
		}
		if len(f.kinds) > 0 {
			c.Kinds = f.kinds
		}
	}
}

func (f declareFlags) overTitles(body *formatv1.DeclareAuthority) error {
	for _, t := range f.titles {
		language, text, ok := strings.Cut(t, "=")
		if !ok {
			return fault.New(fault.Usage, "malformed-title", "read --title", "a title is a language, an equals sign and the name").WithHint("for instance es='Fiscalía General'")
		}
		body.Names = slices.DeleteFunc(body.Names, func(n *formatv1.Text) bool { return n.GetLanguage() == language })
		body.Names = append(body.Names, &formatv1.Text{Language: language, Value: text})
	}
	return nil
}

func (f declareFlags) overDesks(body *formatv1.DeclareAuthority) error {
	for _, s := range f.desks {
		parts := strings.Split(s, ";")
		if len(parts) != 4 {
			return fault.New(fault.Usage, "malformed-desk", "read --desk", "a desk is a slug, a zone, hours and languages, between semicolons").
				WithHint("for instance 'duty;America/Mexico_City;mo-fr 08:00-17:00+sa 09:00-12:00;es,en'")
		}
		desk := &formatv1.Desk{Slug: parts[0], TimeZone: parts[1], Hours: strings.Split(parts[2], "+"), Languages: strings.Split(parts[3], ",")}
		for _, old := range body.Desks {
			if old.GetSlug() == desk.GetSlug() {
				desk.Card = old.GetCard()
			}
		}
		body.Desks = slices.DeleteFunc(body.Desks, func(d *formatv1.Desk) bool { return d.GetSlug() == desk.GetSlug() })
		body.Desks = append(body.Desks, desk)
	}
	return nil
}

func (a *app) authorityRetireCommand() *cobra.Command {
	var f issueFlags
	var reason string
	c := &cobra.Command{
		Use: "retire AUTHORITY", Short: "End an authority for good",
		Long:    "Draft and sign the retirement of an authority. It takes effect wherever it arrives and is never undone.",
		Example: "  enlace authority retire mx/fgr --reason merged --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.Retire(name, reason)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	reasonFlag(c.Flags(), &reason)
	return c
}

func (a *app) authorityRotateCommand() *cobra.Command {
	var f issueFlags
	var ring ringFlags
	c := &cobra.Command{
		Use: "rotate AUTHORITY", Short: "Replace an authority's keys by new ones",
		Long: "Make new keys of an authority in the key file of its node, and draft and sign the statement that declares\n" +
			"them and rotates the old ones out. The old ones stay in the key file: they open what was sealed to them.",
		Example: "  enlace authority rotate mx/fgr --keyring keys/keyring.age --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := a.rotation(c.Context(), ring, d, name)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	ring.register(c.Flags())
	_ = c.MarkFlagRequired("keyring")
	return c
}

func (a *app) rotation(ctx context.Context, f ringFlags, d directory.Draft, name authority.Name) ([]byte, error) {
	ring, err := f.open(ctx, a)
	if err != nil {
		return nil, err
	}
	body := &formatv1.RotateAuthorityKeys{}
	for _, h := range d.Snapshot.At(d.Created).Keys(directory.OfAuthority(name)) {
		if h.Status == directory.KeyActive || h.Status == directory.KeyPending {
			body.Retire = append(body.Retire, slices.Clone(h.Fingerprint[:]))
		}
	}
	// If the program stops after this the ring has keys that nobody heard of; they stay unused.
	if err := ring.Rotate(d.Created, keyring.AuthoritySign(name), keyring.AuthoritySeal(name)); err != nil {
		return nil, err
	}
	if body.Add, err = declared(ring, name); err != nil {
		return nil, err
	}
	return d.RotateAuthorityKeys(name, body)
}
