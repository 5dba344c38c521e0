package witness

import (
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const opCosign = "cosign checkpoint"

// Cosigner is a node's witness: its memory of the newest checkpoint it cosigned, and the way to its key. Safe for
// concurrent use; one process at a time has its memory open.
type Cosigner struct {
	name   string
	signer func() (merkle.Signer, error)
	memory memory
	lock   *os.File

	mu     sync.Mutex
	last   merkle.Checkpoint // guarded by mu
	any    bool              // guarded by mu; last has been cosigned
	broken error             // guarded by mu; why nothing more can be signed
}

// OpenCosigner opens the memory at path, or begins one where there never was any; path with ".lock" behind it is taken
// for as long as the Cosigner is open. Name is the witness's, the SPIFFE ID of its node (PROTOCOL 2.4); signer gives its
// key of now. Errors: Conflict "data-in-use"; Internal "lost-witness" and "damaged-witness", after which the node needs a
// new witness key; Usage "other-witness" where the memory is of another name.
func OpenCosigner(path, name string, signer func() (merkle.Signer, error)) (*Cosigner, error) {
	c := &Cosigner{name: name, signer: signer, memory: memory{path: path, name: name}}
	lock, err := take(path + lockSuffix)
	if err != nil {
		return nil, err
	}
	c.lock = lock
	c.last, c.any, err = c.memory.open(lock)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return c, nil
}

// Last is the newest checkpoint this witness may have cosigned; false if there is none.
func (c *Cosigner) Last() (merkle.Checkpoint, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.any
}

// Cosign returns a cosignature of the checkpoint as a line of a note (PROTOCOL 11.6). Whoever calls has verified that the
// log signed it; root gives the root of the first so many entries of the caller's own copy. On return the checkpoint is
// on stable storage, and so it is before the key is used (PROTOCOL 11.8). Errors: Conflict "rollback" where it is smaller
// than the last, Conflict "not-consistent" where it, or the last, is not what the caller's copy has; Retry "disk-full",
// Retry "keyring-away"; Internal "disk" when nobody knows what the disk holds, and then for ever until a restart.
func (c *Cosigner) Cosign(cp merkle.Checkpoint, root func(size int64) (tlog.Hash, error), now time.Time) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	if err := c.check(cp, root); err != nil {
		return nil, err
	}
	key, err := c.signer()
	if err != nil {
		return nil, err
	}
	if !c.any || c.last != cp {
		if err := c.remember(cp); err != nil {
			return nil, err
		}
	}
	// If the machine stops here the witness holds a checkpoint that it has not cosigned: it may cosign it again.
	return merkle.Cosign(cp, c.name, key, now)
}

// check is called with mu held.
func (c *Cosigner) check(cp merkle.Checkpoint, root func(int64) (tlog.Hash, error)) error {
	if cp.Size < 1 {
		return fault.New(fault.Invalid, "malformed", opCosign, "a witness cosigns no empty log")
	}
	if c.any && cp.Origin != c.last.Origin {
		return fault.New(fault.Invalid, "wrong-origin", opCosign, "the checkpoint is of another log")
	}
	if c.any && cp.Size < c.last.Size {
		return fault.New(fault.Conflict, "rollback", opCosign, "the log is smaller than when this node last cosigned it")
	}
	if c.any && cp.Size == c.last.Size && cp.Root != c.last.Root {
		return inconsistent("the log has another root than when this node last cosigned it at this size")
	}
	if err := holds(cp, root); err != nil {
		return err
	}
	// What is cosigned must begin with what was: the own copy is the proof, if it has both.
	if c.any && cp.Size > c.last.Size {
		return holds(c.last, root)
	}
	return nil
}

// holds says whether the caller's copy has this checkpoint's tree.
func holds(cp merkle.Checkpoint, root func(int64) (tlog.Hash, error)) error {
	own, err := root(cp.Size)
	if err != nil {
		return err
	}
	if own != cp.Root {
		return inconsistent("this node's copy of the log has another root at this size")
	}
	return nil
}

// remember is called with mu held.
func (c *Cosigner) remember(cp merkle.Checkpoint) error {
	err := c.memory.store(&cp)
	if err != nil && fault.CodeOf(err) == "disk" {
		c.broken = err
	}
	if err == nil {
		c.last, c.any = cp, true
	}
	return err
}

// Close lets another process have the memory; nothing is cosigned afterwards.
func (c *Cosigner) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = fault.New(fault.Retry, "closed", opCosign, "the program is stopping")
	}
	return c.lock.Close()
}

func inconsistent(say string) error {
	return fault.New(fault.Conflict, "not-consistent", opCosign, say)
}
