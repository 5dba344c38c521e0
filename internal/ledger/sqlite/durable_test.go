package sqlite

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/ledger"
	"github.com/enlace-network/enlace/internal/message"
)

func factID(n int) message.ID {
	return message.ID{0: 1, 3: byte(n >> 16), 4: byte(n >> 8), 5: byte(n), 6: 0x70, 8: 0x80}
}

// fact writes message number n with an event, and returns its key.
func fact(l *Ledger, n int, envelope []byte) (message.Key, error) {
	sender, err := authority.ParseName("mx/fgr")
	if err != nil {
		return message.Key{}, err
	}
	id := factID(n)
	key := message.Key{Sender: sender, ID: id}
	m := ledger.Message{Key: key, Direction: ledger.In, Digest: message.DigestOf(id[:]), Conversation: id, Kind: message.KindRequest,
		Created: time.Now(), Expires: time.Now(), Recorded: time.Now(), Envelope: envelope}
	return key, l.Update(context.Background(), func(t ledger.Tx) error {
		_, err := t.PutMessage(m)
		_, err2 := t.Checkpoint()
		_, err3 := t.Append(ledger.Event{Time: m.Created, Kind: "received", Actor: "node", Message: key, Digest: m.Digest, Detail: []byte("x")})
		return errors.Join(err, err2, err3)
	})
}

// missing returns the keys that the ledger does not hold.
func missing(t *testing.T, l *Ledger, keys []message.Key) []message.Key {
	t.Helper()
	var out []message.Key
	err := l.View(t.Context(), func(r ledger.Reader) error {
		for _, key := range keys {
			if _, err := r.Message(key); fault.Is(err, fault.NotFound) {
				out = append(out, key)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func verify(t *testing.T, l *Ledger) ledger.Evidence {
	t.Helper()
	found, err := l.VerifyEvidence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestUpdateWaitsForSync holds the sync of a commit back: Update must not return before it has. P1.
func TestUpdateWaitsForSync(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	defer l.Close()
	entered, held := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { d.set(func(d *disk) { d.sync = nil }); close(held) })
	defer release()
	d.set(func(d *disk) {
		d.sync = func(name string) error {
			if strings.HasSuffix(name, "-wal") {
				entered <- struct{}{}
				<-held
			}
			return nil
		}
	})
	done := make(chan error, 1)
	go func() { _, err := fact(l, 1, []byte("x")); done <- err }()
	select {
	case <-entered:
	case err := <-done:
		t.Fatalf("update returned %v without a sync", err)
	case <-time.After(10 * time.Second):
		t.Fatal("no sync was asked for")
	}
	select {
	case err := <-done:
		t.Fatalf("update returned %v before the sync had", err)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestReadDuringSync holds a sync back: who reads what was recorded before does not wait for the disk.
func TestReadDuringSync(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	defer l.Close()
	key, err := fact(l, 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	entered, held, written := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	d.set(func(d *disk) { d.sync = func(string) error { entered <- struct{}{}; <-held; return nil } })
	go func() { _, err := fact(l, 2, []byte("x")); written <- err }()
	<-entered
	d.set(func(d *disk) { d.sync = nil })
	read := make(chan int, 1)
	go func() { read <- len(missing(t, l, []message.Key{key})) }()
	select {
	case lost := <-read:
		if lost > 0 {
			t.Error("the fact of before is not there during a sync")
		}
	case <-time.After(10 * time.Second):
		t.Error("a reader waits for the sync of a writer")
	}
	close(held)
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestPowerCut keeps of each file only what its last sync has covered, through several rounds of copying the -wal into
// the database, and opens that: every acknowledged fact must be there. P1.
func TestPowerCut(t *testing.T) {
	d, cfg, after := newDisk(), testConfig(t, t.TempDir()), t.TempDir()
	cfg.VFS = d
	d.synced = func(name string) { copyFile(t, name, after) }
	l := openAt(t, cfg)
	defer l.Close()
	var keys []message.Key
	envelope := make([]byte, 600<<10)
	for n := range 50 {
		key, err := fact(l, n, envelope)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		if n%16 != 0 && n != 49 {
			continue
		}
		cut := testConfig(t, t.TempDir())
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			copyFile(t, filepath.Join(after, name), cut.Dir)
		}
		rest := openAt(t, cut)
		if lost := missing(t, rest, keys); len(lost) > 0 {
			t.Errorf("after %d facts %d are lost", len(keys), len(lost))
		}
		verify(t, rest)
		if err := rest.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFailedSync fails the sync of a group: all of it fails, no number is burned, and work goes on.
func TestFailedSync(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	if _, err := fact(l, 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	before := verify(t, l)
	d.set(func(d *disk) { d.sync = func(string) error { return sqlite3.IOERR_FSYNC } })
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if _, err := fact(l, 100+n, []byte("x")); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "storage-failed" {
				t.Errorf("update on a failing disk = %v, want storage-failed", err)
			}
		})
	}
	wg.Wait()
	d.set(func(d *disk) { d.sync = nil })
	if found := verify(t, l); found.Events != before.Events || found.Root != before.Root {
		t.Errorf("after the failure %+v, before it %+v", found, before)
	}
	again(t, l, cfg, before.Events)
}

// again repeats a fact after a failure, opens the ledger anew, and checks that one event came to those before.
func again(t *testing.T, l *Ledger, cfg Config, before uint64) {
	t.Helper()
	key, err := fact(l, 2, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, cfg)
	defer l.Close()
	if lost := missing(t, l, []message.Key{key}); len(lost) > 0 {
		t.Error("the fact recorded after the failure is lost")
	}
	if found := verify(t, l); found.Events != before+1 {
		t.Errorf("%d events, want %d", found.Events, before+1)
	}
}

// TestDiskFull fills the disk at every point of a commit: nothing is half written, and work goes on when there is room.
func TestDiskFull(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	var keys []message.Key
	for n := range 40 {
		d.set(func(d *disk) { d.room = int64(n) * 4096 })
		key, err := fact(l, n, make([]byte, 20<<10))
		if err != nil && (!fault.Is(err, fault.Retry) || fault.CodeOf(err) != "disk-full") {
			t.Fatalf("update on a full disk = %v, want disk-full", err)
		}
		if err == nil {
			keys = append(keys, key)
		}
		if found := verify(t, l); found.Events != uint64(1+len(keys)) {
			t.Fatalf("%d events after %d facts", found.Events, len(keys))
		}
	}
	if len(keys) == 0 || len(keys) == 40 {
		t.Fatalf("%d of 40 had room, want some", len(keys))
	}
	d.set(func(d *disk) { d.room = -1 })
	if lost := missing(t, l, keys); len(lost) > 0 {
		t.Errorf("%d facts are lost", len(lost))
	}
	again(t, l, cfg, uint64(1+len(keys)))
}

// TestBigTransactionOnFullDisk makes the engine write before the commit, where it undoes the group by itself.
func TestBigTransactionOnFullDisk(t *testing.T) {
	d, cfg := newDisk(), testConfig(t, t.TempDir())
	cfg.VFS = d
	l := openAt(t, cfg)
	before := verify(t, l)
	d.set(func(d *disk) { d.room = 1 << 20 })
	err := l.Update(t.Context(), func(tx ledger.Tx) error {
		for n := range 30 {
			if err := tx.PutDraft(ledger.Draft{Conversation: message.ID{5: byte(n), 6: 0x70, 8: 0x80}, Content: make([]byte, 1<<20)}); err != nil {
				return err
			}
		}
		return nil
	})
	if fault.CodeOf(err) != "disk-full" {
		t.Errorf("update = %v, want disk-full", err)
	}
	d.set(func(d *disk) { d.room = -1 })
	again(t, l, cfg, before.Events)
}

// childDir and childRound tell a child process of TestKill where to write and which facts.
const (
	childDir   = "ENLACE_LEDGER_TEST_DIR"
	childRound = "ENLACE_LEDGER_TEST_ROUND"
)

// TestKillChild is the other process of TestKill: it records facts and prints the key of each once it is acknowledged.
func TestKillChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("run by TestKill")
	}
	round, err := strconv.Atoi(os.Getenv(childRound))
	if err != nil {
		t.Fatal(err)
	}
	l := openAt(t, testConfig(t, dir))
	var next atomic.Int64
	for range 16 {
		go func() {
			for {
				key, err := fact(l, round<<20+int(next.Add(1)), make([]byte, 5000))
				if err == nil {
					fmt.Printf("acknowledged %s\n", hex.EncodeToString(key.ID[:]))
				}
			}
		}()
	}
	select {}
}

// TestKill kills a process in a stream of updates, several times over the same files. While it lives the directory is
// its own; after its end every fact it had acknowledged is there and the evidence holds. A wrong key in between is
// refused and harms nothing. P1.
func TestKill(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	wrong := cfg
	wrong.Key[0] ^= 1
	var keys []message.Key
	for round := range 4 {
		keys = append(keys, killAfter(t, cfg, round, 150+200*round)...)
		if _, err := Open(t.Context(), wrong); !fault.Is(err, fault.Denied) || fault.CodeOf(err) != "wrong-key" {
			t.Fatalf("open with a wrong key = %v, want wrong-key", err)
		}
		if round%2 == 0 {
			continue // the next child starts from files that nobody has closed
		}
		l := openAt(t, cfg)
		if lost := missing(t, l, keys); len(lost) > 0 {
			t.Errorf("round %d: %d of %d acknowledged facts are lost", round, len(lost), len(keys))
		}
		if found := verify(t, l); found.Events <= uint64(len(keys)) {
			t.Errorf("round %d: %d events for %d facts and the first", round, found.Events, len(keys))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// killAfter runs the child until it has acknowledged n facts, kills it, and returns all it has acknowledged.
func killAfter(t *testing.T, cfg Config, round, n int) []message.Key {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKillChild$", "-test.v")
	child.Env = append(os.Environ(), childDir+"="+cfg.Dir, fmt.Sprintf("%s=%d", childRound, round))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []message.Key
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "acknowledged ")
		if !ok {
			continue
		}
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != len(message.ID{}) {
			continue // cut by the kill
		}
		sender, err := authority.ParseName("mx/fgr")
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, message.Key{Sender: sender, ID: message.ID(b)})
		if len(keys) == n/2 {
			if _, err := Open(t.Context(), cfg); !fault.Is(err, fault.Conflict) || fault.CodeOf(err) != "in-use" {
				t.Errorf("open beside a living process = %v, want in-use", err)
			}
		}
		if len(keys) == n {
			child.Process.Kill()
		}
	}
	child.Wait()
	if len(keys) < n {
		t.Fatalf("the child acknowledged %d facts, want %d", len(keys), n)
	}
	return keys
}
