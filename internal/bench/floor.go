package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/vfs/adiantum" // registers the encrypting file layer that the driver is asked for
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	bodySize  = 4096
	batchSize = 128
)

// floor is one sender and one receiver with nothing but the unavoidable.
type floor struct {
	outbox, inbox *table
	conn          *grpc.ClientConn
	server        *grpc.Server
	me, you       *age.HybridIdentity
	mine, yours   ed25519.PrivateKey
}

// newFloor builds the pair in a directory.
func newFloor(dir string) (*floor, error) {
	f := &floor{}
	for _, step := range []func(string) error{f.makeKeys, f.openTables, f.connect} {
		if err := step(dir); err != nil {
			f.close()
			return nil, fault.Wrap(err, fault.Internal, "", "measure floor", "the floor could not be set up")
		}
	}
	return f, nil
}

func (f *floor) makeKeys(string) error {
	var err error
	if f.me, err = age.GenerateHybridIdentity(); err != nil {
		return err
	}
	if f.you, err = age.GenerateHybridIdentity(); err != nil {
		return err
	}
	if _, f.mine, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	_, f.yours, err = ed25519.GenerateKey(rand.Reader)
	return err
}

func (f *floor) openTables(dir string) error {
	var err error
	if f.outbox, err = openTable(filepath.Join(dir, "outbox.db")); err != nil {
		return err
	}
	f.inbox, err = openTable(filepath.Join(dir, "inbox.db"))
	return err
}

func (f *floor) connect(string) error {
	identity, err := throwAway()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(identity)))
	f.server.RegisterService(&grpc.ServiceDesc{ServiceName: "floor", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Deliver", Handler: f.deliver}}}, struct{}{})
	go func() { _ = f.server.Serve(l) }()
	f.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(identity)))
	return err
}

func (f *floor) close() {
	if f.conn != nil {
		_ = f.conn.Close()
	}
	if f.server != nil {
		f.server.Stop()
	}
	for _, t := range []*table{f.outbox, f.inbox} {
		if t != nil {
			t.close()
		}
	}
}

// throwAway is one self-signed identity for both ends of a mutual TLS connection.
func throwAway() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "floor"}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, RootCAs: pool, ServerName: "localhost",
	}, nil
}

// deliver verifies, opens, commits and signs a receipt.
func (f *floor) deliver(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	signature, sealed := in.Value[:ed25519.SignatureSize], in.Value[ed25519.SignatureSize:]
	if !ed25519.Verify(f.mine.Public().(ed25519.PublicKey), sealed, signature) {
		return nil, fault.New(fault.Invalid, "bad-signature", "measure floor", "the signature does not verify")
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), f.you)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	receipt := ed25519.Sign(f.yours, signature)
	return wrapperspb.Bytes(receipt), f.inbox.put(in.Value)
}

// one carries one message from submission to the receipt's commit.
func (f *floor) one(ctx context.Context) error {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, f.you.Recipient(), f.me.Recipient())
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, bodySize)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	m := append(ed25519.Sign(f.mine, sealed.Bytes()), sealed.Bytes()...)
	if err := f.outbox.put(m); err != nil {
		return err
	}
	receipt := new(wrapperspb.BytesValue)
	if err := f.conn.Invoke(ctx, "/floor/Deliver", wrapperspb.Bytes(m), receipt); err != nil {
		return err
	}
	if !ed25519.Verify(f.yours.Public().(ed25519.PublicKey), m[:ed25519.SignatureSize], receipt.Value) {
		return fault.New(fault.Invalid, "bad-signature", "measure floor", "the receipt does not verify")
	}
	return f.outbox.put(receipt.Value)
}

// table is an encrypted SQLite file with synced group commit.
type table struct {
	db   *sql.DB
	rows chan row
	done chan struct{}
}

type row struct {
	body []byte
	done chan error
}

func openTable(path string) (*table, error) {
	db, err := driver.Open("file:" + path + "?vfs=adiantum" +
		"&_pragma=hexkey('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f')" +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE m(id BLOB PRIMARY KEY, body BLOB)"); err != nil {
		return nil, err
	}
	t := &table{db: db, rows: make(chan row, 256), done: make(chan struct{})}
	go t.run()
	return t, nil
}

func (t *table) close() {
	close(t.rows)
	<-t.done
	_ = t.db.Close()
}

// put returns once the row is synced.
func (t *table) put(body []byte) error {
	done := make(chan error, 1)
	t.rows <- row{body, done}
	return <-done
}

func (t *table) run() {
	defer close(t.done)
	for first := range t.rows {
		batch := t.gather(first)
		err := t.commit(batch)
		for _, r := range batch {
			r.done <- err
		}
	}
}

// gather takes what waits, without waiting for more.
func (t *table) gather(first row) []row {
	batch := []row{first}
	for len(batch) < batchSize {
		select {
		case r, ok := <-t.rows:
			if !ok {
				return batch
			}
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

func (t *table) commit(batch []row) error {
	tx, err := t.db.Begin()
	if err != nil {
		return err
	}
	for _, r := range batch {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails
		if _, err := tx.Exec("INSERT INTO m VALUES(?,?)", id, r.body); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	return tx.Commit()
}
