package merkle

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
)

// Frontier is the right edge of a tree: the roots of the complete subtrees it is made of, largest first. It is all
// that is needed to append and to know the root, and it stays below 64 hashes whatever the size of the log. The zero
// value is the empty tree. Not safe for concurrent use.
type Frontier struct {
	size  int64
	roots []tlog.Hash
}

// Size is the number of leaves.
func (f *Frontier) Size() int64 { return f.size }

// Clone returns a copy that later appends to f do not touch: keep one to take appends back.
func (f *Frontier) Clone() Frontier { return Frontier{f.size, slices.Clone(f.roots)} }

// Append adds a leaf (see [tlog.RecordHash]) and returns the hashes to store for it: the leaf itself, then each
// subtree it completes. They belong at tlog.StoredHashIndex(0, n) and onward, n being the size before the call.
func (f *Frontier) Append(leaf tlog.Hash) []tlog.Hash {
	completed := bits.TrailingZeros64(^uint64(f.size))
	stored := make([]tlog.Hash, 1, 1+completed)
	stored[0] = leaf
	for range completed {
		last := len(f.roots) - 1
		leaf = tlog.NodeHash(f.roots[last], leaf)
		f.roots = f.roots[:last]
		stored = append(stored, leaf)
	}
	f.roots = append(f.roots, leaf)
	f.size++
	return stored
}

// Root is the hash of the whole tree; of the empty one SHA-256 of nothing (RFC 6962 2.1).
func (f *Frontier) Root() tlog.Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(f.roots) - 1
	root := f.roots[last]
	for _, left := range slices.Backward(f.roots[:last]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// ReadFrontier rebuilds the edge of a stored tree from at most 63 of its hashes.
func ReadFrontier(size int64, stored tlog.HashReader) (Frontier, error) {
	if size < 0 {
		return Frontier{}, fault.New(fault.Invalid, "malformed", "read tree", "a tree has no negative size")
	}
	var indexes []int64
	for done, rest := int64(0), size; rest > 0; {
		level := bits.Len64(uint64(rest)) - 1
		indexes = append(indexes, tlog.StoredHashIndex(level, done>>level))
		done += 1 << level
		rest -= 1 << level
	}
	roots, err := stored.ReadHashes(indexes)
	if err != nil {
		return Frontier{}, unreadable(err, "read tree")
	}
	return Frontier{size, slices.Clone(roots)}, nil
}
