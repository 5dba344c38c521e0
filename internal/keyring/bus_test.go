package keyring

import (
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/enlace-network/enlace/internal/fault"
)

// TestSignToken: operator and accounts sign under the key that the token names, a node's key none.
func TestSignToken(t *testing.T) {
	r, _, _ := newRing(t)
	must0(t, r.GenerateHub(epoch))
	for _, slot := range []Slot{HubBusOperator, HubBusAccount, HubBusSystem} {
		public, err := r.Public(slot)
		must0(t, err)
		text := string(public.Bytes())
		sig, err := r.SignToken(text, []byte("token"))
		must0(t, err)
		pair, err := nkeys.FromPublicKey(text)
		must0(t, err)
		must0(t, pair.Verify([]byte("token"), sig))
		want := byte('A')
		if slot == HubBusOperator {
			want = 'O'
		}
		if text[0] != want {
			t.Errorf("%s is %s", slot, text)
		}
	}
	node, _, _ := newRing(t)
	must0(t, node.GenerateNode(epoch))
	public, err := node.Public(NodeBus)
	must0(t, err)
	_, err = node.SignToken(string(public.Bytes()), []byte("token"))
	check(t, "a token by a node's key", err, fault.NotFound, "no-key")
	_, err = r.SignToken("", nil)
	check(t, "a token by no key", err, fault.NotFound, "no-key")
}

// TestCompleteHub: a ring of before gets the accounts, keeps the rest, and is written once.
func TestCompleteHub(t *testing.T) {
	r, path, unlock := newRing(t)
	must0(t, r.fill(epoch, HubLog, HubBusOperator))
	operator, err := r.Public(HubBusOperator)
	must0(t, err)
	must0(t, r.CompleteHub(epoch))
	again, err := Open(path, unlock)
	must0(t, err)
	for _, slot := range []Slot{HubLog, HubBusOperator, HubBusAccount, HubBusSystem} {
		if _, err := again.Public(slot); err != nil {
			t.Errorf("%s: %v", slot, err)
		}
	}
	if same, err := again.Public(HubBusOperator); err != nil || same != operator {
		t.Errorf("the operator's key changed: %v", err)
	}
	digest := again.digest
	must0(t, again.CompleteHub(epoch))
	if again.digest != digest {
		t.Error("the file was written though nothing was missing")
	}
}

func TestBusUser(t *testing.T) {
	u, err := NewBusUser()
	must0(t, err)
	sig, err := u.SignNonce([]byte("nonce"))
	must0(t, err)
	pair, err := nkeys.FromPublicKey(u.Public())
	must0(t, err)
	must0(t, pair.Verify([]byte("nonce"), sig))
}
