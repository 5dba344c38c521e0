package torture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	slowRate  = 8 << 10 // bytes per second: 64 kbit/s
	slowDelay = 300 * time.Millisecond
	flipEach  = 96 << 10
	// arrivingRate is how fast a machine's link is while a file that arrives is looked for.
	arrivingRate = 320 << 10
	// partFrom and partTo bound what can only be a part of a large file.
	partFrom, partTo = 300 << 10, 1000 << 10
)

// breaker carries faults out.
type breaker struct {
	net     *network
	history *History
	// since is how long the run goes on.
	since func() time.Duration
	// note is told of each fault, for people.
	note func(format string, args ...any)

	fast atomic.Bool // a clock was fast in this round

	mu     sync.Mutex
	failed []Violation     // guarded by mu; what did not come back
	files  map[string]bool // guarded by mu; states with a file that was changed
	losses []loss          // guarded by mu
}

// befall carries out the faults of one round, each at its time, and returns when all are over.
func (b *breaker) befall(ctx context.Context, plan []Fault) {
	began := time.Now()
	var all sync.WaitGroup
	for _, f := range plan {
		all.Go(func() {
			pause(ctx, f.At-time.Since(began))
			m := b.net.machines[f.Machine]
			m.faults.Lock()
			defer m.faults.Unlock()
			if ctx.Err() != nil {
				return
			}
			b.note("%s %s for %s", f.Kind, f.Machine, sinceStart(f.For))
			if err := b.one(ctx, f, m); err != nil && ctx.Err() == nil {
				b.fail(Violation{Rule: "start", State: m.name, Text: err.Error(), Lasting: true})
			}
		})
	}
	all.Wait()
}

func (b *breaker) fail(v Violation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = append(b.failed, v)
}

func (b *breaker) violations() []Violation {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Violation(nil), b.failed...)
}

// damaged reports the states where a file was changed.
func (b *breaker) damaged() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	for s := range b.files {
		out[s] = true
	}
	return out
}

// one breaks a machine and mends it.
func (b *breaker) one(ctx context.Context, f Fault, m *machine) error {
	switch f.Kind {
	case faultKill, faultHub:
		return b.dead(ctx, f, m, func() error { return nil })
	case faultPower:
		return b.dead(ctx, f, m, func() error { m.crash(); return m.disk.do("cut", f.Seed) })
	case faultWipe:
		return b.dead(ctx, f, m, func() error { return os.RemoveAll(m.path("data", "bus")) })
	case faultFlipBus:
		return b.dead(ctx, f, m, func() error { return flipAny(m.path("data", "bus"), f.Seed) })
	case faultStop:
		return b.frozen(ctx, f, m)
	case faultFull:
		return b.full(ctx, f, m)
	case faultClock:
		return b.wrongClock(ctx, f, m)
	case faultRestore:
		return b.oldBackup(ctx, f, m)
	case faultFlipFile:
		b.flipArriving(ctx, f, m)
		return nil
	}
	return b.link(ctx, f, m)
}

// dead kills the program, does something to its disk, and starts it again.
func (b *breaker) dead(ctx context.Context, f Fault, m *machine, do func() error) error {
	m.kill()
	if err := do(); err != nil {
		return err
	}
	pause(ctx, f.For)
	return m.start(ctx)
}

func (b *breaker) frozen(ctx context.Context, f Fault, m *machine) error {
	m.signal(syscall.SIGSTOP)
	pause(ctx, f.For)
	m.signal(syscall.SIGCONT)
	return nil
}

// full leaves a disk without room. A program that has ended meanwhile is started again when there is room.
func (b *breaker) full(ctx context.Context, f Fault, m *machine) error {
	if err := m.disk.do("full", "on"); err != nil {
		return err
	}
	pause(ctx, f.For)
	if err := m.disk.do("full", "off"); err != nil {
		return err
	}
	return b.revive(ctx, m)
}

// revive starts a program that has ended by itself.
func (b *breaker) revive(ctx context.Context, m *machine) error {
	if err := m.startServer(ctx); err != nil {
		return err
	}
	if m.up() {
		return nil
	}
	b.note("%s has ended by itself", m.name)
	return m.start(ctx)
}

func (b *breaker) wrongClock(ctx context.Context, f Fault, m *machine) error {
	right, d := time.Duration(b.net.ahead.Load()), clockJump
	if f.Seed%2 == 0 {
		d = -d
	}
	if d > 0 {
		b.fast.Store(true)
	}
	if err := m.setClock(right + d); err != nil {
		return err
	}
	pause(ctx, f.For)
	return m.setClock(right)
}

// link changes the weather before the doors of a machine.
func (b *breaker) link(ctx context.Context, f Fault, m *machine) error {
	w, known := map[string]weather{
		faultCut: {cut: true}, faultMute: {mute: true}, faultDelay: {delay: slowDelay}, faultTrickle: {rate: slowRate}, faultFlipWire: {flip: flipEach},
	}[f.Kind]
	if !known {
		return errors.New("there is no fault " + f.Kind)
	}
	m.set(w)
	pause(ctx, f.For)
	m.set(weather{})
	return nil
}

// flipArriving changes a bit of an attachment of which a part has arrived: on a slow link a file is looked for that grows
// while no officer of the state hands one in, and is longer than the small ones and shorter than the large ones of
// [office.sizes], so that the rest is still to come. The link is cut first: what is on the disk is read again then, while
// what a disk does to bytes after the last look at them, nobody can know.
func (b *breaker) flipArriving(ctx context.Context, f Fault, m *machine) {
	m.set(weather{rate: arrivingRate})
	defer m.set(weather{})
	for end := time.Now().Add(f.For); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
		if name := b.growing(ctx, m); name != "" {
			m.set(weather{cut: true})
			pause(ctx, 300*time.Millisecond)
			b.flipPart(f, m, name)
			return
		}
	}
}

// growing finds a part of a large file.
func (b *breaker) growing(ctx context.Context, m *machine) string {
	m.uploads.Lock()
	defer m.uploads.Unlock()
	before := sizes(m.path("data", "attachments"))
	pause(ctx, 150*time.Millisecond)
	for name, size := range sizes(m.path("data", "attachments")) {
		if old, was := before[name]; was && old > partFrom && size > old && size < partTo {
			return name
		}
	}
	return ""
}

func (b *breaker) flipPart(f Fault, m *machine, name string) {
	size := sizes(m.path("data", "attachments"))[name]
	if size < partFrom || size >= partTo {
		return
	}
	if flip(m.path("data", "attachments", name), int64(f.Seed%uint64(partFrom))) == nil {
		b.note("flipped a bit of %s at %s", name, m.name)
	}
}

func sizes(dir string) map[string]int64 {
	out := map[string]int64{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			out[e.Name()] = info.Size()
		}
	}
	return out
}

// flip changes the lowest bit of a byte of a file.
func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

// flipAny changes one bit in each of some files below a folder.
func flipAny(dir string, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 3))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || r.IntN(2) == 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return nil
		}
		return flip(path, r.Int64N(info.Size()))
	})
	if err != nil {
		return fmt.Errorf("flip a file of the bus: %w", err)
	}
	return nil
}

// heal ends whatever is left of the faults, and starts what does not run. Where a clock was fast, time passes for all until
// the others have come to where it was: what is dated more than five minutes ahead waits that long, as it should.
func (b *breaker) heal(ctx context.Context) error {
	var all []error
	for _, m := range b.net.machines {
		m.set(weather{})
		m.signal(syscall.SIGCONT)
		all = append(all, m.disk.do("full", "off"))
	}
	if b.fast.Swap(false) {
		all = append(all, b.net.letPass(clockJump))
	}
	for _, m := range b.net.machines {
		if err := m.startServer(ctx); err != nil || !m.up() {
			all = append(all, m.start(ctx))
		}
	}
	return errors.Join(all...)
}
