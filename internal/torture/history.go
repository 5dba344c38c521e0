package torture

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// File is an attachment as it was written or read.
type File struct {
	Name   string
	Size   uint64
	Digest string // hex of SHA-256
}

// Said is a message that an officer handed in.
type Said struct {
	// ID is empty where the call got no answer and the message had no ID before.
	ID string
	// Case is the request or alert that it belongs to.
	Case string
	// Kind is as the operator door names it: "REQUEST", "ALERT", ...
	Kind string
	From string
	// To is a state; empty for an alert, which goes to all others.
	To string
	// Content stands for all that was written.
	Content string
	Files   []File
	// Acknowledged: the officer was told that it is done. Otherwise it is in doubt.
	Acknowledged bool
	// At is when the officer was told, or the call given up, since the run began.
	At time.Duration
}

// SeenRoot is what a node's status said of its evidence log.
type SeenRoot struct {
	State string
	// Size is how many events there were, Root that of the newest checkpoint, hex.
	Size uint64
	Root string
}

// History is what officers did and saw. Safe for concurrent use.
type History struct {
	mu    sync.Mutex
	said  []Said
	roots map[SeenRoot]bool
	seen  map[string]string // guarded by mu; what is watched, to the last status seen
	back  []Violation       // guarded by mu; what went backwards
}

// NewHistory is empty.
func NewHistory() *History {
	return &History{roots: map[SeenRoot]bool{}, seen: map[string]string{}}
}

// Say notes a message.
func (h *History) Say(s Said) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, s)
}

// Said is all that was noted.
func (h *History) Said() []Said {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Said(nil), h.said...)
}

// Root notes what a status said.
func (h *History) Root(r SeenRoot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.roots[r] = true
}

// Roots are those noted of one state.
func (h *History) Roots(state string) []SeenRoot {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []SeenRoot
	for r := range h.roots {
		if r.State == state {
			all = append(all, r)
		}
	}
	return all
}

// Status notes that an officer at a state saw a request, an alert or a delivery in a status. The statuses of one thing
// only go forwards.
func (h *History) Status(at time.Duration, state, what, status string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := state + " " + what
	before := h.seen[name]
	h.seen[name] = status
	if rank(status) < rank(before) {
		h.back = append(h.back, Violation{Rule: "backwards", State: state, Message: what, Lasting: true,
			Text: fmt.Sprintf("seen as %s, and later, at %s, as %s", before, at.Round(time.Millisecond), status)})
	}
}

// Forget drops what was seen of a state: it was put back to an earlier one.
func (h *History) Forget(state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.seen, func(name, _ string) bool { return strings.HasPrefix(name, state+" ") })
	maps.DeleteFunc(h.roots, func(r SeenRoot, _ bool) bool { return r.State == state })
}

// Backwards is what was seen going backwards.
func (h *History) Backwards() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Violation(nil), h.back...)
}

// rank orders what a request, an alert and a delivery can be seen as, each among its own.
func rank(status string) int {
	order := map[string]int{
		"": 0, "DRAFT": 1, "PENDING_APPROVAL": 2, "QUEUED": 3, "UNDELIVERABLE": 4, "DELIVERED": 5, "ACKNOWLEDGED": 6, "ANSWERED": 7,
		"REFUSED": 7, "CLOSED": 8, "COMPLETE": 8, "REJECTED": 8, "ISSUED": 3, "UPDATED": 4, "CANCELLED": 8, "EXPIRED": 8, "SUPERSEDED": 8,
	}
	return order[status]
}

// digest stands for some texts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
