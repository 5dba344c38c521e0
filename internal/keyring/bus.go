package keyring

import (
	"github.com/nats-io/nkeys"

	"github.com/enlace-network/enlace/internal/fault"
)

// Keys of the bus sign nothing of ours: what they sign is a server's nonce, or a NATS token. Neither can pass for a
// signature with a purpose, which other keys make.

// SignNonce proves a NATS key, NodeBus or HubBusOperator, to a server: the plain Ed25519 signature NATS asks for.
func (r *Ring) SignNonce(slot Slot, nonce []byte) ([]byte, error) {
	k := r.chosen(slot)
	if k == nil || k.nats == nil {
		return nil, noKey(opSign)
	}
	return signBus(k.nats, nonce)
}

// SignToken signs a NATS token with HubBusOperator, HubBusAccount or HubBusSystem, as jwt.SignFn wants it: public is the
// text of the slot's current public key, so that a token is never signed by another key than it names. NotFound else; a
// node's key signs no token.
func (r *Ring) SignToken(public string, token []byte) ([]byte, error) {
	c := r.content.Load()
	for _, slot := range []Slot{HubBusOperator, HubBusAccount, HubBusSystem} {
		if k := c.current[slot]; k != nil && string(k.public.Bytes()) == public {
			return signBus(k.nats, token)
		}
	}
	return nil, noKey(opSign)
}

func signBus(pair nkeys.KeyPair, b []byte) ([]byte, error) {
	sig, err := pair.Sign(b)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "", opSign, "the bus key could not sign")
	}
	return sig, nil
}

// BusUser is a NATS user key that is held in memory alone, for the hub's own connections to its bus.
type BusUser struct {
	unprintable
	pair   nkeys.KeyPair
	public string
}

// NewBusUser makes one.
func NewBusUser() (*BusUser, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, notMade(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, notMade(err)
	}
	return &BusUser{pair: pair, public: public}, nil
}

// Public is the text of the public key.
func (u *BusUser) Public() string { return u.public }

// SignNonce proves the key to a server.
func (u *BusUser) SignNonce(nonce []byte) ([]byte, error) { return signBus(u.pair, nonce) }
