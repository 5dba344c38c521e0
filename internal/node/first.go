package node

import (
	"bytes"
	"context"
	"encoding/base32"
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
	"github.com/enlace-network/enlace/internal/people"
)

const opFirst = "create first account"

// firstAccount is the file first-account.json in the data folder: what Init leaves for the daemon's first start, when there is a ledger to
// put it in. It holds no secret: the password is 100 random bits, of which only the argon2id hash is written.
type firstAccount struct {
	User      string   `json:"user"`
	Authority string   `json:"authority"`
	Roles     []string `json:"roles"`
	// Password is the argon2id hash in PHC form.
	Password string `json:"password"`
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
// is no such file, and removes the file where there are accounts already.
func welcome(ctx context.Context, store people.Store, path string, now time.Time) error {
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
		a, err := readFirst(b)
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

func readFirst(b []byte) (people.Account, error) {
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
	a.Password = f.Password
	return a, nil
}
