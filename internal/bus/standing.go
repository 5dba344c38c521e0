package bus

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

// standing is which user keys are refused. Held while a token is signed and while a revocation is decided, so that every
// token is either older than a revocation and covered by it, or was refused by the directory that brought it.
type standing struct {
	mu sync.Mutex
	// revoked are user keys whose tokens up to that second are refused; forgotten when those have expired.
	revoked map[string]int64
	// barred are the keys that the directory was against when last looked at.
	barred map[string]bool
	// pushed: the servers know of all of it.
	pushed bool
}

// busKey is the user key of a node in good standing.
func busKey(v directory.View, node authority.Node) (string, error) {
	if err := v.CheckNode(node); err != nil {
		return "", err
	}
	h, ok := v.Newest(directory.OfNode(node), directory.PurposeBus)
	if !ok {
		return "", fault.New(fault.Denied, "no-bus-key", opAccess, "the node has declared no key for the bus").
			WithHint("declare one with the node's next statement")
	}
	return string(h.Public.Bytes()), nil
}

// admit signs a token, for a directory that is not against the node at that moment.
func (b *Bus) admit(ctx context.Context, node authority.Node) (string, time.Time, error) {
	for {
		token, expires, wait, err := b.tryAdmit(node)
		if err != nil || wait <= 0 {
			return token, expires, err
		}
		if !sleep(ctx, wait) {
			return "", time.Time{}, fault.Wrap(ctx.Err(), fault.Retry, "", opAccess, "the call was given up")
		}
	}
}

// tryAdmit says how long to wait where the key was revoked in this very second: tokens are dated by seconds, and one of
// today's would be covered.
func (b *Bus) tryAdmit(node authority.Node) (string, time.Time, time.Duration, error) {
	s := &b.standing
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := busKey(b.view(), node)
	if err != nil {
		return "", time.Time{}, 0, err
	}
	now := time.Now()
	if at, ok := s.revoked[key]; ok && at >= now.Unix() {
		return "", time.Time{}, time.Unix(at+1, 0).Sub(now), nil
	}
	token, expires, err := b.issuer.nodeToken(node, key, b.o.MaxPayload, b.o.Lifetime)
	return token, expires, 0, err
}

// mark notes which keys the directory is against now, and forgets revocations that have outlived every token.
func (s *standing) mark(v directory.View, now time.Time, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range v.Nodes() {
		good, err := busKey(v, n.Node)
		for _, h := range v.Keys(directory.OfNode(n.Node)) {
			key := string(h.Public.Bytes())
			switch {
			case h.Purpose != directory.PurposeBus:
			case err == nil && key == good:
				delete(s.barred, key)
			case !s.barred[key]:
				s.barred[key], s.revoked[key], s.pushed = true, now.Unix(), false
			}
		}
	}
	for key, at := range s.revoked {
		if now.Sub(time.Unix(at, 0)) > 2*life {
			delete(s.revoked, key) // no need to tell the servers at once
		}
	}
}

// guard tells the servers of revocations, which cuts live connections.
func (b *Bus) guard(ctx context.Context, why reason) error {
	s := &b.standing
	s.mark(b.view(), time.Now(), b.o.Lifetime)
	s.mu.Lock()
	done, revoked := s.pushed && why != anew, maps.Clone(s.revoked)
	s.pushed = s.pushed && done
	s.mu.Unlock()
	if done {
		return nil
	}
	l := b.link.Load()
	if l == nil {
		return away()
	}
	token, err := b.issuer.accountToken(revoked)
	if err != nil {
		return err
	}
	if err := l.push(ctx, token); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushed = maps.Equal(revoked, s.revoked)
	return nil
}
