package torture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/enlace-network/enlace/internal/node"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// loss is what one machine alone held when it was lost: what was done there between its backup and its end.
type loss struct {
	state    string
	from, to time.Duration // since the run began
}

// noteDelay is how much later than an answer came an officer may have noted it.
const noteDelay = time.Second

// covers says of a message whether only the lost machine may have held it.
func (l loss) covers(s Said) bool {
	return s.From == l.state && s.At >= l.from && s.At <= l.to+noteDelay
}

// oldBackup has an administrator back a node up while it works, and some seconds later the machine burn down with all that
// was done since. The node is restored on a new one, and its peers return what they have. PROTOCOL 9.7.
func (b *breaker) oldBackup(ctx context.Context, f Fault, m *machine) error {
	path := fmt.Sprintf("%s.backup-%d", m.dir, f.Seed)
	from := b.since()
	if err := b.backUp(ctx, m, path); err != nil {
		b.note("no backup of %s: %v", m.name, err)
		return nil
	}
	pause(ctx, f.For)
	m.crash()
	lost := loss{m.name, from, b.since()}
	if err := empty(m.dir); err != nil {
		return failed("burn machine", err)
	}
	src, err := os.Open(path)
	if err != nil {
		return failed("restore", err)
	}
	defer src.Close()
	unlock := path + ".unlock"
	_, err = node.Restore(ctx, node.RestoreOptions{
		Source: src, Key: m.recovery, Dir: m.dir, Unlock: node.InitUnlock{File: unlock, OnDataDisk: true},
		Clock: time.Now, Random: rand.Reader, Progress: func(int64) {},
	})
	if err != nil {
		return fmt.Errorf("restore %s: %w", m.name, err)
	}
	m.unlock = unlock
	b.history.Forget(m.name)
	b.mu.Lock()
	b.losses = append(b.losses, lost)
	b.mu.Unlock()
	b.note("%s is restored as it was at %s", m.name, sinceStart(from))
	return m.start(ctx)
}

// backUp streams a backup to a file.
func (b *breaker) backUp(ctx context.Context, m *machine, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	stream, err := b.net.people[m.name].admin.Node.Backup(ctx, &operatorv1.BackupRequest{})
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the backup is not whole")
		}
		if err != nil {
			return err
		}
		if _, err := f.Write(part.GetData()); err != nil || part.GetEnd() != nil {
			return err
		}
	}
}

// empty removes what is in a folder.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// mayBeLost says of a message whether only a machine that burnt down may have held it.
func (b *breaker) mayBeLost(s Said) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.losses {
		if l.covers(s) {
			return true
		}
	}
	return false
}

// restored reports the states whose evidence log has begun again.
func (b *breaker) restored() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	for _, l := range b.losses {
		out[l.state] = true
	}
	return out
}
