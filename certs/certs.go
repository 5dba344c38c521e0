// Package certs holds the certificate profiles of Enlace as data: what a certificate of each kind may be used for,
// how long it lives and what it may name. The built-in CA of room keyring and the set-up of an outside CA read the
// same files, so both issue the same certificates. DESIGN 5.
//
// One JSON file is one profile:
//
//	about             one sentence: who shows this certificate to whom
//	key               "ecdsa-p256" or "ed25519"
//	ca                true for the issuing CA alone
//	lifetime_hours    from not-before to not-after; at most 168 (7 days) unless ca is true
//	backdate_minutes  how far before the moment of issue not-before lies, for peers whose clocks run behind
//	key_usage         X.509 key usages: "DigitalSignature", "CertSign"
//	ext_key_usage     extended key usages: "ServerAuth", "ClientAuth"
//	identity          a SPIFFE ID in it is "required" or there is "none"
//	hosts             DNS names and IP addresses in it are "required", "optional" or there are "none"
//
// There is never a private key in this folder.
package certs

import (
	"bytes"
	"crypto/x509"
	"embed"
	"encoding/json"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

//go:embed *.json
var files embed.FS

// Name is the name of a profile: its file without ".json".
type Name string

// The profiles.
const (
	CA       Name = "ca"
	Node     Name = "node"
	Hub      Name = "hub"
	Operator Name = "operator"
	Holder   Name = "holder"
)

// MaxLeaf is the longest life of any certificate but a CA's. There is no CRL and no OCSP: a short life is what ends
// a certificate nobody looks after. DESIGN 5.
const MaxLeaf = 7 * 24 * time.Hour

// Presence says whether a certificate carries something.
type Presence string

// The presences.
const (
	None     Presence = "none"
	Optional Presence = "optional"
	Required Presence = "required"
)

// Profile is one profile as read from its file.
type Profile struct {
	About           string   `json:"about"`
	Key             string   `json:"key"`
	CA              bool     `json:"ca"`
	LifetimeHours   int      `json:"lifetime_hours"`
	BackdateMinutes int      `json:"backdate_minutes"`
	KeyUsage        []string `json:"key_usage"`
	ExtKeyUsage     []string `json:"ext_key_usage"`
	Identity        Presence `json:"identity"`
	Hosts           Presence `json:"hosts"`
}

// Load reads a profile. An error is a defect of this folder, or a name that is none of the above.
func Load(name Name) (Profile, error) {
	b, err := files.ReadFile(string(name) + ".json")
	if err != nil {
		return Profile{}, fault.Wrap(err, fault.NotFound, "", "read certificate profile", "there is no such certificate profile")
	}
	return parse(b)
}

// Lifetime is the time from not-before to not-after.
func (p Profile) Lifetime() time.Duration { return time.Duration(p.LifetimeHours) * time.Hour }

// Backdate is how far not-before lies before the moment of issue.
func (p Profile) Backdate() time.Duration { return time.Duration(p.BackdateMinutes) * time.Minute }

// Template is a certificate of this profile issued now, without names: its validity, usages and constraints.
func (p Profile) Template(now time.Time) *x509.Certificate {
	from := now.Add(-p.Backdate()).UTC().Truncate(time.Second)
	t := &x509.Certificate{
		NotBefore:             from,
		NotAfter:              from.Add(p.Lifetime()),
		BasicConstraintsValid: true,
		IsCA:                  p.CA,
		MaxPathLenZero:        p.CA, // leaves only below it
	}
	for _, u := range p.KeyUsage {
		t.KeyUsage |= keyUsage(u)
	}
	for _, u := range p.ExtKeyUsage {
		t.ExtKeyUsage = append(t.ExtKeyUsage, extKeyUsage(u))
	}
	return t
}

func parse(b []byte) (Profile, error) {
	var p Profile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Profile{}, malformed("the certificate profile is not the expected JSON")
	}
	return p, p.check()
}

func (p Profile) check() error {
	switch {
	case p.Key != "ecdsa-p256" && p.Key != "ed25519":
		return malformed("a profile's key is ecdsa-p256 or ed25519")
	case p.LifetimeHours <= 0 || p.BackdateMinutes < 0 || p.Backdate() >= p.Lifetime():
		return malformed("a profile's lifetime is longer than its backdating")
	case !p.CA && p.Lifetime() > MaxLeaf:
		return malformed("a leaf lives at most 7 days")
	case !p.usagesKnown():
		return malformed("the profile has an unknown key usage")
	case p.CA != (p.KeyUsage[0] == "CertSign"):
		return malformed("CertSign is for a CA, and a CA is for nothing else")
	case p.Identity != Required && p.Identity != None:
		return malformed("a profile's identity is required or none")
	case p.Hosts != Required && p.Hosts != Optional && p.Hosts != None:
		return malformed("a profile's hosts are required, optional or none")
	}
	return nil
}

func (p Profile) usagesKnown() bool {
	for _, u := range p.ExtKeyUsage {
		if extKeyUsage(u) == x509.ExtKeyUsageAny {
			return false
		}
	}
	return len(p.KeyUsage) == 1 && keyUsage(p.KeyUsage[0]) != 0
}

func keyUsage(s string) x509.KeyUsage {
	switch s {
	case "DigitalSignature":
		return x509.KeyUsageDigitalSignature
	case "CertSign":
		return x509.KeyUsageCertSign
	}
	return 0
}

func extKeyUsage(s string) x509.ExtKeyUsage {
	switch s {
	case "ServerAuth":
		return x509.ExtKeyUsageServerAuth
	case "ClientAuth":
		return x509.ExtKeyUsageClientAuth
	}
	return x509.ExtKeyUsageAny
}

func malformed(rule string) error {
	return fault.New(fault.Invalid, "", "read certificate profile", rule)
}
