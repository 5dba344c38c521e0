package bus

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// ClientOptions are what a node's side is made from; all are required but Filters, Changed, Workers and Clock.
type ClientOptions struct {
	// Node names the inbox.
	Node authority.Node
	// Access asks the hub for an hour's access.
	Access func(ctx context.Context, filters []string) (Access, error)
	// Sign proves the node's bus key to a server (keyring's SignNonce).
	Sign func(nonce []byte) ([]byte, error)
	// Filters are what the node wants now, "<group>.<category>.<lane>", category and lane may be "*"; nil = nothing.
	Filters func() []string
	// Changed is closed when Filters may say something else; taken before Filters is called. nil = never.
	Changed func() <-chan struct{}
	// Handle takes one alert. nil: done with it, durably. A Retry fault: the same again later. Another error: it is
	// dropped, logged by its code alone.
	Handle func(ctx context.Context, a Arrival) error
	// Workers is how many Handles run at once; 0 = 4.
	Workers int
	Clock   func() time.Time
	Log     *zap.Logger
}

// Arrival is what came on one of the node's delivery subjects. Nothing of it is trusted but that the server sent it.
type Arrival struct {
	// Subject is where it was published, "alert.drugs.trafficking.routine.mx"; the server lets only a node of that state
	// publish there, but see the package comment.
	Subject string
	Data    []byte
	// Publisher is the last token of the delivery subject.
	Publisher authority.State
	// Pending is how many more of this publisher the hub had waiting when it sent this one.
	Pending uint64
}

// Status is how the client stands.
type Status struct {
	// Configured: the hub has a bus.
	Configured bool
	// Connected is since when; zero while not connected.
	Connected time.Time
	// Last is the last error; nil once connected again.
	Last error
}

// Client is a node's side of the bus. It may be used by many goroutines at once.
type Client struct{ o ClientOptions }

// NewClient makes a client; Run connects it.
func NewClient(o ClientOptions) *Client { return &Client{o: o} }

// Run connects, keeps connecting, and hands over what arrives, until ctx ends. It returns nil then, after the Handles
// that run have returned.
func (c *Client) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Publish sends one message; Retry "bus-away" while not connected: nothing waits in memory for a connection. On return
// it is on its way and no more: Flush says that the server has it, and nothing says that it keeps it.
func (c *Client) Publish(ctx context.Context, subject string, data []byte) error { return away() }

// Flush returns when the server has read what was published before. Retry "bus-away".
func (c *Client) Flush(ctx context.Context) error { return away() }

// Expecting reports whether more of that publisher is known to be under way: whoever misses an alert need not ask for
// it on another road yet.
func (c *Client) Expecting(publisher authority.State) bool { return false }

// Status is how the client stands now.
func (c *Client) Status() Status { return Status{} }

func away() error {
	return fault.New(fault.Retry, "bus-away", "use bus", "the bus is not connected")
}
