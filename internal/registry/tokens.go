package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
	"github.com/enlace-network/enlace/internal/wire"
)

const (
	opToken      = "issue token"
	tokensFolder = "tokens"
	// tokenFor is how long a token is good.
	tokenFor = 7 * 24 * time.Hour
	// maxTokens is how many of one state may be out.
	maxTokens  = 16
	tokenBytes = 16
)

// tokens are the one-time tokens that are out: files named by the SHA-256 of the token, which is nowhere else. Each says
// its state and when it runs out, in Unix seconds. PROTOCOL 11.12.
type tokens struct {
	folder string
	random io.Reader
	mu     sync.Mutex
	out    map[string]token // guarded by mu; by name of the file
}

type token struct {
	state   authority.State
	expires time.Time
}

func openTokens(folder string, random io.Reader) (*tokens, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-tokens", opToken, "the folder of tokens cannot be made")
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, broke(err)
	}
	t := &tokens{folder: folder, random: random, out: map[string]token{}}
	for _, f := range files {
		one, err := readToken(filepath.Join(folder, f.Name()))
		if err != nil || !isHash(f.Name()) {
			// Half written by a machine that stopped: nobody was given it.
			_ = os.Remove(filepath.Join(folder, f.Name()))
			continue
		}
		t.out[f.Name()] = one
	}
	return t, nil
}

func readToken(path string) (token, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return token{}, err
	}
	name, until, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	state, err := authority.ParseState(name)
	if err != nil {
		return token{}, err
	}
	seconds, err := strconv.ParseInt(until, 10, 64)
	return token{state, time.Unix(seconds, 0).UTC()}, err
}

func isHash(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size
}

// nameOf is how a token is kept: whoever reads the disk has no token.
func nameOfToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// issue makes a token; its hash is on stable storage on return. Retry "too-many".
func (t *tokens) issue(state authority.State, now time.Time) (string, time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := 0
	for _, one := range t.out {
		if one.state == state && one.expires.After(now) {
			of++
		}
	}
	if of >= maxTokens {
		return "", time.Time{}, fault.New(fault.Retry, "too-many", opToken, "too many tokens of that state have not been used")
	}
	b := make([]byte, tokenBytes)
	if _, err := io.ReadFull(t.random, b); err != nil {
		return "", time.Time{}, fault.Wrap(err, fault.Internal, "", opToken, "no random numbers")
	}
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	one := token{state, now.Add(tokenFor).Truncate(time.Second).UTC()}
	name := nameOfToken(text)
	if err := writeFile(filepath.Join(t.folder, name), fmt.Appendf(nil, "%s %d\n", state, one.expires.Unix())); err != nil { // commit
		return "", time.Time{}, unkept(err)
	}
	// If the machine stops here the token is out and nobody has it; it runs out.
	t.out[name] = one
	return text, one.expires, nil
}

// use spends a token on what do does for its state; if that fails the token is good still. Denied "wrong-token", without a
// word on what is wrong with it.
func (t *tokens) use(text string, now time.Time, do func(authority.State) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := nameOfToken(text)
	one, ok := t.out[name]
	if !ok || !one.expires.After(now) {
		return fault.New(fault.Denied, "wrong-token", opDeposit, "the token is not one, was used, or has run out").
			WithHint("ask a steward for another")
	}
	if err := do(one.state); err != nil {
		return err
	}
	// If the machine stops here the token is good once more, for the same state and within its share of the tray.
	delete(t.out, name)
	return remove(filepath.Join(t.folder, name))
}

// sweep forgets tokens that have run out.
func (t *tokens) sweep(now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []error
	for name, one := range t.out {
		if !one.expires.After(now) {
			delete(t.out, name)
			all = append(all, remove(filepath.Join(t.folder, name)))
		}
	}
	return errors.Join(all...)
}

// IssueToken implements enlace.directory.v1, for stewards: the token is shown this once, and good for one deposit about
// that state, admitted or not. PROTOCOL 11.12.
func (s *Service) IssueToken(ctx context.Context, r *directoryv1.IssueTokenRequest) (*directoryv1.IssueTokenResponse, error) {
	by, ok := wire.PeerFrom(ctx)
	if !ok || !isSteward(by) {
		return nil, fault.New(fault.Denied, "not-allowed", opToken, "only stewards issue tokens")
	}
	state, err := authority.ParseState(r.GetState())
	if err != nil {
		return nil, err
	}
	text, expires, err := s.tokens.issue(state, s.o.Now())
	if err != nil {
		return nil, s.fail(err)
	}
	return &directoryv1.IssueTokenResponse{Token: text, Expires: expires.Unix()}, nil
}
