package directory

import (
	"crypto/sha256"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// MaxCard is the most bytes of a contact card. PROTOCOL 4.8.
const MaxCard = 16 << 10

const saltBytes = 16

// Card is who sits at a desk. It is personal data: kept beside the log, given to members only, deletable. The log holds
// its salted hash, which says nothing once card and salt are gone. PROTOCOL 4.8.
type Card struct {
	Authority authority.Name
	// Desk is the slug of one of its desks.
	Desk                                                    string
	Mailbox, Phone, Phone24x7, SatellitePhone, Instructions string
	Persons                                                 []Person
}

// Person is somebody at a desk.
type Person struct{ Name, Title, Contact string }

// Marshal is the bytes of the card with a salt of 16 random bytes, fresh for every card, and their hash for the desk.
func (c Card) Marshal(salt []byte) ([]byte, Hash, error) {
	m := &formatv1.ContactCard{Salt: salt, Authority: c.Authority.String(), Desk: c.Desk, Mailbox: c.Mailbox, Phone: c.Phone,
		Phone_24_7: c.Phone24x7, SatellitePhone: c.SatellitePhone, Instructions: c.Instructions}
	for _, p := range c.Persons {
		m.Persons = append(m.Persons, &formatv1.Person{Name: p.Name, Title: p.Title, Contact: p.Contact})
	}
	b, err := encode(m)
	if err != nil {
		return nil, Hash{}, err
	}
	_, hash, err := ParseCard(b)
	return b, hash, err
}

// ParseCard reads a card and computes the hash that a desk must show for it to be that desk's.
func ParseCard(b []byte) (Card, Hash, error) {
	var m formatv1.ContactCard
	if err := canonical.Unmarshal(b, &m, MaxCard); err != nil {
		return Card{}, Hash{}, err
	}
	name, err := authority.ParseName(m.GetAuthority())
	r := &reading{err: err}
	r.check(len(m.GetSalt()) == saltBytes, "malformed", "the salt of a contact card has 16 bytes")
	r.slug(m.GetDesk())
	r.atMost("persons", len(m.GetPersons()), maxList)
	c := Card{
		Authority:      name,
		Desk:           m.GetDesk(),
		Mailbox:        r.text("mailbox", m.GetMailbox(), maxReference),
		Phone:          r.text("telephone", m.GetPhone(), maxReference),
		Phone24x7:      r.text("telephone", m.GetPhone_24_7(), maxReference),
		SatellitePhone: r.text("telephone", m.GetSatellitePhone(), maxReference),
		Instructions:   r.text("instruction", m.GetInstructions(), maxText),
	}
	for _, p := range m.GetPersons() {
		c.Persons = append(c.Persons, Person{r.text("name", p.GetName(), maxReference),
			r.text("title", p.GetTitle(), maxReference), r.text("contact", p.GetContact(), maxReference)})
	}
	if r.err != nil {
		return Card{}, Hash{}, r.err
	}
	return c, Hash(sha256.Sum256(append(m.GetSalt(), b...))), nil
}
