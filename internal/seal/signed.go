package seal

import (
	"context"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// NodeKey is a node's public signing key as the directory knows it, with the node that owns it.
type NodeKey func(authority.Fingerprint) (authority.Node, authority.PublicKey, error)

// SignNode signs bytes with a node's signing key: receipts, hellos, control envelopes. The result is Signed.
func SignNode(ctx context.Context, signer Signer, key authority.Fingerprint, purpose authority.Purpose, payload []byte) ([]byte, error) {
	value, err := signer.Sign(ctx, key, purpose, payload)
	if err != nil {
		return nil, err
	}
	return canonical.Marshal(&formatv1.Signed{Payload: payload, Signatures: []*formatv1.Signature{
		{Algorithm: authority.Ed25519, Key: key[:], Value: value},
	}}), nil
}

// VerifyNode checks bytes signed by one node and returns the payload and the node that signed.
// PROTOCOL 3.4, 8.1, 10.2.
func VerifyNode(signed []byte, purpose authority.Purpose, find NodeKey) ([]byte, authority.Node, error) {
	var m formatv1.Signed
	if err := canonical.Unmarshal(signed, &m, message.MaxReceipt); err != nil {
		return nil, authority.Node{}, err
	}
	if len(m.GetSignatures()) != 1 {
		return nil, authority.Node{}, fault.New(fault.Invalid, "bad-signature", "verify node signature", "exactly one signature is expected")
	}
	s := m.GetSignatures()[0]
	key, err := authority.ParseFingerprint(s.GetKey())
	if err != nil {
		return nil, authority.Node{}, err
	}
	node, public, err := find(key)
	if err != nil {
		return nil, authority.Node{}, err
	}
	if s.GetAlgorithm() != public.Algorithm() || s.GetRole() != "" {
		return nil, authority.Node{}, fault.New(fault.Invalid, "bad-signature", "verify node signature", "the signature names another algorithm or role")
	}
	return m.GetPayload(), node, public.Verify(purpose, m.GetPayload(), s.GetValue())
}

// SignReceipt makes the receipt bytes that are stored and replayed verbatim. PROTOCOL 8.1.
func SignReceipt(ctx context.Context, signer Signer, key authority.Fingerprint, r message.Receipt) ([]byte, error) {
	return SignNode(ctx, signer, key, authority.ForReceipt, r.Marshal())
}

// VerifyReceipt checks a receipt for an envelope of ours: signed by the node it names, about this message and these
// bytes. The caller checks that the node serves the authorities it speaks for. PROTOCOL 8.1, 8.3.
func VerifyReceipt(signed []byte, h message.Header, find NodeKey) (message.Receipt, error) {
	payload, node, err := VerifyNode(signed, authority.ForReceipt, find)
	if err != nil {
		return message.Receipt{}, err
	}
	r, err := message.ParseReceipt(payload)
	if err != nil {
		return message.Receipt{}, err
	}
	if r.Node != node || r.Network != h.Network || r.Message != h.Key() || r.Digest != h.Digest {
		return message.Receipt{}, fault.New(fault.Invalid, "wrong-receipt", "verify receipt", "the receipt is about something else")
	}
	return r, nil
}
