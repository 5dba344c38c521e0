package bus

import (
	"context"
	"crypto/tls"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
)

// Options are what the hub's side is made from. Keys, Directory, Categories and Log are required; Embedded, or URLs.
type Options struct {
	// Keys are the hub's own: operator and accounts. Directory says who may have access.
	Keys      *keyring.Ring
	Directory *directory.Current
	Clock     func() time.Time
	Log       *zap.Logger
	// Categories are registered: "drugs.trafficking". Groups alone are ignored.
	Categories []authority.Category

	// Embedded runs the server in this process; nil = an external one.
	Embedded *Embedded
	// URLs are those of an external server or cluster, nats:// or tls://; with Embedded, what nodes are told.
	URLs []string
	// CA is PEM: whom hub and nodes trust as a server; empty = the system's authorities.
	CA []byte
	// SystemCredentials is a NATS credentials file of the external server's system account; empty = the hub makes its own,
	// which works where the server was set up by External.
	SystemCredentials string

	// Replicas of each stream; 0 = 1.
	Replicas int
	// MaxAge is how long an alert stays on the conveyor; 0 = 14 days.
	MaxAge time.Duration
	// PublisherBytes is how much one state's alerts may take; 0 = 1 GiB.
	PublisherBytes int64
	// MaxPayload is the largest message; 0 = 2 MiB.
	MaxPayload int
	// Lifetime of an access; 0 = one hour.
	Lifetime time.Duration
}

// Embedded is a NATS server inside the hub's own process.
type Embedded struct {
	// Data is its folder; it may be wiped at any time.
	Data string
	// Listen is host:port; port 0 = any free one.
	Listen string
	// TLS proves the server; users prove themselves by token and nonce.
	TLS *tls.Config
}

// Bus is the hub's side.
type Bus struct{ o Options }

// Start opens the embedded server's port (Usage "no-listener"), or begins to connect to the external one. It does not
// wait for the latter: a hub without its bus still is a directory.
func Start(o Options) (*Bus, error) { return &Bus{o: o}, nil }

// Addr is where the embedded server listens, host:port; empty for an external one.
func (b *Bus) Addr() string { return "" }

// Run keeps streams, consumers and revocations as the directory has them, until ctx ends.
func (b *Bus) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Access gives a node access, and its consumers the filters, as far as its authorities are competent. Errors: those of
// directory.View.CheckNode, Denied "no-bus-key", Invalid "malformed-filter", Retry "bus-away".
func (b *Bus) Access(ctx context.Context, node authority.Node, filters []string) (Access, error) {
	return Access{}, away()
}

// Close ends the connections and the embedded server.
func (b *Bus) Close() error { return nil }
