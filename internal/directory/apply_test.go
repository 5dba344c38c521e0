package directory

import (
	"fmt"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// PROTOCOL 4.10: nothing comes before the genesis, and no second one after it.
func TestGenesis(t *testing.T) {
	w := founded(t)
	if got := w.s.NetworkName(); got != "toc.example" {
		t.Errorf("network name %q", got)
	}
	st, err := ParseStatement(w.s.Genesis())
	if err != nil || st.Hash().String() != w.s.NetworkID() {
		t.Errorf("network ID %s is not the hash of the genesis %s (%v)", w.s.NetworkID(), st.Hash(), err)
	}
	if got := w.s.Stewards(); len(got.Keys) != 3 || got.Threshold != 2 {
		t.Errorf("%d stewards, threshold %d", len(got.Keys), got.Threshold)
	}
	if got := w.s.Position(); got != 1 {
		t.Errorf("position %d, want 1", got)
	}
	if _, err := Apply(w.s, st); code(err) != "already-founded" {
		t.Errorf("second genesis: %v", err)
	}
	payload, err := w.draft().AdmitState(stateOf("mx"), admission("mx"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := ParseStatement(signed(payload, stewards+" "+byMX))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(nil, first); code(err) != "no-genesis" {
		t.Errorf("admission before the genesis: %v", err)
	}
	if _, err := Restrict(nil, first); code(err) != "not-restricting" {
		t.Errorf("on sight before the genesis: %v", err)
	}
}

// PROTOCOL 4.4: two networks never share a statement, nor does anyone apply one from ahead of the log.
func TestPlaceInTheLog(t *testing.T) {
	w, all := oneOfEach(t)
	twin := genesisBody()
	twin.Nonce[0] = 1
	payload, err := DraftGenesis(start, twin)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := Follow(nil, signed(payload, everyone))
	if err != nil {
		t.Fatal(err)
	}
	behind, err := Fold(nil, entries(w.log[:len(w.log)-1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range all {
		if _, err := Follow(elsewhere, b); code(err) != "wrong-network" {
			t.Errorf("%s in another network: %v", name, err)
		}
		if _, err := Follow(behind, b); code(err) != "behind" {
			t.Errorf("%s ahead of the log: %v", name, err)
		}
	}
}

// PROTOCOL 4.4: an enabling statement follows the last one about its subject and is never applied twice.
func TestChain(t *testing.T) {
	w := populated(t)
	primary := nodeOf("mx/node/primary")
	stale := w.draft()
	first, err := stale.RotateNode(primary, &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:1"}})
	w.do(first, err, byMX)
	w.refuse(first, nil, byMX, "not-next")
	second, err := stale.RotateNode(primary, &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:2"}})
	w.refuse(second, err, byMX, "not-next")
	// Another subject of the same state has a chain of its own.
	other, err := stale.RotateAuthorityKeys(nameOf("mx/fgr"), &formatv1.RotateAuthorityKeys{Add: declared(PurposeSign, "x")})
	w.do(other, err, byMX)
	e, _ := w.view().Node(primary)
	if len(e.Endpoints) != 1 || e.Endpoints[0] != "127.0.0.1:1" {
		t.Errorf("endpoints %v", e.Endpoints)
	}
	if last, ok := w.s.Last(OfNode(primary)); !ok || last != e.Last {
		t.Errorf("last %v, %t; the entry says %v", last, ok, e.Last)
	}
	unknown, err := w.draft().RotateNode(nodeOf("mx/node/none"), &formatv1.RotateNode{Endpoints: []string{"127.0.0.1:2"}})
	w.refuse(unknown, err, byMX, "unknown-subject")
}

// PROTOCOL 4.11: a state is admitted once, whatever happened since; a stranger declares nothing.
func TestAdmission(t *testing.T) {
	w := founded(t)
	again := w.draft()
	w.admit("mx")
	payload, err := again.AdmitState(stateOf("mx"), &formatv1.AdmitState{Keys: declared(PurposeState, "thief-1"), Threshold: 1,
		CaCertificates: [][]byte{ca()}, NoteVerbale: "NV 9"})
	w.refuse(payload, err, stewards+" state:thief-1", "already-admitted")
	payload, err = w.draft().DeclareNode(nodeOf("jm/node/primary"), nodeBody("jm/node/primary"))
	w.refuse(payload, err, stateKeys("jm")+designated, "unknown-subject")
	if got := w.view().CertificatePool(stateOf("mx")); len(got) != 1 {
		t.Errorf("%d certificates, want 1", len(got))
	}
	if got := w.view().CertificatePool(stateOf("jm")); got != nil {
		t.Errorf("certificates of a stranger: %d", len(got))
	}
}

// PROTOCOL 4.11: after a rotation the new keys sign, kept ones too, others no more.
func TestRotateState(t *testing.T) {
	w := populated(t)
	mx := stateOf("mx")
	payload, err := w.draft().RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "mx-3", "mx-4"), Threshold: 2})
	w.do(payload, err, byMX+" new:mx-3 new:mx-4")
	rotation := w.s.Position()
	retire, err := w.draft().Retire(nameOf("mx/fgr"), "")
	w.refuse(retire, err, byMX, "signers")
	w.do(retire, err, "state:mx-3 state:mx-4")
	h, ok := w.view().Holder(public("mx-1").Fingerprint())
	if !ok || h.Status != KeyRotated || h.Position != rotation || !h.Since.Equal(w.now) || h.Owner != OfState(mx) {
		t.Errorf("old key: %+v, %t", h, ok)
	}
	if got := w.view().CertificatePool(mx); len(got) != 1 {
		t.Errorf("an empty list took the certificates away: %d left", len(got))
	}
	back, err := w.draft().RotateState(mx, &formatv1.RotateState{Keys: declared(PurposeState, "mx-1"), Threshold: 1})
	w.refuse(back, err, "state:mx-3 state:mx-4 new:mx-1", "key-in-use")
}

// PROTOCOL 4.12, 4.13: an amendment states all anew and carries no keys.
func TestAmend(t *testing.T) {
	w := populated(t)
	body := authorityBody("mx/fgr", "mx/node/primary")
	payload, err := w.draft().DeclareAuthority(nameOf("mx/fgr"), body)
	w.refuse(payload, err, byMX+designated, "keys-in-amendment")
	body.Keys, body.Acronym, body.Desks = nil, "FGR", nil
	payload, err = w.draft().DeclareAuthority(nameOf("mx/fgr"), body)
	w.do(payload, err, byMX+designated)
	e, _ := w.view().Authority(nameOf("mx/fgr"))
	if e.Acronym != "FGR" || len(e.Desks) != 0 {
		t.Errorf("acronym %q, %d desks", e.Acronym, len(e.Desks))
	}
	if got := len(w.view().Keys(OfAuthority(nameOf("mx/fgr")))); got != 2 {
		t.Errorf("%d keys after the amendment, want 2", got)
	}
	node := nodeBody("mx/node/primary")
	node.Keys, node.MaxBody = nil, 4096
	payload, err = w.draft().DeclareNode(nodeOf("mx/node/primary"), node)
	w.do(payload, err, byMX+designated)
	if e, _ := w.view().Node(nodeOf("mx/node/primary")); e.MaxBody != 4096 {
		t.Errorf("largest body %d", e.MaxBody)
	}
	if e, _ := w.view().State(stateOf("mx")); len(e.Authorities) != 1 || len(e.Nodes) != 1 {
		t.Errorf("the state lists %v and %v", e.Authorities, e.Nodes)
	}
}

// PROTOCOL 4.12: an authority needs a node that exists.
func TestServedByUnknownNode(t *testing.T) {
	w := populated(t)
	payload, err := w.draft().DeclareAuthority(nameOf("mx/sat"), authorityBody("mx/sat", "mx/node/none"))
	w.refuse(payload, err, byMX+designated, "unknown-node")
	gone, err := w.draft().RevokeNode(nodeOf("mx/node/primary"), "")
	w.do(gone, err, byMX)
	payload, err = w.draft().DeclareAuthority(nameOf("mx/sat"), authorityBody("mx/sat", "mx/node/primary"))
	w.refuse(payload, err, byMX+designated, "unknown-node")
}

// PROTOCOL 4.14: a key has one owner for ever, and a subject always a key for what it must do.
func TestKeys(t *testing.T) {
	w := populated(t)
	fgr := nameOf("mx/fgr")
	rotate := func(add []*formatv1.Key, retire ...string) ([]byte, error) {
		body := &formatv1.RotateAuthorityKeys{Add: add}
		for _, name := range retire {
			f := public(name).Fingerprint()
			body.Retire = append(body.Retire, f[:])
		}
		return w.draft().RotateAuthorityKeys(fgr, body)
	}
	for _, taken := range []string{"jm/fgr-sign", "mx/fgr-sign", "mx/node/primary-sign", "mx-1", "s-1", "log"} {
		payload, err := rotate(declared(PurposeSign, taken))
		w.refuse(payload, err, byMX, "key-in-use")
	}
	payload, err := rotate(nil, "mx/fgr-sign")
	w.refuse(payload, err, byMX, "key-missing")
	payload, err = rotate(declared(PurposeSign, "fgr-2"), "jm/fgr-sign")
	w.refuse(payload, err, byMX, "unknown-key")
	payload, err = rotate(declared(PurposeSign, "fgr-2"), "mx/fgr-sign")
	w.do(payload, err, byMX)
	payload, err = rotate(declared(PurposeSign, "fgr-3"), "mx/fgr-sign")
	w.refuse(payload, err, byMX, "unknown-key")
	payload, err = rotate(declared(PurposeSign, "mx/fgr-sign"))
	w.refuse(payload, err, byMX, "key-in-use")
	without := authorityBody("mx/sat", "mx/node/primary")
	without.Keys = without.Keys[:1]
	payload, err = w.draft().DeclareAuthority(nameOf("mx/sat"), without)
	w.refuse(payload, err, byMX+designated, "key-missing")
	if h, ok := w.view().SigningKey(public("mx/fgr-sign").Fingerprint()); !ok || h.Status != KeyRotated {
		t.Errorf("rotated key: %+v, %t", h, ok)
	}
	if h, ok := w.view().SigningKey(public("fgr-2").Fingerprint()); !ok || h.Status != KeyActive || h.Owner.Name() != fgr {
		t.Errorf("new key: %+v, %t", h, ok)
	}
}

// PROTOCOL 4.13: node keys rotate and revoke as those of authorities do.
func TestNodeKeys(t *testing.T) {
	w := populated(t)
	primary := nodeOf("mx/node/primary")
	old := public("mx/node/primary-sign").Fingerprint()
	payload, err := w.draft().RotateNode(primary, &formatv1.RotateNode{Add: declared(PurposeSign, "node-2"), Retire: [][]byte{old[:]}})
	w.do(payload, err, byMX)
	e, _ := w.view().Node(primary)
	if len(e.Endpoints) != 1 {
		t.Errorf("a rotation without endpoints left %v", e.Endpoints)
	}
	if h, ok := w.view().Newest(OfNode(primary), PurposeSign); !ok || h.Fingerprint != public("node-2").Fingerprint() {
		t.Errorf("newest signing key: %+v, %t", h, ok)
	}
	payload, err = w.draft().RevokeKey(OfNode(primary), old, "")
	w.do(payload, err, byMX)
	if h, _ := w.view().Holder(old); h.Status != KeyRevoked {
		t.Errorf("a rotated key that was revoked is %s", h.Status)
	}
	payload, err = w.draft().RevokeKey(OfNode(primary), public("jm/node/primary-sign").Fingerprint(), "")
	w.refuse(payload, err, byMX, "unknown-key")
}

// PROTOCOL 4.7, 4.15: what was retired or revoked stays so, by name too.
func TestEndedForGood(t *testing.T) {
	w := populated(t)
	fgr, primary := nameOf("mx/fgr"), nodeOf("mx/node/primary")
	payload, err := w.draft().Retire(fgr, "")
	w.do(payload, err, byMX)
	w.refuse(payload, nil, byMX, "duplicate")
	amended := authorityBody("mx/fgr", "mx/node/primary")
	amended.Keys = nil
	payload, err = w.draft().DeclareAuthority(fgr, amended)
	w.refuse(payload, err, byMX+designated, "retired")
	payload, err = w.draft().Reinstate(OfAuthority(fgr), "")
	w.refuse(payload, err, stewards+" "+byMX, "retired")
	payload, err = w.draft().RevokeNode(primary, "")
	w.do(payload, err, byMX)
	payload, err = w.draft().Reinstate(OfNode(primary), "")
	w.refuse(payload, err, stewards+" "+byMX, "revoked")
	payload, err = w.draft().Suspend(OfNode(primary), w.now.Add(time.Hour), "")
	w.refuse(payload, err, stewards, "duplicate")
	v := w.view()
	if got := code(v.CheckAuthority(fgr)); got != "retired" {
		t.Errorf("authority: %q", got)
	}
	if got := code(v.CheckNode(primary)); got != "revoked" {
		t.Errorf("node: %q", got)
	}
	if h, _ := v.Holder(public("mx/fgr-sign").Fingerprint()); h.Status != KeyRotated {
		t.Errorf("key of a retired authority is %s", h.Status)
	}
	if h, _ := v.Holder(public("mx/node/primary-sign").Fingerprint()); h.Status != KeyRevoked {
		t.Errorf("key of a revoked node is %s", h.Status)
	}
}

// PROTOCOL 4.5: a revoked state key signs no more.
func TestRevokedStateKey(t *testing.T) {
	w := populated(t)
	payload, err := w.draft().RevokeKey(OfState(stateOf("mx")), public("mx-1").Fingerprint(), "lost")
	w.do(payload, err, byMX)
	payload, err = w.draft().Retire(nameOf("mx/fgr"), "")
	w.refuse(payload, err, byMX, "signers")
	w.do(payload, err, "state:mx-2 state:mx-3")
}

// PROTOCOL 4.14: windows of validity.
func TestKeyWindow(t *testing.T) {
	w := populated(t)
	fgr := nameOf("mx/fgr")
	later := DeclareKey(PurposeSeal, sealing("later"), w.now.Add(time.Hour))
	later.NotAfter = w.now.Add(2 * time.Hour).Unix()
	payload, err := w.draft().RotateAuthorityKeys(fgr, &formatv1.RotateAuthorityKeys{Add: []*formatv1.Key{later}})
	w.do(payload, err, byMX)
	for after, want := range map[time.Duration]struct {
		status KeyStatus
		key    string
	}{
		time.Hour - time.Second:   {KeyPending, "mx/fgr-seal"},
		time.Hour:                 {KeyActive, "later"},
		2*time.Hour - time.Second: {KeyActive, "later"},
		2 * time.Hour:             {KeyRotated, "mx/fgr-seal"},
	} {
		v := w.s.At(w.now.Add(after))
		if h, _ := v.Holder(sealing("later").Fingerprint()); h.Status != want.status {
			t.Errorf("after %v: %s, want %s", after, h.Status, want.status)
		}
		if got, ok := v.SealingKey(fgr); !ok || got != sealing(want.key) {
			t.Errorf("after %v: not the sealing key %s", after, want.key)
		}
	}
	if _, ok := w.view().SealingKey(nameOf("mx/none")); ok {
		t.Error("a stranger has a sealing key")
	}
	if _, ok := w.view().Holder(authority.Fingerprint{1}); ok {
		t.Error("an unknown key has a holder")
	}
}

// PROTOCOL 4.14: a state alone adds keys, but not without end: at most 32 are current at once.
func TestTooManyCurrentKeys(t *testing.T) {
	w := populated(t)
	node := nodeOf("mx/node/primary")
	add := func(from, to int) *formatv1.RotateNode {
		m := &formatv1.RotateNode{}
		for n := from; n < to; n++ {
			m.Add = append(m.Add, declared(PurposeWitness, fmt.Sprintf("many-%d", n))...)
		}
		return m
	}
	payload, err := w.draft().RotateNode(node, add(0, 30)) // and two from its declaration
	w.do(payload, err, byMX)
	payload, err = w.draft().RotateNode(node, add(30, 31))
	w.refuse(payload, err, byMX, "too-many")
	body, f := add(30, 31), public("many-0").Fingerprint()
	body.Retire = [][]byte{f[:]}
	payload, err = w.draft().RotateNode(node, body)
	w.do(payload, err, byMX)
	payload, err = w.draft().RevokeKey(OfNode(node), public("many-1").Fingerprint(), "")
	w.do(payload, err, byMX)
	payload, err = w.draft().RotateNode(node, add(31, 32))
	w.do(payload, err, byMX)
}
