package registry_test

import (
	"testing"
	"time"

	"filippo.io/age"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// flood hands in what next gives until it is refused as too many; it returns how many were taken, and the bytes of these
// and of the one that was not.
func (h *hub) flood(limit int, next func() []byte) (int, [2]int) {
	h.n.t.Helper()
	client := h.client(h.n.stewards[0])
	var bytes int
	for taken := range limit {
		before := h.n.current.Load()
		statement := next()
		_, err := client.Propose(within(h.n.t, 20*time.Second), statement)
		if fault.CodeOf(err) == "too-many" && fault.Is(err, fault.Retry) {
			h.n.current.Store(before) // where the hub still is
			return taken, [2]int{bytes, len(statement)}
		}
		must(h.n.t, err)
		bytes += len(statement)
	}
	h.n.t.Fatalf("%d were taken", limit)
	return 0, [2]int{}
}

// suspendItself is signed by the state alone.
func (n *network) suspendItself(m *member) []byte {
	n.t.Helper()
	payload, err := n.draft().Suspend(directory.OfState(m.state), n.now().Add(time.Hour), "")
	must(n.t, err)
	return n.apply(payload, m.key.sign(directory.RoleState, payload))
}

// TestStateCannotFloodTheLog: what a state signs alone is limited for each state and kind, and no flood delays a removal,
// the stewards or another state.
func TestStateCannotFloodTheLog(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	all := h.known("mx", "br")
	mx, br := all[0], all[1]
	client := h.client(n.stewards[0])
	n.propose = nil
	move := func() []byte { return n.move(mx, "example.org:443") }
	suspend := func() []byte { return n.suspendItself(mx) }

	if taken, _ := h.flood(100, move); taken != 60 {
		t.Errorf("%d address changes in a row, want 60", taken)
	}
	if taken, _ := h.flood(200, suspend); taken < 120 || taken > 125 { // it fills while it is emptied
		t.Errorf("%d suspensions in a row, want 120", taken)
	}
	for what, statement := range map[string]func() []byte{
		"a suspension by stewards": func() []byte { return n.suspend(mx) },
		"another state":            func() []byte { return n.move(br, "example.org:443") },
		"a revocation":             func() []byte { return n.revoke(mx) },
	} {
		if _, err := client.Propose(within(t, 20*time.Second), statement()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBudgetFillsAgain: what was refused is taken later, and what is in the log already is answered at any time.
func TestBudgetFillsAgain(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	client := h.client(n.stewards[0])
	n.propose = nil
	var last []byte
	if taken, _ := h.flood(100, func() []byte { last = n.move(mx, "example.org:443"); return last }); taken != 60 {
		t.Errorf("%d in a row, want 60", taken)
	}
	n.ahead.Store(int64(2 * time.Minute))
	for range 2 {
		if _, err := client.Propose(within(t, 20*time.Second), last); err != nil {
			t.Errorf("two minutes later: %v", err)
		}
	}
	must(t, n.current.Update(func(s *directory.Snapshot) (*directory.Snapshot, error) { return directory.Follow(s, last) }))
	if taken, _ := h.flood(100, func() []byte { last = n.move(mx, "example.org:443"); return last }); taken != 1 {
		t.Errorf("%d more, want 1: to hand in again costs nothing", taken)
	}
}

// TestStateCannotFloodTheDisk: large statements use up a day's bytes long before an hour's number.
func TestStateCannotFloodTheDisk(t *testing.T) {
	n := newNetwork(t)
	h := n.start()
	mx := h.known("mx")[0]
	n.propose = nil
	var last [][]byte
	taken, bytes := h.flood(60, func() []byte {
		body := &formatv1.RotateNode{Retire: last}
		last = nil
		for range 24 {
			id, err := age.GenerateHybridIdentity()
			must(t, err)
			public, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(id.Recipient().String()))
			must(t, err)
			body.Add = append(body.Add, directory.DeclareKey(directory.PurposeSeal, public, time.Time{}))
			fingerprint := public.Fingerprint()
			last = append(last, fingerprint[:])
		}
		payload, err := n.draft().RotateNode(mx.node, body)
		must(t, err)
		return n.apply(payload, mx.key.sign(directory.RoleState, payload))
	})
	if day := 1 << 20; bytes[0] > day || bytes[0]+bytes[1] < day {
		t.Errorf("%d statements of %d bytes were taken, and %d refused; want 1 MiB", taken, bytes[0], bytes[1])
	}
}
