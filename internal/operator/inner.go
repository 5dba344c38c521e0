package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"sync"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/enlace-network/enlace/internal/fault"
)

// checked is the connection of the REST face to the gRPC server of the same process. It asks before calling: a gRPC
// server hangs up on a connection with many refused calls, and this one carries everybody's.
type checked struct {
	grpc.ClientConnInterface
	door *Door
}

func (c *checked) Invoke(ctx context.Context, method string, in, out any, options ...grpc.CallOption) error {
	if err := c.ask(ctx, method); err != nil {
		return err
	}
	return c.ClientConnInterface.Invoke(ctx, method, in, out, options...)
}

func (c *checked) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.ask(ctx, method); err != nil {
		return nil, err
	}
	return c.ClientConnInterface.NewStream(ctx, desc, method, options...)
}

func (c *checked) ask(ctx context.Context, method string) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	_, err := c.door.authorise(metadata.NewIncomingContext(ctx, md), method)
	if err != nil {
		f := fault.As(err)
		c.door.c.Log.Info("call refused", zap.String("method", method), zap.Stringer("kind", f.Kind), zap.String("code", f.Code))
	}
	return err
}

// leaves remembers the certificates that this process has shown, which is how its REST face knows its gRPC server
// over loopback. A few a month.
type leaves struct {
	mu   sync.Mutex
	seen map[[32]byte]bool // guarded by mu
}

func (l *leaves) note(c *tls.Certificate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[sha256.Sum256(c.Certificate[0])] = true
}

func (l *leaves) clientTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The name on the certificate is that of the door; what counts here is that it is ours.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(cs.PeerCertificates) == 0 || !l.seen[sha256.Sum256(cs.PeerCertificates[0].Raw)] {
				return fault.New(fault.Unauthenticated, "not-ours", "greet own server", "another program answers on the loopback port")
			}
			return nil
		},
	}
}

// chained is the TLS configuration with the CA certificates behind each leaf, and each leaf noted.
func chained(c *tls.Config, chain [][]byte, l *leaves) *tls.Config {
	c = c.Clone()
	get := c.GetCertificate
	if get == nil {
		if len(c.Certificates) == 0 {
			panic("operator: the TLS configuration has no certificate")
		}
		only := c.Certificates[0]
		get = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &only, nil }
	}
	c.Certificates = nil
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		held, err := get(hello)
		if err != nil {
			return nil, err
		}
		l.note(held)
		shown := *held
		shown.Certificate = append([][]byte{}, held.Certificate...)
		for _, der := range chain {
			if !bytes.Equal(der, held.Certificate[len(held.Certificate)-1]) {
				shown.Certificate = append(shown.Certificate, der)
			}
		}
		return &shown, nil
	}
	return c
}
