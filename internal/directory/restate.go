package directory

import formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"

// Restate is the body that says of an authority what is declared already, without keys: an amendment states all of it
// anew, so it starts from here. PROTOCOL 4.12.
func (d AuthorityDeclaration) Restate() *formatv1.DeclareAuthority {
	m := &formatv1.DeclareAuthority{Acronym: d.Acronym, Type: d.Type, Parent: d.Parent.String(), Hidden: d.Hidden, Node: d.Node.String(),
		NoteVerbale: d.NoteVerbale, NationalPointOfContact: d.NationalPointOfContact, Languages: slugs(d.Languages),
		Website: d.Website}
	m.Names = restateTexts(d.Names)
	for _, q := range d.Requirements {
		m.Requirements = append(m.Requirements, &formatv1.Requirement{Kind: q.Kind.String(), Needs: restateTexts(q.Needs),
			TypicalDays: uint32(q.TypicalDays), Languages: slugs(q.Languages), LegalSource: q.LegalSource})
	}
	for _, c := range d.Competences {
		m.Competences = append(m.Competences, &formatv1.Competence{Function: c.Function, Categories: slugs(c.Categories),
			Kinds: slugs(c.Kinds), Territory: c.Territory, LegalSource: c.LegalSource})
	}
	for _, k := range d.Desks {
		desk := &formatv1.Desk{Slug: k.Slug, TimeZone: k.TimeZone, Hours: k.Hours, Languages: slugs(k.Languages), Holidays: k.Holidays}
		if !k.Card.IsZero() {
			desk.Card = append([]byte(nil), k.Card[:]...)
		}
		m.Desks = append(m.Desks, desk)
	}
	return m
}

// Restate is the body that says of a node what is declared already, without keys. PROTOCOL 4.13.
func (d NodeDeclaration) Restate() *formatv1.DeclareNode {
	return &formatv1.DeclareNode{Endpoints: d.Endpoints, Versions: d.Versions, MaxBody: d.MaxBody, NoteVerbale: d.NoteVerbale}
}

func restateTexts(texts []Text) []*formatv1.Text {
	var all []*formatv1.Text
	for _, t := range texts {
		all = append(all, &formatv1.Text{Language: t.Language.String(), Value: t.Value})
	}
	return all
}

func slugs[T interface{ String() string }](list []T) []string {
	var all []string
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}
