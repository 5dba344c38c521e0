package registry

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// Freshness is how far the directory at hand may be trusted to be that of now. DESIGN 6.
type Freshness uint8

const (
	// Fresh: the witnesses stood behind it within 15 minutes.
	Fresh Freshness = iota
	// Degraded: within 30 days. Traffic flows, marked.
	Degraded
	// Stale: not for 30 days. Sending is refused.
	Stale
)

const (
	freshFor    = 15 * time.Minute
	degradedFor = 30 * 24 * time.Hour
	contactFile = "contact"
	// contactEvery is how often the time of the last contact is put on disk, for the next start.
	contactEvery = time.Minute
)

// String is the slug.
func (f Freshness) String() string { return [...]string{"fresh", "degraded", "stale"}[f] }

// Freshness is how old the directory may be, by the quorum time of the confirmed head; where there are no witnesses, by
// the last contact with the hub. PROTOCOL 11.6, DESIGN 6.
func (f *Follower) Freshness() (Freshness, time.Time) {
	f.mu.Lock()
	since := f.judged.Quorum
	witnessed := f.judged.Needed > 0
	f.mu.Unlock()
	if !witnessed {
		since = f.contact.at()
	}
	return freshnessAt(since, f.o.Now()), since
}

// CheckFresh refuses to send on a directory that is stale. Retry "stale-directory".
func (f *Follower) CheckFresh() error {
	if state, _ := f.Freshness(); state != Stale {
		return nil
	}
	return fault.New(fault.Retry, "stale-directory", "check directory", "the directory was not confirmed for 30 days").
		WithHint("restore the connection to the hub, or to another node that has one")
}

// freshnessAt judges an age.
func freshnessAt(last, now time.Time) Freshness {
	switch age := now.Sub(last); {
	case last.IsZero() || age > degradedFor:
		return Stale
	case age > freshFor:
		return Degraded
	}
	return Fresh
}

// contact remembers when the hub was last heard, across restarts.
type contact struct {
	path string

	mu    sync.Mutex
	last  time.Time // guarded by mu
	saved time.Time // guarded by mu
}

// openContact reads the time of the last contact. A time of the future, from a clock that was wrong, counts as now.
func openContact(folder string, now time.Time) *contact {
	c := &contact{path: filepath.Join(folder, contactFile)}
	if b, err := os.ReadFile(c.path); err == nil {
		if last, err := time.Parse(time.RFC3339, string(b)); err == nil {
			c.last = last
		}
	}
	if c.last.After(now) {
		c.last = now
	}
	return c
}

// heard notes a contact. The file is not synced: to lose it makes the directory look older than it is, no worse.
func (c *contact) heard(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	if now.Sub(c.saved) < contactEvery && !now.Before(c.saved) {
		return nil
	}
	c.saved = now
	if err := os.WriteFile(c.path+unfinished, []byte(now.UTC().Format(time.RFC3339)), 0o600); err != nil {
		return err
	}
	return os.Rename(c.path+unfinished, c.path)
}

func (c *contact) at() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}
