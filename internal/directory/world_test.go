package directory

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// start is when the test network is founded.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// private is the Ed25519 key of a name: "s-1" is a steward, "mx-1" a key of mx.
func private(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) authority.PublicKey {
	k, err := authority.ParsePublicKey(authority.Ed25519, private(name).Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return k
}

// sealing is a real age recipient; the same for the same name.
var sealing = func() func(string) authority.PublicKey {
	var mu sync.Mutex
	made := map[string]authority.PublicKey{}
	return func(name string) authority.PublicKey {
		mu.Lock()
		defer mu.Unlock()
		if k, ok := made[name]; ok {
			return k
		}
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			panic(err)
		}
		k, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(id.Recipient().String()))
		if err != nil {
			panic(err)
		}
		made[name] = k
		return k
	}
}()

func declared(purpose KeyPurpose, names ...string) []*formatv1.Key {
	var keys []*formatv1.Key
	for _, n := range names {
		k := public(n)
		if purpose == PurposeSeal {
			k = sealing(n)
		}
		keys = append(keys, DeclareKey(purpose, k, time.Time{}))
	}
	return keys
}

// bothKeys is a signing and a sealing key.
func bothKeys(name string) []*formatv1.Key {
	return append(declared(PurposeSign, name+"-sign"), declared(PurposeSeal, name+"-seal")...)
}

// ca is a real self-signed CA certificate.
var ca = sync.OnceValue(func() []byte {
	key := private("ca")
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: start,
		NotAfter: start.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der
})

// signature makes one from "role:key name".
func signature(payload []byte, spec string) Signature {
	role, name, _ := strings.Cut(spec, ":")
	return Signature{
		Algorithm: authority.Ed25519,
		Key:       public(name).Fingerprint(),
		Role:      Role(role),
		Value:     ed25519.Sign(private(name), authority.Message(SigningPurpose(Role(role)), payload)),
	}
}

// signed attaches signatures given as "role:key name role:key name".
func signed(payload []byte, specs string) []byte {
	var all []Signature
	for _, spec := range strings.Fields(specs) {
		all = append(all, signature(payload, spec))
	}
	return Attach(payload, all...)
}

const (
	stewards   = "steward:s-1 steward:s-2"
	everyone   = "steward:s-1 steward:s-2 steward:s-3"
	byMX       = "state:mx-1 state:mx-2"
	designated = " verify:s-1 countersign:s-2"
)

func stateKeys(state string) string { return "state:" + state + "-1 state:" + state + "-2" }

func genesisBody() *formatv1.Genesis {
	return &formatv1.Genesis{
		Name: "toc.example", Stewards: declared(PurposeSteward, "s-1", "s-2", "s-3"), Threshold: 2, Nonce: make([]byte, 16),
		Hub: &formatv1.Hub{LogKey: declared(PurposeLog, "log")[0], CaCertificates: [][]byte{ca()}, Endpoints: []string{"127.0.0.1:7400"}},
	}
}

func admission(state string) *formatv1.AdmitState {
	return &formatv1.AdmitState{Keys: declared(PurposeState, state+"-1", state+"-2", state+"-3"), Threshold: 2,
		CaCertificates: [][]byte{ca()}, NoteVerbale: "NV 1/2026"}
}

func nodeBody(name string) *formatv1.DeclareNode {
	return &formatv1.DeclareNode{Endpoints: []string{"127.0.0.1:7401"}, Keys: bothKeys(name), Versions: []uint32{1}, NoteVerbale: "NV 2/2026"}
}

func authorityBody(name, node string) *formatv1.DeclareAuthority {
	return &formatv1.DeclareAuthority{
		Names: []*formatv1.Text{{Language: "es", Value: "Fiscalía General"}}, Type: "prosecution", Keys: bothKeys(name), Node: node,
		NoteVerbale: "NV 3/2026", Competences: []*formatv1.Competence{
			{Function: "requests", Categories: []string{"drugs", "firearms.trafficking"}, Kinds: []string{"identify-person"}},
			{Function: "alerts-in", Categories: []string{"drugs"}}},
		Desks: []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Mexico_City", Hours: []string{"mo-fr 08:00-17:00"}, Languages: []string{"es"}}},
	}
}

// world is a network under test: what is in its log, and the snapshot that follows from it.
type world struct {
	t   testing.TB
	s   *Snapshot
	log [][]byte
	now time.Time
}

// found is a network with a genesis only.
func founded(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: start}
	payload, err := DraftGenesis(w.now, genesisBody())
	w.do(payload, err, everyone)
	return w
}

// populated is a network of mx and jm, each with a node "primary" and an authority "fgr".
func populated(t testing.TB) *world {
	t.Helper()
	w := founded(t)
	for _, state := range []string{"mx", "jm"} {
		w.admit(state)
		w.declareNode(state + "/node/primary")
		w.declareAuthority(state+"/fgr", state+"/node/primary")
	}
	return w
}

func (w *world) draft() Draft { return Draft{Snapshot: w.s, Created: w.now, Random: rand.Reader} }

func (w *world) admit(state string) {
	w.t.Helper()
	payload, err := w.draft().AdmitState(stateOf(state), admission(state))
	w.do(payload, err, stewards+" "+stateKeys(state))
}

func (w *world) declareNode(name string) {
	w.t.Helper()
	node := nodeOf(name)
	payload, err := w.draft().DeclareNode(node, nodeBody(name))
	w.do(payload, err, stateKeys(node.State().String())+designated)
}

func (w *world) declareAuthority(name, node string) {
	w.t.Helper()
	n := nameOf(name)
	payload, err := w.draft().DeclareAuthority(n, authorityBody(name, node))
	w.do(payload, err, stateKeys(n.State().String())+designated)
}

// do signs, logs and applies; it must succeed.
func (w *world) do(payload []byte, err error, specs string) Statement {
	w.t.Helper()
	st := w.parse(payload, err, specs)
	next, err := Apply(w.s, st)
	if err != nil {
		w.t.Fatalf("apply %s about %s: %v", st.Kind(), st.Subject(), err)
	}
	w.s, w.log = next, append(w.log, st.Signed())
	return st
}

// refuse signs and applies; it must be refused with this code, and change nothing.
func (w *world) refuse(payload []byte, err error, specs, code string) {
	w.t.Helper()
	if err == nil {
		var st Statement
		if st, err = ParseStatement(signed(payload, specs)); err == nil {
			_, err = Apply(w.s, st)
		}
	}
	if got := fault.CodeOf(err); got != code {
		w.t.Errorf("refused with %q (%v), want %q", got, err, code)
	}
}

// see signs and applies on sight; it must be new.
func (w *world) see(payload []byte, err error, specs string) Statement {
	w.t.Helper()
	st := w.parse(payload, err, specs)
	next, err := Restrict(w.s, st)
	if err != nil {
		w.t.Fatalf("restrict %s about %s: %v", st.Kind(), st.Subject(), err)
	}
	if next == w.s {
		w.t.Fatalf("restrict %s about %s: not new", st.Kind(), st.Subject())
	}
	w.s = next
	return st
}

func (w *world) parse(payload []byte, err error, specs string) Statement {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := ParseStatement(signed(payload, specs))
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) view() View { return w.s.At(w.now) }

// code is the code of an error, "" of none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

func stateOf(s string) authority.State {
	v, err := authority.ParseState(s)
	if err != nil {
		panic(err)
	}
	return v
}

func nameOf(s string) authority.Name {
	v, err := authority.ParseName(s)
	if err != nil {
		panic(err)
	}
	return v
}

func nodeOf(s string) authority.Node {
	v, err := authority.ParseNode(s)
	if err != nil {
		panic(err)
	}
	return v
}

type suspendFields struct{ start, end time.Time }

// rebuilt is the payload of a suspension with fields that no draft would give.
func rebuilt(t *testing.T, w *world, change func(*suspendFields)) []byte {
	t.Helper()
	f := suspendFields{w.now, w.now.Add(time.Hour)}
	change(&f)
	m := w.draft().head(KindSuspend, OfState(stateOf("mx")))
	m.Id = make([]byte, idBytes)
	b, err := finish(m, &formatv1.Suspend{Start: f.start.Unix(), End: f.end.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
