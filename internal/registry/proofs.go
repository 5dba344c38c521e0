package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	proofsName = "proofs"
	opProof    = "keep proof against the hub"
	// proofEnd and resolvedEnd end the names of files of proofs. A resolved one is kept for ever, and binds nobody.
	proofEnd, resolvedEnd = ".json", ".resolved"
	// maxProofs is how many of a kind are kept: whoever holds the log key can make more than any disk takes, and those of
	// the kind that binds nobody must not keep out the one that does.
	maxProofs = 32

	kindFork     = "fork"
	kindWithheld = "withheld"
)

// proofs are what the hub was caught at, in a folder of their own, one file each. PROTOCOL 11.9.
//
// An operator resolves a proof with [Resolve], or by giving its file the ending ".resolved", while the node stands
// still; until then nothing comes into force that was not confirmed when it was found.
type proofs struct {
	folder string
	all    []Proof // in the order they were found; none that is resolved
	seen   map[string]bool
}

// openProofs reads what was kept. A file that cannot be read binds all the same: Internal "damaged-proof".
func openProofs(data string) (*proofs, error) {
	p := &proofs{folder: filepath.Join(data, proofsName), seen: map[string]bool{}}
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "no-proofs", opProof, "the folder of proofs cannot be made")
	}
	files, err := os.ReadDir(p.folder)
	if err != nil {
		return nil, broke(err)
	}
	for _, file := range files {
		if id, resolved := strings.CutSuffix(file.Name(), resolvedEnd); resolved {
			p.seen[id] = true
		}
		if !strings.HasSuffix(file.Name(), proofEnd) {
			continue
		}
		var one Proof
		b, err := os.ReadFile(filepath.Join(p.folder, file.Name()))
		if err != nil || json.Unmarshal(b, &one) != nil {
			return nil, fault.Wrap(err, fault.Internal, "damaged-proof", opProof, "a proof against the hub cannot be read: "+file.Name())
		}
		p.all, p.seen[one.ID] = append(p.all, one), true
	}
	slices.SortStableFunc(p.all, func(a, b Proof) int { return a.At.Compare(b.At) })
	return p, nil
}

// keep stores a proof; durable on return. It reports whether it was news.
func (p *proofs) keep(one Proof) (bool, error) {
	if p.seen[one.ID] || p.count(one.Kind) >= maxProofs {
		return false, nil
	}
	b, err := json.MarshalIndent(one, "", "  ")
	if err != nil {
		return false, fault.Wrap(err, fault.Internal, "", opProof, "the proof cannot be written")
	}
	if err := writeFile(filepath.Join(p.folder, one.ID+proofEnd), b); err != nil { // commit
		return false, broke(err)
	}
	// If the machine stops here the next start reads it, and is bound by it.
	p.all, p.seen[one.ID] = append(p.all, one), true
	return true, nil
}

func (p *proofs) count(kind string) int {
	n := 0
	for _, one := range p.all {
		if one.Kind == kind {
			n++
		}
	}
	return n
}

// limit is the size up to which the log can still come into force.
func (p *proofs) limit() uint64 {
	limit := uint64(math.MaxUint64)
	for _, one := range p.all {
		if one.Kind == kindFork {
			limit = min(limit, one.Agreed)
		}
	}
	return limit
}

// forked reports whether the hub was caught with two logs.
func (p *proofs) forked() bool { return p.limit() != math.MaxUint64 }

// Resolve says that an operator has looked into a proof, in the data folder of a node that stands still: the log may
// come into force again at its next start. The proof itself is kept. NotFound "no-proof". PROTOCOL 11.9.
func Resolve(data, id string) error {
	b, err := hex.DecodeString(id)
	path := filepath.Join(data, proofsName, id)
	if err != nil || len(b) == 0 {
		return noProof()
	}
	if _, err := os.Stat(path + proofEnd); err != nil {
		return noProof()
	}
	if err := os.Rename(path+proofEnd, path+resolvedEnd); err != nil {
		return broke(err)
	}
	return syncFolder(filepath.Dir(path))
}

func noProof() error {
	return fault.New(fault.NotFound, "no-proof", opProof, "there is no such proof, or it was resolved")
}

// contradicted keeps a head that is not of this node's own log: with the head that vouches for that log, where it goes
// as far, it proves that the hub has two. It is called with mu held, after the log key's signature was verified.
// PROTOCOL 11.9.
func (f *Follower) contradicted(h directory.Head, by string) error {
	if h.Size <= f.vouched.Size && !f.vouched.IsZero() {
		return f.prove(kindFork, h, by)
	}
	return f.prove(kindWithheld, h, by)
}

// proveWithheld looks again at heads that contradict this node's log, after a head has come that vouches for it.
func (f *Follower) proveWithheld() {
	for _, one := range slices.Clone(f.proofs.all) {
		h, err := directory.ParseHead(one.Head)
		if one.Kind != kindWithheld || err != nil || h.Size > f.vouched.Size {
			continue
		}
		if own, err := f.tree.root(h.Size); err != nil || own == h.Root {
			continue
		}
		if err := f.prove(kindFork, h, one.By); err != nil {
			f.o.Log.Error("a proof against the hub was not kept", zap.Error(err))
		}
	}
}

// prove is durable on return. A person is told once.
func (f *Follower) prove(kind string, h directory.Head, by string) error {
	id := sha256.Sum256([]byte(kind + "\n" + h.Text()))
	one := Proof{ID: hex.EncodeToString(id[:8]), Kind: kind, Head: h.Note(), By: by,
		Agreed: f.history.Newest().Position(), At: f.o.Now().UTC().Truncate(time.Second)}
	say := "the hub signed a head over other entries than it sent"
	if kind == kindFork {
		one.Other, one.OtherBy = f.vouched.Note(), f.vouchedBy
		say = "the hub signed two heads that no one log has"
	}
	news, err := f.proofs.keep(one)
	if err != nil || !news {
		return err
	}
	err = fault.New(fault.Denied, kind, opProof, fmt.Sprintf("%s, at size %d", say, h.Size)).WithHint(hintHub)
	f.o.Log.Error("a proof against the hub is kept", zap.String("id", one.ID), zap.String("from", by), zap.Error(err))
	f.alarm(err)
	return nil
}

// contradiction is the newest head that is proof together with one of this node's own; nil where there is none.
func (f *Follower) contradiction() []byte {
	for _, one := range slices.Backward(f.proofs.all) {
		if one.Kind == kindFork {
			return one.Head
		}
	}
	return nil
}
