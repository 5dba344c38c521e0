package broadcast

import (
	"context"
	"sync"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/seal"
)

// maxKeys bounds how many opened epoch keys are remembered.
const maxKeys = 4096

// keyName names an epoch key as frames do.
type keyName struct {
	publisher   authority.Node
	fingerprint message.Digest
}

// epochKey is an epoch with its key opened.
type epochKey struct {
	chain  ledger.Chain
	number uint64
	pack   seal.EpochPackage
	key    seal.EpochKey
}

// keyCache remembers opened epoch keys: opening one costs a hybrid decryption. The ledger has them all, sealed.
type keyCache struct {
	mu        sync.Mutex
	epochs    map[keyName]epochKey        // guarded by mu
	audiences map[message.Digest]audience // guarded by mu; of ours
}

func (c *keyCache) get(n keyName) (epochKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.epochs[n]
	return k, ok
}

func (c *keyCache) add(k epochKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epochs == nil || len(c.epochs) >= maxKeys {
		c.epochs = map[keyName]epochKey{}
	}
	c.epochs[keyName{k.chain.Publisher, k.pack.KeyFingerprint}] = k
}

func (c *keyCache) audience(id message.Digest) (audience, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.audiences[id]
	return a, ok
}

func (c *keyCache) setAudience(id message.Digest, a audience) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.audiences == nil || len(c.audiences) >= maxKeys {
		c.audiences = map[message.Digest]audience{}
	}
	c.audiences[id] = a
}

// forget drops what is remembered of an audience, whose members have changed.
func (c *keyCache) forget(id message.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.audiences, id)
}

func (c *keyCache) put(id message.Digest, a audience, row ledger.Epoch, pack seal.EpochPackage, key seal.EpochKey) {
	c.setAudience(id, a)
	c.add(epochKey{chain: row.Chain, number: row.Number, pack: pack, key: key})
}

// opened reads a stored epoch and opens its key with the keyring.
func (b *Broadcaster) opened(ctx context.Context, row ledger.Epoch) (epochKey, error) {
	if k, ok := b.keys.get(keyName{row.Chain.Publisher, row.Fingerprint}); ok {
		return k, nil
	}
	env, err := seal.StoredControl(row.Sealed)
	if err != nil {
		return epochKey{}, err
	}
	body, err := env.Open(ctx, b.Keys)
	if err != nil {
		return epochKey{}, err
	}
	grant, err := seal.ParseGrant(body)
	if err != nil {
		return epochKey{}, err
	}
	pack, err := seal.StoredEpochPackage(row.Package)
	if err != nil {
		return epochKey{}, err
	}
	k := epochKey{chain: row.Chain, number: row.Number, pack: pack, key: grant.Key}
	b.keys.add(k)
	return k, nil
}

// keyOf finds the epoch key of a verified frame; NotFound while it has not come.
func (b *Broadcaster) keyOf(ctx context.Context, publisher authority.Node, fingerprint message.Digest) (epochKey, error) {
	if k, ok := b.keys.get(keyName{publisher, fingerprint}); ok {
		return k, nil
	}
	var row ledger.Epoch
	err := b.Ledger.View(ctx, func(r ledger.Reader) error {
		var err error
		row, err = r.EpochByKey(publisher, fingerprint)
		return err
	})
	if err != nil {
		return epochKey{}, err
	}
	return b.opened(ctx, row)
}
