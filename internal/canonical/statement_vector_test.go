package canonical_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/merkle"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const founded = made / 1000

// A statementVector is one statement with its signatures; signers are "role label".
type statementVector struct {
	Kind    string         `json:"kind"`
	Subject string         `json:"subject"`
	Signers []string       `json:"signers"`
	Fields  any            `json:"fields"`
	Body    any            `json:"body_fields"`
	Payload vectortest.Hex `json:"payload"`
	Hash    vectortest.Hex `json:"hash"`
	Signed  vectortest.Hex `json:"signed"`
}

// scribe writes statements one after the other, each following the last about its subject.
type scribe struct {
	t        *testing.T
	network  string
	previous map[string][]byte
	position uint64
	vectors  []statementVector
}

func (s *scribe) state(kind, subject string, body proto.Message, signers ...string) {
	m := &formatv1.Statement{Network: s.network, Rules: 1, Kind: kind, Subject: subject, Position: s.position, Created: founded, Body: canonical.Marshal(body)}
	if slices.Contains([]string{"retire", "revoke", "suspend", "veto"}, kind) {
		m.Id = vectortest.Bytes("statement "+kind, 16)
	} else {
		m.Previous = s.previous[subject]
	}
	payload := canonical.Marshal(m)
	signed := &formatv1.Signed{Payload: payload}
	for _, signer := range signers {
		role, label, _ := strings.Cut(signer, " ")
		one := signatureOf(s.t, authority.ForStatement+authority.Purpose(role), label, payload)
		one.Role = role
		signed.Signatures = append(signed.Signatures, one)
	}
	s.vectors = append(s.vectors, statementVector{
		Kind: kind, Subject: subject, Signers: signers, Fields: fieldsOf(s.t, m), Body: fieldsOf(s.t, body),
		Payload: payload, Hash: digest(payload), Signed: canonical.Marshal(signed),
	})
	s.position++
	if len(m.GetId()) == 0 {
		s.previous[subject] = digest(payload)
	}
}

func signKey(purpose, label string) *formatv1.Key {
	return &formatv1.Key{Algorithm: authority.Ed25519, Purpose: purpose, Public: vectortest.Public(label), NotBefore: founded}
}

func sealKey(label string) *formatv1.Key {
	return &formatv1.Key{Algorithm: authority.AgeHybrid, Purpose: "seal", Public: []byte(vectortest.Identity(label).Recipient().String()), NotBefore: founded}
}

func fingerprint(t *testing.T, label string) []byte {
	t.Helper()
	k, err := authority.ParsePublicKey(authority.Ed25519, vectortest.Public(label))
	if err != nil {
		t.Fatal(err)
	}
	fp := k.Fingerprint()
	return fp[:]
}

// caOf is a CA certificate that is the same every time: Ed25519 signs without randomness.
func caOf(t *testing.T, name string) []byte {
	t.Helper()
	key := vectortest.SigningKey(name + " ca")
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{name}}, NotBefore: time.Unix(founded, 0),
		NotAfter: time.Unix(founded, 0).AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public().(ed25519.PublicKey), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (s *scribe) known() {
	t := s.t
	s.state("genesis", "network", &formatv1.Genesis{
		Name: "network.example", Threshold: 2, Nonce: vectortest.Bytes("nonce", 16),
		Stewards: []*formatv1.Key{signKey("steward", "steward a"), signKey("steward", "steward b")},
		Hub:      &formatv1.Hub{LogKey: signKey("log", "hub log"), CaCertificates: [][]byte{caOf(t, "hub")}, Endpoints: []string{"hub.network.example:7400"}},
	}, "steward steward a", "steward steward b")
	s.network = hexOf(s.vectors[0].Hash)
	s.state("admit-state", "mx", &formatv1.AdmitState{
		Keys: []*formatv1.Key{signKey("state", "mx a"), signKey("state", "mx b")}, Threshold: 1, CaCertificates: [][]byte{caOf(t, "mx")}, NoteVerbale: "NV 1/2026",
	}, "steward steward a", "steward steward b", "state mx a")
	s.state("declare-node", node, &formatv1.DeclareNode{
		Endpoints: []string{"mx.network.example:7443"}, Keys: []*formatv1.Key{signKey("sign", "mx/node/primary sign"), sealKey("mx/node/primary seal")},
		Versions: []uint32{1}, NoteVerbale: "NV 2/2026",
	}, "state mx a", "verify steward a", "countersign steward b")
	s.state("declare-authority", "mx/fgr", &formatv1.DeclareAuthority{
		Names: []*formatv1.Text{{Language: "es", Value: "Fiscalía de ejemplo"}}, Type: "prosecution", Node: node, NoteVerbale: "NV 3/2026", Languages: []string{"es"},
		Keys:        []*formatv1.Key{signKey("sign", "mx/fgr sign"), sealKey("mx/fgr seal")},
		Competences: []*formatv1.Competence{{Function: "requests", Categories: []string{"drugs"}, Kinds: []string{"identify-person"}}},
		Desks:       []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Mexico_City", Hours: []string{"24/7"}, Languages: []string{"es"}}},
	}, "state mx a", "verify steward a", "countersign steward b")
	s.state("rotate-authority-keys", "mx/fgr", &formatv1.RotateAuthorityKeys{
		Add: []*formatv1.Key{signKey("sign", "mx/fgr sign 2")}, Retire: [][]byte{fingerprint(t, "mx/fgr sign")},
	}, "state mx a")
	s.state("rotate-node", node, &formatv1.RotateNode{Endpoints: []string{"mx2.network.example:7443"}}, "state mx b")
	s.state("rotate-state", "mx", &formatv1.RotateState{Keys: []*formatv1.Key{signKey("state", "mx a"), signKey("state", "mx c")}, Threshold: 1}, "state mx a", "new mx c")
	s.state("suspend", "mx/fgr", &formatv1.Suspend{Start: founded, End: founded + 3600, Reason: "exercise"}, "state mx a")
	s.state("reinstate", "mx/fgr", &formatv1.Reinstate{Position: 8, Reason: "exercise over"}, "steward steward a", "steward steward b", "state mx a")
	s.state("revoke", node, &formatv1.Revoke{Reason: "exercise"}, "state mx c")
	s.state("retire", "mx/fgr", &formatv1.Retire{Reason: "exercise"}, "state mx a")
}

// upkeep are the registers, what a state says beside declaring, recoveries, and a change of the rules: in the same log.
func (s *scribe) upkeep() {
	t := s.t
	titles := []*formatv1.Text{{Language: "en", Value: "Example"}, {Language: "es", Value: "Ejemplo"}}
	s.state("categories", "network", &formatv1.Categories{Categories: []*formatv1.Category{{Slug: "drugs", Status: "active", Titles: titles},
		{Slug: "drugs.trafficking", Status: "active", IccsCode: "060121", Titles: titles}}}, "steward steward a", "steward steward b")
	s.state("instruments", "network", &formatv1.Instruments{Instruments: []*formatv1.Instrument{{Code: "untoc", Titles: titles}}}, "steward steward a", "steward steward b")
	s.state("rotate-stewards", "network", &formatv1.RotateStewards{Stewards: []*formatv1.Key{signKey("steward", "steward a"), signKey("steward", "steward c")}, Threshold: 2},
		"steward steward a", "steward steward b", "new steward a", "new steward c")
	s.state("admit-state", "jm", &formatv1.AdmitState{
		Keys: []*formatv1.Key{signKey("state", "jm a")}, Threshold: 1, CaCertificates: [][]byte{caOf(t, "jm")}, NoteVerbale: "NV 4/2026",
	}, "steward steward a", "steward steward c", "state jm a")
	s.state("declare-node", "jm/node/primary", &formatv1.DeclareNode{
		Endpoints: []string{"jm.network.example:7443"}, Versions: []uint32{1}, NoteVerbale: "NV 5/2026",
		Keys: []*formatv1.Key{signKey("sign", "jm/node/primary sign"), sealKey("jm/node/primary seal"), signKey("witness", "jm/node/primary witness")},
	}, "state jm a", "verify steward a", "countersign steward c")
	s.state("declare-authority", "jm/dpp", &formatv1.DeclareAuthority{
		Names: []*formatv1.Text{{Language: "en", Value: "Example Prosecution"}}, Type: "prosecution", Node: "jm/node/primary", NoteVerbale: "NV 6/2026",
		Languages: []string{"en"}, Keys: []*formatv1.Key{signKey("sign", "jm/dpp sign"), sealKey("jm/dpp seal")}, Website: "https://dpp.example",
		Desks:        []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Jamaica", Hours: []string{"mo-fr 08:00-17:00"}, Holidays: []string{"2027-01-06"}}},
		Requirements: []*formatv1.Requirement{{Kind: "identify-person", Needs: titles, TypicalDays: 10, Languages: []string{"en"}, LegalSource: "Art. 18"}},
	}, "state jm a", "verify steward c", "countersign steward a")
	s.state("declare-instruments", "jm", &formatv1.DeclareInstruments{Codes: []string{"untoc"}}, "state jm a")
	s.state("designate-contact-point", "jm", &formatv1.DesignateContactPoint{Authority: "jm/dpp", NoteVerbale: "NV 7/2026"},
		"state jm a", "verify steward a", "countersign steward c")
	s.state("notice", "jm/dpp", &formatv1.Notice{Availability: "degraded", Start: founded, End: founded + 86400, Fallback: "mx/fgr", Text: "exercise"}, "state jm a")
	s.state("confirm", "jm", &formatv1.Confirm{Entries: s.entries("jm/dpp", "jm/node/primary")}, "state jm a")
	s.recoveries()
	hub := &formatv1.Hub{LogKey: signKey("log", "hub log 2"), CaCertificates: [][]byte{caOf(t, "hub")}, Endpoints: []string{"hub2.network.example:7400"}}
	s.state("rotate-hub", "network", &formatv1.RotateHub{Hub: hub}, "steward steward a", "steward steward c")
	s.state("rules", "network", &formatv1.Rules{Version: 2, From: 100}, "steward steward a", "steward steward c")
}

// recoveries are one that a veto stops and a settlement calls off, and one that takes effect after 14 days.
func (s *scribe) recoveries() {
	recover := func(label string) []byte {
		s.state("recover", "mx", &formatv1.Recover{Keys: []*formatv1.Key{signKey("state", label)}, Threshold: 1, CaCertificates: [][]byte{caOf(s.t, "mx")}, Reason: "exercise"},
			"steward steward a", "steward steward c", "new "+label, "consent jm a")
		return s.previous["mx"]
	}
	first := recover("mx d")
	s.state("veto", "mx", &formatv1.Veto{Recovery: first}, "state mx c")
	s.state("settle", "mx", &formatv1.Settle{Recovery: first, Outcome: "cancel"}, "steward steward a", "steward steward c", "consent jm a")
	second := recover("mx e")
	s.state("complete-recovery", "mx", &formatv1.CompleteRecovery{Recovery: second, Earlier: s.head(founded), Later: s.head(founded + 14*86400)}, "new mx e")
}

// entries is the digest of PROTOCOL 4.9, of names in their order.
func (s *scribe) entries(names ...string) []byte {
	var all []byte
	for _, name := range names {
		all = append(append(binary.BigEndian.AppendUint16(all, uint16(len(name))), name...), s.previous[name]...)
	}
	return digest(all)
}

type vectorSigner struct{ label string }

func (v vectorSigner) PublicKey() authority.PublicKey {
	k, _ := authority.ParsePublicKey(authority.Ed25519, vectortest.Public(v.label)) // never fails
	return k
}

func (v vectorSigner) Sign(msg []byte) ([]byte, error) {
	return ed25519.Sign(vectortest.SigningKey(v.label), msg), nil
}

// head is the head of the log so far, cosigned by jm's node at a time. PROTOCOL 11.6.
func (s *scribe) head(at int64) []byte {
	s.t.Helper()
	var tree merkle.Frontier
	for _, v := range s.vectors {
		tree.Append(directory.LeafHash(v.Signed))
	}
	c := merkle.Checkpoint{Origin: "enlace." + s.network[:16] + "/directory", Size: int64(len(s.vectors)), Root: tree.Root()}
	note, err := merkle.Sign(c, vectorSigner{"hub log"})
	if err != nil {
		s.t.Fatal(err)
	}
	line, err := merkle.Cosign(c, "jm/node/primary", vectorSigner{"jm/node/primary witness"}, time.Unix(at, 0))
	if err != nil {
		s.t.Fatal(err)
	}
	return append(note, line...)
}

func hexOf(b []byte) string {
	text, _ := vectortest.Hex(b).MarshalText() // never fails
	return string(text)
}

// The log of all kinds holds, entry after entry. PROTOCOL 2.6, 4.1, 4.2, 4.3, 4.4, 4.5, 4.9, 4.12, 4.17, 4.18, 4.19, 4.20, 4.21.
func TestVectorStatement(t *testing.T) {
	s := &scribe{t: t, previous: map[string][]byte{}}
	s.known()
	s.upkeep()
	var snapshot *directory.Snapshot
	for i, v := range s.vectors {
		next, err := directory.Follow(snapshot, v.Signed)
		if err != nil {
			t.Fatalf("entry %d, %s: %v", i+1, v.Kind, err)
		}
		snapshot = next
	}
	if snapshot.NetworkID() != s.network || snapshot.Position() != uint64(len(s.vectors)) {
		t.Errorf("network %s at %d, want %s at %d", snapshot.NetworkID(), snapshot.Position(), s.network, len(s.vectors))
	}
	vectortest.Check(t, "statement", "a log of every kind, in order; certificates are of keys with the label \"<name> ca\"",
		[]string{"2.6", "4.1", "4.2", "4.3", "4.4", "4.5", "4.9", "4.12", "4.17", "4.18", "4.19", "4.20", "4.21"}, s.vectors)
}

// PROTOCOL 4.8.
func TestVectorContactCard(t *testing.T) {
	card := &formatv1.ContactCard{Salt: vectortest.Bytes("card salt", 16), Authority: "mx/fgr", Desk: "duty", Mailbox: "duty@mx.network.example", Phone: "+52 55 0000 0000"}
	v := vectorOf(t, "card", card)
	v.Digest = digest(card.GetSalt(), v.Bytes)
	if _, hash, err := directory.ParseCard(v.Bytes); err != nil || string(hash[:]) != string(v.Digest) {
		t.Errorf("hash %x, %v; want %x", hash, err, v.Digest)
	}
	vectortest.Check(t, "contact-card", "a contact card; digest is its salted hash", []string{"4.8"}, []formatVector{v})
}
