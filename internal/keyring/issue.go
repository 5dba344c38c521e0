package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/enlace-network/enlace/certs"
	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opIssue  = "issue certificate"
	maxHosts = 32
	// hubLabel labels the hub's CA; three letters, so no state has it.
	hubLabel = "hub"
)

// issuer is a CA. Its label, the certificate's organization, is the first label of the only trust domain it issues
// for.
type issuer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// GenerateCA makes the CA of a state ("mx") or of the hub ("hub"): it will issue identities of trust domains
// "<label>.<network>" alone. Conflict if the ring has one.
func (r *Ring) GenerateCA(label string, now time.Time) error {
	if _, err := authority.ParseState(label); err != nil && label != hubLabel {
		return fault.New(fault.Invalid, "malformed-name", "make CA", "a CA is labelled with a state, such as mx, or with hub")
	}
	return r.change(func(c *content) ([]*key, error) {
		if c.current[CA] != nil {
			return nil, occupied()
		}
		k, err := newIssuer(label, now)
		if err != nil {
			return nil, err
		}
		return []*key{k}, nil
	})
}

// CACertificates are the ring's own CA certificates in DER, for the directory entry; nil if it has no CA.
func (r *Ring) CACertificates() [][]byte {
	var out [][]byte
	for _, k := range r.content.Load().keys {
		if k.issuing != nil {
			out = append(out, k.Certificate)
		}
	}
	return out
}

// IssueNode issues a node's certificate under a key made for it and kept in memory alone. Hosts, bare DNS names or
// IP addresses, may be empty: peers know a node by its identity. Errors: NotFound without a CA, Denied for an
// identity of another state, Retry where the clock lies before the CA's time, Denied "ca-expired" after it.
func (r *Ring) IssueNode(id spiffeid.ID, hosts []string, now time.Time) (*tls.Certificate, error) {
	return r.issue(certs.Node, names{id, hosts}, now)
}

// IssueHub is IssueNode for the directory hub.
func (r *Ring) IssueHub(id spiffeid.ID, hosts []string, now time.Time) (*tls.Certificate, error) {
	return r.issue(certs.Hub, names{id, hosts}, now)
}

// IssueOperator issues the certificate of the door to own people: for hosts, at least one, and without an identity,
// so that it never passes for a node. Errors as IssueNode.
func (r *Ring) IssueOperator(hosts []string, now time.Time) (*tls.Certificate, error) {
	return r.issue(certs.Operator, names{hosts: hosts}, now)
}

// SelfSigned makes a client certificate for the holder of a state or steward key. It says nothing about its holder:
// the hub recognises the public key. The signer must be an Ed25519 key.
func SelfSigned(signer crypto.Signer, now time.Time) (*tls.Certificate, error) {
	profile, err := certs.Load(certs.Holder)
	if err != nil {
		return nil, err
	}
	public, ok := signer.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "malformed-key", opIssue, "only an Ed25519 key makes such a certificate")
	}
	t := profile.Template(now)
	t.Subject = pkix.Name{CommonName: "Enlace key holder"}
	return certificate(t, t, public, signer, signer)
}

// names are what a leaf is issued for.
type names struct {
	id    spiffeid.ID
	hosts []string
}

func (r *Ring) issue(name certs.Name, who names, now time.Time) (*tls.Certificate, error) {
	k := r.chosen(CA)
	if k == nil {
		return nil, fault.New(fault.NotFound, "no-key", opIssue, "the ring has no CA")
	}
	profile, err := certs.Load(name)
	if err != nil {
		return nil, err
	}
	t := profile.Template(now)
	if err := who.into(t, profile, k.issuing.label()); err != nil {
		return nil, err
	}
	if err := k.issuing.bound(t, now); err != nil {
		return nil, err
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, notMade(err)
	}
	return certificate(t, k.issuing.cert, leaf.Public(), leaf, k.issuing.key)
}

func newIssuer(label string, now time.Time) (*key, error) {
	profile, err := certs.Load(certs.CA)
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, notMade(err)
	}
	t := profile.Template(now)
	t.Subject = pkix.Name{CommonName: "Enlace CA " + label, Organization: []string{label}}
	cert, err := certificate(t, t, private.Public(), private, private)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, notMade(err)
	}
	return record{
		Slot: CA, Algorithm: ecdsaP256, Created: now.Unix(),
		Private: base64.StdEncoding.EncodeToString(der), Certificate: cert.Certificate[0],
	}.parse()
}

func (i *issuer) label() string { return i.cert.Subject.Organization[0] }

// bound keeps a leaf within its CA's own time.
func (i *issuer) bound(t *x509.Certificate, now time.Time) error {
	if now.Before(i.cert.NotBefore) {
		return fault.New(fault.Retry, "clock", opIssue, "this machine's clock stands before the CA was made").
			WithHint("set the clock")
	}
	if !now.Before(i.cert.NotAfter) {
		return fault.New(fault.Denied, "ca-expired", opIssue, "the CA has expired").
			WithHint("make a new key file with a new CA and put it into the directory entry")
	}
	if t.NotBefore.Before(i.cert.NotBefore) {
		t.NotBefore = i.cert.NotBefore
	}
	if t.NotAfter.After(i.cert.NotAfter) {
		t.NotAfter = i.cert.NotAfter
	}
	return nil
}

// into writes the names into a template, as far as the profile wants them. PROTOCOL 3.5.
func (n names) into(t *x509.Certificate, profile certs.Profile, label string) error {
	if profile.Identity == certs.Required {
		domain, _, _ := strings.Cut(n.id.TrustDomain().Name(), ".")
		if n.id.IsZero() || domain != label {
			return fault.New(fault.Denied, "wrong-identity", opIssue, "the CA does not issue for that identity")
		}
		t.URIs = []*url.URL{n.id.URL()}
	}
	if len(n.hosts) > maxHosts || (profile.Hosts == certs.Required && len(n.hosts) == 0) {
		return fault.New(fault.Usage, "malformed-host", opIssue, "the certificate needs 1 to 32 host names or addresses")
	}
	for _, h := range n.hosts {
		if err := addHost(t, h); err != nil {
			return err
		}
	}
	return nil
}

func addHost(t *x509.Certificate, host string) error {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		t.IPAddresses = append(t.IPAddresses, ip.Unmap().AsSlice())
		return nil
	}
	if !isHostName(host) {
		return fault.New(fault.Usage, "malformed-host", opIssue, "a host is a plain DNS name or an IP address, without a port")
	}
	t.DNSNames = append(t.DNSNames, host)
	return nil
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// certificate signs a template and pairs it with its key.
func certificate(t, parent *x509.Certificate, public crypto.PublicKey, private, by crypto.Signer) (*tls.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, by)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opIssue, "the certificate could not be signed")
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opIssue, "the certificate could not be read back")
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}
