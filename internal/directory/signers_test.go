package directory

import (
	"strings"
	"testing"
	"time"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// signersCase is a statement and the rule of PROTOCOL 4.5 on who signs it, said a second way.
type signersCase struct {
	name    string
	payload func(*world) ([]byte, error)
	// allowed are the signatures that may stand on it.
	allowed string
	// enough says whether these, all of them allowed, suffice.
	enough func(count map[string]int, has func(string) bool) bool
}

func quorum(n map[string]int, _ func(string) bool) bool { return n["steward"] >= 2 }
func state(n map[string]int, _ func(string) bool) bool  { return n["state"] >= 2 }

func twoPersons(n map[string]int, has func(string) bool) bool {
	self := (has("verify:s-1") && has("countersign:s-1")) || (has("verify:s-2") && has("countersign:s-2"))
	return n["state"] >= 2 && n["verify"] >= 1 && n["countersign"] >= 1 && !self
}

const (
	own         = "state:mx-1 state:mx-2 state:mx-3"
	verifiers   = " verify:s-1 verify:s-2 countersign:s-1 countersign:s-2"
	twoStewards = "steward:s-1 steward:s-2"
)

func suspendFor(d time.Duration) func(*world) ([]byte, error) {
	return func(w *world) ([]byte, error) {
		return w.draft().Suspend(OfState(stateOf("mx")), w.now.Add(d), "compromised")
	}
}

// PROTOCOL 4.5: for each kind every subset of a crowd of signers is tried; only the right ones pass.
func TestSigners(t *testing.T) {
	mx, fgr, primary := stateOf("mx"), nameOf("mx/fgr"), nodeOf("mx/node/primary")
	cases := []signersCase{
		{"declare authority", func(w *world) ([]byte, error) {
			return w.draft().DeclareAuthority(nameOf("mx/sat"), authorityBody("mx/sat", "mx/node/primary"))
		}, own + verifiers, twoPersons},
		{"amend authority", func(w *world) ([]byte, error) {
			body := authorityBody("mx/fgr", "mx/node/primary")
			body.Keys = nil
			return w.draft().DeclareAuthority(fgr, body)
		}, own + verifiers, twoPersons},
		{"declare node", func(w *world) ([]byte, error) {
			return w.draft().DeclareNode(nodeOf("mx/node/second"), nodeBody("mx/node/second"))
		}, own + verifiers, twoPersons},
		{"rotate authority keys", func(w *world) ([]byte, error) {
			return w.draft().RotateAuthorityKeys(fgr, &formatv1.RotateAuthorityKeys{Add: bothKeys("fgr-new")})
		}, own, state},
		{"rotate node", func(w *world) ([]byte, error) {
			return w.draft().RotateNode(primary, &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:1"}})
		}, own, state},
		{"rotate state", func(w *world) ([]byte, error) {
			return w.draft().RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "n-1", "mx-1"), Threshold: 1})
		}, own + " new:n-1", func(n map[string]int, _ func(string) bool) bool { return n["state"] >= 2 && n["new"] >= 1 }},
		{"retire", func(w *world) ([]byte, error) { return w.draft().Retire(fgr, "") }, own, state},
		{"revoke node", func(w *world) ([]byte, error) { return w.draft().RevokeNode(primary, "") }, own, state},
		{"revoke key", func(w *world) ([]byte, error) {
			return w.draft().RevokeKey(OfAuthority(fgr), public("mx/fgr-sign").Fingerprint(), "")
		}, own, state},
		{"suspend 72 h", suspendFor(MaxLoneSuspension), own + " " + twoStewards, func(n map[string]int, _ func(string) bool) bool {
			return (n["state"] >= 2 && n["steward"] == 0) || (n["steward"] >= 1 && n["state"] == 0)
		}},
		{"suspend 30 days", suspendFor(MaxSuspension), own + " " + twoStewards, func(n map[string]int, _ func(string) bool) bool {
			return (n["state"] >= 2 && n["steward"] == 0) || (n["steward"] >= 2 && n["state"] == 0)
		}},
		{"suspend longer", suspendFor(MaxSuspension + time.Second), own, state},
		{"reinstate", func(w *world) ([]byte, error) { return w.draft().Reinstate(OfState(mx), "") }, own + " " + twoStewards,
			func(n map[string]int, _ func(string) bool) bool {
				return n["steward"] >= 2 && (n["state"] == 0 || n["state"] >= 2)
			}},
	}
	w := populated(t)
	crowd := strings.Fields(twoStewards + " steward:mx-1 state:mx-1 state:mx-2 state:jm-1 state:s-1 new:n-1" + verifiers)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { trySubsets(t, w.s, w, c, crowd) })
	}
}

func TestSignersOfGenesis(t *testing.T) {
	trySubsets(t, nil, nil, signersCase{"genesis", func(*world) ([]byte, error) { return DraftGenesis(start, genesisBody()) },
		everyone, func(n map[string]int, _ func(string) bool) bool { return n["steward"] == 3 }},
		strings.Fields(everyone+" steward:s-4 state:s-1 verify:s-1 new:s-2"))
}

func TestSignersOfAdmission(t *testing.T) {
	w := founded(t)
	w.admit("jm")
	trySubsets(t, w.s, w, signersCase{"admit", func(w *world) ([]byte, error) { return w.draft().AdmitState(stateOf("mx"), admission("mx")) },
		own + " " + twoStewards, func(n map[string]int, has func(string) bool) bool { return quorum(n, has) && state(n, has) }},
		strings.Fields(own+" "+twoStewards+" steward:jm-1 state:jm-1 state:s-3 new:mx-1 verify:s-1"))
}

func trySubsets(t *testing.T, s *Snapshot, w *world, c signersCase, crowd []string) {
	t.Helper()
	payload, err := c.payload(w)
	if err != nil {
		t.Fatal(err)
	}
	ready := make([]Signature, len(crowd))
	for i, spec := range crowd {
		ready[i] = signature(payload, spec)
	}
	passed := 0
	for bits := range 1 << len(crowd) {
		var chosen []Signature
		has, count, allowed := map[string]bool{}, map[string]int{}, true
		for i, spec := range crowd {
			if bits>>i&1 == 1 {
				chosen = append(chosen, ready[i])
				role, _, _ := strings.Cut(spec, ":")
				has[spec] = true
				count[role]++
				allowed = allowed && strings.Contains(" "+c.allowed+" ", " "+spec+" ")
			}
		}
		st, err := ParseStatement(Attach(payload, chosen...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Apply(s, st)
		want := allowed && c.enough(count, func(spec string) bool { return has[spec] })
		if (err == nil) != want {
			t.Fatalf("signed by %v: got %v, want accepted %t", has, err, want)
		}
		if err == nil {
			passed++
		}
	}
	if passed == 0 {
		t.Fatal("no subset passed: the test proves nothing")
	}
}

// PROTOCOL 4.2: a signature counts once, in its role, with its algorithm.
func TestSignatureForm(t *testing.T) {
	w := populated(t)
	payload, err := w.draft().Retire(nameOf("mx/fgr"), "")
	if err != nil {
		t.Fatal(err)
	}
	one, two := signature(payload, "state:mx-1"), signature(payload, "state:mx-2")
	with := func(change func(*Signature)) Signature {
		s := two
		change(&s)
		return s
	}
	tests := []struct {
		name string
		list []Signature
		want string
	}{
		{"both", []Signature{one, two}, ""},
		{"other order", []Signature{two, one}, ""},
		{"none", nil, "signers"},
		{"one twice", []Signature{one, one}, "duplicate-signature"},
		{"another algorithm", []Signature{one, with(func(s *Signature) { s.Algorithm = "ml-dsa-65" })}, "unknown-signature"},
		{"another role", []Signature{one, with(func(s *Signature) { s.Role = "observer" })}, "unknown-signature"},
		{"role changed after signing", []Signature{one, with(func(s *Signature) { s.Role = RoleNew })}, "signers"},
		{"the other's value", []Signature{one, with(func(s *Signature) { s.Value = one.Value })}, "bad-signature"},
		{"short value", []Signature{one, with(func(s *Signature) { s.Value = s.Value[:63] })}, "bad-signature"},
		{"one too many, by a stranger", []Signature{one, two, signature(payload, "state:jm-1")}, "signers"},
		{"65", repeat(one, MaxSignatures+1), "too-many"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Follow(w.s, Attach(payload, test.list...))
			if got := code(err); got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func repeat(s Signature, n int) []Signature {
	var all []Signature
	for range n {
		all = append(all, s)
	}
	return all
}
