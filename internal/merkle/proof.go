package merkle

import (
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
)

// ProveInclusion makes the proof that the tree of this size has its leaf at index; both are counted from 0 and read
// from stored hashes.
func ProveInclusion(size, index int64, stored tlog.HashReader) (tlog.RecordProof, error) {
	if index < 0 || index >= size {
		return nil, fault.New(fault.Invalid, "out-of-range", "prove inclusion", "the tree has no such entry")
	}
	proof, err := tlog.ProveRecord(size, index, stored)
	return proof, unreadable(err, "prove inclusion")
}

// ProveConsistency makes the proof that the tree of size bigger begins with the tree of size smaller, which has at
// least one leaf.
func ProveConsistency(bigger, smaller int64, stored tlog.HashReader) (tlog.TreeProof, error) {
	if smaller < 1 || smaller > bigger {
		return nil, fault.New(fault.Invalid, "out-of-range", "prove consistency", "the tree was never of that size")
	}
	proof, err := tlog.ProveTree(bigger, smaller, stored)
	return proof, unreadable(err, "prove consistency")
}

// CheckInclusion verifies that the tree of the checkpoint has leaf at index. Code "not-included" where it does not.
func CheckInclusion(proof tlog.RecordProof, tree Checkpoint, index int64, leaf tlog.Hash) error {
	if err := tlog.CheckRecord(proof, tree.Size, tree.Root, index, leaf); err != nil {
		return fault.Wrap(err, fault.Invalid, "not-included", "check inclusion", "the proof does not place the entry in the log")
	}
	return nil
}

// CheckConsistency verifies that the later checkpoint's tree begins with the earlier one's. Code "not-consistent"
// where it does not: then the log has been rewritten, or one of the two was never its checkpoint.
func CheckConsistency(proof tlog.TreeProof, later, earlier Checkpoint) error {
	if later.Origin != earlier.Origin {
		return fault.New(fault.Invalid, "not-consistent", "check consistency", "the checkpoints are of different logs")
	}
	if err := tlog.CheckTree(proof, later.Size, later.Root, earlier.Size, earlier.Root); err != nil {
		return fault.Wrap(err, fault.Invalid, "not-consistent", "check consistency", "the later log does not begin with the earlier one")
	}
	return nil
}

// unreadable says that stored hashes failed; the reader's own words stay where it has found some.
func unreadable(err error, op string) error {
	var said *fault.Error
	if err == nil || errors.As(err, &said) {
		return err
	}
	return fault.Wrap(err, fault.Internal, "", op, "the stored hashes of the tree cannot be read")
}
