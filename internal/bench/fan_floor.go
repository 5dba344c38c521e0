package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	alertSize    = 1024
	alertStream  = "ALERTS"
	alertSubject = "alert.drugs.trafficking.routine.mx"
	// fanWorkers, fanWindow and receiptEvery are those of the reference floor.
	fanWorkers   = 8
	fanWindow    = 256
	receiptEvery = 100
	brokerWithin = 10 * time.Second
)

// fan is one publisher and many receivers with nothing but the unavoidable.
type fan struct {
	script
	server    *server.Server
	conn      *nats.Conn
	stream    jetstream.JetStream
	outbox    *table
	leaves    []*leaf
	delivered atomic.Int64
}

// newFan builds a broker, a publisher and so many receivers in a directory.
func newFan(ctx context.Context, dir string, receivers int) (*fan, error) {
	f := &fan{}
	for _, step := range []func() error{
		func() error { var err error; f.script, err = newScript(); return err },
		func() error { return f.startBroker(ctx, filepath.Join(dir, "broker")) },
		func() error { var err error; f.outbox, err = openTable(filepath.Join(dir, "outbox.db")); return err },
		func() error { return f.addLeaves(ctx, dir, receivers) },
	} {
		if err := step(); err != nil {
			f.close()
			return nil, fault.Wrap(err, fault.Internal, "", "measure floor", "the floor could not be set up")
		}
	}
	return f, nil
}

// startBroker runs a server that syncs every message before it says that it has it.
func (f *fan) startBroker(ctx context.Context, dir string) error {
	var err error
	f.server, err = server.NewServer(&server.Options{JetStream: true, StoreDir: dir, Port: -1, SyncAlways: true, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	f.server.Start()
	if !f.server.ReadyForConnections(brokerWithin) {
		return fault.New(fault.Retry, "timeout", "measure floor", "the broker was not ready in time")
	}
	if f.conn, err = nats.Connect(f.server.ClientURL()); err != nil {
		return err
	}
	if f.stream, err = jetstream.New(f.conn); err != nil {
		return err
	}
	_, err = f.stream.CreateStream(ctx, jetstream.StreamConfig{Name: alertStream, Subjects: []string{"alert.>"}, Storage: jetstream.FileStorage})
	return err
}

func (f *fan) addLeaves(ctx context.Context, dir string, n int) error {
	for i := range n {
		l, err := f.newLeaf(ctx, dir, i)
		if err != nil {
			return err
		}
		f.leaves = append(f.leaves, l)
	}
	return nil
}

func (f *fan) close() {
	for _, l := range f.leaves {
		l.close()
	}
	if f.outbox != nil {
		f.outbox.close()
	}
	if f.conn != nil {
		f.conn.Close()
	}
	if f.server != nil {
		f.server.Shutdown()
		f.server.WaitForShutdown()
	}
}

// one carries one alert from its author to the broker's acknowledgement.
func (f *fan) one(ctx context.Context) error {
	m, err := f.write()
	if err != nil {
		return err
	}
	if err := f.outbox.put(m); err != nil {
		return err
	}
	_, err = f.stream.Publish(ctx, alertSubject, m)
	return err
}

// round publishes n alerts, waits until every receiver has them, and returns deliveries per second.
func (f *fan) round(ctx context.Context, n int) (float64, error) {
	total := int64(n * len(f.leaves))
	target := f.delivered.Load() + total
	start := time.Now()
	if _, err := measure(ctx, n, fanInFlight, f.one); err != nil {
		return 0, err
	}
	for f.delivered.Load() < target {
		if err := f.failed(ctx); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	return float64(total) / time.Since(start).Seconds(), nil
}

func (f *fan) failed(ctx context.Context) error {
	for _, l := range f.leaves {
		if err := l.failure.Load(); err != nil {
			return *err
		}
	}
	return ctx.Err()
}

// leaf is one receiver.
type leaf struct {
	fan     *fan
	inbox   *table
	key     ed25519.PrivateKey
	pull    jetstream.ConsumeContext
	work    chan jetstream.Msg
	wg      sync.WaitGroup
	taken   atomic.Int64
	failure atomic.Pointer[error]
}

func (f *fan) newLeaf(ctx context.Context, dir string, i int) (*leaf, error) {
	l := &leaf{fan: f, work: make(chan jetstream.Msg, fanWindow)}
	var err error
	if _, l.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	consumer, err := f.stream.CreateConsumer(ctx, alertStream, jetstream.ConsumerConfig{
		Durable: fmt.Sprint("r", i), FilterSubject: "alert.>", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096,
	})
	if err != nil {
		return nil, err
	}
	if l.inbox, err = openTable(filepath.Join(dir, fmt.Sprint("inbox", i, ".db"))); err != nil {
		return nil, err
	}
	for range fanWorkers {
		l.wg.Go(l.run)
	}
	l.pull, err = consumer.Consume(func(m jetstream.Msg) { l.work <- m }, jetstream.PullMaxMessages(fanWindow))
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *leaf) close() {
	if l.pull != nil {
		l.pull.Stop()
		<-l.pull.Closed()
	}
	close(l.work)
	l.wg.Wait()
	l.inbox.close()
}

func (l *leaf) run() {
	for m := range l.work {
		if err := l.take(m); err != nil {
			l.failure.CompareAndSwap(nil, &err)
		}
	}
}

// take verifies, opens, verifies, commits, signs a receipt now and then, and acknowledges.
func (l *leaf) take(m jetstream.Msg) error {
	if err := l.fan.read(m.Data()); err != nil {
		return err
	}
	if err := l.inbox.put(m.Data()); err != nil {
		return err
	}
	if l.taken.Add(1)%receiptEvery == 0 {
		_ = ed25519.Sign(l.key, m.Data()[:ed25519.SignatureSize])
	}
	err := m.Ack()
	l.fan.delivered.Add(1)
	return err
}

// script is how an alert of the floor is written and read: signed by its authority, sealed with a key that all readers
// have, signed by its node.
type script struct {
	epoch           epoch
	authority, node ed25519.PrivateKey
}

func newScript() (script, error) {
	var s script
	var err error
	if _, s.authority, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return s, err
	}
	_, s.node, err = ed25519.GenerateKey(rand.Reader)
	return s, err
}

// write makes a frame.
func (s *script) write() ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, &s.epoch)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(signed(s.authority, make([]byte, alertSize))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return signed(s.node, sealed.Bytes()), nil
}

// read takes a frame apart, as every receiver has to.
func (s *script) read(frame []byte) error {
	sealed, err := verified(s.node, frame)
	if err != nil {
		return err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), &s.epoch)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, err = verified(s.authority, m)
	return err
}

// signed is a signature followed by what was signed.
func signed(key ed25519.PrivateKey, body []byte) []byte {
	return append(ed25519.Sign(key, body), body...)
}

func verified(key ed25519.PrivateKey, m []byte) ([]byte, error) {
	if len(m) < ed25519.SignatureSize || !ed25519.Verify(key.Public().(ed25519.PublicKey), m[ed25519.SignatureSize:], m[:ed25519.SignatureSize]) {
		return nil, fault.New(fault.Invalid, "bad-signature", "measure floor", "the signature does not verify")
	}
	return m[ed25519.SignatureSize:], nil
}

// epoch is a symmetric age recipient and identity.
type epoch struct {
	key [chacha20poly1305.KeySize]byte
}

// Wrap implements age.Recipient.
func (e *epoch) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	a, err := chacha20poly1305.NewX(e.key[:])
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return []*age.Stanza{{Type: "epoch", Body: a.Seal(nonce, nonce, fileKey, nil)}}, nil
}

// Unwrap implements age.Identity.
func (e *epoch) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	a, err := chacha20poly1305.NewX(e.key[:])
	if err != nil {
		return nil, err
	}
	for _, s := range stanzas {
		if s.Type == "epoch" && len(s.Body) > a.NonceSize() {
			return a.Open(nil, s.Body[:a.NonceSize()], s.Body[a.NonceSize():], nil)
		}
	}
	return nil, age.ErrIncorrectIdentity
}
