package sqlite

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

// received is the transactions of a node to which alerts come.
type received struct {
	own      authority.Name
	issuer   authority.Name
	category authority.Category
	chains   []ledger.Chain
	frame    []byte
	salt     []byte
	passed   []ledger.Range
	numbers  []atomic.Uint64
	count    atomic.Int64
}

// newReceived follows 30 chains; passed is how many ranges of each were not wanted here.
func newReceived(b *testing.B, passed int) *received {
	l := newLoad(b)
	r := &received{own: l.own, issuer: l.peer, category: l.category, frame: make([]byte, 2300), salt: make([]byte, 32), numbers: make([]atomic.Uint64, 30)}
	rand.Read(r.frame)
	rand.Read(r.salt)
	for i := range r.numbers {
		r.chains = append(r.chains, ledger.Chain{
			Publisher: l.node, Incarnation: message.Incarnation{Counter: 1, Random: [8]byte{1}}, Audience: message.DigestOf([]byte{byte(i)}),
		})
	}
	for i := range uint64(passed) {
		r.passed = append(r.passed, ledger.Range{First: 3*i + 1, Last: 3*i + 1})
	}
	return r
}

// one is the transaction of one alert.
func (r *received) one(b *testing.B, s *Ledger) error {
	n := r.count.Add(1)
	i := int(n) % len(r.chains)
	number := r.numbers[i].Add(1)
	now := time.Now()
	id, err := message.NewID(now, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	chain, key, digest := r.chains[i], message.Key{Sender: r.issuer, ID: id}, message.DigestOf(id[:])
	m := ledger.Message{Key: key, Direction: ledger.In, Digest: digest, Conversation: id, Kind: message.KindRequest, Created: now,
		Expires: now.Add(time.Hour), Recorded: now, Envelope: r.frame}
	entry := ledger.Entry{Chain: chain, Number: number, Digest: digest, Salt: r.salt, Hash: digest, Previous: digest,
		Subject: "alert.drugs.trafficking.urgent.jm", State: ledger.EntryStored, Seen: now}
	following := ledger.Following{Chain: chain, Category: r.category, Rule: "category", First: 1, Position: number, Hash: digest,
		Indexed: number, Passed: r.passed, Receipt: r.frame[:500], ReceiptPosition: 1, Changed: now}
	alert := ledger.Alert{ID: id, Own: r.own, Issuer: r.issuer, Direction: ledger.In, State: message.AlertIssued, Type: "be-on-lookout",
		Category: r.category, Urgency: message.Urgent, Status: message.Actual, Distribution: message.ByCategory,
		Reference: "JM-2026-000123", Title: "look out for a lorry seen at the port", Version: 1, Latest: key,
		Created: now, Changed: now, Expires: now.Add(30 * 24 * time.Hour)}
	event := ledger.Event{Time: now, Kind: "alert-received", Actor: "node", Message: key, Digest: digest}
	return s.Update(b.Context(), func(t ledger.Tx) error {
		return all(first(t.PutMessage(m)), t.PutEntry(entry), t.PutFollowing(following), first(t.PutAlert(alert)), first(t.Append(event)))
	})
}

func BenchmarkAlertReceived(b *testing.B) {
	for _, test := range []struct{ callers, passed int }{{1, 0}, {64, 0}, {128, 0}, {64, 2000}} {
		b.Run(fmt.Sprintf("callers=%d/passed=%d", test.callers, test.passed), func(b *testing.B) {
			s := openAt(b, testConfig(b, b.TempDir()))
			defer s.Close()
			r := newReceived(b, test.passed)
			hammer(b, test.callers, func() error { return r.one(b, s) })
			seconds := b.Elapsed().Seconds()
			b.ReportMetric(float64(b.N)/seconds, "alerts/s")
			b.ReportMetric(float64(b.N*5)/seconds, "rows/s")
		})
	}
}

// BenchmarkAlertPages reads 100,000 rows page by page; an operation is one whole walk.
func BenchmarkAlertPages(b *testing.B) {
	const rows = 100_000
	s := openAt(b, testConfig(b, b.TempDir()))
	defer s.Close()
	r := newReceived(b, 0)
	chain, audience := r.chains[0], r.chains[0].Audience
	for from := uint64(1); from <= rows; from += 1000 {
		if err := s.Update(b.Context(), func(t ledger.Tx) error { return r.fill(t, chain, from) }); err != nil {
			b.Fatal(err)
		}
	}
	for name, page := range map[string]func(ledger.Reader, uint64) (int, error){
		"links": func(l ledger.Reader, from uint64) (int, error) {
			list, err := l.Links(audience, from, 1000)
			return len(list), err
		},
		"entries": func(l ledger.Reader, from uint64) (int, error) {
			list, err := l.Entries(chain, from, 1000)
			return len(list), err
		},
		"bus": func(l ledger.Reader, from uint64) (int, error) {
			list, err := l.LinksAfter(int64(from)-1, 1000)
			return len(list), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			hammer(b, 1, func() error { return walk(b, s, rows, page) })
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// fill records 1000 numbers of a chain of ours and of another's.
func (r *received) fill(t ledger.Tx, chain ledger.Chain, from uint64) error {
	for number := from; number < from+1000; number++ {
		id := factID(int(number))
		digest := message.DigestOf(id[:])
		key := message.Key{Sender: r.issuer, ID: id}
		link := ledger.Link{Audience: chain.Audience, Number: number, Epoch: 1, Message: key, Digest: digest,
			Subject: "alert.drugs.trafficking.urgent.jm", Salt: r.salt, Hash: digest}
		entry := ledger.Entry{Chain: chain, Number: number, Digest: digest, Salt: r.salt, Hash: digest, Previous: digest,
			Subject: link.Subject, State: ledger.EntryStored}
		m := ledger.Message{Key: key, Digest: digest, Conversation: id, Envelope: r.frame}
		if err := all(first(t.PutMessage(m)), first(t.PutLink(link)), t.PutEntry(entry)); err != nil {
			return err
		}
	}
	return nil
}

func walk(b *testing.B, s *Ledger, rows uint64, page func(ledger.Reader, uint64) (int, error)) error {
	for from := uint64(1); from <= rows; from += 1000 {
		if err := s.View(b.Context(), func(l ledger.Reader) error {
			n, err := page(l, from)
			if n != 1000 {
				b.Errorf("%d rows from %d, want 1000", n, from)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
