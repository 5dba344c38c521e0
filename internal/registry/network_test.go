package registry_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const networkName = "test.example"

// network is the signers' side of a directory with real keys and CAs: a hub, two stewards, and the states that a test
// admits. It keeps a snapshot of its own and hands each statement to the hub, if one is up.
type network struct {
	t       *testing.T
	current *directory.Current
	genesis []byte
	// propose is where statements go besides.
	propose  func(statement []byte, cards ...[]byte)
	stewards [2]holder
	hub      *keyring.Ring
	ahead    atomic.Int64 // nanoseconds that the test's clock is ahead
}

// holder is a state or steward key.
type holder struct{ ed25519.PrivateKey }

// member is a state with one node.
type member struct {
	state authority.State
	node  authority.Node
	key   holder
	ring  *keyring.Ring
}

func newHolder(t *testing.T) holder {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return holder{key}
}

func (h holder) public() authority.PublicKey {
	k, err := authority.ParsePublicKey(authority.Ed25519, h.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return k
}

func (h holder) sign(role directory.Role, payload []byte) directory.Signature {
	return directory.Signature{Algorithm: authority.Ed25519, Key: h.public().Fingerprint(), Role: role,
		Value: ed25519.Sign(h.PrivateKey, authority.Message(directory.SigningPurpose(role), payload))}
}

func newRing(t *testing.T, label string) *keyring.Ring {
	t.Helper()
	unlock := keyring.UnlockWith(keyring.NewPassphrase("only for this test").WithWorkFactor(10))
	r, err := keyring.Create(filepath.Join(t.TempDir(), "keys"), unlock)
	must(t, err)
	must(t, r.GenerateCA(label, time.Now()))
	return r
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t, current: &directory.Current{}, stewards: [2]holder{newHolder(t), newHolder(t)}, hub: newRing(t, "hub")}
	must(t, n.hub.GenerateHub(time.Now()))
	logKey, err := n.hub.Public(keyring.HubLog)
	must(t, err)
	payload, err := directory.DraftGenesis(n.now(), &formatv1.Genesis{
		Name: networkName,
		Stewards: []*formatv1.Key{
			directory.DeclareKey(directory.PurposeSteward, n.stewards[0].public(), time.Time{}),
			directory.DeclareKey(directory.PurposeSteward, n.stewards[1].public(), time.Time{}),
		},
		Threshold: 2,
		Hub: &formatv1.Hub{LogKey: directory.DeclareKey(directory.PurposeLog, logKey, time.Time{}),
			CaCertificates: n.hub.CACertificates(), Endpoints: []string{"127.0.0.1:1"}},
		Nonce: bytes.Repeat([]byte{7}, 16),
	})
	must(t, err)
	n.genesis = n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
	return n
}

func (n *network) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

func (n *network) draft() directory.Draft {
	return directory.Draft{Snapshot: n.current.Load(), Created: n.now(), Random: rand.Reader}
}

// apply signs nothing more: it puts a statement in force here and hands it in.
func (n *network) apply(payload []byte, signatures ...directory.Signature) []byte {
	n.t.Helper()
	signed := directory.Attach(payload, signatures...)
	must(n.t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return directory.Follow(s, signed) }))
	if n.propose != nil {
		n.propose(signed)
	}
	return signed
}

// admit takes a state in and declares its node.
func (n *network) admit(label string) *member {
	n.t.Helper()
	m := n.candidate(label)
	n.take(m)
	return m
}

func (n *network) take(m *member) {
	n.t.Helper()
	payload, err := n.draft().AdmitState(m.state, &formatv1.AdmitState{
		Keys:      []*formatv1.Key{directory.DeclareKey(directory.PurposeState, m.key.public(), time.Time{})},
		Threshold: 1, CaCertificates: m.ring.CACertificates(), NoteVerbale: "1/26"})
	must(n.t, err)
	n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload),
		m.key.sign(directory.RoleState, payload))
	n.declare(m, m.node)
}

// candidate is a state that nobody has heard of.
func (n *network) candidate(label string) *member {
	n.t.Helper()
	state, err := authority.ParseState(label)
	must(n.t, err)
	node, err := authority.ParseNode(label + "/node/primary")
	must(n.t, err)
	return &member{state: state, node: node, key: newHolder(n.t), ring: newRing(n.t, label)}
}

func (n *network) declare(m *member, node authority.Node) {
	n.t.Helper()
	keys := newRing(n.t, m.state.String())
	must(n.t, keys.GenerateNode(time.Now()))
	body := &formatv1.DeclareNode{Versions: []uint32{1}, NoteVerbale: "2/26"}
	for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{directory.PurposeSign: keyring.NodeSign, directory.PurposeSeal: keyring.NodeSeal} {
		public, err := keys.Public(slot)
		must(n.t, err)
		body.Keys = append(body.Keys, directory.DeclareKey(purpose, public, time.Time{}))
	}
	payload, err := n.draft().DeclareNode(node, body)
	must(n.t, err)
	n.apply(payload, m.key.sign(directory.RoleState, payload), n.stewards[0].sign(directory.RoleVerify, payload),
		n.stewards[1].sign(directory.RoleCountersign, payload))
}

func (n *network) revoke(m *member) []byte {
	n.t.Helper()
	payload, err := n.draft().RevokeNode(m.node, "stolen")
	must(n.t, err)
	return n.apply(payload, m.key.sign(directory.RoleState, payload))
}

func (n *network) suspend(m *member) []byte {
	n.t.Helper()
	payload, err := n.draft().Suspend(directory.OfState(m.state), n.now().Add(24*time.Hour), "")
	must(n.t, err)
	return n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
}

// source is the TLS identity of a node, by the CA of m.
func (n *network) source(m *member, node authority.Node) *keyring.Source {
	n.t.Helper()
	id, err := authority.NodeID(node, networkName)
	must(n.t, err)
	return m.ring.NodeSource(id, nil, n.now)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// move changes the endpoint of m's node: a statement that the state alone signs.
func (n *network) move(m *member, endpoint string) []byte {
	n.t.Helper()
	payload, err := n.draft().RotateNode(m.node, &formatv1.RotateNode{Endpoints: []string{endpoint}})
	must(n.t, err)
	return n.apply(payload, m.key.sign(directory.RoleState, payload))
}

// designate declares an authority of m with a desk that shows a contact card.
func (n *network) designate(m *member, slug string, card directory.Hash) []byte {
	n.t.Helper()
	name, err := authority.ParseName(m.state.String() + "/" + slug)
	must(n.t, err)
	body := &formatv1.DeclareAuthority{Names: []*formatv1.Text{{Language: "en", Value: "Unit"}}, Type: "police", Node: m.node.String(),
		NoteVerbale: "3/26", Languages: []string{"en"},
		Desks: []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Jamaica", Hours: []string{"24/7"}, Languages: []string{"en"}, Card: card[:]}}}
	if _, known := n.current.Load().Last(directory.OfAuthority(name)); !known {
		must(n.t, m.ring.GenerateAuthority(name, time.Now()))
		for purpose, slot := range map[directory.KeyPurpose]keyring.Slot{
			directory.PurposeSign: keyring.AuthoritySign(name), directory.PurposeSeal: keyring.AuthoritySeal(name)} {
			public, err := m.ring.Public(slot)
			must(n.t, err)
			body.Keys = append(body.Keys, directory.DeclareKey(purpose, public, time.Time{}))
		}
	}
	payload, err := n.draft().DeclareAuthority(name, body)
	must(n.t, err)
	signed := directory.Attach(payload, m.key.sign(directory.RoleState, payload), n.stewards[0].sign(directory.RoleVerify, payload),
		n.stewards[1].sign(directory.RoleCountersign, payload))
	must(n.t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return directory.Follow(s, signed) }))
	return signed
}

func must2[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// reinstate ends what n.suspend did.
func (n *network) reinstate(m *member) []byte {
	n.t.Helper()
	payload, err := n.draft().Reinstate(directory.OfState(m.state), "")
	must(n.t, err)
	return n.apply(payload, n.stewards[0].sign(directory.RoleSteward, payload), n.stewards[1].sign(directory.RoleSteward, payload))
}
