package canonical_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/ledger"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

const (
	networkID = "5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c5f0c5d0f3f9f0a0f6a6b9d7c4f1e2d3c"
	made      = 1_772_366_400_000 // 2026-03-01T12:00:00Z
	node      = "mx/node/primary"
	signLabel = "mx/node/primary sign"
)

// formatVector is a message, its single form, and what identifies or signs it.
type formatVector struct {
	Name    string         `json:"name"`
	Message string         `json:"message"`
	Fields  any            `json:"fields"`
	Bytes   vectortest.Hex `json:"bytes"`
	Digest  vectortest.Hex `json:"digest"`
	Label   string         `json:"label,omitempty"`
	Key     string         `json:"key,omitempty"`
	Signed  vectortest.Hex `json:"signed,omitempty"`
}

// vectorOf writes a message and proves that it reads back.
func vectorOf(t *testing.T, name string, m proto.Message) formatVector {
	t.Helper()
	b := canonical.Marshal(m)
	again := m.ProtoReflect().New().Interface()
	if err := canonical.Unmarshal(b, again, len(b)); err != nil || !proto.Equal(again, m) {
		t.Errorf("%s reads as %v, %v", name, again, err)
	}
	digest := sha256.Sum256(b)
	return formatVector{Name: name, Message: string(m.ProtoReflect().Descriptor().FullName()), Fields: fieldsOf(t, m), Bytes: b, Digest: digest[:]}
}

// fieldsOf is the message as JSON with sorted keys: protojson alone varies its spaces on purpose.
func fieldsOf(t *testing.T, m proto.Message) any {
	t.Helper()
	b, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var fields any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// signedVector adds Signed with one signature of the node.
func signedVector(t *testing.T, name string, purpose authority.Purpose, m proto.Message) formatVector {
	t.Helper()
	return signedBy(t, vectorOf(t, name, m), purpose, signLabel)
}

func signedBy(t *testing.T, v formatVector, purpose authority.Purpose, key string) formatVector {
	t.Helper()
	v.Label, v.Key = string(purpose), key
	v.Signed = canonical.Marshal(&formatv1.Signed{Payload: v.Bytes, Signatures: []*formatv1.Signature{signatureOf(t, purpose, key, v.Bytes)}})
	return v
}

func signatureOf(t *testing.T, purpose authority.Purpose, label string, payload []byte) *formatv1.Signature {
	t.Helper()
	public, err := authority.ParsePublicKey(authority.Ed25519, vectortest.Public(label))
	if err != nil {
		t.Fatal(err)
	}
	fp := public.Fingerprint()
	value := ed25519.Sign(vectortest.SigningKey(label), authority.Message(purpose, payload))
	if err := public.Verify(purpose, payload, value); err != nil {
		t.Fatal(err)
	}
	return &formatv1.Signature{Algorithm: authority.Ed25519, Key: fp[:], Value: value}
}

func incarnation() *formatv1.Incarnation {
	return &formatv1.Incarnation{Counter: 1, Random: vectortest.Bytes("incarnation", 8)}
}

func id(label string) []byte {
	b := vectortest.Bytes(label, 16)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], made)
	copy(b, ms[2:])
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	return b
}

func digest(parts ...[]byte) []byte {
	d := sha256.Sum256(bytes.Join(parts, nil))
	return d[:]
}

// PROTOCOL 9.1.
func TestVectorEventLeaf(t *testing.T) {
	salt, detail := vectortest.Bytes("event detail salt", 32), []byte("kind=identify-person")
	vectors := []formatVector{
		vectorOf(t, "about nothing, without detail", &formatv1.EventLeaf{Time: made, Kind: "ledger-created", Actor: "node"}),
		vectorOf(t, "about a message, with a detail", &formatv1.EventLeaf{
			Sequence: 7, Time: made, Kind: "submitted", Actor: "officer", Sender: "mx/fgr", MessageId: id("message"),
			Digest: vectortest.Bytes("envelope digest", 32), Detail: digest(salt, detail),
		}),
	}
	for _, v := range vectors {
		e, err := ledger.ParseLeaf(v.Bytes)
		if err != nil || e.Time.UnixMilli() != made || !bytes.Equal(e.Leaf, v.Bytes) {
			t.Errorf("%s: %+v, %v", v.Name, e, err)
		}
	}
	vectortest.Check(t, "event-leaf", "entries of the evidence log; the second one's detail is SHA-256 of Bytes(\"event detail salt\", 32) and "+string(detail),
		[]string{"9.1"}, vectors)
}

const sealedControl = "stands for an age file"

func controlHeader(t *testing.T) *formatv1.ControlHeader {
	t.Helper()
	to, err := authority.ParsePublicKey(authority.AgeHybrid, []byte(vectortest.Identity("jm/node/primary seal").Recipient().String()))
	if err != nil {
		t.Fatal(err)
	}
	fp := to.Fingerprint()
	return &formatv1.ControlHeader{
		Version: 1, Network: networkID, Id: id("control"), From: node, To: "jm/node/primary", Incarnation: incarnation(),
		Kind: "epoch-grant", Created: made, Expires: made + 86_400_000, SealingKey: fp[:],
		SealedSize: uint64(len(sealedControl)), SealedDigest: digest([]byte(sealedControl)),
	}
}

// PROTOCOL 7.1.
func TestVectorControl(t *testing.T) {
	header := vectorOf(t, "header", controlHeader(t))
	header.Label, header.Key = string(authority.ForControl), signLabel
	envelope := vectorOf(t, "envelope", &formatv1.ControlEnvelope{
		Header: header.Bytes, Signatures: []*formatv1.Signature{signatureOf(t, authority.ForControl, signLabel, header.Bytes)}, Sealed: []byte(sealedControl),
	})
	vectortest.Check(t, "control", "a control header and its envelope", []string{"7.1"}, []formatVector{header, envelope})
}

// PROTOCOL 7.1.
func TestVectorControlReceipt(t *testing.T) {
	header := controlHeader(t)
	received := &formatv1.ControlReceipt{
		Network: networkID, Node: header.GetTo(), Incarnation: &formatv1.Incarnation{Counter: 2, Random: vectortest.Bytes("incarnation jm", 8)},
		From: header.GetFrom(), Id: header.GetId(), Digest: digest(canonical.Marshal(header)), Stage: "RECEIVED",
		Time: made + 1000, Checkpoint: vectortest.Bytes("salted checkpoint", 32),
	}
	rejected := proto.CloneOf(received)
	rejected.Stage, rejected.Code = "REJECTED", "wrong-key"
	const key = "jm/node/primary sign"
	vectortest.Check(t, "control-receipt", "two receipts that could answer the envelope in control.json", []string{"7.1"}, []formatVector{
		signedBy(t, vectorOf(t, "received", received), authority.ForControlReceipt, key),
		signedBy(t, vectorOf(t, "rejected", rejected), authority.ForControlReceipt, key),
	})
}

func audienceID() []byte {
	return digest([]byte("enlace/v1/audience\ndrugs.trafficking\ncategory\njm\nmx\n"))
}

func epochFingerprint(key []byte) []byte {
	return digest([]byte("enlace/v1/epoch-key\n"), key)
}

// PROTOCOL 7.2, 7.3.
func TestVectorEpochPackage(t *testing.T) {
	key := vectortest.Bytes("epoch key", 32)
	first := &formatv1.EpochPackage{
		Network: networkID, Publisher: node, Incarnation: incarnation(), Epoch: 1, Category: "drugs.trafficking", Rule: "category",
		States: []string{"jm", "mx"}, Position: 42, Time: made,
		Members:        digest([]byte("enlace/v1/members\njm/jcf jm/node/primary\nmx/fgr mx/node/primary\n")),
		KeyFingerprint: epochFingerprint(key),
	}
	next := proto.CloneOf(first)
	next.Epoch, next.KeyFingerprint = 2, epochFingerprint(vectortest.Bytes("epoch key 2", 32))
	next.Restrictions = [][]byte{[]byte("stands for a signed statement")}
	next.Previous = digest(canonical.Marshal(first))
	second := proto.CloneOf(first)
	second.KeyFingerprint = epochFingerprint(vectortest.Bytes("epoch key of another first", 32))
	signed := signedVector(t, "first", authority.ForEpochPackage, first)
	vectortest.Check(t, "epoch-package", "two epochs of one audience of the authorities jm/jcf and mx/fgr, the grant of the first, and a second package "+
		"of the first epoch: with the first, proof of equivocation", []string{"7.2", "7.3"}, []formatVector{
		signed, signedVector(t, "next", authority.ForEpochPackage, next),
		vectorOf(t, "grant of the first", &formatv1.EpochGrant{Package: signed.Signed, Key: key}),
		signedVector(t, "a second first", authority.ForEpochPackage, second),
	})
}

// PROTOCOL 7.2, 7.3.
func TestVectorKeyRequest(t *testing.T) {
	third := &formatv1.KeyRequest{Publisher: node, Incarnation: incarnation(), Audience: audienceID(), Epoch: 3}
	newest := proto.CloneOf(third)
	newest.Epoch = 0
	vectortest.Check(t, "key-request", "asks for the key of epoch 3, and for the newest", []string{"7.2", "7.3"},
		[]formatVector{vectorOf(t, "epoch 3", third), vectorOf(t, "newest", newest)})
}

// PROTOCOL 7.4, 7.5.
func TestVectorFrame(t *testing.T) {
	vectors := []formatVector(nil)
	for i, a := range alerts(t) {
		name := []string{"first", "second"}[i]
		vectors = append(vectors, vectorOf(t, name+" alert", a), signedVector(t, name+" frame", authority.ForFrame, &formatv1.Frame{
			Network: networkID, Publisher: node, Incarnation: incarnation(), Epoch: 1,
			KeyFingerprint: epochFingerprint(vectortest.Bytes("epoch key", 32)),
			Chain:          chainHash(a), Sealed: []byte("stands for an age file"),
		}))
	}
	vectortest.Check(t, "frame", "two alerts of a chain, signed by \"mx/fgr sign\", and the frames that seal them", []string{"5.4", "5.5", "7.4", "7.5"}, vectors)
}

// chainHash is that of the alert's number.
func chainHash(a *formatv1.Alert) []byte {
	return digest([]byte("enlace/v1/chain\n"), a.GetSalt(), binary.BigEndian.AppendUint64(nil, a.GetNumber()), a.GetPrevious(), digest(a.GetHeader()))
}

// alerts are the first two of a chain.
func alerts(t *testing.T) []*formatv1.Alert {
	t.Helper()
	first := alert(t, "alert 1", "ROUTINE")
	first.Number = 1
	second := alert(t, "alert 2", "IMMEDIATE")
	second.Number, second.Previous = 2, chainHash(first)
	return []*formatv1.Alert{first, second}
}

// alert has no place in a chain yet.
func alert(t *testing.T, label, urgency string) *formatv1.Alert {
	t.Helper()
	const signer = "mx/fgr sign"
	context := canonical.Marshal(&formatv1.Context{
		Version: 1, Network: networkID, Id: id(label), Conversation: id(label + " conversation"), Kind: "ALERT", Sender: "mx/fgr",
		Audience: &formatv1.Audience{Rule: "category", States: []string{"jm", "mx"}, Position: 42},
		Category: "drugs.trafficking", Urgency: urgency, Status: "TEST", Created: made, Expires: made + 86_400_000, Position: 42, Approval: "single",
		RequiredSignatures: []*formatv1.RequiredSignature{{Algorithm: authority.Ed25519, Key: signatureOf(t, authority.ForHeader, signer, nil).GetKey()}},
	})
	item := &formatv1.Item{Salt: vectortest.Bytes(label+" item salt", 32), Type: "alert", Body: []byte("stands for what " + label + " says")}
	content := &formatv1.Content{ContextSalt: vectortest.Bytes(label+" context salt", 32), Items: []*formatv1.Item{item}}
	commitment := digest([]byte{1},
		digest([]byte("\x00enlace/v1/leaf/context\n"), content.GetContextSalt(), context),
		digest([]byte("\x00enlace/v1/leaf/item\n"), item.GetSalt(), []byte(item.GetType()+"\n"), item.GetBody()))
	header := canonical.Marshal(&formatv1.Header{Context: context, Commitment: commitment})
	return &formatv1.Alert{
		Header: header, Signatures: []*formatv1.Signature{signatureOf(t, authority.ForHeader, signer, header)},
		Content: canonical.Marshal(content), Salt: vectortest.Bytes(label+" chain salt", 32),
	}
}

// chain is the two alerts as a chain index lists them, and the chain hash of each.
func chain(t *testing.T) ([]*formatv1.ChainEntry, [][]byte) {
	t.Helper()
	subjects := []string{"alert.drugs.trafficking.routine.mx", "alert.drugs.trafficking.immediate.mx"}
	var entries []*formatv1.ChainEntry
	var hashes [][]byte
	for i, a := range alerts(t) {
		entries = append(entries, &formatv1.ChainEntry{Number: a.GetNumber(), Digest: digest(a.GetHeader()), Subject: subjects[i], Salt: a.GetSalt()})
		hashes = append(hashes, chainHash(a))
	}
	return entries, hashes
}

// PROTOCOL 7.2, 7.5.
func TestVectorChainIndex(t *testing.T) {
	entries, hashes := chain(t)
	whole := &formatv1.ChainIndex{Network: networkID, Publisher: node, Incarnation: incarnation(), Audience: audienceID(), First: 1, Entries: entries}
	tail := &formatv1.ChainIndex{Network: networkID, Publisher: node, Incarnation: incarnation(), Audience: audienceID(), First: 2, Previous: hashes[0], Entries: entries[1:]}
	vectortest.Check(t, "chain-index", "the chain of the alerts in frame.json from its beginning, and its second entry alone", []string{"7.2", "7.5"}, []formatVector{
		signedVector(t, "whole", authority.ForChainIndex, whole), signedVector(t, "tail", authority.ForChainIndex, tail),
	})
}

// PROTOCOL 7.5, 8.5.
func TestVectorCumulativeReceipt(t *testing.T) {
	_, hashes := chain(t)
	whole := &formatv1.CumulativeReceipt{
		Network: networkID, Node: "jm/node/primary", Incarnation: &formatv1.Incarnation{Counter: 2, Random: vectortest.Bytes("incarnation jm", 8)},
		Publisher: node, PublisherIncarnation: incarnation(), Audience: audienceID(), Position: 2, ChainHash: hashes[1],
		Time: made, Checkpoint: vectortest.Bytes("salted checkpoint", 32),
	}
	gaps := proto.CloneOf(whole)
	gaps.Position, gaps.ChainHash = 9, vectortest.Bytes("chain hash of 9", 32)
	gaps.PassedOver = []*formatv1.NumberRange{{First: 1, Last: 3}, {First: 5, Last: 5}}
	gaps.Refused = []*formatv1.RefusedNumber{{Number: 4, Code: "expired"}}
	const key = "jm/node/primary sign"
	vectortest.Check(t, "cumulative-receipt", "both alerts in frame.json; and a longer chain up to 9: 1 to 3 and 5 passed over, 4 refused", []string{"7.5", "8.5"}, []formatVector{
		signedBy(t, vectorOf(t, "all of two", whole), authority.ForCumulativeReceipt, key),
		signedBy(t, vectorOf(t, "nine with gaps", gaps), authority.ForCumulativeReceipt, key),
	})
}

// commitments are two of one log; the second names the first.
func commitments() (*formatv1.CheckpointCommitment, *formatv1.CheckpointCommitment) {
	origin := "enlace." + networkID[:16] + "/" + node + "/evidence/1-" + "0011223344556677"
	first := &formatv1.CheckpointCommitment{Origin: origin, Sequence: 1, SaltedHash: vectortest.Bytes("salted 1", 32)}
	second := &formatv1.CheckpointCommitment{Origin: origin, Sequence: 2, SaltedHash: vectortest.Bytes("salted 2", 32), Previous: digest(canonical.Marshal(first))}
	return first, second
}

// PROTOCOL 9.4.
func TestVectorCommitment(t *testing.T) {
	first, second := commitments()
	vectortest.Check(t, "checkpoint-commitment", "two commitments of one log; the second names the first", []string{"9.4"},
		[]formatVector{vectorOf(t, "first", first), vectorOf(t, "second", second)})
}

// Two states without part in the message are what a court asks for. PROTOCOL 9.6.
func TestVectorEvidenceCosignature(t *testing.T) {
	_, commitment := commitments()
	var vectors []formatVector
	for i, state := range []string{"bs", "jm"} {
		cosigner := state + "/node/primary"
		m := &formatv1.EvidenceCosignature{
			Network: networkID, Node: cosigner, Incarnation: &formatv1.Incarnation{Counter: 1, Random: vectortest.Bytes("incarnation "+state, 8)},
			Commitment: digest(canonical.Marshal(commitment)), Position: 42, Time: made + int64(i)*1000,
		}
		vectors = append(vectors, signedBy(t, vectorOf(t, "by "+cosigner, m), authority.ForEvidenceCosignature, cosigner+" witness"))
	}
	vectortest.Check(t, "evidence-cosignature", "two states cosign the second commitment in checkpoint-commitment.json", []string{"9.4", "9.6"}, vectors)
}
