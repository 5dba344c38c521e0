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
	payload, s, err := splitSigned(signed, message.MaxReceipt)
	if err != nil {
		return nil, authority.Node{}, err
	}
	node, err := verifyNode(payload, s, purpose, find)
	return payload, node, err
}

// splitSigned bounds and splits what a node signed alone; nothing of it may be believed. PROTOCOL 3.4.
func splitSigned(signed []byte, limit int) ([]byte, *formatv1.Signature, error) {
	var m formatv1.Signed
	if err := canonical.Unmarshal(signed, &m, limit); err != nil {
		return nil, nil, err
	}
	s, err := onlySignature(m.GetSignatures())
	return m.GetPayload(), s, err
}

func onlySignature(all []*formatv1.Signature) (*formatv1.Signature, error) {
	if len(all) != 1 {
		return nil, notSigned("exactly one signature is expected")
	}
	return all[0], nil
}

// verifyNode checks a node's only signature and returns the node that owns the key.
func verifyNode(payload []byte, s *formatv1.Signature, purpose authority.Purpose, find NodeKey) (authority.Node, error) {
	key, err := authority.ParseFingerprint(s.GetKey())
	if err != nil {
		return authority.Node{}, err
	}
	node, public, err := find(key)
	if err != nil {
		return authority.Node{}, err
	}
	if s.GetAlgorithm() != public.Algorithm() || s.GetRole() != "" {
		return authority.Node{}, notSigned("the signature names another algorithm or role")
	}
	return node, public.Verify(purpose, payload, s.GetValue())
}

func notSigned(say string) error {
	return fault.New(fault.Invalid, "bad-signature", "verify node signature", say)
}

// byNode is what a node signs alone, naming itself in it.
type byNode interface {
	Marshal() []byte
	maker() authority.Node
}

// form is how one such format is signed and read.
type form[T byNode] struct {
	purpose authority.Purpose
	// limit in bytes, with the signature.
	limit int
	parse func([]byte) (T, error)
}

// sign refuses what no reader would take.
func (f form[T]) sign(ctx context.Context, signer Signer, key authority.Fingerprint, v T) ([]byte, error) {
	payload := v.Marshal()
	if _, err := f.parse(payload); err != nil {
		return nil, err
	}
	b, err := SignNode(ctx, signer, key, f.purpose, payload)
	if err == nil && len(b) > f.limit {
		return nil, fault.New(fault.TooLarge, "too-large", "sign", "what a node signs is larger than its format allows")
	}
	return b, err
}

// verify checks the signature first, then reads, then that who signed is who is named.
func (f form[T]) verify(signed []byte, find NodeKey) (T, error) {
	var none T
	payload, s, err := splitSigned(signed, f.limit)
	if err != nil {
		return none, err
	}
	node, err := verifyNode(payload, s, f.purpose, find)
	if err != nil {
		return none, err
	}
	v, err := f.parse(payload)
	if err != nil {
		return none, err
	}
	if v.maker() != node {
		return none, notSigned("it names another node than the one that signed it")
	}
	return v, nil
}

// stored reads what was verified before it was stored.
func (f form[T]) stored(signed []byte) (T, error) {
	payload, _, err := splitSigned(signed, f.limit)
	if err != nil {
		var none T
		return none, err
	}
	return f.parse(payload)
}

// SignReceipt makes the receipt bytes that are stored and replayed verbatim. PROTOCOL 8.1.
func SignReceipt(ctx context.Context, signer Signer, key authority.Fingerprint, r message.Receipt) ([]byte, error) {
	return SignNode(ctx, signer, key, authority.ForReceipt, r.Marshal())
}

// StoredReceipt reads a receipt that was verified before it was stored. It checks no signature.
func StoredReceipt(signed []byte) (message.Receipt, error) {
	payload, _, err := splitSigned(signed, message.MaxReceipt)
	if err != nil {
		return message.Receipt{}, err
	}
	return message.ParseReceipt(payload)
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
