package wire

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// Codes of refused certificates; those of the directory's checks ("revoked", "suspended", ...) come beside them.
const (
	CodeMissing   = "no-certificate"
	CodeExpired   = "certificate-expired"
	CodeEarly     = "certificate-not-yet-valid"
	CodeIdentity  = "wrong-identity"
	CodeUntrusted = "untrusted-certificate"
	CodeState     = "unknown-state"
	CodeHolder    = "unknown-key"
)

const opGreet = "greet peer"

// maxLeaf is the longest life of a leaf certificate, 7 days, and an hour for issuers that backdate. PROTOCOL 3.6.
const maxLeaf = 7*24*time.Hour + time.Hour

// Identity judges the certificate of the other side against the directory in force: at the handshake by Verify,
// again on every call by Authorise.
type Identity struct {
	current *directory.Current
	now     func() time.Time
	judge   func(directory.View, *x509.Certificate) (Peer, error)
}

// NodeIdentity accepts nodes of this network: one SPIFFE ID that names a node, a chain to the CA bundle of the node's
// own state, and a node that is declared and neither revoked nor suspended, nor its state.
//
// Errors: Unauthenticated with one of the codes of this package, Denied as directory.View.CheckNode. PROTOCOL 3.5, 3.6.
func NodeIdentity(current *directory.Current, now func() time.Time) Identity {
	return Identity{current, now, func(v directory.View, leaf *x509.Certificate) (Peer, error) {
		node, err := nodeOf(v, leaf)
		if err != nil {
			return Peer{}, err
		}
		return Peer{Node: node}, v.CheckNode(node)
	}}
}

// ThisNode accepts one node alone: the one that was dialled. Another is Unauthenticated "wrong-identity".
func ThisNode(current *directory.Current, now func() time.Time, want authority.Node) Identity {
	anyNode := NodeIdentity(current, now)
	return Identity{current, now, func(v directory.View, leaf *x509.Certificate) (Peer, error) {
		p, err := anyNode.judge(v, leaf)
		if err == nil && p.Node != want {
			return Peer{}, refuse(CodeIdentity, "another node answers at the address of this one")
		}
		return p, err
	}}
}

// HubIdentity accepts the directory hub: its SPIFFE ID and a chain to the CA bundle that the directory names.
// PROTOCOL 3.5, 3.6.
func HubIdentity(current *directory.Current, now func() time.Time) Identity {
	return Identity{current, now, func(v directory.View, leaf *x509.Certificate) (Peer, error) {
		id, err := identityOf(leaf)
		if err != nil {
			return Peer{}, err
		}
		if !authority.IsHubID(id, v.Snapshot().NetworkName()) {
			return Peer{}, refuse(CodeIdentity, "the certificate does not name the hub of this network")
		}
		return Peer{Hub: true}, chains(leaf, v.Snapshot().Hub().Certificates, v.Time())
	}}
}

// VisitorIdentity is for the hub's own door. It accepts anyone with a certificate and says in Peer who it is: a
// node, the holder of a state or steward key (by a self-signed certificate of that key), or a stranger. Barred says
// what is wrong; whoever is Barred may call only what the door leaves open. PROTOCOL 11.1.
func VisitorIdentity(current *directory.Current, now func() time.Time) Identity {
	return Identity{current, now, func(v directory.View, leaf *x509.Certificate) (Peer, error) {
		if len(leaf.URIs) > 0 {
			return visitingNode(v, leaf), nil
		}
		return visitingHolder(v, leaf), nil
	}}
}

// MemberIdentity is for a node's door to other nodes. It accepts those of VisitorIdentity who are somebody: nodes, suspended
// ones too, and holders of a state or steward key. Barred says that a node or a holder's state is suspended; whoever is
// Barred may only hand in statements. All others are refused, as by NodeIdentity. PROTOCOL 10.1, 10.10.
func MemberIdentity(current *directory.Current, now func() time.Time) Identity {
	visitor := VisitorIdentity(current, now)
	return Identity{current, now, func(v directory.View, leaf *x509.Certificate) (Peer, error) {
		p, err := visitor.judge(v, leaf)
		if err == nil && !p.IsNode() && !p.IsHolder() {
			return Peer{}, p.Barred
		}
		return p, err
	}}
}

func visitingNode(v directory.View, leaf *x509.Certificate) Peer {
	node, err := nodeOf(v, leaf)
	if err != nil {
		return Peer{Barred: err}
	}
	err = v.CheckNode(node)
	if err != nil && fault.CodeOf(err) != directory.Suspended.String() {
		return Peer{Barred: err}
	}
	return Peer{Node: node, Barred: err}
}

func visitingHolder(v directory.View, leaf *x509.Certificate) Peer {
	if err := inTime(leaf, v.Time()); err != nil {
		return Peer{Barred: err}
	}
	raw, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return Peer{Barred: refuse(CodeHolder, "the certificate names no node, and its key is no state or steward key")}
	}
	public, err := authority.ParsePublicKey(authority.Ed25519, raw)
	if err != nil {
		return Peer{Barred: refuse(CodeHolder, "the certificate's key is malformed")}
	}
	h, ok := v.Holder(public.Fingerprint())
	if !ok || (h.Purpose != directory.PurposeSteward && h.Purpose != directory.PurposeState) || h.Status != directory.KeyActive {
		return Peer{Barred: refuse(CodeHolder, "the key is no state or steward key in force")}
	}
	if h.Owner.IsNetwork() {
		return Peer{Holder: h}
	}
	return Peer{Holder: h, Barred: v.CheckState(h.Owner.State())}
}

// Peer judges a connection now.
func (i Identity) Peer(cs tls.ConnectionState) (Peer, error) {
	if len(cs.PeerCertificates) == 0 {
		return Peer{}, refuse(CodeMissing, "the other side showed no certificate")
	}
	s := i.current.Load()
	if s == nil {
		return Peer{}, fault.New(fault.Retry, "no-directory", opGreet, "the directory has not been read yet")
	}
	p, err := i.judge(s.At(i.now()), cs.PeerCertificates[0])
	if err != nil {
		return Peer{}, err
	}
	return p, nil
}

// Verify has the form that tls.Config.VerifyConnection wants; it runs on resumed sessions too.
func (i Identity) Verify(cs tls.ConnectionState) error {
	_, err := i.Peer(cs)
	return err
}

// Changed is closed at the next change of the directory behind the identity.
func (i Identity) Changed() <-chan struct{} { return i.current.Changed() }

// Authorise is a server's authoriser: it judges the caller's certificate on every call, then asks allow (nil = every
// method) whether this peer may call this method, and puts the Peer into the context.
func (i Identity) Authorise(allow func(p Peer, fullMethod string) error) Authorise {
	return func(ctx context.Context, method string) (context.Context, error) {
		c, ok := connectionFrom(ctx)
		if !ok {
			return nil, refuse(CodeMissing, "the call came over no connection of ours")
		}
		p, err := i.again(c)
		if err == nil && allow != nil {
			err = allow(p, method)
		}
		if err != nil {
			return nil, err
		}
		return WithPeer(ctx, p), nil
	}
}

// verdict is what was found of a connection. A view answers by whole seconds, so within one second and one snapshot
// judging again would find the same; it saves a signature check per call.
type verdict struct {
	snapshot *directory.Snapshot
	second   int64
	peer     Peer
	err      error
}

func (i Identity) again(c *connection) (Peer, error) {
	now := verdict{snapshot: i.current.Load(), second: i.now().Unix()}
	if had := c.verdict.Load(); had != nil && had.snapshot == now.snapshot && had.second == now.second {
		return had.peer, had.err
	}
	now.peer, now.err = i.Peer(c.State)
	// Peer looked at the directory after we did. A verdict on a later snapshot under the name of an earlier one is
	// found by nobody, so it does no harm.
	c.verdict.Store(&now)
	return now.peer, now.err
}

// nodeOf reads which node a certificate names and proves that the node's own state says so.
func nodeOf(v directory.View, leaf *x509.Certificate) (authority.Node, error) {
	id, err := identityOf(leaf)
	if err != nil {
		return authority.Node{}, err
	}
	node, err := authority.ParseNodeID(id, v.Snapshot().NetworkName())
	if err != nil {
		return authority.Node{}, refuse(CodeIdentity, "the certificate does not name a node of this network")
	}
	bundle := v.CertificatePool(node.State())
	if bundle == nil {
		return authority.Node{}, fault.New(fault.Denied, CodeState, opGreet, "the state is not in the directory")
	}
	return node, chains(leaf, bundle, v.Time())
}

func identityOf(leaf *x509.Certificate) (spiffeid.ID, error) {
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return spiffeid.ID{}, refuse(CodeIdentity, "the certificate does not carry exactly one SPIFFE ID")
	}
	return id, nil
}

// chains proves that a leaf was issued by one of these CAs, for both ends of a connection, and is in its time.
func chains(leaf *x509.Certificate, bundle [][]byte, now time.Time) error {
	if err := inTime(leaf, now); err != nil {
		return err
	}
	if leaf.IsCA || leaf.NotAfter.Sub(leaf.NotBefore) > maxLeaf {
		return refuse(CodeUntrusted, "the certificate is no leaf, or lives longer than 7 days")
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if !slices.Contains(leaf.ExtKeyUsage, use) {
			return refuse(CodeUntrusted, "the certificate was not issued for both ends of a connection")
		}
	}
	roots := x509.NewCertPool()
	for _, der := range bundle {
		if ca, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(ca)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return untrusted(err)
	}
	return nil
}

func untrusted(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired { // the CA's: the leaf's own time was checked
		return fault.Wrap(err, fault.Unauthenticated, CodeExpired, opGreet, "the certificate's CA has expired")
	}
	return fault.Wrap(err, fault.Unauthenticated, CodeUntrusted, opGreet, "the certificate was not issued by the CA of its own state, or hub")
}

func inTime(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return refuse(CodeExpired, "the certificate has expired").WithHint("compare the clocks of both machines")
	case now.Before(leaf.NotBefore):
		return refuse(CodeEarly, "the certificate is not valid yet").WithHint("compare the clocks of both machines")
	}
	return nil
}

func refuse(code, say string) *fault.Error {
	return fault.New(fault.Unauthenticated, code, opGreet, say)
}
