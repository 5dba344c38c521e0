package catalog_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/catalog"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

func seeded(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(t *testing.T, name string) authority.PublicKey {
	k, err := authority.ParsePublicKey(authority.Ed25519, seeded(name).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// apply has both stewards sign.
func apply(t *testing.T, s *directory.Snapshot, payload []byte, err error) *directory.Snapshot {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []directory.Signature
	for _, name := range []string{"s-1", "s-2"} {
		all = append(all, directory.Signature{Algorithm: authority.Ed25519, Key: public(t, name).Fingerprint(), Role: directory.RoleSteward,
			Value: ed25519.Sign(seeded(name), authority.Message(directory.SigningPurpose(directory.RoleSteward), payload))})
	}
	st, err := directory.ParseStatement(directory.Attach(payload, all...))
	if err != nil {
		t.Fatal(err)
	}
	next, err := directory.Apply(s, st)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func founded(t *testing.T) *directory.Snapshot {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	ca, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	declare := func(p directory.KeyPurpose, name string) *formatv1.Key {
		return directory.DeclareKey(p, public(t, name), time.Time{})
	}
	payload, err := directory.DraftGenesis(time.Now(), &formatv1.Genesis{
		Name: "toc.example", Stewards: []*formatv1.Key{declare(directory.PurposeSteward, "s-1"), declare(directory.PurposeSteward, "s-2")},
		Threshold: 2, Nonce: make([]byte, 16),
		Hub: &formatv1.Hub{LogKey: declare(directory.PurposeLog, "log"), CaCertificates: [][]byte{ca}, Endpoints: []string{"127.0.0.1:7400"}},
	})
	return apply(t, nil, payload, err)
}

// TestRegisters: the directory's word before the shipped one. PROTOCOL 4.18.
func TestRegisters(t *testing.T) {
	shipped, err := message.LoadLists()
	if err != nil {
		t.Fatal(err)
	}
	en, _ := authority.ParseLanguage("en")
	fr, _ := authority.ParseLanguage("fr")
	s := founded(t)
	view := s.At(time.Now())
	if now := catalog.Now(view, shipped); now.CheckCategory("drugs.trafficking") != nil || now.Label(catalog.Categories, "drugs", en) != shipped.Label(catalog.Categories, "drugs", en) {
		t.Error("where the directory registers nothing, the shipped list does not hold")
	}
	draft := directory.Draft{Snapshot: s, Created: time.Now(), Random: rand.Reader}
	payload, err := draft.Categories(&formatv1.Categories{Categories: []*formatv1.Category{
		{Slug: "drugs", Status: "active"},
		{Slug: "drugs.trafficking", Status: "deprecated", Successor: "drugs.moved"},
		{Slug: "drugs.moved", Status: "active", Titles: []*formatv1.Text{{Language: "en", Value: "Moved"}}},
		{Slug: "drugs.maybe", Status: "proposed"},
	}})
	s = apply(t, s, payload, err)
	view = s.At(time.Now())
	now, all := catalog.Now(view, shipped), catalog.All(view, shipped)
	for slug, code := range map[string]string{
		"drugs.moved": "", "drugs.trafficking": "not-in-use", "drugs.maybe": "not-in-use", "drugs": "not-a-category", "tip.sexual": "unknown-code",
	} {
		err := now.CheckCategory(slug)
		if got := fault.CodeOf(err); got != code {
			t.Errorf("%s: %q, want %q", slug, got, code)
		}
	}
	if say := fault.As(now.CheckCategory("drugs.trafficking")).Say; say != "the category is not in use any more; use drugs.moved" {
		t.Errorf("the successor is not named: %s", say)
	}
	// What was said before is read under any code, by its best name.
	if !all.Has(catalog.Categories, "tip.sexual") || all.Label(catalog.Categories, "drugs.moved", fr) != "Moved" ||
		all.Label(catalog.Categories, "drugs.trafficking", fr) != shipped.Label(catalog.Categories, "drugs.trafficking", fr) {
		t.Error("an old code cannot be read any more")
	}
	if shipped.Has(catalog.Categories, "drugs.moved") || !now.Has(catalog.Instruments, "untoc") {
		t.Error("one list was changed for another")
	}
}
