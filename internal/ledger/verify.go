package ledger

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/merkle"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Evidence is what a verification has found sound.
type Evidence struct {
	Events      uint64
	Checkpoints uint64
	// Signed is how many events the newest checkpoint covers.
	Signed uint64
	// Purged is how many details are gone, their hashes left.
	Purged uint64
	Root   message.Digest
	// Earlier are those of the ledger's incarnations that are over, oldest first.
	Earlier []Evidence
}

// Verify recomputes the whole evidence log from its leaves: numbers without gaps, hashes of details, stored tree
// hashes, and each checkpoint's root, signature and place in the row. Conflict "evidence-broken" says where it fails.
func Verify(ctx context.Context, origin string, keys Keys, stored EventReader) (Evidence, error) {
	verifiers, err := keys.verifiers(origin)
	if err != nil {
		return Evidence{}, err
	}
	a := audit{log: Log{origin: origin, keys: keys, verifiers: verifiers}, stored: stored}
	for {
		if err := ctx.Err(); err != nil {
			return Evidence{}, err
		}
		events, err := stored.Events(a.found.Events, MaxPage)
		if err != nil {
			return Evidence{}, err
		}
		for _, e := range events {
			if err := a.event(e); err != nil {
				return Evidence{}, err
			}
		}
		if len(events) < MaxPage {
			break
		}
	}
	return a.finish()
}

// audit is a verification under way. Its log's newest is the checkpoint verified last.
type audit struct {
	log    Log
	tree   merkle.Frontier
	stored EventReader
	// queue are checkpoints read ahead.
	queue []Checkpoint
	found Evidence
}

func (a *audit) event(e StoredEvent) error {
	at := fmt.Sprintf("event %d ", a.found.Events)
	if err := a.checkpoints(); err != nil {
		return err
	}
	leaf, err := ParseLeaf(e.Leaf)
	if err != nil {
		return broken(at+"cannot be read", err)
	}
	if leaf.Sequence != a.found.Events || e.Sequence != a.found.Events {
		return broken(at+"is missing", nil)
	}
	var m formatv1.EventLeaf
	if err := canonical.Unmarshal(e.Leaf, &m, maxLeaf); err != nil {
		return broken(at+"cannot be read", err)
	}
	switch {
	case len(e.Salt) > 0:
		if !bytes.Equal(detailHash(e.Salt, e.Detail), m.GetDetail()) {
			return broken(at+"has another detail than was recorded", nil)
		}
	case len(e.Detail) > 0:
		return broken(at+"has a detail that was not recorded", nil)
	case len(m.GetDetail()) > 0:
		a.found.Purged++
	}
	var hashes []byte
	for _, h := range a.tree.Append(tlog.RecordHash(e.Leaf)) {
		hashes = append(hashes, h[:]...)
	}
	if !bytes.Equal(hashes, e.Hashes) {
		return broken(at+"is not what was recorded", nil)
	}
	a.found.Events++
	return nil
}

// checkpoints verifies every stored checkpoint over the tree as it stands now.
func (a *audit) checkpoints() error {
	for {
		if len(a.queue) == 0 {
			next, err := a.stored.Checkpoints(a.found.Checkpoints+1, MaxPage)
			if err != nil {
				return err
			}
			if a.queue = next; len(next) == 0 {
				// None is left: no more reading, whatever the number of events that follow.
				a.queue = []Checkpoint{{Checkpoint: merkle.Checkpoint{Size: -1}}}
			}
		}
		c := a.queue[0]
		if c.Size < 0 || c.Size > a.tree.Size() {
			return nil
		}
		if err := a.checkpoint(c); err != nil {
			return err
		}
		a.queue = a.queue[1:]
	}
}

func (a *audit) checkpoint(c Checkpoint) error {
	if err := a.log.checkCheckpoint(c); err != nil {
		return err
	}
	at := fmt.Sprintf("checkpoint %d ", c.Sequence)
	if c.Size != a.tree.Size() || c.Root != a.tree.Root() || c.Sequence != a.found.Checkpoints+1 {
		return broken(at+"signs another log", nil)
	}
	if !bytes.Equal(a.log.commitment(c), c.Commitment) {
		return broken(at+"does not follow the one before", nil)
	}
	a.log.newest = c
	a.found.Checkpoints, a.found.Signed = c.Sequence, uint64(c.Size)
	return nil
}

func (a *audit) finish() (Evidence, error) {
	if err := a.checkpoints(); err != nil {
		return Evidence{}, err
	}
	if c := a.queue[0]; c.Size >= 0 {
		return Evidence{}, broken(fmt.Sprintf("the log has %d events, but %d were signed", a.tree.Size(), c.Size), nil)
	}
	a.found.Root = message.Digest(a.tree.Root())
	return a.found, nil
}
