package certs

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"
)

func TestProfiles(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, name := range []Name{CA, Node, Hub, Operator, Holder} {
		p, err := Load(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := p.Template(now)
		if life := c.NotAfter.Sub(c.NotBefore); !p.CA && life > MaxLeaf {
			t.Errorf("%s lives %v, want at most %v", name, life, MaxLeaf)
		}
		if !c.NotBefore.Before(now) || !c.NotAfter.After(now) {
			t.Errorf("%s is valid from %v to %v, want around %v", name, c.NotBefore, c.NotAfter, now)
		}
		if got, want := c.KeyUsage == x509.KeyUsageCertSign, name == CA; got != want {
			t.Errorf("%s may sign certificates: %v, want %v", name, got, want)
		}
		if p.About == "" {
			t.Errorf("%s does not say what it is for", name)
		}
	}
}

func TestEveryFileIsAProfile(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name, isProfile := strings.CutSuffix(e.Name(), ".json")
		if isProfile {
			if _, err := Load(Name(name)); err != nil {
				t.Errorf("%s: %v", e.Name(), err)
			}
		}
		b, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "PRIVATE"+" KEY") {
			t.Errorf("%s holds a private key", e.Name())
		}
	}
}

func TestBadProfilesAreRefused(t *testing.T) {
	good := `{"about":"x","key":"ecdsa-p256","ca":false,"lifetime_hours":168,"backdate_minutes":60,` +
		`"key_usage":["DigitalSignature"],"ext_key_usage":["ServerAuth"],"identity":"none","hosts":"none"}`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, change := range [][2]string{
		{`168`, `169`}, {`168`, `0`}, {`"backdate_minutes":60`, `"backdate_minutes":-1`},
		{`ecdsa-p256`, `rsa`}, {`DigitalSignature`, `CertSign`}, {`ServerAuth`, `Any`}, {`"ca":false`, `"ca":true`},
		{`"about"`, `"abuot"`}, {`["DigitalSignature"]`, `[]`}, {`"identity":"none"`, `"identity":"optional"`},
		{`"hosts":"none"`, `"hosts":""`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s in place of %s was accepted", change[1], change[0])
		}
	}
	if _, err := Load("../certs"); err == nil {
		t.Error("a name that is no profile was accepted")
	}
}
