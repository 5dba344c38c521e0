package wire

import "time"

// Limits bound what anyone can make a server hold. A zero field takes the value named. Promise P12.
type Limits struct {
	// MaxMessage is the most bytes of one message that comes in; 2 MiB.
	MaxMessage int
	// MaxSend is the most bytes of one message that goes out; as MaxMessage.
	MaxSend int
	// Streams is how many calls may run at once on one connection; 64.
	Streams uint32
	// Header is the most bytes of a call's headers; 16 KiB.
	Header uint32
	// Connections is how many connections may be open; 512. Beyond it the oldest that has shown nothing yet makes
	// room; where all have, the new one is closed.
	Connections int
	// PerAddress is how many connections of one address (of one /64 in IPv6) may be open that have shown nothing
	// yet; 32. Beyond it the oldest of them is closed. A connection has shown something with its first call that
	// was let in as that of a known caller.
	PerAddress int
	// PerCaller is how many connections one caller may have that showed who it is: a node, a key's holder, or else
	// an address; 8. Beyond it the oldest is closed: it is the likeliest to be dead.
	PerCaller int
	// CallerCalls is how many calls one caller may have under way, over all its connections; 256. The call beyond is
	// refused at its headers, Retry "busy".
	CallerCalls int
	// Arrivals is how often one address may connect; no bound. Beyond it connections are closed as they come.
	Arrivals Rate
	// Silence is how long a connection may go without a call of a known caller; 20 s.
	Silence time.Duration
	// Bytes is how much of messages the server keeps at once, from their first byte until a unary call is answered or
	// a stream's handler has the message; 48 MiB. The call that would go beyond it is ended with Retry.
	Bytes int64
	// CallerBytes is one caller's share of Bytes; a third of it.
	CallerBytes int64
	// Strangers is how many calls of callers who need to be nobody may run at once, an eighth of them from one
	// address; 256.
	Strangers int
}

const (
	defaultMessage      = 2 << 20
	defaultStreams      = 64
	defaultHeader       = 16 << 10
	defaultConnections  = 512
	defaultPerAddress   = 32
	defaultPerCaller    = 8
	defaultCallerCalls  = 256
	defaultSilence      = 20 * time.Second
	defaultBytes        = 48 << 20
	defaultStrangers    = 256
	defaultUnaryTimeout = 30 * time.Second
	defaultIdle         = 2 * time.Minute
	// strangerMessage is the most bytes of a call's messages by a certificate that names nobody we know.
	strangerMessage = 4 << 10
	// window is what one stream may send ahead of its handler. Left to itself gRPC raises it to 16 MiB on fast lines.
	window = 1 << 20
	// arrival is how many times the handling time a message may take to come: a line may be thin.
	arrival          = 10
	handshakeTimeout = 30 * time.Second
	// A connection shows the certificate it was opened with. Leaves are renewed with a third of their week left, so a
	// connection ends, after its calls, well before its certificate does. DESIGN 5.
	connectionAge   = 24 * time.Hour
	connectionGrace = 24 * time.Hour
	connectionIdle  = time.Hour
)

func (l Limits) filled() Limits {
	orDefault(&l.MaxMessage, defaultMessage)
	orDefault(&l.MaxSend, l.MaxMessage)
	orDefault(&l.Streams, defaultStreams)
	orDefault(&l.Header, defaultHeader)
	orDefault(&l.Connections, defaultConnections)
	orDefault(&l.PerAddress, defaultPerAddress)
	orDefault(&l.PerCaller, defaultPerCaller)
	orDefault(&l.CallerCalls, defaultCallerCalls)
	orDefault(&l.Silence, defaultSilence)
	orDefault(&l.Bytes, defaultBytes)
	orDefault(&l.CallerBytes, l.Bytes/3)
	orDefault(&l.Strangers, defaultStrangers)
	return l
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
