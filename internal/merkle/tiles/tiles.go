package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const (
	// maxBatch is how many leaves are made durable at once.
	maxBatch = 4096
	// never is longer than any program runs: Tessera does by itself what it is told, and nothing by the clock.
	never = 100 * 365 * 24 * time.Hour

	// label marks Tessera's goroutines.
	label = "enlace-tiles"
	// patience is how long they are waited for.
	patience = 10 * time.Second

	opOpen   = "open tiles"
	opAppend = "append to tiles"
)

// Options are what a log is made with.
type Options struct {
	// Dir is the log's folder; made if there is none.
	Dir string
	// Origin is the log's name in its checkpoints. PROTOCOL 9.2.
	Origin string
	// Signer is the log's key. It is asked for its public key at each signature, so it may change keys between two.
	Signer merkle.Signer
	// Log takes what the operator should know; nil is silent.
	Log *zap.Logger
}

// Tiles is a log's tree on disk. Reading and appending may go on at once; appends wait for each other.
type Tiles struct {
	options Options
	folder  *os.File // holds the lock
	driver  tessera.Driver
	reader  tessera.LogReader

	appending sync.Mutex
	frontier  merkle.Frontier // guarded by appending; of the leaves that are integrated
	closed    bool            // guarded by appending

	mu   sync.RWMutex
	tree tlog.Tree // guarded by mu
	note []byte    // guarded by mu
}

// Open opens the folder or makes it. Of a log that is not empty it signs the checkpoint. Errors: Conflict "data-in-use"
// where another program has the folder, Internal "damaged-tiles", Retry "keyring-away", Retry "disk-full".
func Open(ctx context.Context, o Options) (*Tiles, error) {
	quiet()
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	folder, err := take(o.Dir)
	if err != nil {
		return nil, err
	}
	t := &Tiles{options: o, folder: folder}
	if err := t.open(ctx); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// take makes the folder and locks it.
func take(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-tiles", opOpen, "the folder of tiles cannot be made").
			WithHint("look at the owner and the permissions of the data folder")
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-tiles", opOpen, "the folder of tiles cannot be opened").
			WithHint("look at the owner and the permissions of the data folder")
	}
	if err := lock(folder); err != nil {
		_ = folder.Close()
		return nil, fault.Wrap(err, fault.Conflict, "data-in-use", opOpen, "another program is using this data").
			WithHint("stop it first, or name another data folder")
	}
	return folder, nil
}

func (t *Tiles) open(ctx context.Context) error {
	driver, err := drive(ctx, t.options.Dir)
	if err != nil {
		return damaged(err)
	}
	t.driver = driver
	t.sweep() // it may be these that fill the disk
	_, stop, err := t.start(ctx, 1)
	if err != nil {
		return err
	}
	stop()
	size, err := t.stored(ctx)
	if err != nil {
		return err
	}
	// Unchecked: only whoever has the leaves knows what the root must be.
	frontier, err := merkle.ReadFrontier(size, hashes{t.reader, size})
	if err != nil {
		return damaged(err)
	}
	t.frontier = frontier
	return t.publish()
}

// start runs Tessera for one batch of exactly n leaves; stop ends what it started.
func (t *Tiles) start(ctx context.Context, n int) (appender *tessera.Appender, stop func(), err error) {
	verifier, err := merkle.NewVerifier(t.options.Origin, t.options.Signer.PublicKey())
	if err != nil {
		return nil, nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer{verifier, t.options.Signer}).
		WithBatching(uint(n), never).
		WithCheckpointInterval(never).
		WithCheckpointRepublishInterval(0).
		WithGarbageCollectionInterval(0)
	ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	// Where a lock file cannot be opened Tessera panics: here in our goroutine, later in its own. What is wrong with the
	// folder shows here first.
	defer func() {
		if found := recover(); found != nil {
			err = damaged(fmt.Errorf("tessera: %v", found))
		}
		if err != nil {
			stop()
		}
	}()
	pprof.Do(ctx, pprof.Labels(label, t.id()), func(ctx context.Context) {
		appender, _, t.reader, err = tessera.NewAppender(ctx, t.driver, options)
	})
	if err != nil {
		err = failed(err, opOpen)
	}
	return appender, stop, err
}

// signer is the log's key as Tessera wants it: for the checkpoint of a new folder.
type signer struct {
	note.Verifier
	merkle.Signer
}

// Size is how many leaves are integrated and durable.
func (t *Tiles) Size() int64 { return t.now().N }

// Root is the root of the tree of Size leaves.
func (t *Tiles) Root() (tlog.Hash, error) { return t.now().Hash, nil }

// Checkpoint is the newest checkpoint signed by the log, with no cosignature; nil for an empty log. The caller does not
// change it.
func (t *Tiles) Checkpoint() []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.note
}

func (t *Tiles) now() tlog.Tree {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.tree
}

// Append adds the leaves in their order and returns the checkpoint of exactly the size after, signed by the log. All is
// durable on return. With no leaves it signs the present size anew. Where it fails, Size says how many of the leaves are
// in, and the rest may be handed in again. Errors: Retry "disk-full", Retry "keyring-away" (the leaves are in), Internal
// "damaged-tiles" where the folder is not what it was, Retry "closed".
func (t *Tiles) Append(ctx context.Context, leaves ...[32]byte) ([]byte, error) {
	t.appending.Lock()
	defer t.appending.Unlock()
	if t.closed {
		return nil, fault.New(fault.Retry, "closed", opAppend, "the program is stopping")
	}
	for len(leaves) > 0 {
		n := min(len(leaves), maxBatch)
		if err := t.batch(ctx, leaves[:n]); err != nil {
			t.settle(ctx, leaves[:n])
			return nil, err
		}
		leaves = leaves[n:]
	}
	// If the machine stops here the leaves are in; the next start signs.
	if err := t.publish(); err != nil {
		return nil, err
	}
	return t.Checkpoint(), nil
}

// batch is called with appending held.
func (t *Tiles) batch(ctx context.Context, leaves [][32]byte) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(err, fault.Retry, "stopped", opAppend, "the call ended before the leaves were added")
	}
	appender, stop, err := t.start(ctx, len(leaves))
	if err != nil {
		return err
	}
	defer stop()
	before := t.frontier.Size()
	// A folder that went away would otherwise begin again at 0, and one that another program wrote would go on from there.
	if size, err := t.stored(ctx); err != nil || size != before {
		return damaged(err)
	}
	futures := make([]tessera.IndexFuture, len(leaves))
	for i, leaf := range leaves {
		futures[i] = appender.Add(ctx, tessera.NewEntry(leaf[:]))
	}
	for i, future := range futures {
		index, err := future()
		if err != nil {
			return failed(err, opAppend)
		}
		if index.Index != uint64(before)+uint64(i) {
			return damaged(nil)
		}
	}
	return t.integrated(leaves)
}

// settle makes Size true after a failure: earlier batches are in, and the one that failed may be, if only its last sync
// did. It is called with appending held.
func (t *Tiles) settle(ctx context.Context, leaves [][32]byte) {
	t.sweep()
	if size, err := t.stored(ctx); err == nil && size == t.frontier.Size()+int64(len(leaves)) {
		_ = t.integrated(leaves)
	}
	_ = t.publish() // the caller has an error already
}

// integrated takes the leaves into the edge and looks whether the disk has come to the same tree.
func (t *Tiles) integrated(leaves [][32]byte) error {
	next := t.frontier.Clone()
	for _, leaf := range leaves {
		next.Append(tlog.RecordHash(leaf[:]))
	}
	onDisk, err := merkle.ReadFrontier(next.Size(), hashes{t.reader, next.Size()})
	if err != nil || onDisk.Root() != next.Root() {
		return damaged(err)
	}
	t.tidy(t.frontier.Size(), next.Size())
	t.frontier = next
	return nil
}

// publish signs the tree as it is. It is called with appending held, or before anyone has t.
func (t *Tiles) publish() error {
	tree := tlog.Tree{N: t.frontier.Size(), Hash: t.frontier.Root()}
	var signed []byte
	var err error
	if tree.N > 0 {
		signed, err = merkle.Sign(merkle.Checkpoint{Origin: t.options.Origin, Size: tree.N, Root: tree.Hash}, t.options.Signer)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree = tree
	if err == nil {
		t.note = signed
	}
	return err
}

// stored is how many leaves the folder has.
func (t *Tiles) stored(ctx context.Context) (int64, error) {
	size, err := t.reader.IntegratedSize(ctx)
	if err != nil {
		return 0, damaged(err)
	}
	return int64(size), nil
}

// Close lets another program have the folder. An append that runs is waited for.
func (t *Tiles) Close() error {
	t.appending.Lock()
	defer t.appending.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.wait()
	return t.folder.Close()
}

// wait lets Tessera's goroutines end, which are told to but cannot be waited for. They hold no data any more; but one may
// be opening a lock file, and whoever closed may remove or copy the folder next. So they bear a label, and the profile of
// goroutines tells when none is left.
func (t *Tiles) wait() {
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		var profile bytes.Buffer
		if pprof.Lookup("goroutine").WriteTo(&profile, 1) != nil || !strings.Contains(profile.String(), t.id()) {
			return
		}
	}
	t.options.Log.Warn("tessera does not end")
}

// id is this Tiles' own in the program.
func (t *Tiles) id() string { return fmt.Sprintf("%s %p", label, t) }

// failed tells a full disk from the rest. Tessera does not always hand on the cause, only its words.
func failed(err error, op string) error {
	if errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return fault.Wrap(err, fault.Retry, "disk-full", op, "the disk is full").WithHint("free some space, then try again")
	}
	return damaged(err)
}

func damaged(cause error) error {
	return fault.Wrap(cause, fault.Internal, "damaged-tiles", opOpen, "the folder of tiles is damaged").
		WithHint("stop the program and delete the folder: it is made anew from the directory log")
}
