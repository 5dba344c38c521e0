package directory

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Restate is the body that says of an authority what is declared already, without keys: an amendment states all of it
// anew, so it starts from here. PROTOCOL 4.12.
func (d AuthorityDeclaration) Restate() *formatv1.DeclareAuthority {
	m := &formatv1.DeclareAuthority{Acronym: d.Acronym, Type: d.Type, Parent: d.Parent.String(), Hidden: d.Hidden, Node: d.Node.String(),
		NoteVerbale: d.NoteVerbale, NationalPointOfContact: d.NationalPointOfContact, Languages: slugs(d.Languages)}
	for _, n := range d.Names {
		m.Names = append(m.Names, &formatv1.Text{Language: n.Language.String(), Value: n.Value})
	}
	for _, c := range d.Competences {
		m.Competences = append(m.Competences, &formatv1.Competence{Function: c.Function, Categories: slugs(c.Categories),
			Kinds: slugs(c.Kinds), Territory: c.Territory, LegalSource: c.LegalSource})
	}
	for _, k := range d.Desks {
		desk := &formatv1.Desk{Slug: k.Slug, TimeZone: k.TimeZone, Hours: k.Hours, Languages: slugs(k.Languages)}
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

func slugs[T interface{ String() string }](list []T) []string {
	var all []string
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}

// FromJSON drafts a statement of any kind but the genesis from its body in the JSON form of protocol buffers, at most
// 64 KiB. Where the kind leaves a moment to the draft (suspend: start; reinstate: position), it may be left out.
// Errors: Usage "malformed-body", Invalid as for every draft.
func (d Draft) FromJSON(kind Kind, subject Subject, body []byte) ([]byte, error) {
	m := bodyOf(kind)
	if m == nil {
		return nil, wrong("unknown-kind", "this version drafts no statement of that kind")
	}
	if len(body) > MaxStatement {
		return nil, fault.New(fault.TooLarge, "too-large", "draft statement", "the body is larger than any statement")
	}
	if err := protojson.Unmarshal(body, m); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "malformed-body", "draft statement", "the body is not JSON with the fields of that kind: "+err.Error())
	}
	switch m := m.(type) {
	case *formatv1.Suspend:
		if m.Start == 0 {
			m.Start = d.Created.Unix()
		}
	case *formatv1.Reinstate:
		if m.Position == 0 {
			m.Position = d.Snapshot.Position()
		}
	}
	if forms[kind].restricts {
		return d.restricting(kind, subject, m)
	}
	return d.enabling(kind, subject, m)
}

// bodyOf is an empty body; nil for a kind that is not drafted.
func bodyOf(kind Kind) proto.Message {
	switch kind {
	case KindAdmitState:
		return &formatv1.AdmitState{}
	case KindDeclareAuthority:
		return &formatv1.DeclareAuthority{}
	case KindDeclareNode:
		return &formatv1.DeclareNode{}
	case KindRotateAuthorityKeys:
		return &formatv1.RotateAuthorityKeys{}
	case KindRotateNode:
		return &formatv1.RotateNode{}
	case KindRotateState:
		return &formatv1.RotateState{}
	case KindRetire:
		return &formatv1.Retire{}
	case KindRevoke:
		return &formatv1.Revoke{}
	case KindSuspend:
		return &formatv1.Suspend{}
	case KindReinstate:
		return &formatv1.Reinstate{}
	}
	return nil
}
