package postgres

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/ledger/ledgertest"
	"github.com/enlace-network/enlace/internal/ledger/postgres/postgrestest"
	"github.com/enlace-network/enlace/internal/ledger/records"
	"github.com/enlace-network/enlace/internal/people"
	"github.com/enlace-network/enlace/internal/people/peopletest"
)

// evidenceKey signs with a key made from a fixed seed.
type evidenceKey byte

func (k evidenceKey) private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(k)}, ed25519.SeedSize))
}

func (k evidenceKey) PublicKey() authority.PublicKey {
	key, err := authority.ParsePublicKey(authority.Ed25519, k.private().Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	return key
}

func (k evidenceKey) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(k.private(), msg), nil }

func testConfig(tb testing.TB, dsn string) Config {
	tb.Helper()
	node, err := authority.ParseNode("mx/node/primary")
	if err != nil {
		tb.Fatal(err)
	}
	return Config{
		DSN: dsn, Key: [32]byte{1, 2, 3}, Network: "network.example", Node: node, Random: rand.Reader,
		Origin: "network.example/mx/node/primary/evidence", Keys: ledger.Keys{Signer: evidenceKey(1), Secret: [32]byte{9}},
		Created: ledger.Event{Time: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC), Kind: "created", Actor: "node"},
		Holder:  "test", Lease: 2 * time.Second,
	}
}

func openAt(tb testing.TB, cfg Config) *Ledger {
	tb.Helper()
	l, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// databases gives each directory of a conformance suite a database of its own.
type databases struct {
	server *postgrestest.Server
	mu     sync.Mutex
	of     map[string]string
}

func (d *databases) dsn(dir string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]string{}
	}
	if d.of[dir] == "" {
		d.of[dir] = d.server.Database()
	}
	return d.of[dir]
}

func TestLedger(t *testing.T) {
	d := &databases{server: postgrestest.Start(t)}
	ledgertest.Run(t, func(t *testing.T, dir string) ledger.Ledger { return openAt(t, testConfig(t, d.dsn(dir))) })
}

func TestPeople(t *testing.T) {
	d := &databases{server: postgrestest.Start(t)}
	peopletest.Run(t, func(t *testing.T, dir string) peopletest.Fixture {
		l := openAt(t, testConfig(t, d.dsn(dir)))
		return peopletest.Fixture{Store: l.People(), Close: l.Close, Events: func() ([]people.Event, error) { return peopleEvents(t, l) }}
	})
}

// peopleEvents reads back what room people has appended.
func peopleEvents(t *testing.T, l *Ledger) ([]people.Event, error) {
	var out []people.Event
	err := l.View(t.Context(), func(r ledger.Reader) error {
		events, err := r.Events(1, 0)
		for _, e := range events {
			p, err := records.ParsePeople(e)
			if err != nil {
				return err
			}
			out = append(out, p)
		}
		return err
	})
	return out, err
}
