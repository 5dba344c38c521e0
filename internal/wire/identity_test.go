package wire_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/wire"
)

func shown(t *testing.T, s *keyring.Source) tls.ConnectionState {
	t.Helper()
	c, err := s.Certificate()
	must(t, err)
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}}
}

// issue signs a certificate that the keyring would refuse to issue.
func issue(t *testing.T, m *member, change func(*x509.Certificate)) tls.ConnectionState {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: m.state.String() + "." + networkName, Path: "/node/primary"}}}
	change(leaf)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), crypto.Signer(key))
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
}

// TestNodeIdentity holds each way to be the wrong one against its own code. PROTOCOL 3.5, 3.6, 10.1.
func TestNodeIdentity(t *testing.T) {
	n := newNetwork(t)
	mx, jm, br, ca := n.admit("mx"), n.admit("jm"), n.admit("br"), n.admit("ca")
	stranger := n.candidate("us")
	n.revoke(br)
	n.suspend(ca)
	undeclared, err := authority.ParseNode("mx/node/second")
	must(t, err)
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		must(t, err)
		return u
	}
	good := shown(t, n.source(mx, mx.node))
	hubID, err := authority.HubID(networkName)
	must(t, err)

	// A CA that says it is mx but is not the one that mx declared.
	impostor := n.candidate("mx")

	tests := []struct {
		name  string
		state tls.ConnectionState
		ahead time.Duration
		kind  fault.Kind
		code  string
	}{
		{"good", good, 0, 0, ""},
		{"no certificate", tls.ConnectionState{}, 0, fault.Unauthenticated, wire.CodeMissing},
		{"expired", good, 8 * 24 * time.Hour, fault.Unauthenticated, wire.CodeExpired},
		{"early", good, -2 * time.Hour, fault.Unauthenticated, wire.CodeEarly},
		{"other CA", shown(t, n.source(impostor, mx.node)), 0, fault.Unauthenticated, wire.CodeUntrusted},
		{"unknown state", shown(t, n.source(stranger, stranger.node)), 0, fault.Denied, wire.CodeState},
		{"undeclared node", shown(t, n.source(mx, undeclared)), 0, fault.Denied, "unknown-node"},
		{"revoked", shown(t, n.source(br, br.node)), 0, fault.Denied, "revoked"},
		{"suspended", shown(t, n.source(ca, ca.node)), 0, fault.Denied, "suspended"},
		{"hub", shown(t, n.hub.HubSource(hubID, nil, n.now)), 0, fault.Unauthenticated, wire.CodeIdentity},
		{"other network", issue(t, jm, func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://jm.other.example/node/primary")} }), 0, fault.Unauthenticated, wire.CodeIdentity},
		{"two names", issue(t, jm, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri("spiffe://mx.test.example/node/primary")) }), 0, fault.Unauthenticated, wire.CodeIdentity},
		{"no name", issue(t, jm, func(c *x509.Certificate) { c.URIs = nil }), 0, fault.Unauthenticated, wire.CodeIdentity},
		{"other CA by hand", issue(t, jm, func(*x509.Certificate) {}), 0, fault.Unauthenticated, wire.CodeUntrusted},
		{"long life", issue(t, jm, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(9 * 24 * time.Hour) }), 0, fault.Unauthenticated, wire.CodeUntrusted},
		{"one end only", issue(t, jm, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), 0, fault.Unauthenticated, wire.CodeUntrusted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			at := func() time.Time { return time.Now().Add(test.ahead) }
			p, err := wire.NodeIdentity(n.current, at).Peer(test.state)
			if test.code == "" {
				if err != nil || p.Node != mx.node {
					t.Fatalf("Peer = %v, %v; want %v", p, err, mx.node)
				}
				return
			}
			if !fault.Is(err, test.kind) || fault.CodeOf(err) != test.code {
				t.Errorf("Peer: %v (%v, %q); want %v, %q", err, fault.KindOf(err), fault.CodeOf(err), test.kind, test.code)
			}
			if p != (wire.Peer{}) {
				t.Errorf("Peer = %v beside an error", p)
			}
		})
	}
}

// TestOtherStatesCertificate: a CA that is in the directory speaks for the state that declared it and no other.
func TestOtherStatesCertificate(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.candidate("jm")
	jm.ring = newRing(t, "mx") // jm's own CA is ready to issue mx's names
	n.take(jm)
	err := wire.NodeIdentity(n.current, n.now).Verify(shown(t, n.source(jm, mx.node)))
	if fault.CodeOf(err) != wire.CodeUntrusted {
		t.Errorf("mx's name by jm's CA: %v; want %s", err, wire.CodeUntrusted)
	}
}

func TestThisNode(t *testing.T) {
	n := newNetwork(t)
	mx, jm := n.admit("mx"), n.admit("jm")
	dialled := wire.ThisNode(n.current, n.now, jm.node)
	if err := dialled.Verify(shown(t, n.source(mx, mx.node))); fault.CodeOf(err) != wire.CodeIdentity {
		t.Errorf("dialled jm, mx answered: %v; want %s", err, wire.CodeIdentity)
	}
	if err := dialled.Verify(shown(t, n.source(jm, jm.node))); err != nil {
		t.Errorf("dialled jm, jm answered: %v", err)
	}
}

func TestHubIdentity(t *testing.T) {
	n := newNetwork(t)
	mx := n.admit("mx")
	id, err := authority.HubID(networkName)
	must(t, err)
	other := newRing(t, "hub")
	identity := wire.HubIdentity(n.current, n.now)
	if p, err := identity.Peer(shown(t, n.hub.HubSource(id, nil, n.now))); err != nil || !p.Hub {
		t.Errorf("hub: %v, %v", p, err)
	}
	if err := identity.Verify(shown(t, other.HubSource(id, nil, n.now))); fault.CodeOf(err) != wire.CodeUntrusted {
		t.Errorf("other hub: %v, want %s", err, wire.CodeUntrusted)
	}
	if err := identity.Verify(shown(t, n.source(mx, mx.node))); fault.CodeOf(err) != wire.CodeIdentity {
		t.Errorf("node as hub: %v, want %s", err, wire.CodeIdentity)
	}
}

// TestVisitorIdentity: the hub's door knows whom it has before it, and what is wrong with them.
func TestVisitorIdentity(t *testing.T) {
	n := newNetwork(t)
	mx, br, ca := n.admit("mx"), n.admit("br"), n.admit("ca")
	n.revoke(br)
	n.suspend(ca)
	self := func(h holder) tls.ConnectionState {
		c, err := keyring.SelfSigned(h.PrivateKey, n.now())
		must(t, err)
		return tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}}
	}
	tests := []struct {
		name, peer, barred string
		state              tls.ConnectionState
	}{
		{"node", "mx/node/primary", "", shown(t, n.source(mx, mx.node))},
		{"suspended node", "ca/node/primary", "suspended", shown(t, n.source(ca, ca.node))},
		{"revoked node", "stranger", "revoked", shown(t, n.source(br, br.node))},
		{"steward", "steward key of network", "", self(n.stewards[1])},
		{"state", "state key of mx", "", self(mx.key)},
		{"suspended state", "state key of ca", "suspended", self(ca.key)},
		{"stranger", "stranger", wire.CodeHolder, self(newHolder(t))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := wire.VisitorIdentity(n.current, n.now).Peer(test.state)
			must(t, err)
			if got := p.String(); got != test.peer {
				t.Errorf("peer = %s, want %s", got, test.peer)
			}
			if got := fault.CodeOf(p.Barred); got != test.barred {
				t.Errorf("barred = %q, want %q", got, test.barred)
			}
			// At a node's door whoever is nobody is refused for it, and the others are the same. PROTOCOL 10.1, 10.10.
			member, err := wire.MemberIdentity(n.current, n.now).Peer(test.state)
			if test.peer == "stranger" && fault.CodeOf(err) != test.barred || test.peer != "stranger" && (err != nil || member.String() != test.peer || fault.CodeOf(member.Barred) != test.barred) {
				t.Errorf("at a node's door: %s (%v), %v", member, member.Barred, err)
			}
		})
	}
}

func TestNoDirectoryYet(t *testing.T) {
	n := newNetwork(t)
	mx := n.admit("mx")
	err := wire.NodeIdentity(&directory.Current{}, n.now).Verify(shown(t, n.source(mx, mx.node)))
	if !fault.Is(err, fault.Retry) {
		t.Errorf("without a directory: %v, want retry", err)
	}
}
