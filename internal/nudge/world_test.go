package nudge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/nudge"
)

const (
	secretText = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	secretKey  = "0123456789abcdef0123456789abcdef"
	password   = "tucan-azul-password"
)

// world is a folder as an administrator would lay it out: configuration, secrets, the house's own CA.
type world struct {
	t    *testing.T
	dir  string
	cert tls.Certificate
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	caKey, ca := w.issue("house CA", nil, nil)
	key, leaf := w.issue("127.0.0.1", ca, caKey)
	w.cert = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
	w.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})), 0o644)
	w.write("smtp-password", password+"\n", 0o600)
	w.write("hook-secret", secretText+"\n", 0o600)
	return w
}

func (w *world) issue(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if parent == nil {
		form.IsCA, form.BasicConstraintsValid, form.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = form, key
	} else {
		form.IPAddresses, form.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, &key.PublicKey, parentKey)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return key, c
}

func (w *world) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		w.t.Fatal(err)
	}
}

// load reads a configuration as node.yaml does: strictly.
func (w *world) load(text string) (*nudge.Sender, []nudge.Target, error) {
	w.t.Helper()
	var c struct {
		Notify nudge.Config `yaml:"notify"`
	}
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		w.t.Fatalf("%v in\n%s", err, text)
	}
	return nudge.Load(c.Notify, w.dir)
}

func (w *world) mustLoad(text string) (*nudge.Sender, []nudge.Target) {
	w.t.Helper()
	s, targets, err := w.load(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, targets
}

func mustName(t *testing.T, s string) authority.Name {
	t.Helper()
	n, err := authority.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func notice(t *testing.T, language string) nudge.Notice {
	t.Helper()
	l, err := authority.ParseLanguage(language)
	if err != nil {
		t.Fatal(err)
	}
	return nudge.Notice{Authority: mustName(t, "jm/constabulary"), Language: l, ID: nudge.NewID(),
		Time: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)}
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.CodeOf(err) != code {
		t.Errorf("got %v (kind %v, code %q), want kind %v, code %q", err, fault.As(err), fault.CodeOf(err), kind, code)
	}
}
