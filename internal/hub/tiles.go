package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/wire"
	"github.com/enlace-network/enlace/internal/witness"
)

// WitnessConfig is one third-party witness of directory.yaml.
type WitnessConfig struct {
	// Key is its verifier key as it publishes it: name+hash+base64 (C2SP signed-note, tlog-cosignature).
	Key string `yaml:"key"`
	// URL is its https:// prefix (C2SP tlog-witness).
	URL string `yaml:"url"`
}

// The kinds of verifier keys by which a witness may be named: both hold an Ed25519 key.
const (
	plainKey  = 1
	cosignKey = 4
)

// Bounds of a connection to the tiles: the answers are small, and nobody who reads them is known.
const (
	headPatience   = 10 * time.Second
	answerPatience = 30 * time.Second
	idlePatience   = time.Minute
	maxHead        = 16 << 10
)

// parties are the witnesses of the configuration.
func (c Config) parties() ([]witness.ThirdParty, error) {
	var all []witness.ThirdParty
	for _, w := range c.Witnesses {
		name, key, ok := parseVerifierKey(w.Key)
		if !ok {
			return nil, wrongKey("witnesses.key")
		}
		u, err := url.Parse(w.URL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, wrongKey("witnesses.url")
		}
		all = append(all, witness.ThirdParty{Name: name, Key: key, URL: w.URL})
	}
	return all, nil
}

// parseVerifierKey reads name+hash+base64 and sees that the hash is the key's.
func parseVerifierKey(text string) (string, authority.PublicKey, bool) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || parts[0] == "" {
		return "", authority.PublicKey{}, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(raw) < 1 || (raw[0] != plainKey && raw[0] != cosignKey) {
		return "", authority.PublicKey{}, false
	}
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(parts[0]), raw}, []byte("\n")))
	if hex.EncodeToString(sum[:4]) != parts[1] {
		return "", authority.PublicKey{}, false
	}
	key, err := authority.ParsePublicKey(authority.Ed25519, raw[1:])
	return parts[0], key, err == nil
}

// openTiles opens the listener where the log is read by anyone. PROTOCOL 11.10.
func (d *daemon) openTiles() error {
	if d.HTTPS == nil && d.cfg.Listen.HTTPS == "" {
		return nil
	}
	if d.HTTPS == nil {
		l, err := net.Listen("tcp", d.cfg.Listen.HTTPS)
		if err != nil {
			return fault.Wrap(err, fault.Usage, "no-listener", opStart, "the address of listen.https cannot be opened: "+d.cfg.Listen.HTTPS)
		}
		d.HTTPS = l
	}
	d.closers = append(d.closers, func() error {
		_ = d.HTTPS.Close() // the server has closed it, if it ran
		return nil
	})
	silent, err := zap.NewStdLogAt(d.Log, zap.DebugLevel) // strangers make its lines
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opStart, "the log cannot be opened")
	}
	d.web = newWeb(d.service.Tiles(), silent)
	d.web.TLSConfig = d.source.OperatorTLS()
	return nil
}

func newWeb(handler http.Handler, notes *log.Logger) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: headPatience, ReadTimeout: headPatience, WriteTimeout: answerPatience,
		IdleTimeout: idlePatience, MaxHeaderBytes: maxHead, ErrorLog: notes}
}

// serveTiles runs until ctx ends or the listener fails.
func (d *daemon) serveTiles(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = d.web.Close() })
	defer stop()
	err := d.web.ServeTLS(wire.Bounded(d.HTTPS, wire.Limits{}), "", "")
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.Wrap(err, fault.Internal, "no-listener", opStart, "the tiles cannot be served any more")
}
