package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

func (a *app) contactCommand() *cobra.Command {
	return group("contact", "Contact cards of desks: names, telephones, hours", a.contactSetCommand(), a.contactShowCommand())
}

type contactFlags struct {
	issueFlags
	card    directory.Card
	persons []string
}

func (a *app) contactSetCommand() *cobra.Command {
	var f contactFlags
	c := &cobra.Command{
		Use: "set AUTHORITY DESK", Short: "Give a desk a new contact card",
		Long: "Write the contact card of a desk, and draft and sign the amendment that names its hash. The card is kept\n" +
			"beside the log, shown to members only, and deleted when another takes its place.",
		Example: "  enlace contact set mx/fgr duty --phone '+52 55 5555 0100' --person 'Ana Pérez;duty officer;+52 55 5555 0101' --key mx.state-key --hub hub.example:7400 --network FINGERPRINT",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			f.card.Authority, f.card.Desk = name, args[1]
			if err := f.readPersons(); err != nil {
				return err
			}
			return a.issue(c, f.issueFlags, f.amendment)
		},
	}
	f.issueFlags.register(c.Flags())
	fs := c.Flags()
	fs.StringVar(&f.card.Mailbox, "mailbox", "", "electronic mailbox of the desk")
	fs.StringVar(&f.card.Phone, "phone", "", "telephone")
	fs.StringVar(&f.card.Phone24x7, "phone-24-7", "", "telephone that is always answered")
	fs.StringVar(&f.card.SatellitePhone, "satellite-phone", "", "satellite telephone")
	fs.StringVar(&f.card.Instructions, "instructions", "", "what a caller should know")
	fs.StringArrayVar(&f.persons, "person", nil, "person as NAME;TITLE;CONTACT; may be repeated")
	return c
}

func (f *contactFlags) readPersons() error {
	for _, s := range f.persons {
		parts := strings.Split(s, ";")
		if len(parts) != 3 {
			return fault.New(fault.Usage, "malformed-person", "read --person", "a person is a name, a title and a contact, between semicolons")
		}
		f.card.Persons = append(f.card.Persons, directory.Person{Name: parts[0], Title: parts[1], Contact: parts[2]})
	}
	return nil
}

// amendment says of the authority what is declared already, but for the card of one desk.
func (f *contactFlags) amendment(d directory.Draft) ([]byte, [][]byte, error) {
	e, ok := d.Snapshot.At(d.Created).Authority(f.card.Authority)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, "unknown-authority", "set contact card", "the authority is not in the directory")
	}
	salt := make([]byte, 16)
	if _, err := io.ReadFull(d.Random, salt); err != nil {
		return nil, nil, fault.Wrap(err, fault.Internal, "", "set contact card", "no random numbers")
	}
	card, hash, err := f.card.Marshal(salt)
	if err != nil {
		return nil, nil, err
	}
	body := e.Restate()
	for _, desk := range body.Desks {
		if desk.GetSlug() == f.card.Desk {
			desk.Card = hash[:]
			payload, err := d.DeclareAuthority(f.card.Authority, body)
			return payload, [][]byte{card}, err
		}
	}
	return nil, nil, fault.New(fault.NotFound, "unknown-desk", "set contact card", "the authority has no such desk").
		WithHint("declare it first: enlace authority declare AUTHORITY --desk 'SLUG;ZONE;HOURS;LANGUAGES'")
}

// cardView is a contact card as it is printed.
type cardView struct {
	Desk           string             `json:"desk"`
	Mailbox        string             `json:"mailbox,omitempty"`
	Phone          string             `json:"phone,omitempty"`
	Phone24x7      string             `json:"phone_24_7,omitempty"`
	SatellitePhone string             `json:"satellite_phone,omitempty"`
	Instructions   string             `json:"instructions,omitempty"`
	Persons        []directory.Person `json:"persons,omitempty"`
}

func (a *app) contactShowCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	c := &cobra.Command{
		Use: "show AUTHORITY", Short: "Show the contact cards of an authority's desks",
		Long:    "Fetch the contact cards from the hub, which shows them to members only, and prove that they are those that\nthe directory names.",
		Example: "  enlace contact show jm/occ --key mx.state-key --hub hub.example:7400 --network FINGERPRINT",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			cards, err := a.cards(c, f, k, name)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"cards": cards}, func(w io.Writer) { tellCards(w, cards) })
		},
	}
	c.Flags().StringVar(&f.hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(c.Flags(), &f.network)
	k.register(c.Flags())
	return c
}

func (a *app) cards(c *cobra.Command, f sourceFlags, k keyFlags, name authority.Name) ([]cardView, error) {
	key, err := k.open(c.Context(), a)
	if err != nil {
		return nil, err
	}
	s, err := f.read(c.Context(), a, key)
	if err != nil {
		return nil, err
	}
	e, ok := s.At(a.clock()).Authority(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "unknown-authority", "show contact cards", "the authority is not in the directory")
	}
	ctx, cancel := a.bounded(c.Context())
	defer cancel()
	client, err := a.hub(ctx, f.hub, f.network, key)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var all []cardView
	for _, desk := range e.Desks {
		if desk.Card.IsZero() {
			continue
		}
		b, err := client.Card(ctx, desk.Card)
		if err != nil {
			return nil, err
		}
		card, _, err := directory.ParseCard(b)
		if err != nil {
			return nil, err
		}
		all = append(all, cardView{desk.Slug, card.Mailbox, card.Phone, card.Phone24x7, card.SatellitePhone, card.Instructions, card.Persons})
	}
	return all, nil
}

func tellCards(w io.Writer, cards []cardView) {
	t := newTable(w)
	for _, c := range cards {
		for _, line := range [][2]string{{"mailbox", c.Mailbox}, {"phone", c.Phone}, {"phone 24/7", c.Phone24x7},
			{"satellite phone", c.SatellitePhone}, {"instructions", c.Instructions}} {
			if line[1] != "" {
				t.row(c.Desk, line[0], clean(line[1]))
			}
		}
		for _, p := range c.Persons {
			t.row(c.Desk, clean(p.Title), fmt.Sprintf("%s, %s", clean(p.Name), clean(p.Contact)))
		}
	}
	t.end()
}
