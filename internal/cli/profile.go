package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
)

// maxProfile bounds a profile; the CA certificate is most of it.
const maxProfile = 256 << 10

// profile is one login at one node, as it lies on disk: profiles/NAME.json, readable by its owner alone, since the
// token in it is as good as the password until it expires.
type profile struct {
	Addr string `json:"addr"`
	// CA is the PEM of the CA certificates of the operator door.
	CA string `json:"ca,omitempty"`
	// Pin is the SHA-256 of the CA certificate, hex, where the certificate itself was not at hand.
	Pin   string `json:"ca_sha256,omitempty"`
	User  string `json:"user,omitempty"`
	Token string `json:"token,omitempty"`
	// Expires is when the token ends, in Unix milliseconds.
	Expires int64 `json:"expires,omitempty"`
}

var profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// profilePath is where the profile in use lies.
func (a *app) profilePath() (string, error) {
	if !profileName.MatchString(a.profile) {
		return "", fault.New(fault.Usage, "malformed-profile", "read --profile", "a profile's name is 1 to 64 of a-z, 0-9, dot, dash and underscore")
	}
	home := os.Getenv("ENLACE_CONFIG_HOME")
	if home == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", fault.Wrap(err, fault.Usage, "no-home", "find profiles", "there is no configuration directory").
				WithHint("set ENLACE_CONFIG_HOME")
		}
		home = filepath.Join(dir, "enlace")
	}
	return filepath.Join(home, "profiles", a.profile+".json"), nil
}

// loadProfile reads the profile in use; NotFound where there is none.
func (a *app) loadProfile() (profile, error) {
	path, err := a.profilePath()
	if err != nil {
		return profile{}, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return profile{}, fault.New(fault.NotFound, "no-profile", "read profile "+a.profile, "there is no such profile").
			WithHint("log in first: enlace login ADDR --ca FILE")
	}
	if err != nil {
		return profile{}, unreadable(path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return profile{}, fault.New(fault.Denied, "open-profile", "read profile "+a.profile, "others on this machine can read the profile").
			WithHint("chmod 600 " + path + ", log in again, and ask for the old session to be ended")
	}
	b, err := readSmall(path, maxProfile)
	if err != nil {
		return profile{}, err
	}
	var p profile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return profile{}, fault.Wrap(err, fault.Usage, "malformed-profile", "read profile "+a.profile, "the profile is damaged").
			WithHint("log in again: enlace login ADDR --ca FILE")
	}
	return p, nil
}

// saveProfile is durable on return; a reader sees the old profile or the new one.
func (a *app) saveProfile(p profile) error {
	path, err := a.profilePath()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Internal, "", "save profile", "the directory of profiles cannot be made")
	}
	if err := replace(path, bytes.NewReader(append(b, '\n'))); err != nil {
		return fault.Wrap(err, fault.Internal, "", "save profile", "the profile cannot be written")
	}
	return nil
}

// trust is how the profile's node is known.
func (p profile) trust() (operator.Trust, error) {
	var t operator.Trust
	if p.CA != "" {
		t.Roots = x509.NewCertPool()
		if !t.Roots.AppendCertsFromPEM([]byte(p.CA)) {
			return t, fault.New(fault.Usage, "malformed-certificate", "read CA certificate", "the file holds no certificate in PEM form").
				WithHint("ask the node's administrator for the CA file of the operator door")
		}
	}
	if p.Pin != "" {
		pin, err := operator.ParsePin(p.Pin)
		if err != nil {
			return t, err
		}
		t.Pin = pin
	}
	if t.Roots == nil && t.Pin == [sha256.Size]byte{} {
		return t, fault.New(fault.Usage, "no-trust", "log in", "nothing says which certificate the node must show").
			WithHint("add --ca FILE or --ca-sha256 FINGERPRINT; the node's administrator has both")
	}
	return t, nil
}

// ended says whether the token's time is over by this machine's clock.
func (p profile) ended(now time.Time) bool {
	return p.Token == "" || p.Expires != 0 && now.UnixMilli() >= p.Expires
}
