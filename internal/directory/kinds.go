package directory

import (
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Kind is the slug of what a statement states. PROTOCOL 4.3.
type Kind string

// The kinds of this version.
const (
	KindGenesis             Kind = "genesis"
	KindAdmitState          Kind = "admit-state"
	KindDeclareAuthority    Kind = "declare-authority"
	KindDeclareNode         Kind = "declare-node"
	KindRotateAuthorityKeys Kind = "rotate-authority-keys"
	KindRotateNode          Kind = "rotate-node"
	KindRotateState         Kind = "rotate-state"
	KindRetire              Kind = "retire"
	KindRevoke              Kind = "revoke"
	KindSuspend             Kind = "suspend"
	KindReinstate           Kind = "reinstate"

	KindRotateStewards        Kind = "rotate-stewards"
	KindRotateHub             Kind = "rotate-hub"
	KindCategories            Kind = "categories"
	KindInstruments           Kind = "instruments"
	KindRules                 Kind = "rules"
	KindDeclareInstruments    Kind = "declare-instruments"
	KindDesignateContactPoint Kind = "designate-contact-point"
	KindConfirm               Kind = "confirm"
	KindNotice                Kind = "notice"
	KindRecover               Kind = "recover"
	KindCompleteRecovery      Kind = "complete-recovery"
	KindSettle                Kind = "settle"
	KindVeto                  Kind = "veto"
)

// form is what every statement of one kind has in common.
type form struct {
	about     func(Subject) bool
	founds    bool // the genesis: follows nothing
	restricts bool // takes effect on sight
	parse     func(body []byte, about Subject, read unmarshal) (Body, error)
}

// forms is the table of PROTOCOL 4.3; it is never written to.
var forms = map[Kind]form{
	KindGenesis:             {about: Subject.IsNetwork, founds: true, parse: parser(readFounding)},
	KindAdmitState:          {about: isState, parse: parser(readAdmission)},
	KindDeclareAuthority:    {about: isAuthority, parse: parser(readAuthority)},
	KindDeclareNode:         {about: isNode, parse: parser(readNode)},
	KindRotateAuthorityKeys: {about: isAuthority, parse: parser(readAuthorityRotation)},
	KindRotateNode:          {about: isNode, parse: parser(readNodeRotation)},
	KindRotateState:         {about: isState, parse: parser(readStateRotation)},
	KindRetire:              {about: isAuthority, restricts: true, parse: parser(readRetirement)},
	KindRevoke:              {about: isMember, restricts: true, parse: parser(readRevocation)},
	KindSuspend:             {about: isMember, restricts: true, parse: parser(readSuspension)},
	KindReinstate:           {about: isMember, parse: parser(readReinstatement)},

	KindRotateStewards:        {about: Subject.IsNetwork, parse: parser(readStewardRotation)},
	KindRotateHub:             {about: Subject.IsNetwork, parse: parser(readHubRotation)},
	KindCategories:            {about: Subject.IsNetwork, parse: parser(readCategories)},
	KindInstruments:           {about: Subject.IsNetwork, parse: parser(readInstruments)},
	KindRules:                 {about: Subject.IsNetwork, parse: parser(readRules)},
	KindDeclareInstruments:    {about: isState, parse: parser(readInstrumentDeclaration)},
	KindDesignateContactPoint: {about: isState, parse: parser(readDesignation)},
	KindConfirm:               {about: isState, parse: parser(readConfirmation)},
	KindNotice:                {about: isAuthority, parse: parser(readNotice)},
	KindRecover:               {about: isState, parse: parser(readNewKeys)},
	KindCompleteRecovery:      {about: isState, parse: parser(readCompletion)},
	KindSettle:                {about: isState, parse: parser(readSettlement)},
	KindVeto:                  {about: isState, restricts: true, parse: parser(readVeto)},
}

func isState(s Subject) bool     { return !s.IsNetwork() && s.name.IsZero() && s.node.IsZero() }
func isAuthority(s Subject) bool { return !s.name.IsZero() }
func isNode(s Subject) bool      { return !s.node.IsZero() }
func isMember(s Subject) bool    { return !s.IsNetwork() }

// unmarshal is canonical.Unmarshal, or canonical.Again of what was read before.
type unmarshal func(b []byte, m proto.Message, limit int) error

// parser makes bytes into a noun by way of the kind's message.
func parser[T any, M interface {
	*T
	proto.Message
}, B Body](read func(*reading, M) B) func([]byte, Subject, unmarshal) (Body, error) {
	return func(body []byte, about Subject, unmarshal unmarshal) (Body, error) {
		m := M(new(T))
		if err := unmarshal(body, m, MaxStatement); err != nil {
			return nil, err
		}
		r := &reading{about: about}
		noun := read(r, m)
		if r.err != nil {
			return nil, r.err
		}
		return noun, nil
	}
}

func readFounding(r *reading, m *formatv1.Genesis) Founding {
	hub := m.GetHub()
	r.network(m.GetName())
	r.check(len(m.GetNonce()) == idBytes, "malformed", "the nonce of a genesis has 16 bytes")
	r.stewards(m.GetStewards())
	r.check(hub.GetLogKey() != nil, "malformed-key", "the genesis names no log key")
	f := Founding{Name: m.GetName(), Stewards: r.keySet(m.GetStewards(), m.GetThreshold(), PurposeSteward)}
	if r.err == nil {
		f.Hub = r.hub(hub)
	}
	return f
}

func (r *reading) hub(m *formatv1.Hub) Hub {
	operator := m.GetBusOperator()
	if operator != "" {
		_, err := authority.ParsePublicKey(authority.NKey, []byte(operator))
		r.note(err)
	}
	return Hub{
		LogKey:       r.key(m.GetLogKey(), PurposeLog),
		Certificates: r.certificates(m.GetCaCertificates(), 1),
		Endpoints:    r.addresses(m.GetEndpoints(), 1),
		Tiles:        r.addresses(m.GetTiles(), 0),
		Bus:          r.addresses(m.GetBus(), 0),
		BusOperator:  operator,
	}
}

func readAdmission(r *reading, m *formatv1.AdmitState) Admission {
	return Admission{
		Keys:         r.keySet(m.GetKeys(), m.GetThreshold(), PurposeState),
		Certificates: r.certificates(m.GetCaCertificates(), 1),
		NoteVerbale:  r.filled("note verbale", m.GetNoteVerbale(), maxReference),
	}
}

func readAuthority(r *reading, m *formatv1.DeclareAuthority) AuthorityDeclaration {
	r.check(len(m.GetNames()) > 0, "malformed", "an authority has at least one name")
	kind := inList(authorityTypes, m.GetType())
	r.check(kind != "", "unknown-type", "the type of the authority is not one of the network's")
	d := AuthorityDeclaration{
		Names:                  r.texts(m.GetNames()),
		Acronym:                r.text("acronym", m.GetAcronym(), maxReference),
		Type:                   kind,
		Parent:                 r.parent(m.GetParent()),
		Hidden:                 m.GetHidden(),
		NationalPointOfContact: m.GetNationalPointOfContact(),
		Competences:            r.competences(m.GetCompetences()),
		Desks:                  r.desks(m.GetDesks()),
		Languages:              r.languages(m.GetLanguages()),
		Node:                   r.ownNode(m.GetNode()),
		NoteVerbale:            r.filled("note verbale", m.GetNoteVerbale(), maxReference),
		Website:                r.website(m.GetWebsite()),
		Requirements:           r.requirements(m.GetRequirements()),
	}
	d.Keys = r.keys(m.GetKeys(), authorityPurposes...)
	return d
}

func readNode(r *reading, m *formatv1.DeclareNode) NodeDeclaration {
	r.check(len(m.GetVersions()) <= maxList, "too-many", "the node lists too many protocol versions")
	return NodeDeclaration{
		Endpoints:   r.addresses(m.GetEndpoints(), 0),
		Keys:        r.keys(m.GetKeys(), nodePurposes...),
		Versions:    m.GetVersions(),
		MaxBody:     m.GetMaxBody(),
		NoteVerbale: r.filled("note verbale", m.GetNoteVerbale(), maxReference),
	}
}

func readAuthorityRotation(r *reading, m *formatv1.RotateAuthorityKeys) AuthorityRotation {
	r.check(len(m.GetAdd())+len(m.GetRetire()) > 0, "malformed", "the statement changes nothing")
	return AuthorityRotation{Add: r.keys(m.GetAdd(), authorityPurposes...), Retire: r.fingerprints(m.GetRetire())}
}

func readNodeRotation(r *reading, m *formatv1.RotateNode) NodeRotation {
	r.check(len(m.GetEndpoints())+len(m.GetAdd())+len(m.GetRetire()) > 0, "malformed", "the statement changes nothing")
	return NodeRotation{
		Endpoints: r.addresses(m.GetEndpoints(), 0),
		Add:       r.keys(m.GetAdd(), nodePurposes...),
		Retire:    r.fingerprints(m.GetRetire()),
	}
}

func readStateRotation(r *reading, m *formatv1.RotateState) StateRotation {
	return StateRotation{
		Keys:         r.keySet(m.GetKeys(), m.GetThreshold(), PurposeState),
		Certificates: r.certificates(m.GetCaCertificates(), 0),
	}
}

func readRetirement(r *reading, m *formatv1.Retire) Retirement {
	return Retirement{Reason: r.text("reason", m.GetReason(), maxText)}
}

func readRevocation(r *reading, m *formatv1.Revoke) Revocation {
	v := Revocation{Reason: r.text("reason", m.GetReason(), maxText)}
	if len(m.GetKey()) == 0 {
		r.check(isNode(r.about), "wrong-subject", "only a node is revoked as a whole; an authority is retired")
		return v
	}
	v.Key = r.fingerprint(m.GetKey())
	return v
}

func readSuspension(r *reading, m *formatv1.Suspend) Suspension {
	r.check(m.GetStart() > 0 && m.GetEnd() > m.GetStart() && m.GetEnd() <= maxTime,
		"malformed-term", "a suspension has a start and, after it, an end")
	return Suspension{Start: r.time(m.GetStart()), End: r.time(m.GetEnd()), Reason: r.text("reason", m.GetReason(), maxText)}
}

func readReinstatement(r *reading, m *formatv1.Reinstate) Reinstatement {
	r.check(m.GetPosition() > 0, "malformed", "a reinstatement names the position up to which it ends restrictions")
	return Reinstatement{Position: m.GetPosition(), Reason: r.text("reason", m.GetReason(), maxText)}
}
