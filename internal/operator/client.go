package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

// Trust is how a client knows its node. One of the two fields is needed.
type Trust struct {
	// Roots are the CA certificates that the node's certificate may chain to.
	Roots *x509.CertPool
	// Pin is the SHA-256 of the node's CA certificate, DER, which the node sends along; zero = none.
	Pin [sha256.Size]byte
	// Now is the clock that the certificate is held against; nil = the system's.
	Now func() time.Time
}

// ParsePin reads the SHA-256 of a CA certificate: 64 hexadecimal digits, colons between them allowed.
func ParsePin(s string) ([sha256.Size]byte, error) {
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(":"), nil)))
	if err != nil || len(b) != sha256.Size {
		return [sha256.Size]byte{}, fault.New(fault.Usage, "malformed-pin", "read certificate fingerprint", "a certificate fingerprint is 64 hexadecimal digits")
	}
	return [sha256.Size]byte(b), nil
}

// Client talks to a node's gRPC face as one caller. Every error is a fault; Retry where the node cannot be reached.
// Close it when done.
type Client struct {
	Session       operatorv1.SessionServiceClient
	Users         operatorv1.UserServiceClient
	Requests      operatorv1.RequestServiceClient
	Attachments   operatorv1.AttachmentServiceClient
	Alerts        operatorv1.AlertServiceClient
	Subscriptions operatorv1.SubscriptionServiceClient
	Directory     operatorv1.DirectoryQueryServiceClient
	Node          operatorv1.NodeServiceClient
	conn          *grpc.ClientConn
}

// Dial makes a client for host:port. It connects at the first call. An empty token is for Login alone.
func Dial(addr string, trust Trust, token string) (*Client, error) {
	config, err := trust.tls(addr)
	if err != nil {
		return nil, err
	}
	o := wire.ClientOptions{TLS: config, MaxReceive: maxAnswer}
	if token != "" {
		o.Token = secret(token)
	}
	conn, err := wire.Dial(addr, o)
	if err != nil {
		return nil, err
	}
	return &Client{
		Session: operatorv1.NewSessionServiceClient(conn), Users: operatorv1.NewUserServiceClient(conn),
		Requests: operatorv1.NewRequestServiceClient(conn), Attachments: operatorv1.NewAttachmentServiceClient(conn),
		Alerts: operatorv1.NewAlertServiceClient(conn), Subscriptions: operatorv1.NewSubscriptionServiceClient(conn),
		Directory: operatorv1.NewDirectoryQueryServiceClient(conn), Node: operatorv1.NewNodeServiceClient(conn), conn: conn,
	}, nil
}

// Close hangs up.
func (c *Client) Close() error { return c.conn.Close() }

// secret is a session's or token's secret, sent with every call and only over TLS.
type secret string

func (s secret) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(s)}, nil
}

func (secret) RequireTransportSecurity() bool { return true }

func (t Trust) tls(addr string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return nil, fault.New(fault.Usage, "malformed-address", "dial node", "an address is a host, a colon and a port")
	}
	if t.Roots == nil && t.Pin == [sha256.Size]byte{} {
		return nil, fault.New(fault.Usage, "no-trust", "dial node", "nothing says which certificate the node must show").
			WithHint("give the CA certificate or its SHA-256")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		// All that Go would check is checked by verify: a pinned CA comes with the connection and is in no pool.
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return t.verify(cs, host) },
	}, nil
}

// verify wants a server certificate for host that chains to a root we were given.
func (t Trust) verify(cs tls.ConnectionState, host string) error {
	if len(cs.PeerCertificates) == 0 {
		return untrusted(nil)
	}
	roots := t.Roots
	if t.Pin != [sha256.Size]byte{} {
		roots = x509.NewCertPool()
		for _, c := range cs.PeerCertificates[1:] {
			if sha256.Sum256(c.Raw) == t.Pin && c.IsCA {
				roots.AddCert(c)
			}
		}
	}
	var now time.Time // zero: the system's
	if t.Now != nil {
		now = t.Now()
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		CurrentTime: now,
		Roots:       roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return untrusted(err)
	}
	return nil
}

func untrusted(cause error) error {
	f := fault.Wrap(cause, fault.Unauthenticated, "wrong-certificate", "greet node", "the node's certificate is not the one expected for this address")
	var name x509.HostnameError
	if errors.As(cause, &name) {
		return f.WithHint("use a host name that the node's certificate carries")
	}
	var expired x509.CertificateInvalidError
	if errors.As(cause, &expired) && expired.Reason == x509.Expired {
		return f.WithHint("compare this machine's clock with the node's")
	}
	return f.WithHint("compare the fingerprint of the node's CA with its administrator")
}
