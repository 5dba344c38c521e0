package main

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sector is what a disk writes whole or not at all; a torn write ends between two of them.
const sector = 512

// disk is a tree of files in memory that remembers, of everything, what programs see and what a power cut would leave.
// Safe for concurrent use.
type disk struct {
	mu   sync.Mutex
	last uint64 // inode number
	root *inode
	// moves are changes of folders that no fsync has made durable, in the order in which they were made.
	moves []move
	full  bool
}

// inode is a file or a folder, once as it is seen and once as it is on the platter.
type inode struct {
	number  uint64
	mode    uint32
	links   uint32 // names that programs see
	changed time.Time

	data, safe       []byte
	pending          []write
	entries, settled map[string]*inode
}

// write is one write or, with no bytes, one change of size.
type write struct {
	at   int64
	data []byte
}

// move is one change of names, all of it or nothing: a rename within a folder or between two is one.
type move []naming

// naming gives a name in a folder to an inode, or takes it away: nil.
type naming struct {
	folder *inode
	name   string
	to     *inode
}

func newDisk() *disk {
	d := &disk{}
	d.root = d.inode(syscall.S_IFDIR | 0o700)
	return d
}

func (d *disk) inode(mode uint32) *inode {
	d.last++
	i := &inode{number: d.last, mode: mode, changed: time.Now()}
	if i.isFolder() {
		i.entries, i.settled = map[string]*inode{}, map[string]*inode{}
	}
	return i
}

func (i *inode) isFolder() bool { return i.mode&syscall.S_IFMT == syscall.S_IFDIR }

// do makes a move seen, and notes that it is not durable.
func (d *disk) do(m move) {
	d.moves = append(d.moves, m)
	for _, n := range m {
		if old := n.folder.entries[n.name]; old != nil {
			old.links--
		}
		if n.folder.changed = time.Now(); n.to == nil {
			delete(n.folder.entries, n.name)
			continue
		}
		n.to.links++
		n.folder.entries[n.name] = n.to
	}
}

// settle makes a move durable.
func (m move) settle() {
	for _, n := range m {
		if n.to == nil {
			delete(n.folder.settled, n.name)
		} else {
			n.folder.settled[n.name] = n.to
		}
	}
}

func (m move) touches(folder *inode) bool {
	return slices.ContainsFunc(m, func(n naming) bool { return n.folder == folder })
}

// create adds a file or a folder.
func (d *disk) create(folder *inode, name string, mode uint32) (*inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if folder.entries[name] != nil {
		return nil, syscall.EEXIST
	}
	if d.full {
		return nil, syscall.ENOSPC
	}
	i := d.inode(mode)
	d.do(move{{folder, name, i}})
	return i, nil
}

// remove takes a name away: of a file, or of a folder that is empty.
func (d *disk) remove(folder *inode, name string, isFolder bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := folder.entries[name]
	switch {
	case i == nil:
		return syscall.ENOENT
	case isFolder && !i.isFolder():
		return syscall.ENOTDIR
	case !isFolder && i.isFolder():
		return syscall.EISDIR
	case len(i.entries) > 0:
		return syscall.ENOTEMPTY
	}
	d.do(move{{folder, name, nil}})
	return nil
}

// link gives a file one more name.
func (d *disk) link(i, folder *inode, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if folder.entries[name] != nil {
		return syscall.EEXIST
	}
	d.do(move{{folder, name, i}})
	return nil
}

// rename is one move, whatever was under the new name.
func (d *disk) rename(from *inode, name string, to *inode, newName string, exclusive bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, there := from.entries[name], to.entries[newName]
	switch {
	case i == nil:
		return syscall.ENOENT
	case there == i:
		return nil
	case there != nil && exclusive:
		return syscall.EEXIST
	case there != nil && len(there.entries) > 0:
		return syscall.ENOTEMPTY
	}
	d.do(move{{from, name, nil}, {to, newName, i}})
	return nil
}

// write is seen at once, and durable after sync.
func (d *disk) write(i *inode, b []byte, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full && at+int64(len(b)) > int64(len(i.data)) {
		return syscall.ENOSPC
	}
	if len(b) == 0 {
		return nil
	}
	w := write{at, slices.Clone(b)}
	i.data, i.pending, i.changed = w.onto(i.data), append(i.pending, w), time.Now()
	return nil
}

func (d *disk) resize(i *inode, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full && size > int64(len(i.data)) {
		return syscall.ENOSPC
	}
	w := write{at: size}
	i.data, i.pending, i.changed = w.onto(i.data), append(i.pending, w), time.Now()
	return nil
}

// onto is the file after the write.
func (w write) onto(file []byte) []byte {
	end := int(w.at) + len(w.data)
	if grown := end - len(file); grown > 0 {
		file = append(file, make([]byte, grown)...)
	}
	if len(w.data) == 0 {
		return file[:end:end]
	}
	copy(file[w.at:], w.data)
	return file
}

func (d *disk) read(i *inode, b []byte, at int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at >= int64(len(i.data)) {
		return 0
	}
	return copy(b, i.data[at:])
}

// sync makes a file's bytes durable, or a folder's names: not the names of a file, nor the bytes behind a name.
func (d *disk) sync(i *inode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range i.pending {
		i.safe = w.onto(i.safe)
	}
	i.pending = nil
	d.moves = slices.DeleteFunc(d.moves, func(m move) bool {
		if !m.touches(i) {
			return false
		}
		m.settle()
		return true
	})
}

// cut is the power cut: of what no fsync covers each file loses nothing, all, the end, or some of it in the middle, and
// the last write that it keeps may be torn; of the names the later ones are lost, as a file system with a journal has it. What is
// seen afterwards is what is durable. Nobody may have the disk open.
func (d *disk) cut(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.moves[:r.IntN(len(d.moves)+1)] {
		m.settle()
	}
	d.moves = nil
	d.survive(d.root, r, map[*inode]bool{})
}

// survive visits what the durable names lead to, in order, so that one seed gives one outcome.
func (d *disk) survive(i *inode, r *rand.Rand, seen map[*inode]bool) {
	if i.links++; seen[i] {
		return
	}
	seen[i], i.links = true, 1
	if !i.isFolder() {
		for _, w := range surviving(i.pending, r) {
			i.safe = w.onto(i.safe)
		}
		i.pending, i.data = nil, slices.Clone(i.safe)
		return
	}
	i.entries = maps.Clone(i.settled)
	for _, name := range slices.Sorted(maps.Keys(i.entries)) {
		d.survive(i.entries[name], r, seen)
	}
}

// surviving chooses which writes reached the platter.
func surviving(pending []write, r *rand.Rand) []write {
	var kept []write
	switch r.IntN(4) {
	case 0: // none
	case 1: // all
		kept = pending
	case 2: // the first ones, as they were made
		kept = pending[:r.IntN(len(pending)+1)]
	case 3: // any of them: the disk reorders between two syncs
		for _, w := range pending {
			if r.IntN(2) == 0 {
				kept = append(kept, w)
			}
		}
	}
	if len(kept) == 0 || r.IntN(2) == 0 {
		return kept
	}
	last := kept[len(kept)-1]
	return append(slices.Clone(kept[:len(kept)-1]), last.torn(r)...)
}

// torn is the beginning of a write, up to a border between two sectors of the disk.
func (w write) torn(r *rand.Rand) []write {
	first := int(sector - w.at%sector)
	if len(w.data) <= first {
		return []write{w} // within one sector: whole
	}
	borders := (len(w.data) - first + sector - 1) / sector
	return []write{{w.at, w.data[:first+sector*r.IntN(borders)]}}
}

// flip changes one bit of a file, both of what is seen and of what is durable: a disk that rots. ENOENT, EINVAL.
func (d *disk) flip(path []string, at int64, bit uint) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.root
	for _, name := range path {
		if i = i.entries[name]; i == nil {
			return os.ErrNotExist
		}
	}
	if i.isFolder() || at < 0 || at >= int64(len(i.data)) {
		return syscall.EINVAL
	}
	i.data[at] ^= 1 << (bit % 8)
	if at < int64(len(i.safe)) {
		i.safe[at] ^= 1 << (bit % 8)
	}
	return nil
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}
