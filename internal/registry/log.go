package registry

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	logMagic   = "enlace-log 1\n"
	slotA      = 512
	slotB      = 1024
	slotBytes  = 20
	logStart   = 1536
	frameBytes = 8
	opLog      = "keep directory log"
)

// Sync puts a file's bytes on stable storage; (*os.File).Sync but in tests of the order of effects.
type Sync func(*os.File) error

// Log is an append-only file of signed statements. Reading and appending may go on at once; appends wait for each
// other. One process at a time has it open.
type Log struct {
	file *os.File
	sync Sync

	appending  sync.Mutex
	generation uint64 // guarded by appending
	broken     error  // guarded by appending: why nothing more can be appended
	failed     chan struct{}

	mu   sync.RWMutex
	ends []int64 // guarded by mu; offset after each entry, position 1 first
}

// OpenLog opens the log at path, or makes one. sync may be nil. Errors: Conflict "data-in-use" where another process has
// it, Internal "damaged-log" where acknowledged bytes are not what was written, Usage "not-a-log".
func OpenLog(path string, sync Sync) (*Log, error) {
	if sync == nil {
		sync = (*os.File).Sync
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-log", opLog, "the directory log cannot be opened").
			WithHint("look at the owner and the permissions of the data folder")
	}
	l := &Log{file: file, sync: sync, failed: make(chan struct{})}
	if err := l.open(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	if err := lockFile(l.file); err != nil {
		return fault.Wrap(err, fault.Conflict, "data-in-use", opLog, "another program is using this data").
			WithHint("stop it first, or name another data folder")
	}
	info, err := l.file.Stat()
	if err != nil {
		return broke(err)
	}
	// A machine that stopped while the file was made left it without a committed end; nothing was in it.
	if info.Size() < logStart {
		return l.create()
	}
	committed, err := l.readHead()
	if err != nil {
		return err
	}
	return l.load(committed, info.Size())
}

// create writes an empty log; durable on return, the folder's entry included.
func (l *Log) create() error {
	head := make([]byte, logStart)
	copy(head, logMagic)
	copy(head[slotA:], slot(1, logStart))
	l.generation = 1
	if err := errors.Join(l.file.Truncate(0), write(l.file, head, 0), l.sync(l.file)); err != nil {
		return broke(err)
	}
	return syncFolder(filepath.Dir(l.file.Name()))
}

func slot(generation uint64, end int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, generation)
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// readHead is the end of what was acknowledged.
func (l *Log) readHead() (int64, error) {
	head := make([]byte, logStart)
	if _, err := l.file.ReadAt(head, 0); err != nil {
		return 0, broke(err)
	}
	if !bytes.HasPrefix(head, []byte(logMagic)) {
		return 0, fault.New(fault.Usage, "not-a-log", opLog, "the file is not a directory log, or one of another version")
	}
	var end int64
	for _, at := range []int{slotA, slotB} {
		b := head[at : at+slotBytes]
		generation := binary.BigEndian.Uint64(b)
		if checksum(b[:16]) == binary.BigEndian.Uint32(b[16:]) && generation > l.generation {
			l.generation, end = generation, int64(binary.BigEndian.Uint64(b[8:]))
		}
	}
	if l.generation == 0 {
		return 0, damaged("both records of the end of the log are unreadable")
	}
	return end, nil
}

// load reads all entries and cuts off what was never acknowledged and is not whole.
func (l *Log) load(committed, size int64) error {
	if size < committed {
		return damaged(fmt.Sprintf("the file ends at byte %d, before byte %d where the log ends", size, committed))
	}
	r := bufio.NewReaderSize(io.NewSectionReader(l.file, logStart, size-logStart), 1<<20)
	end := int64(logStart)
	room := make([]byte, directory.MaxStatement)
	for end < size {
		entry, err := readEntry(room, r, uint64(len(l.ends))+1)
		if err != nil && end < committed {
			return damaged(fmt.Sprintf("entry %d, at byte %d, is not what was written", len(l.ends)+1, end))
		}
		if err != nil {
			return l.cut(end)
		}
		end += frameBytes + int64(len(entry))
		l.ends = append(l.ends, end)
	}
	return nil
}

func (l *Log) cut(end int64) error {
	if err := errors.Join(l.file.Truncate(end), l.sync(l.file)); err != nil {
		return broke(err)
	}
	return nil
}

// readEntry reads an entry into a room of the size of the largest.
func readEntry(room []byte, r io.Reader, position uint64) ([]byte, error) {
	frame := make([]byte, frameBytes)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(frame)
	if length == 0 || length > directory.MaxStatement {
		return nil, errEntry(position)
	}
	entry := room[:length]
	if _, err := io.ReadFull(r, entry); err != nil {
		return nil, err
	}
	if sum(position, entry) != binary.BigEndian.Uint32(frame[4:]) {
		return nil, errEntry(position)
	}
	return entry, nil
}

func errEntry(position uint64) error { return fmt.Errorf("entry %d is damaged", position) }

func sum(position uint64, entry []byte) uint32 {
	return crc32.Update(checksum(binary.BigEndian.AppendUint64(nil, position)), crc32.MakeTable(crc32.Castagnoli), entry)
}

// Size is how many entries there are.
func (l *Log) Size() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return uint64(len(l.ends))
}

// Append adds entries, all or none; they are on stable storage on return. Errors: TooLarge, Retry "disk-full". After
// any other failure the state of the disk is unknown, Failed is closed, and nothing more is appended until a restart.
func (l *Log) Append(entries ...[]byte) error {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.broken != nil {
		return l.broken
	}
	start, position := l.end()
	var b []byte
	ends := make([]int64, 0, len(entries))
	for _, entry := range entries {
		if len(entry) == 0 || len(entry) > directory.MaxStatement {
			return fault.New(fault.TooLarge, "too-large", opLog, "an entry of the log is empty or larger than a statement may be")
		}
		position++
		b = binary.BigEndian.AppendUint32(b, uint32(len(entry)))
		b = binary.BigEndian.AppendUint32(b, sum(position, entry))
		b = append(b, entry...)
		ends = append(ends, start+int64(len(b)))
	}
	if len(entries) == 0 {
		return nil
	}
	if err := l.commit(b, start); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, ends...)
	return nil
}

func (l *Log) end() (int64, uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.ends) == 0 {
		return logStart, 0
	}
	return l.ends[len(l.ends)-1], uint64(len(l.ends))
}

// commit is called with appending held.
func (l *Log) commit(b []byte, start int64) error {
	if err := write(l.file, b, start); err != nil {
		if errors.Is(err, syscall.ENOSPC) && l.file.Truncate(start) == nil {
			return fault.Wrap(err, fault.Retry, "disk-full", opLog, "the disk is full").WithHint("free some space, then try again")
		}
		return l.fail(err)
	}
	if err := l.sync(l.file); err != nil {
		return l.fail(err)
	}
	// If the machine stops here the entries are whole and beyond the recorded end: the next start keeps them.
	l.generation++
	at := int64(slotA)
	if l.generation%2 == 0 {
		at = slotB
	}
	if err := errors.Join(write(l.file, slot(l.generation, start+int64(len(b))), at), l.sync(l.file)); err != nil {
		return l.fail(err)
	}
	// From here on a damaged entry is told from a torn one.
	return nil
}

// fail is for failures after which nobody knows what the disk holds: a second sync may succeed and mean nothing.
func (l *Log) fail(cause error) error {
	l.broken = broke(cause)
	close(l.failed)
	return l.broken
}

// Failed is closed when the log can take no more entries; the program should stop.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Read is one entry; the first has position 1. NotFound beyond the end, Internal "damaged-log" if the disk went bad.
func (l *Log) Read(position uint64) ([]byte, error) {
	entries, err := l.readSome(position, 1)
	if err != nil {
		return nil, err
	}
	return entries[0], nil
}

// batchBytes is about how much is read at a time: one call for each entry took a tenth of a start.
const batchBytes = 128 << 10

// readSome are the entries from a position on, at least one, and others up to most bytes.
func (l *Log) readSome(position uint64, most int64) ([][]byte, error) {
	start, ends := l.span(position, most)
	if len(ends) == 0 {
		return nil, fault.New(fault.NotFound, "no-entry", opLog, "the log has no entry at that position")
	}
	b := make([]byte, ends[len(ends)-1]-start)
	_, err := l.file.ReadAt(b, start)
	entries := make([][]byte, len(ends))
	for i, end := range ends {
		if err == nil {
			// The capacity ends with the entry: who appends to one does not write into the next.
			entries[i], err = readFrame(b[:end-start:end-start], position+uint64(i))
		}
		if err != nil {
			return entries[:i], damaged(fmt.Sprintf("entry %d cannot be read back", position+uint64(i)))
		}
		b, start = b[end-start:], end
	}
	return entries, nil
}

// span is where entries lie in the file: the first one's start, and the end of each.
func (l *Log) span(position uint64, most int64) (start int64, ends []int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if position == 0 || position > uint64(len(l.ends)) {
		return 0, nil
	}
	if start = int64(logStart); position > 1 {
		start = l.ends[position-2]
	}
	last := position
	for last < uint64(len(l.ends)) && l.ends[last]-start <= most {
		last++
	}
	return start, slices.Clone(l.ends[position-1 : last])
}

// readFrame is the entry that fills a frame to its end.
func readFrame(b []byte, position uint64) ([]byte, error) {
	frame, entry := b[:frameBytes], b[frameBytes:]
	if uint32(len(entry)) != binary.BigEndian.Uint32(frame) || sum(position, entry) != binary.BigEndian.Uint32(frame[4:]) {
		return nil, errEntry(position)
	}
	return entry, nil
}

// Entries are all entries from a position on, up to the size at the start. They lie in memory beside their neighbours:
// who keeps one of them for long makes a copy.
func (l *Log) Entries(from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for p, size := from, l.Size(); p <= size; {
			entries, err := l.readSome(p, batchBytes)
			for _, entry := range entries {
				if p > size || !yield(entry, nil) {
					return
				}
				p++
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// Close lets another process have the log. Appends that run are waited for.
func (l *Log) Close() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.broken == nil {
		l.broken = fault.New(fault.Retry, "closed", opLog, "the program is stopping")
	}
	return l.file.Close()
}

func write(f *os.File, b []byte, at int64) error {
	_, err := f.WriteAt(b, at)
	return err
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return broke(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return broke(err)
	}
	return nil
}

func broke(cause error) error {
	return fault.Wrap(cause, fault.Internal, "disk", opLog, "the disk did not keep the directory log")
}

func damaged(say string) error {
	return fault.New(fault.Internal, "damaged-log", opLog, "the directory log is damaged: "+say).
		WithHint("restore it from a backup; a node may also delete it and fetch it anew")
}
