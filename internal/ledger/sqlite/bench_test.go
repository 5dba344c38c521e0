package sqlite

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// cpu is the processor time this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load is the transactions that one directed message costs at each end.
type load struct {
	node     authority.Node
	own      authority.Name
	peer     authority.Name
	lane     authority.Lane
	kind     authority.RequestKind
	category authority.Category
	envelope []byte
	receipt  []byte
	detail   []byte
}

func newLoad(b *testing.B) load {
	l := load{envelope: make([]byte, 6000), receipt: make([]byte, 400), detail: []byte(`{"reference":"MX-2026-000123"}`)}
	rand.Read(l.envelope)
	rand.Read(l.receipt)
	var err error
	must := func(e error) {
		if e != nil {
			b.Fatal(e)
		}
	}
	l.node, err = authority.ParseNode("jm/node/primary")
	must(err)
	l.own, err = authority.ParseName("mx/fgr")
	must(err)
	l.peer, err = authority.ParseName("jm/jcf")
	must(err)
	l.lane, err = authority.ParseLane("routine")
	must(err)
	l.kind, err = authority.ParseRequestKind("identify-person")
	must(err)
	l.category, err = authority.ParseCategory("drugs.trafficking")
	must(err)
	return l
}

func (l load) records(b *testing.B, own authority.Name, side message.Side) (ledger.Message, ledger.Delivery, ledger.Case, ledger.Event) {
	now := time.Now()
	id, err := message.NewID(now, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	key := message.Key{Sender: l.own, ID: id}
	digest := message.DigestOf(id[:])
	return ledger.Message{Key: key, Direction: ledger.Out, Digest: digest, Conversation: id, Kind: message.KindRequest,
			Created: now, Expires: now.Add(time.Hour), Recorded: now, Envelope: l.envelope},
		ledger.Delivery{Key: key, Node: l.node, State: ledger.Queued, Next: now, Lane: l.lane, Expires: now.Add(time.Hour)},
		ledger.Case{Conversation: id, Own: own, Peer: l.peer, Side: side, Reference: "MX-2026-000123", RequestKind: l.kind,
			Category: l.category, Urgency: message.Routine, Status: message.Actual, State: message.Queued,
			Title: "identify a person seen at the port", Author: "ana", Created: now, Changed: now, Due: now},
		ledger.Event{Time: now, Kind: "submitted", Actor: "ana", Message: key, Digest: digest, Detail: l.detail}
}

func first[T any](_ T, err error) error { return err }

func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// send is both transactions of a sender.
func (l load) send(b *testing.B, s *Ledger) error {
	m, d, c, e := l.records(b, l.own, message.Requesting)
	err := s.Update(b.Context(), func(t ledger.Tx) error {
		return all(first(t.PutMessage(m)), t.PutDelivery(d), first(t.PutCase(c)), first(t.Append(e)))
	})
	if err != nil {
		return err
	}
	d.State, d.Next, d.Receipt, c.State, e.Kind = ledger.Complete, time.Time{}, l.receipt, message.Delivered, "receipted"
	return s.Update(b.Context(), func(t ledger.Tx) error {
		return all(t.PutDelivery(d), first(t.PutCase(c)), first(t.Append(e)))
	})
}

// receive is the transaction of a receiver.
func (l load) receive(b *testing.B, s *Ledger) error {
	m, _, c, e := l.records(b, l.peer, message.Requested)
	return s.Update(b.Context(), func(t ledger.Tx) error {
		salted, err := t.Checkpoint()
		receipt := append(salted.Bytes(), l.receipt...)
		return all(err, first(t.PutMessage(m)), t.PutReceipt(ledger.Receipt{Key: m.Key, Digest: m.Digest, Received: receipt}),
			first(t.PutCase(c)), first(t.Append(e)), first(t.Append(e)))
	})
}

func BenchmarkUpdate(b *testing.B) {
	l := newLoad(b)
	for _, end := range []struct {
		name      string
		run       func(*testing.B, *Ledger) error
		txs, rows int
	}{{"send", l.send, 2, 7}, {"receive", l.receive, 1, 5}} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", end.name, callers), func(b *testing.B) {
				s := openAt(b, testConfig(b, b.TempDir()))
				defer s.Close()
				hammer(b, callers, func() error { return end.run(b, s) })
				seconds := b.Elapsed().Seconds()
				b.ReportMetric(float64(b.N*end.txs)/seconds, "tx/s")
				b.ReportMetric(float64(b.N*end.rows)/seconds, "rows/s")
			})
		}
	}
}

// hammer runs f b.N times from so many callers, and reports the processor time of one.
func hammer(b *testing.B, callers int, f func() error) {
	var wg sync.WaitGroup
	var next atomic.Int64
	before := cpu(b)
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "µs-cpu/op")
}
