package registry

import (
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

// tree is the Merkle tree of this node's own copy of the log, so that a head of any size can be held against it. It
// keeps two hashes for each entry, 64 bytes. PROTOCOL 11.6.
type tree struct {
	mu     sync.RWMutex
	edge   merkle.Frontier // guarded by mu
	hashes []tlog.Hash     // guarded by mu
}

// add takes the next entry of the log.
func (t *tree) add(entry []byte) { t.grow([]tlog.Hash{directory.LeafHash(entry)}) }

// grow takes the leaves of the next entries.
func (t *tree) grow(leaves []tlog.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, leaf := range leaves {
		t.hashes = append(t.hashes, t.edge.Append(leaf)...)
	}
}

func (t *tree) size() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.edge.Size()
}

// leaf is the hash of the entry at a position, which the log has.
func (t *tree) leaf(position uint64) tlog.Hash {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.hashes[tlog.StoredHashIndex(0, int64(position)-1)]
}

// root is what the log's own entries come to at a size. NotFound "no-entry" where there are not as many.
func (t *tree) root(size int64) (tlog.Hash, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if size < 0 || size > t.edge.Size() {
		return tlog.Hash{}, fault.New(fault.NotFound, "no-entry", opLog, "the log has not as many entries")
	}
	if size == t.edge.Size() {
		return t.edge.Root(), nil
	}
	return tlog.TreeHash(size, tlog.HashReaderFunc(t.read))
}

// edgeAt is the right edge at a size that the log has.
func (t *tree) edgeAt(size int64) (merkle.Frontier, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return merkle.ReadFrontier(size, tlog.HashReaderFunc(t.read))
}

// read is called with mu held.
func (t *tree) read(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(t.hashes)) {
			return nil, fault.New(fault.Internal, "", opLog, "the tree of the log has no such hash")
		}
		all[i] = t.hashes[at]
	}
	return all, nil
}
