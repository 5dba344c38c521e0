package operator

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/alexedwards/argon2id"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/sqlite"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/policy"
)

const password = "tres tristes tigres 7"

// problem is the JSON of every error.
type problem struct{ Kind, Code, Message, Hint string }

// house is a door on real sockets over a real ledger's accounts, with people who can log in: root administers, ana
// writes for mx/fgr, luis approves there, eva is the auditor.
type house struct {
	t     testing.TB
	door  *Door
	desk  *people.Desk
	shelf *shelf
	board *board
	ca    *x509.Certificate
	rpc   string
	web   string
	http  *http.Client
	ahead atomic.Int64 // nanoseconds that the house's clock is ahead
	stop  func()
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func open(t testing.TB, adjust ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t}
	h.desk = h.openPeople()
	rules, err := policy.Load(nil)
	h.must(err)
	h.shelf, h.board = newShelf(t.TempDir(), rules), newBoard(rules)
	config, ca := identity(t, "127.0.0.1", "localhost")
	h.ca = ca
	c := Config{
		Requests: h.shelf, Attachments: h.shelf, Alerts: h.board, Subscriptions: newWishes(rules), People: h.desk, Policy: rules, Directory: mapped{snapshot(t)}, Monitor: h,
		Node: node("mx/node/primary"), TLS: config, Chain: [][]byte{ca.Raw}, Now: h.now, Log: zap.NewNop(),
		Idle: 5 * time.Second, Beat: 100 * time.Millisecond,
	}
	for _, a := range adjust {
		a(&c)
	}
	h.door = New(c)
	h.run()
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	h.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) run() { h.runAt("127.0.0.1:0") }

func (h *house) runAt(addr string) {
	h.t.Helper()
	rpc, err := net.Listen("tcp", addr)
	h.must(err)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.rpc, h.web = rpc.Addr().String(), "https://"+web.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.door.Run(ctx, rpc, web) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
		done <- nil
	}
	h.t.Cleanup(h.stop)
}

func (h *house) openPeople() *people.Desk {
	l, err := sqlite.Open(context.Background(), sqlite.Config{
		Dir: h.t.TempDir(), Key: [32]byte{1}, Network: "network.example", Node: node("mx/node/primary"), Random: rand.Reader,
		Origin: "network.example/mx/node/primary/evidence", Keys: ledger.Keys{Signer: evidenceKey{}, Secret: [32]byte{9}},
		Created: ledger.Event{Time: time.Now().UTC(), Kind: "created", Actor: "node"},
	})
	h.must(err)
	h.t.Cleanup(func() { _ = l.Close() })
	config := people.Config{
		Hash:        argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		FailureTime: time.Millisecond,
	}
	desk, err := people.New(l.People(), config, h.now, rand.Reader)
	h.must(err)
	fgr := name("mx/fgr")
	_, err = desk.Bootstrap(context.Background(), people.NewAccount{User: user("root"), Authority: fgr, Roles: []people.Role{people.RoleAdministrator}, Password: password})
	h.must(err)
	for who, role := range map[string]people.Role{"ana": people.RoleUser, "luis": people.RoleApprover, "eva": people.RoleAuditor} {
		_, err := desk.AddUser(context.Background(), people.Principal{User: user("root")},
			people.NewAccount{User: user(who), Authority: fgr, Roles: []people.Role{role}, Password: password})
		h.must(err)
	}
	return desk
}

// Status makes the house its own monitor.
func (h *house) Status(context.Context) (*operatorv1.GetStatusResponse, error) {
	return &operatorv1.GetStatusResponse{Node: "mx/node/primary", Freshness: "fresh"}, nil
}

// login is the secret of a new session.
func (h *house) login(who string) string {
	h.t.Helper()
	secret, _, err := h.desk.Login(context.Background(), who, password)
	h.must(err)
	return secret
}

// token is the secret of a new token of mx/fgr.
func (h *house) token(scopes ...people.Scope) string {
	h.t.Helper()
	secret, _, err := h.desk.IssueToken(context.Background(), people.Principal{User: user("root")},
		people.NewToken{Name: "robot", Authority: name("mx/fgr"), Scopes: scopes, Expires: h.now().Add(24 * time.Hour)})
	h.must(err)
	return secret
}

func (h *house) trust() Trust { return Trust{Pin: sha256.Sum256(h.ca.Raw)} }

func (h *house) client(secret string) *Client {
	h.t.Helper()
	c, err := Dial(h.rpc, h.trust(), secret)
	h.must(err)
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// call makes one REST call and gives status and body.
func (h *house) call(secret, method, path, body string, headers ...string) (int, string) {
	h.t.Helper()
	res, data := h.do(secret, method, path, strings.NewReader(body), headers...)
	return res.StatusCode, data
}

func (h *house) do(secret, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	h.t.Helper()
	req, err := http.NewRequest(method, h.web+path, body)
	h.must(err)
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.http.Do(req)
	h.must(err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	h.must(err)
	return res, strings.TrimSpace(string(data))
}

// refused checks an error's kind and code.
func (h *house) refused(err error, kind fault.Kind, code string) {
	h.t.Helper()
	if err == nil || fault.KindOf(err) != kind || fault.CodeOf(err) != code {
		h.t.Errorf("error = %v (%v, %q), want %v, %q", err, fault.As(err), fault.CodeOf(err), kind, code)
	}
}

// identity is a CA of the day and a server certificate of it.
func identity(t testing.TB, hosts ...string) (*tls.Config, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := certificate(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, key, key)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	leaf := certificate(t, template, ca, leafKey, key)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey, Leaf: leaf}}}, ca
}

func certificate(t testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type evidenceKey struct{}

func (evidenceKey) private() ed25519.PrivateKey { return seeded("evidence") }

func (k evidenceKey) PublicKey() authority.PublicKey { return public("evidence") }

func (k evidenceKey) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.private(), msg), nil }

// mapped is a directory that never changes.
type mapped struct{ s *directory.Snapshot }

func (m mapped) Load() *directory.Snapshot { return m.s }

func (m mapped) Status() LogStatus {
	return LogStatus{Confirmed: m.s.Position(), Stored: m.s.Position(), Freshness: "fresh"}
}

func (m mapped) Freshness(now time.Time) (string, time.Time) { return "fresh", now }

// snapshot is a directory of mx with one node and one authority, its statements signed and applied as real ones are.
func snapshot(t testing.TB) *directory.Snapshot {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	key := func(purpose directory.KeyPurpose, names ...string) []*formatv1.Key {
		var keys []*formatv1.Key
		for _, n := range names {
			keys = append(keys, directory.DeclareKey(purpose, public(n), time.Time{}))
		}
		return keys
	}
	_, ca := identity(t, "localhost")
	genesis, err := directory.DraftGenesis(at, &formatv1.Genesis{
		Name: "toc.example", Stewards: key(directory.PurposeSteward, "s-1", "s-2"), Threshold: 2, Nonce: make([]byte, 16),
		Hub: &formatv1.Hub{LogKey: key(directory.PurposeLog, "log")[0], CaCertificates: [][]byte{ca.Raw}, Endpoints: []string{"127.0.0.1:7400"}},
	})
	s := apply(t, nil, genesis, err, "steward:s-1 steward:s-2")
	state, err := authority.ParseState("mx")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := directory.Draft{Snapshot: s, Created: at, Random: rand.Reader}.AdmitState(state, &formatv1.AdmitState{
		Keys: key(directory.PurposeState, "mx-1", "mx-2"), Threshold: 2, CaCertificates: [][]byte{ca.Raw}, NoteVerbale: "NV 1/2026",
	})
	s = apply(t, s, payload, err, "steward:s-1 steward:s-2 state:mx-1 state:mx-2")
	payload, err = directory.Draft{Snapshot: s, Created: at, Random: rand.Reader}.DeclareNode(node("mx/node/primary"), &formatv1.DeclareNode{
		Endpoints: []string{"127.0.0.1:7401"}, Keys: append(key(directory.PurposeSign, "node-sign"), sealKey(t)), Versions: []uint32{1}, NoteVerbale: "NV 2/2026",
	})
	s = apply(t, s, payload, err, "state:mx-1 state:mx-2 verify:s-1 countersign:s-2")
	payload, err = directory.Draft{Snapshot: s, Created: at, Random: rand.Reader}.DeclareAuthority(name("mx/fgr"), &formatv1.DeclareAuthority{
		Names: []*formatv1.Text{{Language: "es", Value: "Fiscalía General"}}, Type: "prosecution", Node: "mx/node/primary", NoteVerbale: "NV 3/2026",
		Keys:        append(key(directory.PurposeSign, "fgr-sign"), sealKey(t)),
		Competences: []*formatv1.Competence{{Function: "requests", Categories: []string{"drugs"}, Kinds: []string{"identify-person"}}},
		Desks:       []*formatv1.Desk{{Slug: "duty", TimeZone: "America/Mexico_City", Hours: []string{"24/7"}, Languages: []string{"es"}}},
	})
	return apply(t, s, payload, err, "state:mx-1 state:mx-2 verify:s-1 countersign:s-2")
}

func sealKey(t testing.TB) *formatv1.Key {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	k, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(id.Recipient().String()))
	if err != nil {
		t.Fatal(err)
	}
	return directory.DeclareKey(directory.PurposeSeal, k, time.Time{})
}

func apply(t testing.TB, s *directory.Snapshot, payload []byte, err error, signers string) *directory.Snapshot {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []directory.Signature
	for _, signer := range strings.Fields(signers) {
		role, key, _ := strings.Cut(signer, ":")
		all = append(all, directory.Signature{
			Algorithm: authority.Ed25519, Key: public(key).Fingerprint(), Role: directory.Role(role),
			Value: ed25519.Sign(seeded(key), authority.Message(directory.SigningPurpose(directory.Role(role)), payload)),
		})
	}
	st, err := directory.ParseStatement(directory.Attach(payload, all...))
	if err != nil {
		t.Fatal(err)
	}
	next, err := directory.Apply(s, st)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func seeded(key string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + key))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(key string) authority.PublicKey {
	k, err := authority.ParsePublicKey(authority.Ed25519, seeded(key).Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return k
}

func name(s string) authority.Name {
	n, err := authority.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func node(s string) authority.Node {
	n, err := authority.ParseNode(s)
	if err != nil {
		panic(err)
	}
	return n
}

func user(s string) people.User {
	u, err := people.ParseUser(s)
	if err != nil {
		panic(err)
	}
	return u
}

// pattern is n bytes that differ from place to place.
func pattern(n int) []byte {
	out := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstu"), n/31+1)[:n]
	for i := 0; i < n; i += 4096 {
		out[i] = byte(i >> 12)
	}
	return out
}
