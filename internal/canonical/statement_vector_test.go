package canonical_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const founded = made / 1000

// A statementVector is one statement with its signatures; signers are "role label".
type statementVector struct {
	Kind     string         `json:"kind"`
	Subject  string         `json:"subject"`
	Reserved bool           `json:"reserved,omitempty"`
	Signers  []string       `json:"signers,omitempty"`
	Fields   any            `json:"fields"`
	Body     any            `json:"body_fields"`
	Payload  vectortest.Hex `json:"payload"`
	Hash     vectortest.Hex `json:"hash"`
	Signed   vectortest.Hex `json:"signed"`
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
		Kind: kind, Subject: subject, Reserved: len(signers) == 0, Signers: signers, Fields: fieldsOf(s.t, m), Body: fieldsOf(s.t, body),
		Payload: payload, Hash: digest(payload), Signed: canonical.Marshal(signed),
	})
	if len(signers) > 0 {
		s.position++
		if len(m.GetId()) == 0 {
			s.previous[subject] = digest(payload)
		}
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

// reserved kinds have their bytes settled and no effect yet, so they are shown unsigned.
func (s *scribe) reserved() {
	t := s.t
	titles := []*formatv1.Text{{Language: "en", Value: "Example"}, {Language: "es", Value: "Ejemplo"}}
	keys := []*formatv1.Key{signKey("state", "mx d")}
	recovery := vectortest.Bytes("recovery", 32)
	s.state("rotate-stewards", "network", &formatv1.RotateStewards{Stewards: []*formatv1.Key{signKey("steward", "steward a"), signKey("steward", "steward c")}, Threshold: 2})
	s.state("rotate-hub", "network", &formatv1.RotateHub{Hub: &formatv1.Hub{LogKey: signKey("log", "hub log"), CaCertificates: [][]byte{caOf(t, "hub")}, Endpoints: []string{"hub2.network.example:7400"}}})
	s.state("categories", "network", &formatv1.Categories{Categories: []*formatv1.Category{{Slug: "drugs.trafficking", Status: "active", IccsCode: "060121", Titles: titles}}})
	s.state("instruments", "network", &formatv1.Instruments{Instruments: []*formatv1.Instrument{{Code: "untoc", Titles: titles}}})
	s.state("rules", "network", &formatv1.Rules{Version: 2, From: 100})
	s.state("declare-instruments", "mx", &formatv1.DeclareInstruments{Codes: []string{"untoc"}})
	s.state("designate-contact-point", "mx", &formatv1.DesignateContactPoint{Authority: "mx/fgr", NoteVerbale: "NV 4/2026"})
	s.state("notice", "mx/fgr", &formatv1.Notice{Availability: "degraded", Start: founded, End: founded + 86400, Fallback: "mx/fgr", Text: "exercise"})
	s.state("confirm", "mx", &formatv1.Confirm{Entries: vectortest.Bytes("entries", 32)})
	s.state("recover", "mx", &formatv1.Recover{Keys: keys, Threshold: 1, CaCertificates: [][]byte{caOf(t, "mx")}, Reason: "exercise"})
	s.state("veto", "mx", &formatv1.Veto{Recovery: recovery})
	s.state("settle", "mx", &formatv1.Settle{Recovery: recovery, Outcome: "cancel"})
}

func hexOf(b []byte) string {
	text, _ := vectortest.Hex(b).MarshalText() // never fails
	return string(text)
}

// The log of the known kinds holds, entry after entry; the reserved ones are refused. PROTOCOL 2.6, 4.1, 4.2, 4.3, 4.4, 4.5.
func TestVectorStatement(t *testing.T) {
	s := &scribe{t: t, previous: map[string][]byte{}}
	s.known()
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
	known := len(s.vectors)
	s.reserved()
	for _, v := range s.vectors[known:] {
		if _, err := directory.ParseStatement(v.Signed); fault.CodeOf(err) != "unknown-kind" {
			t.Errorf("%s: %v, want unknown-kind", v.Kind, err)
		}
	}
	vectortest.Check(t, "statement", "a log of every kind that this version knows, in order, and the reserved kinds unsigned; certificates are of keys with the label \"<name> ca\"",
		[]string{"2.6", "4.1", "4.2", "4.3", "4.4", "4.5"}, s.vectors)
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
