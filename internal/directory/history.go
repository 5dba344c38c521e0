package directory

import "sync"

// remembered is how many changes that audiences depend on a node can look back. PROTOCOL 7.3.
const remembered = 64

// History is the log as applied, with what it said before: the newest snapshot, and those after each of the last 64
// entries that can change an audience. It holds logged entries only, never what was seen before it was logged, so that
// every node has the same. Safe for concurrent use; the zero value is empty.
type History struct {
	mu     sync.RWMutex
	newest *Snapshot   // guarded by mu
	kept   []*Snapshot // guarded by mu; in ascending order, each after another such entry
}

// Add takes the snapshot that follows the newest by one log entry, applied or skipped.
func (h *History) Add(s *Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.kept) - 1
	switch {
	case last >= 0 && h.kept[last].changed == s.changed:
		// It answers the same about audiences, and so the keys that it has no more can be forgotten.
		h.kept[last] = s
	case len(h.kept) == remembered:
		h.kept = append(append(h.kept[:0], h.kept[1:]...), s)
	default:
		h.kept = append(h.kept, s)
	}
	h.newest = s
}

// adopt takes over what another history holds, which is used no more.
func (h *History) adopt(other *History) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest, h.kept = other.newest, other.kept
}

// Newest is the log up to its end; nil in an empty history.
func (h *History) Newest() *Snapshot {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.newest
}

// At answers about audiences exactly as the log up to a position does, and has that position; of keys and endpoints of
// authorities and nodes it may know less or more. False if the position is beyond the log, or older than what is remembered.
func (h *History) At(position uint64) (*Snapshot, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.newest == nil || position > h.newest.position {
		return nil, false
	}
	for i := len(h.kept) - 1; i >= 0; i-- {
		if s := h.kept[i]; s.changed <= position {
			then := *s
			then.position = position
			return &then, true
		}
	}
	return nil, false
}

// Changed is the position of the newest log entry that can change an audience: a newer audience than one computed at
// or after it differs by restrictions seen, and by time, alone.
func (s *Snapshot) Changed() uint64 { return s.changed }

// changesAudiences reports whether an entry of that kind can change an audience, or whether a restriction holds. Keys
// of states and stewards count: they sign restrictions. When in doubt it does.
func changesAudiences(kind Kind) bool {
	switch kind {
	case KindRotateAuthorityKeys, KindRotateNode, KindRotateHub, KindCategories, KindInstruments, KindRules, KindDeclareInstruments, KindConfirm, KindNotice:
		return false
	}
	return true
}
