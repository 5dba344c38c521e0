package registry

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	directoryv1 "github.com/enlace-network/enlace/internal/pb/enlace/directory/v1"
)

const (
	keptName = "kept"
	opKeep   = "keep statement for the hub"
	// What is kept for one state, and in all.
	maxKeptEach      = 16
	maxKeptBytesEach = 1 << 20
	maxKept          = 256
)

// kept are statements that were handed in here and wait for the hub, one file each. PROTOCOL 10.10.
type kept struct {
	folder string

	mu  sync.Mutex
	all []waiting // guarded by mu; in the order they came
}

type waiting struct {
	watched
	cards [][]byte
	bytes int
}

// openKept reads what waits. A file that cannot be read is of a later version, or torn, and is left out.
func openKept(data string) (*kept, error) {
	k := &kept{folder: filepath.Join(data, keptName)}
	if err := os.MkdirAll(k.folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-kept", opKeep, "the folder of kept statements cannot be made")
	}
	files, err := os.ReadDir(k.folder)
	if err != nil {
		return nil, broke(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Name(), unfinished) {
			continue // the next of that name replaces it
		}
		b, err := os.ReadFile(filepath.Join(k.folder, file.Name()))
		if err != nil {
			return nil, broke(err)
		}
		if w, err := readWaiting(b); err == nil {
			k.all = append(k.all, w)
		}
	}
	slices.SortStableFunc(k.all, func(a, b waiting) int { return a.since.Compare(b.since) })
	return k, nil
}

func readWaiting(b []byte) (waiting, error) {
	var m directoryv1.DepositedStatement
	if err := proto.Unmarshal(b, &m); err != nil {
		return waiting{}, err
	}
	st, err := directory.ParseStatement(m.GetStatement())
	return waiting{watched{st, time.Unix(m.GetSince(), 0).UTC()}, m.GetCards(), len(b)}, err
}

// add keeps a statement that holds, with the cards it names; durable on return. Retry "too-many".
func (k *kept) add(st directory.Statement, cards [][]byte, now time.Time) error {
	b, err := proto.Marshal(&directoryv1.DepositedStatement{Statement: st.Signed(), Cards: cards, Since: now.Unix()})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opKeep, "the statement cannot be written")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has(st.Hash()) {
		return nil
	}
	if err := k.room(st.Subject().State(), len(b)); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(k.folder, st.Hash().String()), b); err != nil { // commit
		return broke(err)
	}
	// If the machine stops here the next start brings it to the hub.
	k.all = append(k.all, waiting{watched{st, now}, cards, len(b)})
	return nil
}

// has is called with mu held.
func (k *kept) has(hash directory.Hash) bool {
	return slices.ContainsFunc(k.all, func(w waiting) bool { return w.Hash() == hash })
}

// room is called with mu held.
func (k *kept) room(state authority.State, size int) error {
	count, bytes := 1, size
	for _, w := range k.all {
		if w.Subject().State() == state {
			count, bytes = count+1, bytes+w.bytes
		}
	}
	if count > maxKeptEach || bytes > maxKeptBytesEach || len(k.all) >= maxKept {
		return fault.New(fault.Retry, "too-many", opKeep, "too many statements wait here for the hub").
			WithHint("hand it in at the hub, or at another node")
	}
	return nil
}

// waiting are those kept now.
func (k *kept) waiting() []waiting {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all)
}

// sweep forgets what the log has, or does not take any more after it.
func (k *kept) sweep(tip *directory.Snapshot) error {
	for _, w := range k.waiting() {
		if _, err := directory.Apply(tip, w.Statement); err == nil || fault.Is(err, fault.Retry) {
			continue
		}
		if err := k.drop(w.Hash()); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets one. If the machine stops before it is off the disk, the next sweep drops it again.
func (k *kept) drop(hash directory.Hash) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = slices.DeleteFunc(k.all, func(w waiting) bool { return w.Hash() == hash })
	if err := os.Remove(filepath.Join(k.folder, hash.String())); err != nil && !os.IsNotExist(err) {
		return broke(err)
	}
	return nil
}
