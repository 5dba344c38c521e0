package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

const (
	// leafSoon is when a certificate that should have renewed itself (7 days of life, at two thirds) has not.
	leafSoon = 36 * time.Hour
	// caSoon and caLast are when a state should replace its CA, whose new certificate has to go through the directory, and when
	// it must.
	caSoon = 60 * 24 * time.Hour
	caLast = 14 * 24 * time.Hour

	certificate = "certificate"
	day         = 24 * time.Hour
)

// Certificates are what a node shows and what others hold it against.
type Certificates struct {
	// Leaf gives the certificate that is in use, and why it cannot be renewed where it cannot.
	Leaf func() (*x509.Certificate, error)
	// Name says whose: "peer door", "operator door".
	Name string
	// Issuers are the node's own CA certificates, DER.
	Issuers func() [][]byte
	// Declared are those that the directory has for its state, DER; nil where others do not judge by the directory.
	Declared func() [][]byte
	Clock    func() time.Time
}

// Check looks at the certificate, whether it holds against the directory, and at the CA behind it, in days left.
func (c Certificates) Check() Check {
	return Check{Component: certificate, Look: func(_ context.Context, tell func(Finding)) {
		leaf, err := c.Leaf()
		if err != nil || leaf == nil {
			tell(Finding{certificate, c.Name, Failing, "no-certificate", "there is no certificate, and none can be made",
				"see whether the keyring is unlocked and has the CA key, and whether the CA has ended: enlace key ls", nil})
			return
		}
		issuer := c.issuer(leaf)
		tell(c.leaf(leaf, issuer))
		if issuer != nil {
			tell(c.ca(issuer))
		}
	}}
}

// issuer finds the CA certificate that signed a leaf; nil where it is not known here.
func (c Certificates) issuer(leaf *x509.Certificate) *x509.Certificate {
	for _, der := range slices.Concat(c.declared(), c.Issuers()) {
		ca, err := x509.ParseCertificate(der)
		if err == nil && leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

func (c Certificates) declared() [][]byte {
	if c.Declared == nil {
		return nil
	}
	return c.Declared()
}

func (c Certificates) leaf(leaf, issuer *x509.Certificate) Finding {
	now := c.Clock()
	left := leaf.NotAfter.Sub(now)
	const renew = "see whether the keyring is unlocked and this machine's clock is right; the node renews its certificate itself at the next connection"
	switch {
	case left <= 0:
		return Finding{certificate, c.Name, Failing, "expired", "the certificate ended " + leaf.NotAfter.UTC().Format(time.DateTime) + " UTC", renew, nil}
	case now.Before(leaf.NotBefore):
		return Finding{certificate, c.Name, Failing, "not-yet-valid", "the certificate begins " + leaf.NotBefore.UTC().Format(time.DateTime) + " UTC", setClock, nil}
	case c.Declared != nil && !c.known(issuer):
		return Finding{certificate, c.Name, Failing, "not-in-directory", "the certificate is not of a CA that the directory has for this state: no other node accepts it",
			"bring the state's CA into the directory (enlace key rotate STATE), or wait until this node's copy of it is as new", nil}
	case left < leafSoon && issuer != nil && leaf.NotAfter.Before(issuer.NotAfter):
		return Finding{certificate, c.Name, Warning, "not-renewed", fmt.Sprintf("the certificate should have renewed itself and ends in %d hours", int(left.Hours())), renew, nil}
	}
	return Finding{certificate, c.Name, OK, "valid", fmt.Sprintf("the certificate is good for %.1f days and renews itself", left.Hours()/24), "", nil}
}

// known reports whether the directory has a CA.
func (c Certificates) known(issuer *x509.Certificate) bool {
	return issuer != nil && slices.ContainsFunc(c.declared(), func(der []byte) bool { return string(der) == string(issuer.Raw) })
}

func (c Certificates) ca(ca *x509.Certificate) Finding {
	left := ca.NotAfter.Sub(c.Clock())
	name := c.Name + ", CA"
	const do = "make a new CA and have the directory take it, while the old one still serves: enlace key rotate STATE"
	switch {
	case left <= caLast:
		return Finding{certificate, name, Failing, "ca-ends", fmt.Sprintf("the CA has %d days left, and nothing it has signed is good for longer", int(max(left, 0)/day)), do, nil}
	case left <= caSoon:
		return Finding{certificate, name, Warning, "ca-ends-soon", fmt.Sprintf("the CA has %d days left", int(left/day)), do, nil}
	}
	return Finding{certificate, name, OK, "ca-valid", fmt.Sprintf("the CA has %d days left", int(left/day)), "", nil}
}
