package keyring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"time"

	"filippo.io/age"
	"github.com/nats-io/nkeys"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	fileVersion = 1
	secretSize  = 32
)

// document is the JSON in a key file; the package comment gives it by example.
type document struct {
	Version int      `json:"version"`
	Keys    []record `json:"keys"`
}

type record struct {
	Slot        Slot   `json:"slot"`
	Algorithm   string `json:"algorithm"`
	Created     int64  `json:"created"`
	Private     string `json:"private"`
	Certificate []byte `json:"certificate,omitempty"`
}

// key is a record made usable; exactly one of the private fields is set. It never changes once made.
type key struct {
	record
	public  authority.PublicKey // none for a CA or a secret
	signing ed25519.PrivateKey
	sealing *age.HybridIdentity
	nats    nkeys.KeyPair
	issuing *issuer
	secret  []byte
}

// content is all keys of a ring at one moment. It never changes: a change makes another.
type content struct {
	keys    []*key
	byPrint map[authority.Fingerprint]*key
	current map[Slot]*key
}

func newContent(keys []*key) *content {
	c := &content{keys: keys, byPrint: map[authority.Fingerprint]*key{}, current: map[Slot]*key{}}
	for _, k := range keys {
		c.current[k.Slot] = k
		if !k.public.IsZero() {
			c.byPrint[k.public.Fingerprint()] = k
		}
	}
	return c
}

// parseContent reads the plaintext of a key file.
func parseContent(b []byte) (*content, error) {
	var doc document
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	// Causes are not kept: the JSON reader may quote its input, and that is secret.
	if err := d.Decode(&doc); err != nil {
		return nil, damaged(nil, "the key file's content is not the expected JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, damaged(nil, "something follows the key file's content")
	}
	if doc.Version != fileVersion {
		return nil, fault.New(fault.Invalid, "key-file-version", "read key file", "the key file was made by another version of this program").
			WithHint("use the version that made it, or a later one")
	}
	keys := make([]*key, 0, len(doc.Keys))
	for _, r := range doc.Keys {
		k, err := r.parse()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return newContent(keys), nil
}

func (c *content) marshal() ([]byte, error) {
	doc := document{Version: fileVersion, Keys: make([]record, 0, len(c.keys))}
	for _, k := range c.keys {
		doc.Keys = append(doc.Keys, k.record)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, fault.New(fault.Internal, "", "write key file", "the keys could not be written down")
	}
	return b, nil
}

// parse makes a record usable, refusing what is not exactly a key of its slot.
func (r record) parse() (*key, error) {
	if r.Algorithm == "" || r.Algorithm != r.Slot.algorithm() || (len(r.Certificate) > 0) != (r.Slot == CA) {
		return nil, damaged(nil, "the key file holds a key this program does not know")
	}
	k := &key{record: r}
	ok := false
	switch r.Algorithm {
	case authority.Ed25519:
		ok = k.parseSigning()
	case authority.AgeHybrid:
		ok = k.parseSealing()
	case authority.NKey:
		ok = k.parseNATS()
	case ecdsaP256:
		ok = k.parseIssuing()
	case plainSecret:
		k.secret, ok = decodeExactly(r.Private, secretSize)
	}
	if !ok {
		return nil, damaged(nil, "the key file holds a malformed key")
	}
	return k, nil
}

func (k *key) parseSigning() bool {
	seed, ok := decodeExactly(k.Private, ed25519.SeedSize)
	if !ok {
		return false
	}
	k.signing = ed25519.NewKeyFromSeed(seed)
	return k.publish(authority.Ed25519, k.signing.Public().(ed25519.PublicKey))
}

func (k *key) parseSealing() bool {
	id, err := age.ParseHybridIdentity(k.Private)
	if err != nil {
		return false
	}
	k.sealing = id
	return k.publish(authority.AgeHybrid, []byte(id.Recipient().String()))
}

func (k *key) parseNATS() bool {
	prefix, _, err := nkeys.DecodeSeed([]byte(k.Private))
	if err != nil || prefix != natsPrefix(k.Slot) {
		return false
	}
	pair, err := nkeys.FromSeed([]byte(k.Private))
	if err != nil {
		return false
	}
	k.nats = pair
	public, err := pair.PublicKey()
	return err == nil && k.publish(authority.NKey, []byte(public))
}

func (k *key) parseIssuing() bool {
	der, err := base64.StdEncoding.Strict().DecodeString(k.Private)
	if err != nil {
		return false
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return false
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return false
	}
	cert, err := x509.ParseCertificate(k.Certificate)
	if err != nil || !cert.IsCA || !private.PublicKey.Equal(cert.PublicKey) || len(cert.Subject.Organization) != 1 {
		return false
	}
	k.issuing = &issuer{key: private, cert: cert}
	return true
}

func (k *key) publish(algorithm string, b []byte) bool {
	public, err := authority.ParsePublicKey(algorithm, b)
	k.public = public
	return err == nil
}

// generate makes a new key for a slot; a CA is made by newIssuer instead.
func generate(slot Slot, now time.Time) (*key, error) {
	r := record{Slot: slot, Algorithm: slot.algorithm(), Created: now.Unix()}
	switch r.Algorithm {
	case authority.Ed25519, plainSecret:
		b := make([]byte, secretSize)
		_, _ = rand.Read(b) // never fails: it ends the program instead
		r.Private = base64.StdEncoding.EncodeToString(b)
	case authority.AgeHybrid:
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return nil, notMade(err)
		}
		r.Private = id.String()
	case authority.NKey:
		seed, err := newNATSSeed(natsPrefix(slot))
		if err != nil {
			return nil, notMade(err)
		}
		r.Private = string(seed)
	}
	return r.parse()
}

func newNATSSeed(prefix nkeys.PrefixByte) ([]byte, error) {
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		return nil, err
	}
	return pair.Seed()
}

func natsPrefix(slot Slot) nkeys.PrefixByte {
	switch slot {
	case HubBusOperator:
		return nkeys.PrefixByteOperator
	case HubBusAccount, HubBusSystem:
		return nkeys.PrefixByteAccount
	}
	return nkeys.PrefixByteUser
}

func decodeExactly(s string, size int) ([]byte, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) == size
}

func notMade(cause error) error {
	return fault.Wrap(cause, fault.Internal, "", "make key", "no key could be made")
}
