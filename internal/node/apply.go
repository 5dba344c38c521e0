package node

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// protocolVersion is the one that this program speaks.
const protocolVersion = 1

// apply writes the state's application: its admission, its node, its authorities, in the order in which they must be
// logged, each signed by the state. The stewards' signatures are added to this file.
func (s *setting) apply() error {
	var b directory.Bundle
	drafts := []func(directory.Draft) ([]byte, error){s.admission, s.node}
	for _, a := range s.Authorities {
		drafts = append(drafts, func(d directory.Draft) ([]byte, error) { return s.authority(d, a) })
	}
	for _, draft := range drafts {
		payload, err := draft(directory.Draft{Snapshot: s.snapshot, Created: s.now, Random: s.Random})
		if err != nil {
			return err
		}
		st, err := signByState(s.StateKey, payload)
		if err != nil {
			return err
		}
		b.Statements = append(b.Statements, st)
	}
	s.result.Bundle = s.path(s.Node.State().String() + ".statements")
	return s.put(s.result.Bundle, b.Marshal(), 0o644)
}

func (s *setting) admission(d directory.Draft) ([]byte, error) {
	return d.AdmitState(s.Node.State(), &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, s.StateKey.Public(), time.Time{})},
		Threshold: 1, CaCertificates: s.ring.CACertificates(), NoteVerbale: s.NoteVerbale,
	})
}

func (s *setting) node(d directory.Draft) ([]byte, error) {
	body := &formatv1.DeclareNode{Versions: []uint32{protocolVersion}, NoteVerbale: s.NoteVerbale}
	if s.Advertise != "" {
		body.Endpoints = []string{s.Advertise}
	}
	body.Keys = s.declare(map[keyring.Slot]directory.KeyPurpose{
		keyring.NodeSign: directory.PurposeSign, keyring.NodeSeal: directory.PurposeSeal, keyring.NodeWitness: directory.PurposeWitness,
		keyring.NodeEvidence: directory.PurposeEvidence, keyring.NodeBus: directory.PurposeBus,
	})
	return d.DeclareNode(s.Node, body)
}

func (s *setting) authority(d directory.Draft, a NewAuthority) ([]byte, error) {
	keys := s.declare(map[keyring.Slot]directory.KeyPurpose{
		keyring.AuthoritySign(a.Name): directory.PurposeSign, keyring.AuthoritySeal(a.Name): directory.PurposeSeal,
	})
	return d.DeclareAuthority(a.Name, &formatv1.DeclareAuthority{
		Names: []*formatv1.Text{{Language: a.Language.String(), Value: a.Title}}, Type: a.Type, Keys: keys, Node: s.Node.String(),
		NoteVerbale: s.NoteVerbale, Languages: []string{a.Language.String()}, NationalPointOfContact: a.NationalPointOfContact,
		Competences: competences(a.Categories),
	})
}

// competences are the three that every authority starts with.
func competences(categories []authority.Category) []*formatv1.Competence {
	var slugs []string
	for _, c := range categories {
		slugs = append(slugs, c.String())
	}
	var all []*formatv1.Competence
	for _, function := range []string{"requests", "alerts-in", "alerts-out"} {
		all = append(all, &formatv1.Competence{Function: function, Categories: slugs})
	}
	return all
}

// declare is the public halves of keys of the ring, in the order they were made.
func (s *setting) declare(purposes map[keyring.Slot]directory.KeyPurpose) []*formatv1.Key {
	var keys []*formatv1.Key
	for _, e := range s.ring.Entries() {
		if purpose, ok := purposes[e.Slot]; ok {
			keys = append(keys, directory.DeclareKey(purpose, e.Public, time.Time{}))
		}
	}
	return keys
}

func signByState(key *keyring.OfflineKey, payload []byte) (directory.Statement, error) {
	value, err := key.Sign(directory.SigningPurpose(directory.RoleState), payload)
	if err != nil {
		return directory.Statement{}, err
	}
	return directory.ParseStatement(directory.Attach(payload, directory.Signature{
		Algorithm: authority.Ed25519, Key: key.Public().Fingerprint(), Role: directory.RoleState, Value: value,
	}))
}
