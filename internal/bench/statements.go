package bench

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// book writes the log of a made-up network: every statement is signed as a real one is, by a state with two of its three
// keys and by two stewards where they are needed.
type book struct {
	now  time.Time
	last *directory.Snapshot
	put  func(entry []byte) error
	keys map[string]ed25519.PrivateKey
	ca   []byte
	edge merkle.Frontier
}

// bookSize is how much a book says.
type bookSize struct{ authorities, statements int }

// signers of a designation, after those of the state.
const designators = " verify:s-1 countersign:s-2"

// writeBook founds the network, declares the authorities evenly over 34 states, and fills up with amendments and
// rotations of keys in turn.
func writeBook(size bookSize, put func(entry []byte) error) (*book, error) {
	ca, err := rootCertificate()
	if err != nil {
		return nil, err
	}
	b := &book{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), put: put, keys: map[string]ed25519.PrivateKey{}, ca: ca}
	if err := b.found(); err != nil {
		return nil, err
	}
	for _, state := range members() {
		if err := b.admit(state); err != nil {
			return nil, err
		}
	}
	if err := b.each(size.authorities, b.declare); err != nil {
		return nil, err
	}
	for turn := 0; ; turn++ {
		left := size.statements - int(b.last.Position())
		if left <= 0 {
			return b, nil
		}
		act := func(i int, name authority.Name) error {
			if (i+turn)%2 == 0 {
				return b.amend(i, name)
			}
			return b.rotate(i, name)
		}
		if err := b.each(min(left, size.authorities), act); err != nil {
			return nil, err
		}
	}
}

// each does so much for as many authorities.
func (b *book) each(n int, act func(i int, name authority.Name) error) error {
	states := members()
	for i := range n {
		name, err := authority.ParseName(fmt.Sprintf("%s/unit-%05d", states[i%len(states)], i))
		if err != nil {
			return err
		}
		if err := act(i, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) draft() directory.Draft {
	return directory.Draft{Snapshot: b.last, Created: b.now, Random: rand.Reader}
}

// private is the key of a name, the same for the same name.
func (b *book) private(name string) ed25519.PrivateKey {
	if k, ok := b.keys[name]; ok {
		return k
	}
	seed := sha256.Sum256([]byte(name))
	k := ed25519.NewKeyFromSeed(seed[:])
	if !strings.Contains(name, "/") { // those that sign are few
		b.keys[name] = k
	}
	return k
}

func (b *book) key(purpose directory.KeyPurpose, name string) *formatv1.Key {
	return directory.DeclareKey(purpose, signingKey{b.private(name)}.PublicKey(), time.Time{})
}

// pair is a signing key and what looks like a sealing key: nothing is sealed here, and a real one takes longer to make than
// all the rest.
func (b *book) pair(name string) []*formatv1.Key {
	shape := strings.Builder{}
	shape.WriteString("age1pq1")
	for i := 0; shape.Len() < sealingKeySize; i++ {
		fmt.Fprintf(&shape, "%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i)))
	}
	seal := &formatv1.Key{Algorithm: authority.AgeHybrid, Purpose: string(directory.PurposeSeal), Public: []byte(shape.String()[:sealingKeySize])}
	return []*formatv1.Key{b.key(directory.PurposeSign, name+"/sign"), seal}
}

// sealingKeySize is how long an age recipient of that kind is.
const sealingKeySize = 1959

// do signs, checks and writes.
func (b *book) do(payload []byte, err error, by string) error {
	if err != nil {
		return err
	}
	var signatures []directory.Signature
	for _, one := range strings.Fields(by) {
		role, name, _ := strings.Cut(one, ":")
		key := signingKey{b.private(name)}
		label := directory.SigningPurpose(directory.Role(role))
		signatures = append(signatures, directory.Signature{Algorithm: authority.Ed25519, Key: key.PublicKey().Fingerprint(),
			Role: directory.Role(role), Value: ed25519.Sign(key.private, authority.Message(label, payload))})
	}
	entry := directory.Attach(payload, signatures...)
	if b.last, err = directory.Follow(b.last, entry); err != nil {
		return err
	}
	b.edge.Append(directory.LeafHash(entry))
	return b.put(entry)
}

func byState(state string) string { return "state:" + state + "-1 state:" + state + "-2" }

func (b *book) found() error {
	payload, err := directory.DraftGenesis(b.now, &formatv1.Genesis{
		Name: "bench.example", Threshold: 2, Nonce: make([]byte, 16),
		Stewards: []*formatv1.Key{b.key(directory.PurposeSteward, "s-1"), b.key(directory.PurposeSteward, "s-2"), b.key(directory.PurposeSteward, "s-3")},
		Hub:      &formatv1.Hub{LogKey: b.key(directory.PurposeLog, "log"), CaCertificates: [][]byte{b.ca}, Endpoints: []string{"127.0.0.1:7400"}},
	})
	return b.do(payload, err, "steward:s-1 steward:s-2 steward:s-3")
}

// admit takes in a state and declares its node.
func (b *book) admit(state string) error {
	s, err := authority.ParseState(state)
	if err != nil {
		return err
	}
	var keys []*formatv1.Key
	for i := range 3 {
		keys = append(keys, b.key(directory.PurposeState, fmt.Sprintf("%s-%d", state, i+1)))
	}
	payload, err := b.draft().AdmitState(s, &formatv1.AdmitState{Keys: keys, Threshold: 2, CaCertificates: [][]byte{b.ca}, NoteVerbale: "NV 1/2026"})
	if err := b.do(payload, err, "steward:s-1 steward:s-2 "+byState(state)); err != nil {
		return err
	}
	node, err := authority.ParseNode(state + nodeSuffix)
	if err != nil {
		return err
	}
	payload, err = b.draft().DeclareNode(node, &formatv1.DeclareNode{Endpoints: []string{"127.0.0.1:7401"},
		Keys: append(b.pair(node.String()), b.key(directory.PurposeWitness, state+witnessSuffix)), Versions: []uint32{1}, NoteVerbale: "NV 2/2026"})
	return b.do(payload, err, byState(state)+designators)
}

const (
	nodeSuffix    = "/node/primary"
	witnessSuffix = "/witness"
)

// head is the log's end, signed by the log and cosigned by every state.
func (b *book) head() ([]byte, error) {
	c := merkle.Checkpoint{Origin: b.last.Origin(), Size: b.edge.Size(), Root: b.edge.Root()}
	head, err := merkle.Sign(c, signingKey{b.private("log")})
	if err != nil {
		return nil, err
	}
	for _, state := range members() {
		line, err := merkle.Cosign(c, state+nodeSuffix, signingKey{b.private(state + witnessSuffix)}, b.now)
		if err != nil {
			return nil, err
		}
		head = append(head, line...)
	}
	return head, nil
}

// signingKey signs notes.
type signingKey struct{ private ed25519.PrivateKey }

func (k signingKey) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.private, msg), nil }

func (k signingKey) PublicKey() authority.PublicKey {
	public, _ := authority.ParsePublicKey(authority.Ed25519, k.private.Public().(ed25519.PublicKey)) // has that shape
	return public
}

func (b *book) declare(i int, name authority.Name) error {
	body := b.said(i, name, "NV 3/2026")
	body.Keys = b.pair(name.String())
	payload, err := b.draft().DeclareAuthority(name, body)
	return b.do(payload, err, byState(name.State().String())+designators)
}

func (b *book) amend(i int, name authority.Name) error {
	payload, err := b.draft().DeclareAuthority(name, b.said(i, name, "NV 4/2026"))
	return b.do(payload, err, byState(name.State().String())+designators)
}

// said is a declaration such as police and prosecutors make; every seventh is also asked about money.
func (b *book) said(i int, name authority.Name, note string) *formatv1.DeclareAuthority {
	categories := []string{"drugs", "firearms.trafficking"}
	if i%7 == 0 {
		categories = append(categories, "money-laundering")
	}
	return &formatv1.DeclareAuthority{
		Names:   []*formatv1.Text{{Language: "es", Value: "Fiscalía " + name.Slug()}, {Language: "en", Value: "Prosecutor " + name.Slug()}},
		Acronym: strings.ToUpper(name.Slug()), Type: "prosecution", Node: name.State().String() + nodeSuffix, NoteVerbale: note,
		Competences: []*formatv1.Competence{
			{Function: "requests", Categories: categories, Kinds: []string{"identify-person", "records"}},
			{Function: "alerts-in", Categories: []string{"drugs"}}},
		Desks: []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Mexico_City", Hours: []string{"mo-fr 08:00-17:00"}, Languages: []string{"es"}}},
	}
}

// rotate replaces both keys of an authority on its state's word.
func (b *book) rotate(_ int, name authority.Name) error {
	view := b.last.At(b.now)
	body := &formatv1.RotateAuthorityKeys{Add: b.pair(fmt.Sprintf("%s/%d", name, b.last.Position()))}
	for _, k := range view.Keys(directory.OfAuthority(name)) {
		if k.Status == directory.KeyActive {
			body.Retire = append(body.Retire, k.Fingerprint[:])
		}
	}
	payload, err := b.draft().RotateAuthorityKeys(name, body)
	return b.do(payload, err, byState(name.State().String()))
}

// rootCertificate is a CA's, as admissions carry them.
func rootCertificate() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "measure", "no random numbers")
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench CA"}, NotBefore: start,
		NotAfter: start.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "measure", "no certificate")
	}
	return der, nil
}
