package bus

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/keyring"
)

const (
	// poll is how often the directory is looked at for what changes by time alone, and the server for what it lost.
	poll  = time.Minute
	again = time.Second
	// defaultPayload is that of DESIGN 7 (Limits).
	defaultPayload = 2 << 20
)

// Options are what the hub's side is made from. Keys, Directory, Categories and Log are required; Embedded, or URLs.
type Options struct {
	// Keys are the hub's own: operator and accounts. Directory says who may have access.
	Keys      *keyring.Ring
	Directory *directory.Current
	Clock     func() time.Time
	Log       *zap.Logger
	// Categories hold where the directory registers none: "drugs.trafficking". Groups alone are ignored. PROTOCOL 4.18.
	Categories []authority.Category

	// Embedded runs the server in this process; nil = an external one.
	Embedded *Embedded
	// URLs are those of an external server or cluster, nats:// or tls://; TLS is used with either. With Embedded, what
	// nodes are told; a port 0 in them is the one that was opened.
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
	// MailboxBytes and MailboxMessages are how much mail of one state may wait for one node, and as much again of slices of
	// attachments; 0 = 64 MiB and 4096. PROTOCOL 10.11.
	MailboxBytes, MailboxMessages int64
	// MaxPayload is the largest message; 0 = 2 MiB.
	MaxPayload int
	// Lifetime of an access; 0 = one hour.
	Lifetime time.Duration
	// AckWait is when what was delivered and not acknowledged is delivered again; 0 = 30 seconds.
	AckWait time.Duration
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
type Bus struct {
	o      Options
	issuer issuer
	server *embedded // nil for an external one
	addr   string    // of the embedded one

	// guarded and kept wake the two loops of Run for all that they do, after a reconnection.
	guarded, kept chan struct{}
	link          atomic.Pointer[link]
	standing      standing
	keeper        keeper
	boxes         boxes
}

// Start opens the embedded server's port (Usage "no-listener"), or prepares to connect to the external one. It does not
// wait for the latter: a hub without its bus still is a directory.
func Start(o Options) (*Bus, error) {
	o = o.filled()
	i, err := newIssuer(o.Keys)
	if err != nil {
		return nil, err
	}
	b := &Bus{o: o, issuer: i, guarded: make(chan struct{}, 1), kept: make(chan struct{}, 1),
		standing: standing{revoked: map[string]int64{}, barred: map[string]bool{}}}
	b.keeper, b.boxes = newKeeper(b), newBoxes(b)
	if o.Embedded == nil {
		return b, nil
	}
	if b.server, err = startServer(o, i, o.Directory.Load().NetworkName()); err != nil {
		return nil, err
	}
	b.addr = b.server.Addr().String()
	b.o.URLs = withPort(o.URLs, b.addr)
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if err := b.connect(ctx); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func (o Options) filled() Options {
	o.Replicas = max(o.Replicas, 1)
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.MaxAge, 14*24*time.Hour)
	set(&o.Lifetime, time.Hour)
	set(&o.AckWait, 30*time.Second)
	if o.PublisherBytes <= 0 {
		o.PublisherBytes = 1 << 30
	}
	if o.MailboxBytes <= 0 {
		o.MailboxBytes = 64 << 20
	}
	if o.MailboxMessages <= 0 {
		o.MailboxMessages = 4096
	}
	if o.MaxPayload <= 0 {
		o.MaxPayload = defaultPayload
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.Categories = slices.DeleteFunc(slices.Clone(o.Categories), func(c authority.Category) bool { return c == c.Group() })
	return o
}

// registered are the categories that alerts may have now: those of the directory where it has any, deprecated ones
// included, whose alerts may still have to be updated and ended. PROTOCOL 4.18.
func (b *Bus) registered(v directory.View) []authority.Category {
	if len(v.Categories()) == 0 {
		return b.o.Categories
	}
	var all []authority.Category
	for _, c := range v.Categories() {
		if c.Category != c.Category.Group() {
			all = append(all, c.Category)
		}
	}
	return all
}

// withPort puts the port that was opened in place of a 0.
func withPort(urls []string, addr string) []string {
	_, port, _ := net.SplitHostPort(addr)
	var all []string
	for _, u := range urls {
		if rest, ok := strings.CutSuffix(u, ":0"); ok {
			u = rest + ":" + port
		}
		all = append(all, u)
	}
	return all
}

// Addr is where the embedded server listens, host:port; empty for an external one.
func (b *Bus) Addr() string { return b.addr }

// Run keeps streams, consumers and revocations as the directory has them, until ctx ends. It returns nil then.
func (b *Bus) Run(ctx context.Context) error {
	pause := newPause()
	for b.link.Load() == nil {
		err := b.connect(ctx)
		if err == nil {
			break
		}
		b.o.Log.Warn("the bus cannot be reached", zap.Error(err))
		if !sleep(ctx, pause.NextBackOff()) {
			return nil
		}
	}
	var group errgroup.Group
	group.Go(func() error { return b.follow(ctx, b.guarded, b.guard) })
	group.Go(func() error { return b.follow(ctx, b.kept, b.keeper.keep) })
	return group.Wait()
}

// reason is why a loop of Run goes round.
type reason uint8

const (
	// anew: what was at the servers before may be gone, or be of another version of this program.
	anew reason = iota
	// polled: time has passed.
	polled
	// changed: the directory is another, and the servers are as they were.
	changed
)

// follow calls do at once, when woken, every minute, after each change of the directory, and a second after a failure.
func (b *Bus) follow(ctx context.Context, woken <-chan struct{}, do func(context.Context, reason) error) error {
	for why := polled; ; {
		another := b.o.Directory.Changed()
		wait := poll
		if err := do(ctx, why); err != nil && ctx.Err() == nil {
			b.o.Log.Warn("the bus is not as the directory has it", zap.Error(err))
			wait = again
		}
		select {
		case <-another:
			why = changed
		case <-woken:
			why = anew
		case <-time.After(wait):
			why = polled
		case <-ctx.Done():
			return nil
		}
	}
}

// Access gives a node access, and its consumers the filters, as far as its authorities are competent. Errors: those of
// directory.View.CheckNode, Denied "no-bus-key", Invalid "malformed-filter", Retry "bus-away", Retry "busy" for a node that
// asks more often than it can need.
func (b *Bus) Access(ctx context.Context, node authority.Node, texts []string) (Access, error) {
	filters, err := parseFilters(texts)
	if err != nil {
		return Access{}, err
	}
	if _, err := busKey(b.view(), node); err != nil {
		return Access{}, err
	}
	publishers, err := b.keeper.serve(ctx, node, filters)
	if err != nil {
		return Access{}, err
	}
	token, expires, err := b.admit(ctx, node)
	if err != nil {
		return Access{}, err
	}
	return Access{URLs: b.o.URLs, CA: b.o.CA, JWT: token, Expires: expires, Deliver: deliverOf(node), Publishers: publishers}, nil
}

func (b *Bus) view() directory.View { return b.o.Directory.Load().At(b.o.Clock()) }

// Close ends the connections and the embedded server.
func (b *Bus) Close() error {
	if l := b.link.Swap(nil); l != nil {
		l.close()
	}
	if b.server != nil {
		b.server.stop()
	}
	return nil
}
