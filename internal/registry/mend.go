package registry

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	opMend = "mend directory"
	// maxHashes is the most restrictions named at once. PROTOCOL 10.9.
	maxHashes = 256
	// maxMend is the most bytes of entries that a peer gives at once; they lie on disk until the head has proved them.
	maxMend  = 256 << 20
	mendFile = "mend.log"
)

// Heads is what a node says of its directory when it meets another. PROTOCOL 10.9.
type Heads struct {
	// Head is the newest confirmed head, a signed note; empty where there is none.
	Head []byte
	// Unlogged are the hashes of restrictions in force that the log does not have, at most 256.
	Unlogged []directory.Hash
	// Contradiction is a head that contradicts Head; empty where none is known.
	Contradiction []byte
	// By names who said so, for whoever reads a proof later; empty of one's own.
	By string
}

// Want is what to fetch from a peer.
type Want struct {
	// From is the first position of log entries; 0 = none.
	From uint64
	// Restrictions are hashes of statements that are not in the log.
	Restrictions []directory.Hash
}

// IsZero reports whether there is nothing to fetch.
func (w Want) IsZero() bool { return w.From == 0 && len(w.Restrictions) == 0 }

// Entry is a statement as peers give it to each other. Position 0 is a restriction that is not in the log.
type Entry struct {
	Position  uint64
	Statement []byte
}

// Heads is what this node says to a peer.
func (f *Follower) Heads() Heads {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := Heads{Head: f.head.Note(), Contradiction: f.contradiction()}
	for _, w := range f.sight.unlogged() {
		if len(h.Unlogged) == maxHashes {
			break
		}
		h.Unlogged = append(h.Unlogged, w.Hash())
	}
	return h
}

// Compare says what to fetch from a peer that has theirs. A head of this node's own log confirms it as if the hub had
// sent it, and one that contradicts it is kept as proof (PROTOCOL 10.9, 11.9). Errors: Invalid for heads that are none
// of this network's log; those of the disk.
func (f *Follower) Compare(theirs Heads) (Want, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	by := "node " + theirs.By
	want := Want{Restrictions: f.lacking(theirs.Unlogged)}
	if len(theirs.Head) > 0 {
		h, err := directory.ParseHead(theirs.Head)
		if err != nil {
			return want, err
		}
		if h.Origin != f.beyond.tip.Origin() {
			return want, f.beyond.tip.CheckLog(h)
		}
		if want.From, err = f.against(h, by); err != nil {
			return want, err
		}
	}
	if len(theirs.Contradiction) == 0 {
		return want, nil
	}
	h, err := directory.ParseHead(theirs.Contradiction)
	if err != nil || h.Position() > f.log.Size() {
		return want, err // of a log that this node cannot tell yet
	}
	return want, f.consider(h, by)
}

// against holds a peer's head against this node's log; it returns from where on to fetch, 0 for nothing.
func (f *Follower) against(h directory.Head, by string) (uint64, error) {
	if h.Position() > f.log.Size() {
		if f.suspect {
			return 1, nil // what came before did not fit; the whole log tells where they part
		}
		return f.log.Size() + 1, nil
	}
	forked := len(f.proofs.all)
	if err := f.consider(h, by); err != nil {
		return 0, err
	}
	if len(f.proofs.all) > forked {
		return min(f.proofs.limit(), f.log.Size()) + 1, nil // for the restrictions of the other branch
	}
	return 0, nil
}

// lacking are those of the hashes that this node knows nothing of.
func (f *Follower) lacking(hashes []directory.Hash) []directory.Hash {
	if len(hashes) > maxHashes {
		hashes = hashes[:maxHashes]
	}
	var lack []directory.Hash
	known := f.sight.known()
	for _, hash := range hashes {
		if _, has := known[hash]; !has && !slices.Contains(f.refused, hash) {
			lack = append(lack, hash)
		}
	}
	return lack
}

// Give is what a peer asked for: confirmed entries from a position on (0: none), then restrictions by hash, as far as
// they are known. After the last the function returns the confirmed head that covers the entries, or nothing.
// PROTOCOL 10.9.
func (f *Follower) Give(from uint64, restrictions []directory.Hash) (iter.Seq2[Entry, error], func() []byte) {
	f.mu.Lock()
	h := f.head
	f.mu.Unlock()
	entries := func(yield func(Entry, error) bool) {
		for p := from; p > 0 && p <= h.Position(); p++ {
			entry, err := f.log.Read(p)
			if !yield(Entry{p, entry}, err) || err != nil {
				return
			}
		}
		known := f.sight.known()
		for _, hash := range restrictions[:min(len(restrictions), maxHashes)] {
			if st, has := known[hash]; has && !yield(Entry{Statement: st.Signed()}, nil) {
				return
			}
		}
	}
	return entries, h.Note
}

// Mend takes what a peer gave; head is asked for after the last entry, and may be empty. Restrictions take effect on
// sight as they come. Entries are stored once the head, which the hub signed, proves them to follow this node's own log,
// and are in force as far as it is confirmed, as if they had come from the hub. Errors: Denied "not-consistent" where
// the head does not prove them, "not-a-statement", "invalid-entries"; Invalid "out-of-order"; TooLarge; those of the
// disk. PROTOCOL 10.9.
func (f *Follower) Mend(ctx context.Context, entries iter.Seq2[Entry, error], head func() []byte) error {
	f.mending.Lock()
	defer f.mending.Unlock()
	spool, err := openSpool(filepath.Join(f.o.Data, mendFile))
	if err != nil {
		return err
	}
	defer spool.close()
	for e, err := range entries {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if e.Position == 0 {
			f.seen(e.Statement)
			continue
		}
		if err := spool.add(e); err != nil {
			return err
		}
	}
	note := head()
	if len(note) == 0 {
		return nil
	}
	h, err := directory.ParseHead(note)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.unlock()
	if spool.size == 0 && h.Position() > f.log.Size() {
		return nil
	}
	if spool.size > 0 {
		if err := f.adopt(spool, h); err != nil {
			return err
		}
	}
	return f.consider(h, "node")
}

// seen puts one restriction in force that a peer gave. One that adds nothing, or is over, is not asked for again. One that
// was refused for any other reason is: its hash is that of the payload alone, so a peer that spoils the signatures would
// hide it, and what is about a node that no head has confirmed yet holds a moment later.
func (f *Follower) seen(signed []byte) {
	st, err := directory.ParseStatement(signed)
	if err != nil {
		return
	}
	news, err := f.Restrict(signed)
	if code := fault.CodeOf(err); news || (err != nil && code != "lapsed") {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.refused) == maxHashes {
		f.refused = append(f.refused[:0], f.refused[1:]...)
	}
	f.refused = append(f.refused, st.Hash())
}

// adopt stores what follows this node's log, once the head has proved it. It is called with mu held.
func (f *Follower) adopt(s *spool, h directory.Head) error {
	fits, at, err := f.fits(s, h)
	if err != nil {
		return err
	}
	parts := at > 0
	if !fits || parts {
		for a := range s.arrivals(1, uint64(s.size)) {
			f.glean([]arrival{a})
		}
	}
	if !fits {
		f.suspect = true
		return fault.New(fault.Denied, "not-consistent", opMend, "what the peer gave does not follow this node's log")
	}
	if parts && at > f.vouched.Position() {
		return f.prove(kindWithheld, h, "node") // nobody signed what is here and not there: the hub may have lost it
	}
	if parts {
		return f.prove(kindFork, h, "node") // a log under this head parts from the one here, under the head that vouches for it
	}
	f.suspect = false
	for next := f.log.Size() + 1; next <= h.Position(); next = f.log.Size() + 1 {
		rest, refused, err := f.store(slices.Collect(s.arrivals(next-s.first+1, min(next+batch-1, h.Position())-s.first+1)))
		if fault.CodeOf(refused) == codeRules {
			f.halt(refused)
			for a := range s.arrivals(rest[0].position-s.first+1, uint64(s.size)) {
				f.glean([]arrival{a})
			}
			return nil
		}
		if err := errors.Join(err, refused); err != nil || len(rest) > 0 {
			return err
		}
	}
	return nil
}

// fits reports whether the entries come to the head, which the log key in force then must have signed, and the position
// of the first that parts from this node's own, 0 for none.
func (f *Follower) fits(s *spool, h directory.Head) (fits bool, parts uint64, err error) {
	if s.first > f.log.Size()+1 || h.Position() != s.first+uint64(s.size)-1 {
		return false, 0, outOfOrder()
	}
	edge, err := f.tree.edgeAt(int64(s.first) - 1)
	if err != nil {
		return false, 0, err
	}
	position, tip := s.first, f.beyond.tip
	for a := range s.arrivals(1, uint64(s.size)) {
		leaf := directory.LeafHash(a.statement)
		edge.Append(leaf)
		if parts == 0 && position <= f.log.Size() && leaf != f.tree.leaf(position) {
			parts = position
		}
		position++
	}
	if edge.Root() != h.Root {
		return false, parts, nil
	}
	if tip.CheckLog(h) == nil || parts > 0 {
		return true, parts, tip.CheckLog(h)
	}
	for a := range s.arrivals(f.log.Size()-s.first+2, uint64(s.size)) { // the hub may have changed its key meanwhile
		if v := judge(tip, a.statement); v.refused != nil {
			tip = tip.Skip()
		} else {
			tip = v.next
		}
	}
	return true, parts, tip.CheckLog(h)
}

// spool is what a peer gave, on disk until it is proved.
type spool struct {
	path  string
	log   *Log
	first uint64
	size  int64
	bytes int
}

func openSpool(path string) (*spool, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, broke(err)
	}
	log, err := OpenLog(path, func(*os.File) error { return nil }) // it need not outlast this process
	return &spool{path: path, log: log}, err
}

func (s *spool) add(e Entry) error {
	if s.size == 0 {
		s.first = e.Position
	}
	if e.Position != s.first+uint64(s.size) {
		return outOfOrder()
	}
	if s.bytes += len(e.Statement); s.bytes > maxMend {
		return fault.New(fault.TooLarge, "too-large", opMend, "a peer gives more entries than are taken at once")
	}
	s.size++
	return s.log.Append(e.Statement)
}

// arrivals are some of the entries, both ends included, counted from 1.
func (s *spool) arrivals(from, to uint64) iter.Seq[arrival] {
	return func(yield func(arrival) bool) {
		for i := from; i <= to; i++ {
			entry, err := s.log.Read(i)
			if err != nil || !yield(arrival{position: s.first + i - 1, statement: entry}) {
				return // without all of them they come to no head
			}
		}
	}
}

func (s *spool) close() {
	_ = s.log.Close()
	_ = os.Remove(s.path)
}
