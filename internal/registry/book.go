package registry

import (
	"crypto/sha256"
	"maps"
	"slices"
	"sort"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

// book is the hub's own log as it has read it: the directory it makes, its tip, and what has to be found in it later. It
// holds logged entries alone. Safe for concurrent use; one at a time adds to it.
type book struct {
	mu sync.RWMutex
	pages
}

// pages are what a book holds.
type pages struct {
	last      *directory.Snapshot
	positions map[directory.Hash]uint64
	// eras are the snapshots from which on other keys witness, in ascending order.
	eras     []*directory.Snapshot
	frontier merkle.Frontier
	hashes   shelf
}

// shelf is the hashes of a tree in memory, some 2 MB for 30,000 statements.
type shelf []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (s shelf) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(s)) {
			return nil, fault.New(fault.Invalid, "out-of-range", opLog, "the log is shorter than that")
		}
		all[i] = s[at]
	}
	return all, nil
}

func newBook() *book { return &book{pages: pages{positions: map[directory.Hash]uint64{}}} }

// fork is a copy to go on with, for who may not want to keep it.
func (b *book) fork() *book {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return &book{pages: pages{b.last, maps.Clone(b.positions), slices.Clone(b.eras), b.frontier.Clone(), slices.Clone(b.hashes)}}
}

// adopt takes over what a fork has become.
func (b *book) adopt(fork *book) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pages = fork.pages
}

// add takes the next entry of the log. The error says why everyone skips it; it counts a position all the same
// (PROTOCOL 4.15), and counted says so. Not counted is what founds nothing where there is no genesis yet, and what follows
// newer rules than this program knows (PROTOCOL 4.21).
func (b *book) add(entry []byte) (counted bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		return b.found(entry)
	}
	if _, supported := b.last.Rules(); !supported {
		_, err := directory.Follow(b.last, entry)
		return false, err
	}
	st, err := directory.ParseStatement(entry)
	next := b.last.Skip()
	if err == nil {
		var applied *directory.Snapshot
		if applied, err = directory.Apply(b.last, st); err == nil {
			next = applied
			b.positions[st.Hash()] = next.Position()
		}
	}
	b.write(entry, next, err == nil && !st.Subject().Node().IsZero())
	return true, err
}

func (b *book) found(genesis []byte) (bool, error) {
	first, err := directory.Follow(nil, genesis)
	if err != nil {
		return false, err
	}
	st, err := directory.ParseStatement(genesis)
	if err != nil {
		return false, err
	}
	b.positions[st.Hash()] = first.Position()
	b.write(genesis, first, false)
	return true, nil
}

// write takes the entry with the snapshot after it. Who witnesses changes by what is said of a node, and by nothing else.
func (b *book) write(entry []byte, next *directory.Snapshot, aboutNode bool) {
	if b.last == nil || (aboutNode && !slices.Equal(b.last.Witnesses(), next.Witnesses())) {
		b.eras = append(b.eras, next)
	}
	b.last = next
	b.hashes = append(b.hashes, b.frontier.Append(directory.LeafHash(entry))...)
}

// tip is the log up to its end.
func (b *book) tip() *directory.Snapshot {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.last
}

// witnesses is a snapshot with the witnesses at a position of the log, the same one for all positions with the same;
// nil for position 0.
func (b *book) witnesses(position uint64) *directory.Snapshot {
	b.mu.RLock()
	defer b.mu.RUnlock()
	after := sort.Search(len(b.eras), func(i int) bool { return b.eras[i].Position() > position })
	if after == 0 {
		return nil
	}
	return b.eras[after-1]
}

// position is where a statement stands in the log.
func (b *book) position(of directory.Hash) (uint64, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	position, ok := b.positions[of]
	return position, ok
}

// root is that of the first entries of the log, as many as size. Invalid "out-of-range" if there are fewer.
func (b *book) root(size int64) (tlog.Hash, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if size < 0 || size > b.frontier.Size() {
		return tlog.Hash{}, fault.New(fault.Invalid, "out-of-range", opLog, "the log is shorter than that")
	}
	frontier, err := merkle.ReadFrontier(size, b.hashes)
	if err != nil {
		return tlog.Hash{}, err
	}
	return frontier.Root(), nil
}

// leaf is what the tree holds of an entry. PROTOCOL 11.6.
func leaf(entry []byte) [sha256.Size]byte { return sha256.Sum256(entry) }
