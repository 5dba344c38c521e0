package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/enlace-network/enlace/certs"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const network = "enlace-test"

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.set(at)
	return c
}

func (c *clock) set(at time.Time) { c.at.Store(at.UnixNano()) }
func (c *clock) now() time.Time   { return time.Unix(0, c.at.Load()) }

func nodeID(t testing.TB, name string) spiffeid.ID {
	t.Helper()
	n := must1[authority.Node](t)(authority.ParseNode(name))
	return must1[spiffeid.ID](t)(authority.NodeID(n, network))
}

// member is one state with a CA and the identity of its node.
type member struct {
	ring   *Ring
	id     spiffeid.ID
	source *Source
}

func newMember(t testing.TB, state string, c *clock) member {
	t.Helper()
	r, _, _ := newRing(t)
	must0(t, r.GenerateCA(state, c.now()))
	id := nodeID(t, state+"/node/primary")
	return member{r, id, r.NodeSource(id, []string{"127.0.0.1"}, c.now)}
}

// trust verifies as a node does: against the bundle of the peer's own state, at the clock's time.
func trust(t testing.TB, c *clock, want spiffeid.ID, members ...member) Verify {
	t.Helper()
	set := x509bundle.NewSet()
	for _, m := range members {
		cert := must1[*x509.Certificate](t)(x509.ParseCertificate(m.ring.CACertificates()[0]))
		set.Add(x509bundle.FromX509Authorities(m.id.TrustDomain(), []*x509.Certificate{cert}))
	}
	return func(cs tls.ConnectionState) error {
		got, _, err := x509svid.Verify(cs.PeerCertificates, set, x509svid.WithTime(c.now()))
		if err == nil && got != want {
			err = errors.New("another identity")
		}
		return err
	}
}

// serve answers each connection with one byte per byte received, and sends how its handshake ended.
func serve(t testing.TB, config *tls.Config) (string, <-chan error) {
	t.Helper()
	l := must1[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	ended := make(chan error, 16)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
				conn := tls.Server(raw, config)
				err := conn.Handshake()
				ended <- err
				if err == nil {
					_, _ = io.Copy(conn, conn)
					_ = conn.Close()
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); group.Wait() })
	return l.Addr().String(), ended
}

// call makes a connection and gets one byte there and back. In TLS 1.3 a client learns only so that it was accepted.
func call(addr string, config *tls.Config) (tls.ConnectionState, error) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, config)
	if _, err := conn.Write([]byte{42}); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), conn.Close()
}

func TestMutualTLS(t *testing.T) {
	c := newClock(epoch)
	mx, jm := newMember(t, "mx", c), newMember(t, "jm", c)
	addr, ended := serve(t, mx.source.ServerTLS(trust(t, c, jm.id, mx, jm)))
	state, err := call(addr, jm.source.ClientTLS(trust(t, c, mx.id, mx, jm)))
	if err != nil {
		t.Fatal(err)
	}
	must0(t, <-ended)
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("got version %x and key exchange %v, want TLS 1.3 and X25519MLKEM768", state.Version, state.CurveID)
	}
	leaf := state.PeerCertificates[0]
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > certs.MaxLeaf {
		t.Errorf("the leaf lives %v, want at most 7 days", life)
	}
}

func TestVerifyRunsOnResumedSessions(t *testing.T) {
	c := newClock(epoch)
	mx, jm := newMember(t, "mx", c), newMember(t, "jm", c)
	var served, dialled atomic.Int32
	var revoked atomic.Bool
	server := mx.source.ServerTLS(func(cs tls.ConnectionState) error {
		served.Add(1)
		if revoked.Load() {
			return errors.New("revoked")
		}
		return trust(t, c, jm.id, jm)(cs)
	})
	client := jm.source.ClientTLS(func(cs tls.ConnectionState) error {
		dialled.Add(1)
		return trust(t, c, mx.id, mx)(cs)
	})
	addr, ended := serve(t, server)
	for i := range 3 {
		state, err := call(addr, client)
		if err != nil {
			t.Fatal(err)
		}
		must0(t, <-ended)
		if got, want := state.DidResume, i > 0; got != want {
			t.Errorf("connection %d resumed: %v, want %v", i, got, want)
		}
	}
	if served.Load() != 3 || dialled.Load() != 3 {
		t.Errorf("verify ran %d and %d times for 3 connections", served.Load(), dialled.Load())
	}
	revoked.Store(true)
	if _, err := call(addr, client); err == nil {
		t.Error("a revoked peer came back by resumption")
	}
	if err := <-ended; err == nil {
		t.Error("the server accepted a revoked peer")
	}
}

func TestClientRefusesARevokedServerOnResumption(t *testing.T) {
	c := newClock(epoch)
	mx, jm := newMember(t, "mx", c), newMember(t, "jm", c)
	var revoked atomic.Bool
	addr, _ := serve(t, mx.source.ServerTLS(trust(t, c, jm.id, jm)))
	client := jm.source.ClientTLS(func(cs tls.ConnectionState) error {
		if revoked.Load() && cs.DidResume {
			return errors.New("revoked")
		}
		return nil
	})
	if _, err := call(addr, client); err != nil {
		t.Fatal(err)
	}
	revoked.Store(true)
	if _, err := call(addr, client); err == nil {
		t.Error("the client resumed with a revoked server")
	}
}

func TestRefusedConnections(t *testing.T) {
	c := newClock(epoch)
	mx, jm, br := newMember(t, "mx", c), newMember(t, "jm", c), newMember(t, "br", c)
	addr, ended := serve(t, mx.source.ServerTLS(trust(t, c, jm.id, mx, jm)))
	accept := func(tls.ConnectionState) error { return nil }

	old := jm.source.ClientTLS(accept)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	anonymous := jm.source.ClientTLS(accept)
	anonymous.GetClientCertificate = nil
	classic := jm.source.ClientTLS(accept)
	classic.CurvePreferences = []tls.CurveID{tls.CurveP256}
	// A CA that calls itself Jamaica's and is not in the bundle.
	forged := must1[*key](t)(newIssuer("jm", c.now()))
	impostor := &Ring{}
	impostor.content.Store(newContent([]*key{forged}))
	month := 30 * 24 * time.Hour
	past := must1[*tls.Certificate](t)(jm.ring.IssueNode(jm.id, nil, epoch))
	door := must1[*tls.Certificate](t)(jm.ring.IssueOperator([]string{"127.0.0.1"}, epoch))

	for what, config := range map[string]*tls.Config{
		"TLS 1.2":                  old,
		"no client certificate":    anonymous,
		"another key exchange":     classic,
		"an unknown state":         br.source.ClientTLS(accept),
		"another state's node":     mx.source.ClientTLS(accept),
		"a CA of the same name":    impostor.NodeSource(jm.id, nil, c.now).ClientTLS(accept),
		"an operator certificate":  fixed(door, c).ClientTLS(accept),
		"a self-signed identity":   selfSigned(t, c).ClientTLS(accept),
		"an expired certificate":   fixed(must1[*tls.Certificate](t)(jm.ring.IssueNode(jm.id, nil, epoch.Add(8*24*time.Hour))), c).ClientTLS(accept),
		"another node of the peer": jm.ring.NodeSource(nodeID(t, "jm/node/second"), nil, c.now).ClientTLS(accept),
	} {
		if _, err := call(addr, config); err == nil {
			t.Errorf("%s: the client got its byte", what)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the server accepted it", what)
		}
	}
	if _, err := call(addr, jm.source.ClientTLS(accept)); err != nil {
		t.Errorf("the right one: %v", err)
	}
	must0(t, <-ended)
	c.set(epoch.Add(month))
	if _, err := call(addr, fixed(past, c).ClientTLS(accept)); err == nil {
		t.Error("a month-old certificate got its byte")
	}
	if err := <-ended; err == nil {
		t.Error("the server accepted a month-old certificate")
	}
}

// fixed is a source that never renews.
func fixed(cert *tls.Certificate, c *clock) *Source {
	return &Source{now: c.now, issue: func(time.Time) (*tls.Certificate, error) { return cert, nil }}
}

func selfSigned(t testing.TB, c *clock) *Source {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must0(t, err)
	return fixed(must1[*tls.Certificate](t)(SelfSigned(private, c.now())), c)
}

func TestRenewal(t *testing.T) {
	c := newClock(epoch)
	mx, jm := newMember(t, "mx", c), newMember(t, "jm", c)
	addr, ended := serve(t, mx.source.ServerTLS(trust(t, c, jm.id, jm)))
	client := jm.source.ClientTLS(trust(t, c, mx.id, mx))
	day := 24 * time.Hour
	var serials []string
	for _, at := range []time.Duration{0, 4 * day, 5 * day, 6 * day, 36 * day, 400 * day} {
		c.set(epoch.Add(at))
		if _, err := call(addr, client); err != nil {
			t.Fatalf("after %v: %v", at, err)
		}
		must0(t, <-ended)
		serials = append(serials, must1[*tls.Certificate](t)(mx.source.Certificate()).Leaf.SerialNumber.String())
	}
	// Two thirds of 7 days, less an hour of backdating, are 4 days and 15 hours.
	for i, renewed := range []bool{false, true, false, true, true} {
		if got := serials[i] != serials[i+1]; got != renewed {
			t.Errorf("step %d: renewed %v, want %v", i+1, got, renewed)
		}
	}
}

func TestRenewalAfterTheClockWentBack(t *testing.T) {
	c := newClock(epoch.Add(48 * time.Hour))
	mx := newMember(t, "mx", newClock(epoch))
	source := mx.ring.NodeSource(mx.id, nil, c.now)
	future := must1[*tls.Certificate](t)(source.Certificate())
	c.set(epoch)
	now := must1[*tls.Certificate](t)(source.Certificate())
	if now == future || now.Leaf.NotBefore.After(c.now()) {
		t.Errorf("got a certificate valid from %v at %v", now.Leaf.NotBefore, c.now())
	}
}

func TestEndOfTheCA(t *testing.T) {
	c := newClock(epoch)
	mx := newMember(t, "mx", c)
	ca := must1[*x509.Certificate](t)(x509.ParseCertificate(mx.ring.CACertificates()[0]))
	c.set(ca.NotAfter.Add(-48 * time.Hour))
	last := must1[*tls.Certificate](t)(mx.source.Certificate())
	if last.Leaf.NotAfter.After(ca.NotAfter) {
		t.Errorf("the leaf ends %v, its CA %v", last.Leaf.NotAfter, ca.NotAfter)
	}
	c.set(ca.NotAfter)
	_, err := mx.source.Certificate()
	check(t, "a CA past its end", err, fault.Denied, "ca-expired")
	c.set(epoch.Add(-24 * time.Hour))
	_, err = mx.ring.IssueNode(mx.id, nil, c.now())
	check(t, "a clock before the CA", err, fault.Retry, "clock")
}

func TestOldCertificateServesWhileRenewalFails(t *testing.T) {
	c := newClock(epoch)
	mx := newMember(t, "mx", c)
	fail := false
	source := &Source{now: c.now, issue: func(at time.Time) (*tls.Certificate, error) {
		if fail {
			return nil, errors.New("vault is away")
		}
		return mx.ring.IssueNode(mx.id, nil, at)
	}}
	first := must1[*tls.Certificate](t)(source.Certificate())
	fail = true
	c.set(epoch.Add(6 * 24 * time.Hour))
	if got, err := source.Certificate(); err != nil || got != first {
		t.Errorf("within its life: got another certificate, %v", err)
	}
	c.set(epoch.Add(7 * 24 * time.Hour))
	if _, err := source.Certificate(); err == nil {
		t.Error("an expired certificate was served")
	}
}

func TestOperatorTLS(t *testing.T) {
	c := newClock(epoch)
	mx := newMember(t, "mx", c)
	roots := x509.NewCertPool()
	roots.AddCert(must1[*x509.Certificate](t)(x509.ParseCertificate(mx.ring.CACertificates()[0])))
	source := mx.ring.OperatorSource([]string{"node.mx.test", "127.0.0.1", "::1"}, c.now)
	addr, ended := serve(t, source.OperatorTLS())
	for _, host := range []string{"node.mx.test", "127.0.0.1", "::1"} {
		state, err := call(addr, &tls.Config{RootCAs: roots, ServerName: host, Time: c.now})
		if err != nil || state.Version != tls.VersionTLS13 {
			t.Errorf("%s: %v", host, err)
		}
		must0(t, <-ended)
	}
	for what, config := range map[string]*tls.Config{
		"another host": {RootCAs: roots, ServerName: "other.test", Time: c.now},
		"no root":      {RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1", Time: c.now},
		"TLS 1.2":      {RootCAs: roots, ServerName: "127.0.0.1", Time: c.now, MaxVersion: tls.VersionTLS12},
	} {
		if _, err := call(addr, config); err == nil {
			t.Errorf("%s: connected", what)
		}
		<-ended
	}
}

// A steward talks to the hub; the hub knows the key and nothing else.
func TestKeyHolderIsRecognisedByKey(t *testing.T) {
	c := newClock(epoch)
	r, _, _ := newRing(t)
	must0(t, r.GenerateCA("hub", c.now()))
	hub := r.HubSource(must1[spiffeid.ID](t)(authority.HubID(network)), []string{"hub.test"}, c.now)
	path := filepath.Join(t.TempDir(), "steward")
	known := must1[*OfflineKey](t)(CreateOffline(path, "one", quick("correct horse battery")))
	unknown := must1[*OfflineKey](t)(CreateOffline(path+"2", "two", quick("correct horse battery")))
	addr, ended := serve(t, hub.ServerTLS(func(cs tls.ConnectionState) error {
		public, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
		if !ok || !bytes.Equal(public, known.Public().Bytes()) {
			return errors.New("unknown key")
		}
		return nil
	}))
	accept := func(tls.ConnectionState) error { return nil }
	if _, err := call(addr, known.Source(c.now).ClientTLS(accept)); err != nil {
		t.Errorf("the known steward: %v", err)
	}
	must0(t, <-ended)
	if _, err := call(addr, unknown.Source(c.now).ClientTLS(accept)); err == nil {
		t.Error("an unknown key got its byte")
	}
	if err := <-ended; err == nil {
		t.Error("the hub accepted an unknown key")
	}
	_, err := SelfSigned(must1[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)), c.now())
	check(t, "a key of another algorithm", err, fault.Invalid, "malformed-key")
}

func TestVerifyIsDemanded(t *testing.T) {
	mx := newMember(t, "mx", newClock(epoch))
	for what, build := range map[string]func(Verify) *tls.Config{"server": mx.source.ServerTLS, "client": mx.source.ClientTLS} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a %s configuration was made without verify", what)
				}
			}()
			build(nil)
		}()
	}
}

func TestCAIssuesForItsOwnAlone(t *testing.T) {
	mx := newMember(t, "mx", newClock(epoch))
	for _, id := range []spiffeid.ID{
		nodeID(t, "jm/node/primary"), must1[spiffeid.ID](t)(authority.HubID(network)), {},
		spiffeid.RequireFromString("spiffe://mxx.net/node/primary"),
	} {
		_, err := mx.ring.IssueNode(id, nil, epoch)
		check(t, id.String(), err, fault.Denied, "wrong-identity")
	}
	empty, _, _ := newRing(t)
	_, err := empty.IssueNode(mx.id, nil, epoch)
	check(t, "a ring without a CA", err, fault.NotFound, "no-key")
	if got := empty.CACertificates(); got != nil {
		t.Errorf("got %d CA certificates of an empty ring", len(got))
	}
	for _, label := range []string{"", "MX", "mx.net", "mexico", "hub.net", "mx/node"} {
		check(t, "a CA labelled "+label, empty.GenerateCA(label, epoch), fault.Invalid, "malformed-name")
	}
	must0(t, empty.GenerateCA("x-rss", epoch))
}

func TestHosts(t *testing.T) {
	mx := newMember(t, "mx", newClock(epoch))
	leaf := must1[*tls.Certificate](t)(mx.ring.IssueOperator([]string{"a.test", "::ffff:10.0.0.1", "localhost"}, epoch)).Leaf
	if len(leaf.DNSNames) != 2 || len(leaf.IPAddresses) != 1 || leaf.IPAddresses[0].String() != "10.0.0.1" || len(leaf.URIs) != 0 {
		t.Errorf("got names %v, addresses %v, identities %v", leaf.DNSNames, leaf.IPAddresses, leaf.URIs)
	}
	for _, hosts := range [][]string{
		{}, {""}, {"a b"}, {"a:443"}, {"-a.test"}, {"a..test"}, {"*.test"}, {"ñ.test"}, {"fe80::1%eth0"}, make([]string, 33),
	} {
		_, err := mx.ring.IssueOperator(hosts, epoch)
		check(t, "hosts", err, fault.Usage, "malformed-host")
	}
}
