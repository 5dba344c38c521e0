package directory

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"github.com/enlace-network/enlace/internal/fault"
)

// Limits of a bundle file.
const (
	// MaxBundle is the most bytes of a bundle.
	MaxBundle = 32 << 20
	// MaxBundled is the most statements, and the most cards, of a bundle.
	MaxBundled = 4096
)

const (
	opBundle       = "read statement file"
	blockStatement = "ENLACE STATEMENT"
	blockCard      = "ENLACE CARD"
	headerKind     = "Kind"
	headerSubject  = "Subject"
)

// Bundle is statements on their way between signers, in the order in which they are to be logged, with the contact
// cards that go with them. It is a text file, so that it survives mail and can be looked at: PEM blocks (RFC 7468 with
// headers), first "ENLACE STATEMENT" with the bytes of Signed, then "ENLACE CARD" with those of ContactCard.
type Bundle struct {
	Statements []Statement
	// Cards are the bytes of contact cards, each named by a desk of a statement in the bundle.
	Cards [][]byte
}

// Marshal is the text of the bundle; ParseBundle reads it back.
func (b Bundle) Marshal() []byte {
	var out bytes.Buffer
	for _, st := range b.Statements {
		writeBlock(&out, blockStatement, st.Kind(), st.Subject(), st.signed)
	}
	for _, c := range b.Cards {
		card, _, _ := ParseCard(c) // what does not parse is written without a subject, and refused when read
		writeBlock(&out, blockCard, "", OfAuthority(card.Authority), c)
	}
	return out.Bytes()
}

func writeBlock(out *bytes.Buffer, kind string, said Kind, about Subject, content []byte) {
	headers := map[string]string{headerSubject: about.String()}
	if said != "" {
		headers[headerKind] = string(said)
	}
	// Writing to memory cannot fail, and the headers are slugs without a colon.
	_ = pem.Encode(out, &pem.Block{Type: kind, Headers: headers, Bytes: content})
}

// ParseBundle reads a bundle file. There is one text for each bundle: but for line ends and blank space around it,
// whatever is accepted is what Marshal writes, so a header never says other than the bytes below it and no block is
// passed over because it was damaged. Errors: Invalid ("malformed-bundle", "stray-card", those of ParseStatement),
// TooLarge. Nothing is said about signatures.
func ParseBundle(text []byte) (Bundle, error) {
	if len(text) > MaxBundle {
		return Bundle{}, fault.New(fault.TooLarge, "too-large", opBundle, fmt.Sprintf("the file has more than %d bytes", MaxBundle))
	}
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	var b Bundle
	rest := append(bytes.Clone(text), '\n')
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := b.add(block); err != nil {
			return Bundle{}, err
		}
	}
	if len(b.Statements) == 0 || !bytes.Equal(bytes.TrimSpace(b.Marshal()), text) {
		return Bundle{}, fault.New(fault.Invalid, "malformed-bundle", opBundle, "the file is not, or not only, blocks of statements and cards as this program writes them").
			WithHint("it may have been cut or changed on its way: ask for it again")
	}
	return b, b.checkCards()
}

func (b *Bundle) add(block *pem.Block) error {
	if len(b.Statements) >= MaxBundled || len(b.Cards) >= MaxBundled {
		return fault.New(fault.TooLarge, "too-many", opBundle, fmt.Sprintf("the file has more than %d statements or cards", MaxBundled))
	}
	switch block.Type {
	case blockStatement:
		st, err := ParseStatement(block.Bytes)
		if err != nil {
			return err
		}
		b.Statements = append(b.Statements, st)
		return nil
	case blockCard:
		b.Cards = append(b.Cards, block.Bytes)
		return nil
	}
	return fault.New(fault.Invalid, "malformed-bundle", opBundle, "the file has a block that is neither a statement nor a contact card")
}

// checkCards refuses cards that no statement of the bundle names: personal data travels only where it is needed.
func (b Bundle) checkCards() error {
	named := map[Hash]bool{}
	for _, st := range b.Statements {
		for _, h := range st.Cards() {
			named[h] = true
		}
	}
	for _, c := range b.Cards {
		_, hash, err := ParseCard(c)
		if err != nil {
			return err
		}
		if !named[hash] {
			return fault.New(fault.Invalid, "stray-card", opBundle, "a contact card belongs to no statement of the file")
		}
	}
	return nil
}

// CardsOf are the cards of the bundle that one of its statements names.
func (b Bundle) CardsOf(st Statement) [][]byte {
	named := map[Hash]bool{}
	for _, h := range st.Cards() {
		named[h] = true
	}
	var cards [][]byte
	for _, c := range b.Cards {
		if _, hash, err := ParseCard(c); err == nil && named[hash] {
			cards = append(cards, c)
		}
	}
	return cards
}
