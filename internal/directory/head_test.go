package directory

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/merkle"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// logSigner signs notes with a test key.
type logSigner struct{ name string }

func (s logSigner) PublicKey() authority.PublicKey { return public(s.name) }

func (s logSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(private(s.name), msg), nil }

// witnessing is a network of states with a witnessing node each.
func witnessing(t testing.TB, states ...string) *world {
	t.Helper()
	w := founded(t)
	for _, state := range states {
		w.admit(state)
		w.declareWitness(state + "/node/primary")
	}
	return w
}

// declareWitness declares a node with a witness key of the name "<node>-witness".
func (w *world) declareWitness(name string) {
	w.t.Helper()
	node := nodeOf(name)
	body := nodeBody(name)
	body.Keys = append(body.Keys, declared(PurposeWitness, name+"-witness")...)
	payload, err := w.draft().DeclareNode(node, body)
	w.do(payload, err, stateKeys(node.State().String())+designated)
}

// root is of the log so far.
func (w *world) root() tlog.Hash {
	var f merkle.Frontier
	for _, entry := range w.log {
		f.Append(LeafHash(entry))
	}
	return f.Root()
}

// head is the log's head so far, signed by the log and cosigned by nodes at a time.
func (w *world) head(at time.Time, nodes ...string) Head {
	w.t.Helper()
	return w.headOf(w.root(), "log", at, nodes...)
}

func (w *world) headOf(root tlog.Hash, log string, at time.Time, nodes ...string) Head {
	w.t.Helper()
	c := merkle.Checkpoint{Origin: w.s.Origin(), Size: int64(len(w.log)), Root: root}
	note, err := merkle.Sign(c, logSigner{log})
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := ParseHead(note)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, node := range nodes {
		h = w.cosigned(h, node, node+"-witness", at)
	}
	return h
}

func (w *world) cosigned(h Head, name, key string, at time.Time) Head {
	w.t.Helper()
	line, err := merkle.Cosign(h.Checkpoint, name, logSigner{key}, at)
	if err != nil {
		w.t.Fatal(err)
	}
	if h, err = h.With(line); err != nil {
		w.t.Fatal(err)
	}
	return h
}

func primary(states ...string) []string {
	var all []string
	for _, s := range states {
		all = append(all, s+"/node/primary")
	}
	return all
}

// A head is the log's if the log key in force signed it, and no other. PROTOCOL 11.6.
func TestCheckLog(t *testing.T) {
	w := witnessing(t, "mx")
	if err := w.s.CheckLog(w.head(w.now)); err != nil {
		t.Error(err)
	}
	if err := w.s.CheckLog(w.headOf(w.root(), "mx-1", w.now)); code(err) != "bad-signature" {
		t.Errorf("a head under another key: %v", err)
	}
	other := founded(t)
	payload, err := DraftGenesis(start.Add(time.Hour), genesisBody())
	other.s, other.log = nil, nil
	other.do(payload, err, everyone)
	if err := w.s.CheckLog(other.head(w.now)); code(err) != "wrong-origin" {
		t.Errorf("a head of another network: %v", err)
	}
}

// The quorum is more than half of the states that have a witness, one vote each; nobody else counts. PROTOCOL 11.6.
func TestQuorum(t *testing.T) {
	w := witnessing(t, "mx", "jm", "br", "ht")
	w.admit("pa") // has declared no node: neither votes nor counts
	all := primary("mx", "jm", "br", "ht")
	for n, want := range []bool{false, false, false, true, true} {
		j := w.s.Judge(w.head(w.now, all[:n]...), w.s, w.now)
		if j.Confirmed != want || j.Needed != 3 || len(j.Votes) != n {
			t.Errorf("%d of 4 cosigned: confirmed %t, needed %d, votes %v", n, j.Confirmed, j.Needed, j.Votes)
		}
	}
	w.declareWitness("mx/node/second")
	two := w.head(w.now, "mx/node/primary", "mx/node/second", "jm/node/primary", "jm/node/primary")
	if j := w.s.Judge(two, w.s, w.now); j.Confirmed || len(j.Votes) != 2 {
		t.Errorf("two nodes of one state, and one node twice, have votes %v", j.Votes)
	}
	stranger := w.cosigned(w.head(w.now, all[:2]...), "br/node/primary", "mx-1", w.now)
	if j := w.s.Judge(stranger, w.s, w.now); j.Confirmed {
		t.Error("a cosignature under another key than the node's counted")
	}
	renamed := w.cosigned(w.head(w.now, all[:2]...), "pa/node/primary", "br/node/primary-witness", w.now)
	if j := w.s.Judge(renamed, w.s, w.now); j.Confirmed {
		t.Error("a cosignature under another name counted")
	}
}

// A cosignature of one root says nothing about another of the same size.
func TestCosignatureOfAnotherRoot(t *testing.T) {
	w := witnessing(t, "mx")
	real := w.head(w.now, "mx/node/primary")
	forged := w.headOf(tlog.Hash{1}, "log", w.now)
	forged, err := forged.With(lines(t, w, real)...)
	if err != nil {
		t.Fatal(err)
	}
	if j := w.s.Judge(forged, w.s, w.now); j.Confirmed {
		t.Error("the cosignature of another root counted")
	}
}

// lines are the cosignatures that counted.
func lines(t *testing.T, w *world, h Head) [][]byte {
	t.Helper()
	j := w.s.Judge(h, w.s, w.now)
	if !j.Confirmed {
		t.Fatal("the head itself is not confirmed")
	}
	return j.Cosignatures
}

// Whoever is suspended, by however few: witnesses and their number stay. Revocation changes them. PROTOCOL 11.6.
func TestSuspensionMovesNoQuorum(t *testing.T) {
	w := witnessing(t, "mx", "jm", "br")
	for _, state := range []string{"jm", "br"} {
		payload, err := w.draft().Suspend(OfState(stateOf(state)), w.now.Add(time.Hour), "to win the quorum")
		w.do(payload, err, "steward:s-1")
	}
	if j := w.s.Judge(w.head(w.now, "mx/node/primary"), w.s, w.now); j.Confirmed || j.Needed != 2 {
		t.Errorf("one of three, two being suspended: confirmed %t, needed %d", j.Confirmed, j.Needed)
	}
	if j := w.s.Judge(w.head(w.now, primary("jm", "br")...), w.s, w.now); !j.Confirmed {
		t.Error("suspended states have lost their votes")
	}
	payload, err := w.draft().RevokeNode(nodeOf("br/node/primary"), "gone")
	w.see(payload, err, stateKeys("br"))
	if len(w.s.Witnesses()) != 3 {
		t.Error("a revocation that is not in the log changed the witnesses")
	}
	w.do(payload, err, stateKeys("br"))
	if len(w.s.Witnesses()) != 2 {
		t.Error("a revoked node still witnesses")
	}
}

// Where the states that witness change, both the old and the new must have the quorum. PROTOCOL 11.6.
func TestQuorumOfOldAndNew(t *testing.T) {
	w := witnessing(t, "mx", "jm", "br")
	before := w.s
	for _, state := range []string{"pa", "ht", "cr", "ni"} {
		w.admit(state)
		w.declareWitness(state + "/node/primary")
	}
	newcomers := primary("pa", "ht", "cr", "ni")
	if j := w.s.Judge(w.head(w.now, newcomers...), nil, w.now); !j.Confirmed {
		t.Fatal("four of seven are no quorum")
	}
	if j := w.s.Judge(w.head(w.now, newcomers...), before, w.now); j.Confirmed {
		t.Error("newcomers alone put themselves in force")
	}
	if j := w.s.Judge(w.head(w.now, primary("mx", "jm", "br")...), before, w.now); j.Confirmed {
		t.Error("the old alone are no quorum of the new")
	}
	if j := w.s.Judge(w.head(w.now, append(newcomers, primary("mx", "jm")...)...), before, w.now); !j.Confirmed {
		t.Error("both quorums do not confirm")
	}
}

// A state that has rotated its witness key keeps its one vote, by either key, among those who witnessed before.
func TestRotatedWitness(t *testing.T) {
	w := witnessing(t, "mx")
	before := w.s
	node := nodeOf("mx/node/primary")
	old := public("mx/node/primary-witness").Fingerprint()
	payload, err := w.draft().RotateNode(node, &formatv1.RotateNode{Add: declared(PurposeWitness, "mx-new"), Retire: [][]byte{old[:]}})
	w.do(payload, err, byMX)
	w.admit("jm")
	w.declareWitness("jm/node/primary")
	h := w.cosigned(w.head(w.now, "jm/node/primary"), node.String(), "mx-new", w.now)
	if j := w.s.Judge(h, before, w.now); !j.Confirmed {
		t.Error("the new key of a state that witnessed before does not count")
	}
	h = w.head(w.now, "jm/node/primary", "mx/node/primary")
	if j := w.s.Judge(h, before, w.now); j.Confirmed {
		t.Error("the rotated key counts among the witnesses of now")
	}
}

// The quorum time is the q-th newest; what is ahead of the clock does not count. PROTOCOL 11.6.
func TestQuorumTime(t *testing.T) {
	w := witnessing(t, "mx", "jm", "br")
	h := w.head(w.now)
	for i, node := range primary("mx", "jm", "br") {
		h = w.cosigned(h, node, node+"-witness", w.now.Add(time.Duration(i)*time.Minute))
	}
	later := w.now.Add(time.Hour)
	if j := w.s.Judge(h, w.s, later); !j.Quorum.Equal(w.now.Add(time.Minute)) || !j.Newest.Equal(w.now.Add(2*time.Minute)) {
		t.Errorf("quorum time %s, newest %s", j.Quorum, j.Newest)
	}
	h = w.cosigned(h, "mx/node/primary", "mx/node/primary-witness", w.now.Add(3*time.Minute))
	if j := w.s.Judge(h, w.s, later); !j.Quorum.Equal(w.now.Add(2 * time.Minute)) {
		t.Errorf("with a newer cosignature of one: %s", j.Quorum)
	}
	ahead := w.head(w.now.Add(Skew+time.Second), primary("mx", "jm")...)
	if j := w.s.Judge(ahead, w.s, w.now); j.Confirmed {
		t.Error("cosignatures of the future counted")
	}
	if j := w.s.Judge(ahead, w.s, time.Time{}); !j.Confirmed {
		t.Error("without a clock all count")
	}
}

// With lines that are none, a head stays as it was. PROTOCOL 11.6.
func TestHeadWithJunk(t *testing.T) {
	w := witnessing(t, "mx")
	for _, line := range []string{"", "\n", "— x\n", "— x AAAA\n", "x AAAAAAAAAAA=\n", "— mx AAAAAAAAAAA=", "— mx AAAAAAAAAAA=\n\n— jm AAAAAAAAAAA=\n"} {
		if _, err := w.head(w.now).With([]byte(line)); err == nil {
			t.Errorf("%q was taken for a cosignature", line)
		}
	}
	if _, err := ParseHead([]byte(fmt.Sprintf("%s\n", w.head(w.now).Text()))); err == nil {
		t.Error("a head without signature was read")
	}
}

// PROTOCOL 11.6: a head has at most 99 cosignatures, or a standard client does not read it.
func TestHeadWithTooMany(t *testing.T) {
	w := witnessing(t, "mx")
	var lines [][]byte
	for n := range 99 {
		lines = append(lines, fmt.Appendf(nil, "— witness-%d AAAAAAAAAAA=\n", n))
	}
	if h, err := w.head(w.now).With(lines...); err != nil || w.s.CheckLog(h) != nil {
		t.Errorf("99 cosignatures: %v", err)
	}
	if _, err := w.head(w.now, "mx/node/primary").With(lines...); code(err) != "too-many" {
		t.Errorf("100 cosignatures: %v", err)
	}
}
