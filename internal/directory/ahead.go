package directory

import (
	"crypto/sha256"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
)

// Bounds of one window of a log that is read ahead; two are in memory, and a third may be under way.
const (
	windowEntries = 256
	windowBytes   = 1 << 20
	// maxAhead is the most signatures of one statement that are verified before it is known who has to sign it. Those of a
	// statement with more are verified in its turn.
	maxAhead = 16
)

// Read is a log entry read ahead of its turn.
type Read struct {
	Entry []byte
	// Statement is worthless where Err says why the entry is none.
	Statement Statement
	Err       error
	// Leaf is LeafHash of the entry.
	Leaf tlog.Hash
}

// ReadAhead reads the entries of a log on all processors while the caller applies those read before, and verifies
// signatures meanwhile: of keys that the tip knows, or that one of the last few hundred entries declares. Apply does not
// verify those again, and decides exactly what it decides on the same entries from ParseStatement.
//
// tip is the newest snapshot that the caller has come to, or nil; it is called from another goroutine. Entries are taken
// from another goroutine too, must not be written to afterwards, and are asked for until the next one comes even where
// the caller stops. Of a log with entries of any size it holds a few megabytes.
func ReadAhead(entries iter.Seq2[[]byte, error], tip func() *Snapshot) iter.Seq2[Read, error] {
	a := &ahead{tip: tip}
	return a.read(entries)
}

// ahead is used by one goroutine at a time, but for find.
type ahead struct {
	tip func() *Snapshot
	// Vouched is whose signatures are not verified; position is that of the last entry read.
	vouched  Vouched
	position uint64
	// Keys that may sign statements, of the last two windows: what came before is in the tip when it is looked for.
	older, newer map[authority.Fingerprint]authority.PublicKey
}

// window is some entries, and why there are no more of them.
type window struct {
	reads []Read
	err   error
}

func (a *ahead) read(entries iter.Seq2[[]byte, error]) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		windows, done := make(chan window), make(chan struct{})
		var reader sync.WaitGroup
		reader.Go(func() { a.fill(entries, windows, done) })
		defer reader.Wait()
		defer close(done)
		for w := range windows {
			for _, r := range w.reads {
				if !yield(r, nil) {
					return
				}
			}
			if w.err != nil {
				yield(Read{}, w.err)
				return
			}
		}
	}
}

func (a *ahead) fill(entries iter.Seq2[[]byte, error], windows chan<- window, done <-chan struct{}) {
	defer close(windows)
	var raw [][]byte
	size := 0
	send := func(err error) bool {
		w := window{a.prepare(raw), err}
		raw, size = nil, 0
		select {
		case windows <- w:
			return err == nil
		case <-done:
			return false
		}
	}
	for entry, err := range entries {
		if err != nil {
			send(err)
			return
		}
		raw, size = append(raw, entry), size+len(entry)
		if (len(raw) >= windowEntries || size >= windowBytes) && !send(nil) {
			return
		}
	}
	send(nil)
}

// prepare reads all of the entries before it verifies any: a statement may be signed with a key of the one before it.
func (a *ahead) prepare(raw [][]byte) []Read {
	reads := make([]Read, len(raw))
	first := a.position + 1
	a.position += uint64(len(raw))
	sideBySide(len(raw), func(i int) {
		read := canonical.Unmarshal
		if a.vouched.covers(first + uint64(i)) {
			read = canonical.Again
		}
		st, err := readStatement(raw[i], read)
		reads[i] = Read{raw[i], st, err, LeafHash(raw[i])}
	})
	a.learn(reads)
	tip := a.tip()
	sideBySide(len(raw), func(i int) {
		st := &reads[i].Statement
		switch {
		case reads[i].Err != nil:
		case a.vouched.covers(first + uint64(i)):
			st.proven = &proofs{vouched: true}
		default:
			st.prove(func(f authority.Fingerprint) (authority.PublicKey, bool) { return a.find(tip, f) })
		}
	})
	return reads
}

// learn notes the keys that the entries declare, whether or not they will be accepted: a signature is valid or not
// whoever's key made it, and whose word counts is for Apply to say.
func (a *ahead) learn(reads []Read) {
	a.older, a.newer = a.newer, map[authority.Fingerprint]authority.PublicKey{}
	for _, r := range reads {
		for _, k := range declaredSigners(r.Statement.body) {
			a.newer[k.Public.Fingerprint()] = k.Public
		}
	}
}

// declaredSigners are the keys of a statement that may sign later ones, or this one.
func declaredSigners(body Body) []Key {
	switch b := body.(type) {
	case Founding:
		return b.Stewards.Keys
	case Admission:
		return b.Keys.Keys
	case StateRotation:
		return b.Keys.Keys
	case StewardRotation:
		return b.Stewards.Keys
	case NewKeys:
		return b.Keys.Keys
	}
	return nil
}

func (a *ahead) find(tip *Snapshot, f authority.Fingerprint) (authority.PublicKey, bool) {
	if k, ok := a.newer[f]; ok {
		return k, true
	}
	if k, ok := a.older[f]; ok {
		return k, true
	}
	if tip == nil {
		return authority.PublicKey{}, false
	}
	k, ok := tip.keys.get(f)
	if !ok {
		return authority.PublicKey{}, false
	}
	return k.Public, true
}

// sideBySide calls do for 0 to n-1 on all processors.
func sideBySide(n int, do func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	workers.Wait()
}

// proofs are signatures of one statement that were verified ahead of its turn, each with everything that this depended
// on, so that it stands for nothing else.
type proofs struct {
	// vouched is for all signatures: see Vouched.
	vouched bool
	payload Hash
	each    []proof // by place of the signature; zero: not verified
}

type proof struct {
	key   authority.PublicKey
	role  Role
	value string
}

// prove verifies the signatures whose keys can be found. One that does not verify is left to its turn.
func (st *Statement) prove(find func(authority.Fingerprint) (authority.PublicKey, bool)) {
	if len(st.signatures) > maxAhead {
		return
	}
	p := &proofs{payload: sha256.Sum256(st.payload), each: make([]proof, len(st.signatures))}
	for i, s := range st.signatures {
		key, ok := find(s.Key)
		if ok && key.Verify(SigningPurpose(s.Role), st.payload, s.Value) == nil {
			p.each[i] = proof{key, s.Role, string(s.Value)}
		}
	}
	st.proven = p
}

// unproven are the places of the signatures that are still to be verified, each with the key at the same place.
func (st Statement) unproven(keys []authority.PublicKey) []int {
	p := st.proven
	if p != nil && p.vouched {
		return nil
	}
	var left []int
	known := p != nil && len(p.each) == len(st.signatures) && p.payload == sha256.Sum256(st.payload)
	for i, s := range st.signatures {
		if !known || p.each[i] != (proof{keys[i], s.Role, string(s.Value)}) {
			left = append(left, i)
		}
	}
	return left
}

// Vouched is what somebody vouches for about the beginning of a log who has verified it before: that every signature on
// its entries verifies under the key that it names, and that all of its bytes are in their single form, but perhaps of the
// entries at some positions. It says nothing of what the entries do: who has to sign, and all other rules, are held against them anew, so it stays true for later rules.
// The zero value vouches for nothing.
type Vouched struct {
	// Size is how many entries the beginning has, and Root the root of the tree over them.
	Size uint64
	Root tlog.Hash
	// Doubted are the positions not vouched for, in ascending order.
	Doubted []uint64
}

func (v Vouched) covers(position uint64) bool {
	if position > v.Size {
		return false
	}
	_, doubted := slices.BinarySearch(v.Doubted, position)
	return !doubted
}
