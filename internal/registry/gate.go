package registry

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	recoveringFile = "recovering"
	splitFile      = "contradiction"
	heldFile       = "held.log"
	// maxHeld is how many restrictions may wait for the gate.
	maxHeld = 4096
)

// gate keeps a hub from adding to a log that is not the network's: after a lost disk or an old backup, what it adds
// would contradict what nodes have confirmed, and nobody could mend that. PROTOCOL 11.11.
//
// It opens when half of the hub's own witnesses, and more, have followed since the start and none of these holds more
// than the hub does. It stays shut while the file "recovering" is in the data: made where the log was missing or a
// confirmed head beyond it was shown, removed by a Return that witnesses stand behind. It stays shut for good while the
// file "contradiction" holds a confirmed head that the log contradicts; then the operator stops the hub, moves
// directory.log, tiles and head away, starts it, and the nodes return the log that they have confirmed.
//
// In a network without a witness nobody can say what the whole log is: there the operator, having looked, removes
// "recovering".
type gate struct {
	data  string
	book  *book
	notes *zap.Logger

	mu sync.Mutex
	// claims are the positions that nodes said they hold; guarded by mu. Nodes are those of the directory.
	claims     map[authority.Node]uint64
	ahead      uint64         // guarded by mu; the largest size of a head shown that the log key signed
	open       bool           // guarded by mu; stays so until something is seen
	recovering bool           // guarded by mu
	split      directory.Head // guarded by mu; the proof
}

// nowhere is the claim of a node whose head is not of our log.
const nowhere = math.MaxUint64

func openGate(data string, b *book, notes *zap.Logger) (*gate, error) {
	g := &gate{data: data, book: b, notes: notes, claims: map[authority.Node]uint64{}}
	_, err := os.Stat(g.path(recoveringFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, broke(err)
	}
	g.recovering = err == nil
	note, err := os.ReadFile(g.path(splitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, broke(err)
	}
	return g, g.again(note)
}

func (g *gate) path(name string) string { return filepath.Join(g.data, name) }

// again looks at a contradiction from before: it may have been resolved by the operator.
func (g *gate) again(note []byte) error {
	_, err := g.consider(note)
	if fault.CodeOf(err) == codeSplit {
		return nil // it stands
	}
	if fault.Is(err, fault.Internal) {
		return err
	}
	return remove(g.path(splitFile))
}

// consider holds a head that somebody shows against the hub's log, and returns the position that its holder has reached.
// A head that does not verify, or nobody confirmed, proves nothing, whoever shows it. Denied "split" where the log
// contradicts a confirmed head; durable on return.
func (g *gate) consider(note []byte) (uint64, error) {
	if len(note) == 0 {
		return 0, nil
	}
	h, err := directory.ParseHead(note)
	if err != nil {
		return 0, err
	}
	tip := g.book.tip()
	if err := tip.CheckLog(h); err != nil {
		g.notes.Warn("a node shows a head that the log key did not sign", zap.Int64("size", h.Size), zap.Error(err))
		return nowhere, nil
	}
	if h.Position() > tip.Position() {
		return h.Position(), g.beyond(h, tip)
	}
	root, err := g.book.root(h.Size)
	if err != nil || root == h.Root {
		return h.Position(), err
	}
	if at := g.book.witnesses(h.Position()); at != nil && !at.Judge(h, nil, time.Time{}).Confirmed {
		g.notes.Error("a node shows a head with the hub's signature that this log contradicts; nobody confirmed it", zap.Int64("size", h.Size))
		return nowhere, nil
	}
	return nowhere, g.halt(h)
}

// beyond shuts the gate: the log key signed more than the hub has. Where the hub's own witnesses confirmed it the log is
// known not to be whole. Who witnesses an old log may be few, and not among those who confirmed the head: then nobody
// here can say so, and still the hub must not sign that size once more.
func (g *gate) beyond(h directory.Head, tip *directory.Snapshot) error {
	g.signed(h.Position())
	if !tip.Judge(h, nil, time.Time{}).Confirmed {
		g.notes.Warn("a node shows an unconfirmed head beyond the hub's log", zap.Int64("size", h.Size))
		return nil
	}
	return g.lost(h.Position())
}

// signed notes how long a log the key has signed.
func (g *gate) signed(size uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ahead, g.open = max(g.ahead, size), false
}

// lost notes that the log is not whole; durable on return.
func (g *gate) lost(position uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.recovering {
		return nil
	}
	if err := writeFile(g.path(recoveringFile), []byte("see PROTOCOL 11.11\n")); err != nil {
		return broke(err)
	}
	// If the machine stops here the next start keeps the gate shut.
	g.recovering, g.open = true, false
	g.notes.Error("the log is shorter than what nodes have confirmed: nothing is proposed until they have returned the rest",
		zap.Uint64("position", position))
	return nil
}

// halt shuts the gate until the operator has resolved it; durable on return.
func (g *gate) halt(h directory.Head) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.split.IsZero() {
		return splitError()
	}
	if err := writeFile(g.path(splitFile), h.Note()); err != nil {
		return broke(err)
	}
	g.split, g.open = h, false
	g.notes.Error("the log contradicts a head that nodes have confirmed: nothing is proposed until the operator has resolved it",
		zap.Int64("size", h.Size), zap.String("hint", hintSplit))
	return splitError()
}

const hintSplit = "stop the hub, move directory.log, tiles and head out of the data folder, start it: nodes return the log they confirmed"

func splitError() error {
	return fault.New(fault.Denied, codeSplit, opPropose, "the hub's log contradicts a head that the network has confirmed").WithHint(hintSplit)
}

// claim notes how far a node says it is. It takes back what it said before by a head of our log alone: who asks for the log
// from its beginning shows nothing of what it holds.
func (g *gate) claim(node authority.Node, position uint64, shown bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !shown {
		position = max(position, g.claims[node])
	}
	g.claims[node] = position
}

// check says why nothing may be added to the log: Denied "split", Retry "recovering".
func (g *gate) check() error {
	tip := g.book.tip()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.split.IsZero():
		return splitError()
	case g.recovering:
		return recovering("its log is not whole", "nodes return it when they connect; where no node has witnessed yet, the operator removes the file recovering")
	case tip.Position() < g.ahead:
		return recovering("a node shows a longer log that this hub signed", "nodes return it when they connect")
	case g.open || g.followed(tip):
		g.open = true
		return nil
	}
	return recovering("it has just started", "it goes on as soon as more than half of the states' nodes have connected to it")
}

// followed reports whether the quorum of the witnesses has followed and holds no more than the hub.
func (g *gate) followed(tip *directory.Snapshot) bool {
	states := map[authority.State]bool{}
	for _, w := range tip.Witnesses() {
		if position, ok := g.claims[w.Node]; ok && position <= tip.Position() {
			states[w.State] = true
		}
	}
	return len(states) >= tip.Judge(directory.Head{}, nil, time.Time{}).Needed
}

// isRecovering reports whether the log is known not to be whole.
func (g *gate) isRecovering() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.recovering
}

// halted is the contradiction, or nil.
func (g *gate) halted() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.split.IsZero() {
		return nil
	}
	return splitError()
}

// whole says that the log was returned and confirmed; the gate opens when the quorum has followed. An old part of the log
// was confirmed too: while more is known, it is not whole.
func (g *gate) whole() error {
	tip := g.book.tip()
	g.mu.Lock()
	defer g.mu.Unlock()
	if tip.Position() < g.ahead {
		return nil
	}
	if err := remove(g.path(recoveringFile)); err != nil {
		return err
	}
	g.recovering, g.open = false, false
	return nil
}

func recovering(why, hint string) error {
	return fault.New(fault.Retry, "recovering", opPropose, "the hub adds nothing to the directory yet: "+why).WithHint(hint)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return broke(err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	return nil
}

// held are restrictions handed in while the gate was shut: in force here, to be logged when it opens. Its owner lets
// one at a time at it.
type held struct {
	log  *Log
	path string
	sync Sync
	open []directory.Statement
}

func openHeld(data string, sync Sync) (*held, error) {
	h := &held{path: filepath.Join(data, heldFile), sync: sync}
	var err error
	if h.log, err = OpenLog(h.path, sync); err != nil {
		return nil, err
	}
	for entry, err := range h.log.Entries(1) {
		if err != nil {
			return nil, errors.Join(err, h.log.Close())
		}
		if st, err := directory.ParseStatement(entry); err == nil {
			h.open = append(h.open, st)
		}
	}
	return h, nil
}

// add keeps one more; on stable storage on return. Retry "too-many".
func (h *held) add(st directory.Statement) error {
	if len(h.open) >= maxHeld {
		return fault.New(fault.Retry, "too-many", opPropose, "too many restrictions wait for the hub's log")
	}
	if err := h.log.Append(st.Signed()); err != nil {
		return err
	}
	h.open = append(h.open, st)
	return nil
}

// clear forgets them all.
func (h *held) clear() error {
	if h.log.Size() == 0 {
		return nil
	}
	if err := h.log.Close(); err != nil {
		return broke(err)
	}
	if err := remove(h.path); err != nil {
		return err
	}
	// If the machine stops here none is held, and all are in the log or hold no more.
	log, err := OpenLog(h.path, h.sync)
	if err != nil {
		return err
	}
	h.log, h.open = log, nil
	return nil
}

// on is a snapshot with those in force that the log does not have.
func (h *held) on(s *directory.Snapshot) *directory.Snapshot {
	for _, st := range h.open {
		if next, err := directory.Restrict(s, st); err == nil {
			s = next
		}
	}
	return s
}
