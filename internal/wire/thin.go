package wire

import (
	"context"
	"net"

	"github.com/enlace-network/enlace/internal/fault"
)

// A thin line carries some 8,000 bytes in a second and answers after half of one. What waits before it waits for all: a
// message behind 256 KiB of a file comes half a minute late, whichever connection either is on. TCP, left to itself, keeps
// as much under way as the line's own queue takes before it drops. So each socket holds no more than a couple of seconds'
// worth: the send buffer bounds what goes out, the receive buffer what the other side may have on its way to us. Nothing
// in the network has to know of it, and neither has the other side.
const (
	// thinBuffer is SO_SNDBUF and SO_RCVBUF. Linux takes it twice and counts its own bookkeeping: 12 to 16 KiB of payload.
	thinBuffer = 16 << 10
	// thinWindow is the least that HTTP/2 has at its start, and what gRPC takes as fixed.
	thinWindow = 64<<10 - 1
	// thinWrite is how much gRPC gathers before it writes.
	thinWrite = 4 << 10
)

// Listen opens host:port for TCP. With thin, what a connection accepted there keeps under way is bounded in both
// directions, for a line of some 64 kbit/s. Usage "in-use" where it cannot be opened.
func Listen(addr string, thin bool) (net.Listener, error) {
	var config net.ListenConfig
	if thin {
		config.Control = narrow // sockets accepted inherit it
	}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "in-use", "open door", "the address cannot be listened on: "+addr)
	}
	return l, nil
}

// windows are what HTTP/2 lets the other side send ahead, and how much is gathered before it is written.
func windows(thin bool) (ahead int32, write int) {
	if thin {
		return thinWindow, thinWrite
	}
	return window, 32 << 10 // gRPC's own
}
