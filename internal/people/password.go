package people

import (
	"context"
	"encoding/base32"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/secure/precis"

	"github.com/enlace-network/enlace/internal/fault"
)

const (
	minPassword = 12  // characters
	maxPassword = 256 // bytes
	maxHashing  = 2   // hashes computed at once, each with the memory of the parameters
	maxWaiting  = 8   // callers who may wait for one
)

// normalise gives the one form of a password, by RFC 8265 OpaqueString; empty if it can be nobody's.
func normalise(password string) string {
	if len(password) > maxPassword {
		return ""
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil || len(p) > maxPassword || utf8.RuneCountInString(p) < minPassword {
		return ""
	}
	return p
}

// choose checks a new password for an account and returns its normal form.
func choose(user User, password string) (string, error) {
	p := normalise(password)
	if p == "" {
		return "", fault.New(fault.Invalid, "weak-password", "set password", "a password has 12 characters or more, at most 256 bytes, and no control characters").
			WithHint("four or five words that do not belong together are easy to keep and hard to guess")
	}
	if strings.EqualFold(p, user.String()) {
		return "", fault.New(fault.Invalid, "weak-password", "set password", "the password is the user name")
	}
	return p, nil
}

// draw makes a password of 100 random bits: five groups of four.
func draw(random io.Reader) (string, error) {
	var b [13]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", noRandomness(err)
	}
	s := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	return strings.Join([]string{s[0:4], s[4:8], s[8:12], s[12:16], s[16:20]}, "-"), nil
}

// gate computes hashes, few at a time: each costs memory and time that any caller could ask for.
type gate struct {
	params argon2id.Params
	// slots and waiting count by their length.
	slots   chan struct{}
	waiting chan struct{}
	// decoy is compared where there is no account, so that a wrong name costs what a wrong password costs.
	decoy string
}

func newGate(params argon2id.Params, random io.Reader) (*gate, error) {
	unknown, err := draw(random)
	if err != nil {
		return nil, err
	}
	g := &gate{params: params, slots: make(chan struct{}, maxHashing), waiting: make(chan struct{}, maxWaiting)}
	g.decoy, err = g.hash(context.Background(), unknown)
	return g, err
}

// enter waits for a slot; the caller gives it back with leave.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.waiting <- struct{}{}:
	default:
		return fault.New(fault.Retry, "busy", "check password", "too many people are logging in at this moment").WithHint("try again in a few seconds")
	}
	defer func() { <-g.waiting }()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Retry, "busy", "check password", "the wait for the password check was given up")
	}
}

func (g *gate) leave() { <-g.slots }

// hash computes the PHC string of a password.
func (g *gate) hash(ctx context.Context, password string) (string, error) {
	if err := g.enter(ctx); err != nil {
		return "", err
	}
	defer g.leave()
	phc, err := argon2id.CreateHash(password, &g.params)
	if err != nil {
		return "", noRandomness(err)
	}
	return phc, nil
}

// verdict is what a comparison found.
type verdict struct {
	right bool
	// renewed is the hash by the present parameters, if the stored one was right and made by others.
	renewed string
}

// compare holds a normalised password against a stored hash. An empty password is compared at the same cost; it is
// never right, because no hash of it was ever stored.
func (g *gate) compare(ctx context.Context, password, phc string) (verdict, error) {
	if err := g.enter(ctx); err != nil {
		return verdict{}, err
	}
	defer g.leave()
	right, params, err := argon2id.CheckHash(password, phc)
	if err != nil {
		return verdict{}, fault.Wrap(err, fault.Internal, "", "check password", "the stored password cannot be read")
	}
	if !right || *params == g.params {
		return verdict{right: right}, nil
	}
	renewed, err := argon2id.CreateHash(password, &g.params)
	if err != nil {
		return verdict{}, noRandomness(err)
	}
	return verdict{right: true, renewed: renewed}, nil
}
