package keyring

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/enlace-network/enlace/internal/fault"
)

// sessions is how many peers a client remembers for resumption.
const sessions = 64

// Verify decides on the other side of a connection from its certificates, which Go has checked in no way but for the
// possession of the leaf's key. It is called after every handshake, resumed ones too, before any application byte,
// with at least one peer certificate. An error ends the connection.
type Verify func(tls.ConnectionState) error

// Source is one TLS identity whose certificate renews itself at two thirds of its life, when a connection asks. So
// a machine that was switched off for a month has a fresh one at its first handshake. Safe for many goroutines.
type Source struct {
	unprintable
	issue func(now time.Time) (*tls.Certificate, error)
	now   func() time.Time

	mu   sync.Mutex
	held *tls.Certificate // guarded by mu
}

// NodeSource is the identity of a node towards nodes and hub; see IssueNode.
func (r *Ring) NodeSource(id spiffeid.ID, hosts []string, now func() time.Time) *Source {
	return &Source{now: now, issue: func(at time.Time) (*tls.Certificate, error) { return r.IssueNode(id, hosts, at) }}
}

// HubSource is the identity of the directory hub towards nodes; see IssueHub.
func (r *Ring) HubSource(id spiffeid.ID, hosts []string, now func() time.Time) *Source {
	return &Source{now: now, issue: func(at time.Time) (*tls.Certificate, error) { return r.IssueHub(id, hosts, at) }}
}

// OperatorSource is the identity of the door to own people; see IssueOperator.
func (r *Ring) OperatorSource(hosts []string, now func() time.Time) *Source {
	return &Source{now: now, issue: func(at time.Time) (*tls.Certificate, error) { return r.IssueOperator(hosts, at) }}
}

// Certificate is the certificate in use, renewed if it is time. If it cannot be renewed, the old one serves until it
// expires, and only then is there an error.
func (s *Source) Certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.held != nil && fresh(s.held, now) {
		return s.held, nil
	}
	renewed, err := s.issue(now)
	if err == nil {
		s.held = renewed
		return renewed, nil
	}
	if s.held != nil && !now.Before(s.held.Leaf.NotBefore) && now.Before(s.held.Leaf.NotAfter) {
		return s.held, nil
	}
	return nil, err
}

// GetCertificate has the form that tls.Config wants.
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.Certificate()
}

// GetClientCertificate has the form that tls.Config wants.
func (s *Source) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return s.Certificate()
}

// ServerTLS is for a door to other members: TLS 1.3, hybrid key exchange first, a client certificate demanded and
// judged by verify. It panics without verify, which would let everyone in. DESIGN 5.
func (s *Source) ServerTLS(verify Verify) *tls.Config {
	c := s.base()
	c.GetCertificate = s.GetCertificate
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = must(verify)
	return c
}

// ClientTLS is for calling another member's door; the counterpart of ServerTLS. It panics without verify.
func (s *Source) ClientTLS(verify Verify) *tls.Config {
	c := s.base()
	c.GetClientCertificate = s.GetClientCertificate
	c.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	// Go would check a host name against one pool of roots. Here each state is its own root and the name is a SPIFFE
	// ID, so verify does it all, and does it on resumed sessions too.
	c.InsecureSkipVerify = true
	c.VerifyConnection = must(verify)
	return c
}

// OperatorTLS is for the door to own people, who log in above it: TLS 1.3, no client certificate.
func (s *Source) OperatorTLS() *tls.Config {
	c := s.base()
	c.GetCertificate = s.GetCertificate
	return c
}

func (s *Source) base() *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519},
		Time:             s.now,
	}
}

func must(verify Verify) Verify {
	if verify == nil {
		panic("keyring: a TLS configuration without verify would trust everyone")
	}
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return fault.New(fault.Unauthenticated, "no-certificate", "greet peer", "the other side showed no certificate")
		}
		return verify(cs)
	}
}

func fresh(c *tls.Certificate, now time.Time) bool {
	life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	return !now.Before(c.Leaf.NotBefore) && now.Before(c.Leaf.NotBefore.Add(life*2/3))
}
