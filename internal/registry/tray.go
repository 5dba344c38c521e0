package registry

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opDeposit  = "deposit statements"
	trayFolder = "tray"
	// depositFor is how long a statement waits for its signers.
	depositFor = 30 * 24 * time.Hour
	// maxOfState is how many statements of one state, or of the network, wait at once; stateBytes how much they are with
	// their cards, so that the tray of one state always fits one answer; trayBytes how much all are.
	maxOfState = 64
	stateBytes = 256 << 10
	trayBytes  = 16 << 20
	// maxListed is the most bytes of statements and cards in one answer.
	maxListed = 3 << 19
)

// tray keeps statements that have yet to be signed, one file each: a line with the time of the first deposit and a
// number that gives the order, then the statement and its cards as a bundle. PROTOCOL 11.12.
type tray struct {
	folder string
	notes  *zap.Logger
	mu     sync.Mutex
	items  map[directory.Hash]deposited // guarded by mu
	serial uint64                       // guarded by mu; the highest number given
}

// deposited is one statement in the tray.
type deposited struct {
	statement directory.Statement
	cards     [][]byte
	since     time.Time
	serial    uint64
}

func (d deposited) state() authority.State { return d.statement.Subject().State() }

func (d deposited) size() int {
	n := len(d.statement.Signed())
	for _, c := range d.cards {
		n += len(c)
	}
	return n
}

func openTray(folder string, notes *zap.Logger) (*tray, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-tray", opDeposit, "the folder of the tray cannot be made")
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, broke(err)
	}
	t := &tray{folder: folder, notes: notes, items: map[directory.Hash]deposited{}}
	for _, f := range files {
		path := filepath.Join(folder, f.Name())
		if strings.HasSuffix(path, unfinished) {
			_ = os.Remove(path)
			continue
		}
		d, err := readDeposit(path)
		if err != nil {
			notes.Error("a file of the tray cannot be read and is passed over", zap.String("file", f.Name()), zap.Error(err))
			continue
		}
		t.items[d.statement.Hash()] = d
		t.serial = max(t.serial, d.serial)
	}
	return t, nil
}

func readDeposit(path string) (deposited, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return deposited{}, err
	}
	line, text, _ := bytes.Cut(b, []byte("\n"))
	var seconds int64
	var d deposited
	if _, err := fmt.Sscanf(string(line), "%d %d", &seconds, &d.serial); err != nil {
		return deposited{}, err
	}
	bundle, err := directory.ParseBundle(text)
	if err != nil {
		return deposited{}, err
	}
	if len(bundle.Statements) != 1 {
		return deposited{}, fault.New(fault.Internal, "damaged-tray", opDeposit, "the file does not hold one statement")
	}
	d.statement, d.cards, d.since = bundle.Statements[0], bundle.Cards, time.Unix(seconds, 0).UTC()
	return d, nil
}

func (t *tray) path(h directory.Hash) string { return filepath.Join(t.folder, h.String()) }

// holds reports whether all of that is in the tray already, every signature included.
func (t *tray) holds(add []deposited) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range add {
		have, ok := t.items[d.statement.Hash()]
		if merged, err := have.with(d); !ok || err != nil || merged.size() != have.size() {
			return false
		}
	}
	return true
}

// with is a deposit with what another of the same payload has besides.
func (d deposited) with(other deposited) (deposited, error) {
	have := d.statement.Signatures()
	for _, s := range other.statement.Signatures() {
		if !slices.ContainsFunc(have, func(h directory.Signature) bool { return h.Key == s.Key && h.Role == s.Role }) {
			have = append(have, s)
		}
	}
	var err error
	if d.statement, err = directory.ParseStatement(directory.Attach(other.statement.Payload(), have...)); err != nil {
		return d, err
	}
	for _, c := range other.cards {
		if !slices.ContainsFunc(d.cards, func(h []byte) bool { return bytes.Equal(h, c) }) {
			d.cards = append(slices.Clip(d.cards), c)
		}
	}
	return d, nil
}

// put adds statements and signatures whose signatures were verified; on stable storage on return. Retry "too-many" where
// a state's share, or the tray, is full; then nothing is added.
func (t *tray) put(add []deposited, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var next []deposited
	for _, d := range add {
		have, ok := t.items[d.statement.Hash()]
		if !ok {
			t.serial++
			d.since, d.serial = now.Truncate(time.Second).UTC(), t.serial
			next = append(next, d)
			continue
		}
		merged, err := have.with(d)
		if err != nil {
			return err
		}
		next = append(next, merged)
	}
	if err := t.room(next); err != nil {
		return err
	}
	for _, d := range next {
		text := fmt.Appendf(nil, "%d %d\n", d.since.Unix(), d.serial)
		text = append(text, directory.Bundle{Statements: []directory.Statement{d.statement}, Cards: d.cards}.Marshal()...)
		if err := writeFile(t.path(d.statement.Hash()), text); err != nil { // commit
			return unkept(err)
		}
		// If the machine stops here the rest is not in the tray, and whoever brought it was not answered.
		t.items[d.statement.Hash()] = d
	}
	return nil
}

// room looks whether the tray can take these.
func (t *tray) room(next []deposited) error {
	after := map[directory.Hash]deposited{}
	for h, d := range t.items {
		after[h] = d
	}
	for _, d := range next {
		after[d.statement.Hash()] = d
	}
	number, size, all := map[authority.State]int{}, map[authority.State]int{}, 0
	for _, d := range after {
		number[d.state()]++
		size[d.state()] += d.size()
		all += d.size()
	}
	for _, d := range next {
		if number[d.state()] > maxOfState || size[d.state()] > stateBytes || all > trayBytes {
			return fault.New(fault.Retry, "too-many", opDeposit, "too many statements of that state wait to be signed").
				WithHint("have those signed and handed in that wait; what nobody signs lapses after 30 days")
		}
	}
	return nil
}

// admissions are the keys that admissions in the tray name for a state that applies.
func (t *tray) admissions(state authority.State) []directory.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []directory.Key
	for _, d := range t.items {
		if a, ok := d.statement.Body().(directory.Admission); ok && d.state() == state {
			keys = append(keys, a.Keys.Keys...)
		}
	}
	return keys
}

// list is what may be shown, in order, as much as one answer holds. Where that is not all, each state has its turn, so
// that nobody keeps the statements of others out of sight.
func (t *tray) list(show func(deposited) bool) []deposited {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []deposited
	for _, d := range t.items {
		if show(d) {
			all = append(all, d)
		}
	}
	bySerial := func(a, b deposited) int { return int(a.serial) - int(b.serial) }
	slices.SortFunc(all, bySerial)
	rank, turn := map[authority.State]int{}, map[uint64]int{}
	for _, d := range all {
		rank[d.state()]++
		turn[d.serial] = rank[d.state()]
	}
	slices.SortStableFunc(all, func(a, b deposited) int { return turn[a.serial] - turn[b.serial] })
	room := maxListed
	all = slices.DeleteFunc(all, func(d deposited) bool {
		room -= d.size()
		return room < 0
	})
	slices.SortFunc(all, bySerial)
	return all
}

// remove takes a statement out, if it is in.
func (t *tray) remove(h directory.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.items[h]; !ok {
		return nil
	}
	delete(t.items, h)
	return remove(t.path(h))
}

// sweep takes out what is in the log, and what has lapsed.
func (t *tray) sweep(now time.Time, logged func(directory.Hash) bool) error {
	t.mu.Lock()
	var gone []directory.Hash
	for h, d := range t.items {
		if logged(h) || !now.Before(d.since.Add(depositFor)) {
			gone = append(gone, h)
		}
	}
	t.mu.Unlock()
	var all []error
	for _, h := range gone {
		all = append(all, t.remove(h))
	}
	return errors.Join(all...)
}
