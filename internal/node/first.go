package node

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/people"
)

const opFirst = "create first account"

// firstAccount is the file first-account.json in the data folder: what Init leaves for the daemon's first start, when
// there is a ledger to put it in. It holds no secret: the password is 100 random bits, of which only the argon2id hash
// is written.
//
// The MAC keeps whoever can write to the data disk, but has not the keyring, from deleting the ledger and naming an
// administrator of their own. What remains to them: to delete the ledger and put back a copy of the file as Init wrote
// it, which brings back the first account with its first password and nobody else. A deleted ledger shows all the same:
// the next start makes a new incarnation, which every peer is told.
type firstAccount struct {
	User      string   `json:"user"`
	Authority string   `json:"authority"`
	Roles     []string `json:"roles"`
	// Password is the argon2id hash in PHC form.
	Password string `json:"password"`
	// MAC is HMAC-SHA256 in hexadecimal digits over the JSON, without white space, of the fields above.
	MAC string `json:"mac,omitempty"`
}

// firstKey is the key of the MAC: HKDF-SHA256 of the keyring's salt secret, with a label that is this file's alone.
func firstKey(ring *keyring.Ring) ([]byte, error) {
	secret, err := ring.Secret(keyring.SaltSecret)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "enlace/v1/first-account", sha256.Size)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opFirst, "the key of the file cannot be derived")
	}
	return key, nil
}

// mac is the MAC that the file should have.
func (f firstAccount) mac(key []byte) (string, error) {
	f.MAC = ""
	b, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// makeFirst draws the password of the first account.
func (s *setting) makeFirst() error {
	password, err := drawPassword(s.Random)
	if err != nil {
		return err
	}
	// The defaults of people.Config: another choice there is taken over at the first login.
	hash, err := argon2id.CreateHash(password, &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opFirst, "the password could not be hashed")
	}
	f := firstAccount{User: s.User.String(), Authority: s.Authorities[0].Name.String(), Password: hash}
	for _, r := range s.Roles {
		f.Roles = append(f.Roles, r.String())
	}
	key, err := firstKey(s.ring)
	if err != nil {
		return err
	}
	if f.MAC, err = f.mac(key); err != nil {
		return err
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	s.result.Password = password
	return s.put(s.path(dataFolder, firstFile), append(b, '\n'), 0o600)
}

// drawPassword makes a password of 100 random bits in five groups of four, which a person can copy by hand.
func drawPassword(random io.Reader) (string, error) {
	var b [13]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fault.Wrap(err, fault.Internal, "", opFirst, "no random numbers")
	}
	t := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	return strings.Join([]string{t[0:4], t[4:8], t[8:12], t[12:16], t[16:20]}, "-"), nil
}

// welcome creates the account that Init left word of at path, once, and removes the file. It does nothing where there
// is no such file, and removes the file where there are accounts already. Denied "forged-first-account" where the file
// was not written with the key.
func welcome(ctx context.Context, store people.Store, path string, key []byte, now time.Time) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opFirst, "the file cannot be read: "+path)
	}
	known, err := store.Accounts(ctx)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		a, err := readFirst(b, key)
		if err != nil {
			return err
		}
		a.Created = now.UTC().Truncate(time.Millisecond)
		if err := store.Commit(ctx, people.Change{Create: &a, Event: people.Event{
			Kind: people.AccountCreated, Actor: "node:bootstrap", Subject: a.User.String(), Detail: a.Authority.String() + " " + roleList(a.Roles), At: a.Created,
		}}); err != nil {
			return err
		}
	}
	// If the machine stops here the account exists: the next start finds it and only removes the file.
	if err := os.Remove(path); err != nil {
		return fault.Wrap(err, fault.Internal, "", opFirst, "the file of the first account cannot be removed: "+path)
	}
	return nil
}

func roleList(roles []people.Role) string {
	var all []string
	for _, r := range roles {
		all = append(all, r.String())
	}
	return strings.Join(all, ",")
}

func readFirst(b, key []byte) (people.Account, error) {
	var f firstAccount
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(&f)
	var a people.Account
	if err == nil {
		a.User, err = people.ParseUser(f.User)
	}
	if err == nil {
		a.Authority, err = authority.ParseName(f.Authority)
	}
	if err == nil {
		a.Roles, err = people.ParseRoles(f.Roles)
	}
	if err == nil {
		_, _, _, err = argon2id.DecodeHash(f.Password)
	}
	if err != nil {
		return a, fault.Wrap(err, fault.Usage, "malformed-first-account", opFirst, "the file "+firstFile+" is not as the set-up wrote it").
			WithHint("make the node's folder anew, or restore the file")
	}
	want, err := f.mac(key)
	if err != nil {
		return a, err
	}
	if !hmac.Equal([]byte(f.MAC), []byte(want)) {
		return a, fault.New(fault.Denied, "forged-first-account", opFirst, "the file "+firstFile+" was not written by this node's set-up, or was changed since").
			WithHint("find out who writes to the data disk; to go on, restore the ledger from its backup")
	}
	a.Password = f.Password
	return a, nil
}
