package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	idleRow   = "idle"
	idleUsual = 10 * time.Minute
	// idleSettle is how long a new network is left alone before it counts as idle.
	idleSettle = time.Minute
	// idleGoal is in bytes of TCP payload per minute and node, both ways, to hub and bus. DESIGN 15.
	idleGoal = 2000
)

// odometer passes connections on and counts the bytes of both directions.
type odometer struct{ bytes atomic.Int64 }

// relay listens beside an address and returns where.
func (o *odometer) relay(ctx context.Context, to string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", "measure", "no loopback port")
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go o.join(ctx, in, to)
		}
	}()
	return l.Addr().String(), nil
}

func (o *odometer) join(ctx context.Context, in net.Conn, to string) {
	out, err := net.Dial("tcp", to)
	if err != nil {
		_ = in.Close() // the hub does not listen yet
		return
	}
	stop := context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
	defer stop()
	go o.pass(in, out)
	o.pass(out, in)
}

func (o *odometer) pass(to, from net.Conn) {
	_, _ = io.Copy(to, io.TeeReader(from, o))
	_, _ = to.Close(), from.Close()
}

// Write counts.
func (o *odometer) Write(b []byte) (int, error) {
	o.bytes.Add(int64(len(b)))
	return len(b), nil
}

// idle measures what nodes with nothing to do send to the hub and its bus, and receive.
func (o Options) idle(ctx context.Context, into Report) error {
	if !o.wants(idleRow) {
		return nil
	}
	return o.within("idle", func(dir string) error {
		perMinute, err := o.quiet(ctx, dir, members())
		into[idleRow] = map[string]Figure{"hub_bytes_per_min": {Ours: round(perMinute), Goal: idleGoal}}
		return err
	})
}

// quiet is bytes per minute and node of a network that is left alone.
func (o Options) quiet(ctx context.Context, dir string, states []string) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var meter odometer
	o.Tell(fmt.Sprintf("starting a network of %d states", len(states)))
	n, err := testnet.Start(ctx, testnet.Options{Dir: dir, States: states, FourEyes: "single",
		HubRelay: func(listen string) (string, error) { return meter.relay(ctx, listen) }})
	if err != nil {
		return 0, err
	}
	defer func() { _ = n.Stop() }()
	if err := o.pause(ctx, idleSettle); err != nil {
		return 0, err
	}
	before, began := meter.bytes.Load(), time.Now()
	for time.Since(began) < o.Idle {
		if err := o.pause(ctx, min(time.Minute, o.Idle-time.Since(began))); err != nil {
			return 0, err
		}
		o.Tell(fmt.Sprintf("%s: %.0f bytes a minute and node over %s", idleRow,
			float64(meter.bytes.Load()-before)/time.Since(began).Minutes()/float64(len(states)), time.Since(began).Round(time.Second)))
	}
	return float64(meter.bytes.Load()-before) / time.Since(began).Minutes() / float64(len(states)), nil
}

func (o Options) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Retry, "stopped", "measure", "the measurement was ended")
	}
}
