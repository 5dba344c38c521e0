package registry

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	confirmedFile = "confirmed"
	opConfirm     = "confirm directory"
	// maxSteps is how many snapshots beyond the confirmed one are kept at hand, some 30 KiB each.
	maxSteps = 256
	// maxTurns is how far back audiences are asked for (PROTOCOL 7.3).
	maxTurns = 64

	// codeRules is of a log that a newer version of this program goes on reading. PROTOCOL 4.21.
	codeRules = "newer-rules"
)

// beyond is the log as stored after what is confirmed, folded once, whatever number of heads come.
type beyond struct {
	tip *directory.Snapshot
	// steps are the newest snapshots, one for each entry, the last of them tip; turns are of the entries before them,
	// one after each of the last 64 that can change an audience.
	steps, turns []*directory.Snapshot
	// completions are of recoveries that took effect.
	completions []completion
	// cards: a declaration or a retirement is among the entries, which may leave a contact card without a desk.
	cards bool
}

type completion struct {
	state    authority.State
	position uint64
}

// add takes the next entry.
func (b *beyond) add(v verdict) {
	b.tip = v.next
	b.steps = append(b.steps, v.next)
	if len(b.steps) > maxSteps {
		b.turns, b.steps = turned(b.turns, b.steps[0]), append(b.steps[:0], b.steps[1:]...)
	}
	if v.refused != nil {
		return
	}
	switch v.statement.Kind() {
	case directory.KindCompleteRecovery:
		b.completions = append(b.completions, completion{v.statement.Subject().State(), v.next.Position()})
	case directory.KindDeclareAuthority, directory.KindRetire:
		b.cards = true
	}
}

// turned adds a snapshot to a list in which each has another newest change of audiences.
func turned(turns []*directory.Snapshot, s *directory.Snapshot) []*directory.Snapshot {
	if last := len(turns) - 1; last >= 0 && turns[last].Changed() == s.Changed() {
		return turns
	}
	if len(turns) == maxTurns {
		turns = append(turns[:0], turns[1:]...)
	}
	return append(turns, s)
}

// drop forgets what is confirmed now.
func (b *beyond) drop(position uint64) {
	confirmed := func(s *directory.Snapshot) bool { return s.Position() <= position }
	b.steps, b.turns = deleted(b.steps, confirmed), deleted(b.turns, confirmed)
	b.completions = deleted(b.completions, func(c completion) bool { return c.position <= position })
}

func deleted[T any](list []T, done func(T) bool) []T {
	var left []T
	for _, one := range list {
		if !done(one) {
			left = append(left, one)
		}
	}
	return left
}

// path is what the history has to take in, to come to a position after the confirmed one; the last is at it.
func (f *Follower) path(position uint64) ([]*directory.Snapshot, error) {
	steps := f.beyond.steps
	if len(steps) > 0 && position >= steps[0].Position() {
		upTo := int(position - steps[0].Position() + 1)
		return append(append([]*directory.Snapshot(nil), f.beyond.turns...), steps[:upTo]...), nil
	}
	f.reread++
	// Seldom: a head that ends long before what was stored meanwhile. Its part of the log is read again.
	var turns []*directory.Snapshot
	s := f.history.Newest()
	for entry, err := range f.log.Entries(s.Position() + 1) {
		if err != nil {
			return nil, err
		}
		if v := judge(s, entry); v.refused != nil {
			s = s.Skip()
		} else {
			s = v.next
		}
		turns = turned(turns, s)
		if s.Position() == position {
			break
		}
	}
	return append(turns, s), nil
}

// unlikely reports whether a head is not worth reading a part of the log again for: without half of those who witnessed
// where this node stands, by the keys that they had there or have now. A head whose voters had keys that came and went in
// between is passed over, and a later one taken. Else any peer that repeats old heads, which the hub signed and nobody
// confirmed, makes this node verify its log over and over.
func (f *Follower) unlikely(h directory.Head, before *directory.Snapshot) bool {
	if steps := f.beyond.steps; h.Position() <= before.Position() || (len(steps) > 0 && h.Position() >= steps[0].Position()) {
		return false
	}
	then, now := before.Judge(h, nil, f.o.Now()), f.beyond.tip.Judge(h, nil, f.o.Now())
	voted := len(then.Votes)
	for _, w := range witnessing(before) {
		if slices.Contains(now.Votes, w) && !slices.Contains(then.Votes, w) {
			voted++
		}
	}
	return voted < then.Needed
}

// witnessing are the states that witness, each once.
func witnessing(s *directory.Snapshot) []authority.State {
	var all []authority.State
	for _, w := range s.Witnesses() {
		if !slices.Contains(all, w.State) {
			all = append(all, w.State)
		}
	}
	return all
}

// consider judges a head against this node's own copy. It is called with mu held, and all entries that came before
// the head are stored. Errors: Invalid as directory.Snapshot.CheckLog, Denied "withheld" where the head covers entries
// that this node has not, or not so, and those of the disk.
func (f *Follower) consider(h directory.Head, by string) error {
	if f.rules != nil && h.Position() > f.beyond.tip.Position() {
		return nil // what the head covers cannot be read here; what comes before can, and may be confirmed yet
	}
	if h.Position() > f.log.Size() {
		return withheld()
	}
	if err := f.beyond.tip.CheckLog(h); err != nil {
		return err
	}
	own, err := f.tree.root(h.Size)
	if err != nil {
		return err
	}
	if own != h.Root {
		return f.contradicted(h, by)
	}
	if h.Size > f.vouched.Size || f.vouched.IsZero() {
		f.vouched, f.vouchedBy = h, by
		f.proveWithheld()
	}
	return f.confirm(h)
}

// confirm puts in force what a head covers, if it is confirmed for this node: look, decide, commit, tell.
// PROTOCOL 11.6, 11.8.
func (f *Follower) confirm(h directory.Head) error {
	before := f.history.Newest()
	if h.Position() < before.Position() || h.Position() > f.proofs.limit() {
		return nil
	}
	if reached, err := f.anchored(h); !reached || err != nil {
		return err
	}
	at, path := before, []*directory.Snapshot(nil)
	if f.unlikely(h, before) {
		return nil
	}
	if h.Position() > before.Position() {
		var err error
		if path, err = f.path(h.Position()); err != nil {
			return err
		}
		at = path[len(path)-1]
	}
	if f.head.IsZero() {
		var err error
		if before, err = f.foothold(); err != nil {
			return err
		}
	}
	j := at.Judge(h, before, f.o.Now())
	f.latest = j
	if !j.Confirmed || (h.Position() == f.head.Position() && !j.Quorum.After(f.judged.Quorum)) {
		return nil
	}
	if err := writeFile(filepath.Join(f.o.Data, confirmedFile), h.Note()); err != nil { // commit
		return broke(err)
	}
	// If the machine stops here the next start reads the head, and puts in force what it covers.
	f.head, f.judged, f.anchors = h, j, nil // what comes after is held to this head
	if path != nil {
		f.move(path)
	}
	return nil
}

// move puts in force what was just confirmed.
func (f *Follower) move(path []*directory.Snapshot) {
	f.sight.rebase(f.history, f.current, func() {
		for _, s := range path {
			f.history.Add(s)
		}
	})
	s := f.history.Newest()
	f.beyond.drop(s.Position())
	if !f.beyond.cards {
		return
	}
	f.beyond.cards = s.Position() < f.beyond.tip.Position()
	if err := f.cards.Sweep(s.At(f.o.Now())); err != nil {
		f.o.Log.Error("contact cards that nobody shows were not deleted", zap.Error(err)) // the next start tries again
	}
}

func withheld() error {
	return fault.New(fault.Denied, "withheld", opConfirm, "the hub signed a head over entries that it does not send").WithHint(hintHub)
}

// anchor is a head that a person was given, or that this node had confirmed before its copy of the log was lost.
type anchor struct {
	size uint64
	root tlog.Hash
	at   *directory.Snapshot // the log there, once it was needed
}

// parseAnchor reads "size root", the root in base64, or a signed note. Usage "bad-anchor".
func parseAnchor(text string) (anchor, error) {
	if text == "" {
		return anchor{}, nil
	}
	if h, err := directory.ParseHead([]byte(text)); err == nil {
		return anchor{size: h.Position(), root: h.Root}, nil
	}
	size, root, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseInt(size, 10, 64)
	b, err2 := base64.StdEncoding.DecodeString(strings.TrimSpace(root))
	if err != nil || err2 != nil || n <= 0 || len(b) != tlog.HashSize {
		return anchor{}, fault.New(fault.Usage, "bad-anchor", opConfirm, "the head is not a size and a root in base64").
			WithHint("copy both from where the Secretariat publishes them: 1234 q83vEj...=")
	}
	return anchor{size: uint64(n), root: tlog.Hash(b)}, nil
}

// CheckAnchor reports whether a text can be FollowerOptions.Anchor. Usage "bad-anchor".
func CheckAnchor(text string) error {
	_, err := parseAnchor(text)
	return err
}

// anchored lets nothing come into force before this node's own copy has reached every anchor with its root.
// Denied "wrong-anchor"; a person is told once.
func (f *Follower) anchored(h directory.Head) (bool, error) {
	for _, a := range f.anchors {
		if h.Position() < a.size {
			return false, nil
		}
		root, err := f.tree.root(int64(a.size))
		if err != nil {
			return false, err
		}
		if root != a.root {
			return false, f.misled()
		}
	}
	return true, nil
}

// foothold is the log up to the newest anchor, which the log has: whoever witnessed there has a say in what comes after,
// as if this node had confirmed it, so that a copy that was deleted is not fetched anew from witnesses who were invented
// since. Nil where there is none.
func (f *Follower) foothold() (*directory.Snapshot, error) {
	if len(f.anchors) == 0 {
		return nil, nil
	}
	a := &f.anchors[0]
	for i := range f.anchors {
		if f.anchors[i].size > a.size {
			a = &f.anchors[i]
		}
	}
	if a.at == nil && a.size > f.history.Newest().Position() {
		path, err := f.path(a.size)
		if err != nil {
			return nil, err
		}
		a.at = path[len(path)-1]
	}
	return a.at, nil
}

func (f *Follower) misled() error {
	err := fault.New(fault.Denied, "wrong-anchor", opConfirm, "the log does not come to the head that was published").
		WithHint("compare the head in node.yaml with the published one; if it is the same, call the General Secretariat: the hub shows this node another log")
	if f.misplaced == nil {
		f.alarm(err)
	}
	f.misplaced = err
	return err
}

// readHead is the head kept from before; the zero value where there is none.
func readHead(folder string) (directory.Head, error) {
	note, err := os.ReadFile(filepath.Join(folder, confirmedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return directory.Head{}, nil
	}
	if err != nil {
		return directory.Head{}, broke(err)
	}
	h, err := directory.ParseHead(note)
	if err != nil {
		return h, damagedHead()
	}
	return h, nil
}

func damagedHead() error {
	return fault.New(fault.Internal, "damaged-head", opConfirm, "the confirmed head on disk is damaged, or not of this log").
		WithHint("restore the folder from a backup, or delete directory.log and confirmed and let the log be fetched anew")
}

// upTo are the first entries of the log.
func (f *Follower) upTo(position uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for p := uint64(1); p <= position; p++ {
			entry, err := f.log.Read(p)
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// restore brings back what was in force: the log up to the kept head, and what is stored beyond it.
func (f *Follower) restore() error {
	h, err := readHead(f.o.Data)
	if err != nil {
		return err
	}
	confirmed := uint64(1) // the genesis, which its fingerprint confirms
	if !h.IsZero() && h.Position() <= f.log.Size() {
		confirmed = max(confirmed, h.Position())
	}
	if err := f.fold(confirmed); err != nil {
		return err
	}
	if !h.IsZero() && h.Position() > f.history.Newest().Position() {
		// The log was lost or deleted, or a newer version of this program read on. It has to come to this head again before
		// anything is in force, and no older head takes its place.
		f.anchors = append(f.anchors, anchor{size: h.Position(), root: h.Root})
	}
	for entry, err := range f.log.Entries(uint64(f.tree.size()) + 1) {
		if err != nil {
			return err
		}
		f.tree.add(entry)
	}
	if !h.IsZero() && h.Position() <= f.history.Newest().Position() {
		if err := f.recall(h); err != nil {
			return err
		}
	}
	return f.refold()
}

// fold reads the confirmed log. Rules that this version of the program does not know end it early.
func (f *Follower) fold(confirmed uint64) error {
	v := Verified{Path: filepath.Join(f.o.Data, verifiedFile), Key: f.o.Key, Signer: f.o.Signer, Log: f.o.Log}
	leaves, err := v.Fold(f.history, f.upTo(confirmed), f.skipped)
	f.tree.grow(leaves)
	if fault.CodeOf(err) == codeRules && f.history.Newest() != nil {
		f.halt(err)
		return nil
	}
	return err
}

// recall holds the kept head against the log that it was kept with.
func (f *Follower) recall(h directory.Head) error {
	s := f.history.Newest()
	root, err := f.tree.root(h.Size)
	if err != nil {
		return err
	}
	f.judged = s.Judge(h, nil, time.Time{}) // it was confirmed once, by the clock of then
	if root != h.Root || s.CheckLog(h) != nil || !f.judged.Confirmed {
		return damagedHead()
	}
	f.head, f.vouched, f.latest = h, h, f.judged
	return nil
}

// refold reads what is stored beyond the confirmed head.
func (f *Follower) refold() error {
	f.beyond = beyond{tip: f.history.Newest()}
	var restrictions []placed
	for entry, err := range f.log.Entries(f.beyond.tip.Position() + 1) {
		if err != nil {
			return err
		}
		if f.rules != nil {
			break
		}
		v := judge(f.beyond.tip, entry)
		if fault.CodeOf(v.refused) == codeRules {
			f.halt(v.refused)
			break // stored by a newer version of this program
		}
		restrictions = f.take(v, restrictions)
	}
	f.current.Store(f.history.Newest())
	f.sight.logged(restrictions, f.log.Size(), f.current)
	f.sight.rebase(f.history, f.current, nil)
	return nil
}

// take adds one stored entry to what is beyond the confirmed head, and to the list if it takes effect on sight.
func (f *Follower) take(v verdict, restrictions []placed) []placed {
	if v.next == nil {
		v.next = f.beyond.tip.Skip()
	}
	f.beyond.add(v)
	position := v.next.Position()
	if v.refused != nil {
		f.skipped(position, v.refused)
		return restrictions
	}
	f.valid++
	if v.statement.Restricting() {
		return append(restrictions, placed{v.statement, position})
	}
	return restrictions
}

// halt stops at rules that this program does not know: what is confirmed stays in force, restrictions come on sight.
// PROTOCOL 4.21.
func (f *Follower) halt(why error) {
	if f.rules != nil {
		return
	}
	f.rules = why
	f.o.Log.Error("the directory goes on by rules that this program does not know", zap.Error(why))
	f.alarm(why)
}

// cosign is this node's vote for a head that came from the hub: its line, or why there is none. PROTOCOL 11.8.
func (f *Follower) cosign(h directory.Head) ([]byte, error) {
	f.mu.Lock()
	err := f.mayCosign(h)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.o.Cosigner.Cosign(h.Checkpoint, f.tree.root, f.o.Now())
}

// mayCosign is called with mu held.
func (f *Follower) mayCosign(h directory.Head) error {
	if f.rules != nil {
		return f.rules
	}
	if err := f.beyond.tip.CheckLog(h); err != nil {
		return err
	}
	return f.unvetoed(h)
}

// unvetoed refuses a head that lets a recovery take effect against a veto that this node holds and the log does not
// have. PROTOCOL 4.20.
func (f *Follower) unvetoed(h directory.Head) error {
	for _, veto := range f.sight.unlogged() {
		if veto.Kind() != directory.KindVeto {
			continue
		}
		for _, c := range f.beyond.completions {
			if c.state == veto.Subject().State() && c.position <= h.Position() {
				return fault.New(fault.Denied, "vetoed", opConfirm, "the head would let a recovery take effect against a veto that the hub does not log")
			}
		}
	}
	return nil
}
