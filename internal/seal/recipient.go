package seal

import (
	"sync"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// maxRecipients bounds the memory of a Recipients: an entry is some 6 kB.
const maxRecipients = 1024

// Recipients remembers sealing keys that were parsed: reading the text of a hybrid key costs as much as a fifth of
// sealing to it. The zero value is ready. Safe for concurrent use.
type Recipients struct {
	mu    sync.Mutex
	known map[authority.Fingerprint]age.Recipient // guarded by mu
}

// parse finds or reads a sealing key. A nil receiver remembers nothing.
func (r *Recipients) parse(k authority.PublicKey) (age.Recipient, error) {
	if r == nil {
		return recipient(k)
	}
	fp := k.Fingerprint()
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.known[fp]; ok {
		return known, nil
	}
	parsed, err := recipient(k)
	if err != nil {
		return nil, err
	}
	if r.known == nil || len(r.known) >= maxRecipients {
		r.known = map[authority.Fingerprint]age.Recipient{}
	}
	r.known[fp] = parsed
	return parsed, nil
}

func recipient(k authority.PublicKey) (age.Recipient, error) {
	if k.Algorithm() != authority.AgeHybrid {
		return nil, fault.New(fault.Invalid, "malformed-key", "seal", "a sealing key is an age hybrid recipient")
	}
	r, err := age.ParseHybridRecipient(string(k.Bytes()))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "malformed-key", "seal", "a sealing key in the directory is not an age hybrid recipient")
	}
	return r, nil
}
