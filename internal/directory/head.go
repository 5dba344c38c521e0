package directory

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/merkle"
)

const opHead = "check head of the directory"

// Head is a checkpoint of the log with its signatures, as it travels: a signed note. That it parses says nothing about
// its signatures: CheckLog and Judge do. PROTOCOL 11.6.
type Head struct {
	merkle.Checkpoint
	note       []byte
	signatures merkle.Signatures
}

// ParseHead reads a signed note of at most 64 KiB. It copies what it keeps.
func ParseHead(note []byte) (Head, error) {
	c, signatures, err := merkle.Split(note)
	return Head{c, bytes.Clone(note), signatures}, err
}

// Note is a copy of the bytes as they came.
func (h Head) Note() []byte { return bytes.Clone(h.note) }

// IsZero reports whether there is no head.
func (h Head) IsZero() bool { return len(h.note) == 0 }

// Position is the log entry that the head ends with; its size.
func (h Head) Position() uint64 { return uint64(h.Size) }

// With is the head with more cosignature lines. Errors: Invalid "malformed"; TooLarge, also of more than 99 cosignatures.
// PROTOCOL 11.6.
func (h Head) With(lines ...[]byte) (Head, error) {
	if len(h.signatures)+len(lines) > merkle.MaxSignatures {
		return Head{}, fault.New(fault.TooLarge, "too-many", opHead, "a head has at most 99 cosignatures")
	}
	note := h.Note()
	for _, line := range lines {
		if _, err := merkle.ParseLine(line); err != nil {
			return Head{}, err
		}
		note = append(note, line...)
	}
	return ParseHead(note)
}

// LeafHash is the hash of a log entry in the tree: of a leaf that is the SHA-256 of the entry's bytes. PROTOCOL 11.6.
func LeafHash(entry []byte) tlog.Hash {
	digest := sha256.Sum256(entry)
	return tlog.RecordHash(digest[:])
}

// Origin names the network's log. PROTOCOL 11.6.
func (s *Snapshot) Origin() string { return "enlace." + s.NetworkID()[:16] + "/directory" }

// CheckLog verifies that the log key in force at the head's size signed it. The snapshot is the log at that size or
// later. Errors: Invalid "wrong-origin", "bad-signature".
func (s *Snapshot) CheckLog(h Head) error {
	if h.Origin != s.Origin() {
		return fault.New(fault.Invalid, "wrong-origin", opHead, "the head is of another log")
	}
	verifier, err := merkle.NewVerifier(h.Origin, s.LogKey(h.Position()))
	if err != nil {
		return err
	}
	_, err = merkle.Open(h.note, verifier)
	return err
}

// Witness is a key that cosigns heads for a state.
type Witness struct {
	State authority.State
	Node  authority.Node
	Key   authority.PublicKey
}

// Judgement is how far the witnesses stand behind a head. PROTOCOL 11.6.
type Judgement struct {
	// Confirmed: the quorum at the head's size cosigned and, where the states that witness differ, the quorum before.
	Confirmed bool
	// Votes are the states that cosigned, of the witnesses at the head's size, in order of name; Needed is the quorum.
	Votes  []authority.State
	Needed int
	// Quorum is the time of the Needed-th newest vote; zero if the head is not confirmed or none is needed.
	Quorum time.Time
	// Newest is the time of the newest vote; zero if there is none.
	Newest time.Time
	// Cosignatures are the lines that counted, the newest of each state.
	Cosignatures [][]byte
}

// Judge counts the votes on a head. The snapshot is the log alone at the head's size, before the log up to which the
// caller had confirmed it (nil: nothing). A cosignature from more than 5 minutes ahead of now does not count; a zero now
// counts all.
func (s *Snapshot) Judge(h Head, before *Snapshot, now time.Time) Judgement {
	witnesses := s.Witnesses()
	votes := h.votes(witnesses, now)
	j := Judgement{Needed: majority(states(witnesses))}
	var times []time.Time
	for _, v := range votes {
		j.Votes, j.Cosignatures, times = append(j.Votes, v.state), append(j.Cosignatures, v.line), append(times, v.at)
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	j.Confirmed = len(votes) >= j.Needed
	if len(times) > 0 {
		j.Newest = times[0]
	}
	if j.Confirmed && before != nil {
		j.Confirmed = s.alsoBefore(h, before.Witnesses(), witnesses, now, &j)
	}
	if j.Confirmed && j.Needed > 0 {
		j.Quorum = times[j.Needed-1]
	}
	return j
}

// alsoBefore holds the head against those who witnessed before, where they are not the same states.
func (s *Snapshot) alsoBefore(h Head, old, now []Witness, at time.Time, j *Judgement) bool {
	had := states(old)
	if slices.Equal(had, states(now)) {
		return true
	}
	// A state's own later keys count for it: nobody else could have declared them.
	both := slices.Clone(old)
	for _, w := range now {
		if slices.Contains(had, w.State) && !slices.Contains(both, w) {
			both = append(both, w)
		}
	}
	votes := h.votes(both, at)
	for _, v := range votes {
		if !slices.ContainsFunc(j.Cosignatures, func(line []byte) bool { return bytes.Equal(line, v.line) }) {
			j.Cosignatures = append(j.Cosignatures, v.line)
		}
	}
	return len(votes) >= majority(had)
}

// vote is the newest cosignature of a state.
type vote struct {
	state authority.State
	at    time.Time
	line  []byte
}

// votes are at most one for each state, in order of name.
func (h Head) votes(witnesses []Witness, now time.Time) []vote {
	newest := map[authority.State]vote{}
	for _, w := range witnesses {
		verifier, err := merkle.NewCosignatureVerifier(w.Node.String(), w.Key)
		if err != nil {
			continue // a declared key has the right shape
		}
		signature, at, ok := h.signatures.Verified(h.Checkpoint, verifier)
		if !ok || (!now.IsZero() && at.After(now.Add(Skew))) {
			continue
		}
		if v, had := newest[w.State]; !had || at.After(v.at) {
			newest[w.State] = vote{w.State, at, merkle.Line(signature)}
		}
	}
	var all []vote
	for _, state := range states(witnesses) {
		if v, ok := newest[state]; ok {
			all = append(all, v)
		}
	}
	return all
}

// states are those of witnesses, each once, in order of name.
func states(witnesses []Witness) []authority.State {
	var all []authority.State
	for _, w := range witnesses {
		if !slices.Contains(all, w.State) {
			all = append(all, w.State)
		}
	}
	slices.SortFunc(all, func(a, b authority.State) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	return all
}

// majority is more than half; of none, none. PROTOCOL 11.6.
func majority(of []authority.State) int {
	if len(of) == 0 {
		return 0
	}
	return len(of)/2 + 1
}

// Witnesses are the keys that may cosign heads, as the log alone says: current witness keys of nodes that are not
// revoked; suspension changes nothing. In order of node name. PROTOCOL 11.6.
func (s *Snapshot) Witnesses() []Witness {
	var all []Witness
	for node, r := range s.nodes.all() {
		if r.limits.ended.on(logged) {
			continue
		}
		for _, f := range r.keys {
			if k, ok := s.keys.get(f); ok && k.Purpose == PurposeWitness && !k.rotated.on(logged) && !k.revoked.on(logged) {
				all = append(all, Witness{node.State(), node, k.Public})
			}
		}
	}
	slices.SortFunc(all, func(a, b Witness) int { return bytes.Compare([]byte(a.Node.String()), []byte(b.Node.String())) })
	return all
}
