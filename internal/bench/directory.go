package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/registry"
)

const (
	directoryRow = "directory"
	// Goals of DESIGN 15: seconds, seconds, milliseconds, megabytes.
	verifyGoal = 8
	loadGoal   = 1
	whoGoal    = 1
	heapGoal   = 80
	// askCount is how often somebody asks, and askPage how many answers they see at a time.
	askCount = 5000
	askPage  = 50
	logBatch = 1000
	megabyte = 1e6
)

// copied is a node's folder with a copy of a large log, confirmed up to its end.
type copied struct {
	options registry.FollowerOptions
	size    uint64
}

func (s bookSize) filled() bookSize {
	if s.authorities == 0 {
		s.authorities = 10_000
	}
	if s.statements == 0 {
		s.statements = 30_000
	}
	return s
}

// register measures the row of the directory. Each figure is taken through the doors that a node uses, on real files.
func (o Options) register(ctx context.Context, into Report) error {
	if !o.wants(directoryRow) {
		return nil
	}
	return o.within(directoryRow, func(dir string) error {
		size := o.book.filled()
		o.Tell(fmt.Sprintf("%s: %d statements about %d authorities are signed and written", directoryRow, size.statements, size.authorities))
		c, err := newCopy(dir, size)
		if err != nil {
			return err
		}
		figures := map[string]Figure{}
		into[directoryRow] = figures
		for _, part := range []func(context.Context, *copied, map[string]Figure) error{o.starts, o.asks} {
			if err := part(ctx, c, figures); err != nil {
				return err
			}
			debug.FreeOSMemory()
		}
		return o.within("change", func(dir string) error {
			figure, err := o.changed(ctx, dir)
			figures["change_p99_ms"] = figure
			return err
		})
	})
}

// newCopy writes log, confirmed head and keys, as a node that stopped left them.
func newCopy(dir string, size bookSize) (*copied, error) {
	log, err := registry.OpenLog(filepath.Join(dir, "directory.log"), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	var batch [][]byte
	b, err := writeBook(size, func(entry []byte) error {
		if batch = append(batch, entry); len(batch) < logBatch {
			return nil
		}
		defer func() { batch = nil }()
		return log.Append(batch...)
	})
	if err == nil {
		err = log.Append(batch...)
	}
	if err != nil {
		return nil, err
	}
	head, err := b.head()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "confirmed"), head, 0o600); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", "measure", "the files could not be written")
	}
	now := b.now // and nothing else of the book, which is as large as what is measured
	c := &copied{size: log.Size(), options: registry.FollowerOptions{
		Data: dir, Fingerprint: b.last.NetworkID(), Now: func() time.Time { return now }, Log: zap.NewNop()}}
	return c, c.equip(filepath.Join(dir, "keys"))
}

// equip gives the node its keyring.
func (c *copied) equip(path string) error {
	ring, err := keyring.Create(path, keyring.UnlockWith(keyring.NewPassphrase("of a node that is measured").WithWorkFactor(ringWork)))
	if err != nil {
		return err
	}
	if err := ring.GenerateNode(c.options.Now()); err != nil {
		return err
	}
	c.options.Signer = ring
	c.options.Key, err = ring.Public(keyring.NodeSign)
	return err
}

// ringWork is little: the passphrase of a bench keeps nothing.
const ringWork = 10

// starts measures how long a node takes until its directory is in force: from nothing but the log, and from what it
// verified itself at the start before.
func (o Options) starts(ctx context.Context, c *copied, into map[string]Figure) error {
	var verify, load []float64
	for i := range rounds {
		o.Tell(fmt.Sprintf("%s, a start: round %d of %d", directoryRow, i+1, rounds))
		if err := os.Remove(filepath.Join(c.options.Data, "directory.verified")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fault.Wrap(err, fault.Internal, "", "measure", "the files could not be removed")
		}
		for _, taken := range []*[]float64{&verify, &load} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			debug.FreeOSMemory()
			begin := time.Now()
			f, err := c.open()
			if err != nil {
				return err
			}
			*taken = append(*taken, time.Since(begin).Seconds())
			if err := f.Close(); err != nil {
				return err
			}
		}
	}
	into["verify_s"] = Figure{Ours: round(median(verify)), Goal: verifyGoal}
	into["load_s"] = Figure{Ours: round(median(load)), Goal: loadGoal}
	return nil
}

// open starts the node's side and makes sure that all of the log is in force.
func (c *copied) open() (*registry.Follower, error) {
	f, err := registry.OpenFollower(c.options)
	if err != nil {
		return nil, err
	}
	s := f.Status()
	if got := f.Current().Load().Position(); got != c.size || s.Confirmed != c.size || s.Stored != c.size {
		_ = f.Close()
		return nil, fault.New(fault.Internal, "", "measure", fmt.Sprintf("%d of %d entries are in force", got, c.size))
	}
	return f, nil
}

// asks measures who-do-I-ask, and what the directory holds of memory.
func (o Options) asks(ctx context.Context, c *copied, into map[string]Figure) error {
	before := heap()
	f, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	o.Tell(directoryRow + ": who do I ask?")
	questions, err := questions()
	if err != nil {
		return err
	}
	next := 0
	one := func(context.Context) error {
		q := questions[next%len(questions)]
		next++
		if found := f.Current().Load().At(c.options.Now()).Find(q.Query); (len(found) > 0) != q.answered {
			return fault.New(fault.Internal, "", "measure", fmt.Sprintf("%d answers to %+v", len(found), q))
		}
		return nil
	}
	if _, err := measure(ctx, len(questions), 1, one); err != nil { // the roll is made when first asked for
		return err
	}
	s, err := measure(ctx, askCount, 1, one)
	if err != nil {
		return err
	}
	into["who_p99_ms"] = Figure{Ours: round(milliseconds(s.p99)), Goal: whoGoal}
	into["heap_mb"] = Figure{Ours: round((heap() - before) / megabyte), Goal: heapGoal}
	return nil
}

// heap is what is reachable, in bytes.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// question is a query, and whether anybody is competent.
type question struct {
	directory.Query
	answered bool
}

// questions are what people ask: in one state and in all, of what many do, some, and nobody.
func questions() ([]question, error) {
	kind, err := authority.ParseRequestKind("identify-person")
	if err != nil {
		return nil, err
	}
	all := []question{{directory.Query{Limit: askPage}, true}, {directory.Query{Kind: kind, Limit: askPage}, true}}
	for _, slug := range []string{"drugs.trafficking", "money-laundering", "firearms.possession"} {
		category, err := authority.ParseCategory(slug)
		if err != nil {
			return nil, err
		}
		q := question{directory.Query{Kind: kind, Category: category, Function: "requests", Limit: askPage}, slug != "firearms.possession"}
		all = append(all, q)
		for _, label := range members() {
			if q.State, err = authority.ParseState(label); err != nil {
				return nil, err
			}
			all = append(all, q)
		}
	}
	return all, nil
}
