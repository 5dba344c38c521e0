package message

import (
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Stage is what a receipt says of one recipient authority. PROTOCOL 8.2.
type Stage string

// The stages.
const (
	Received Stage = "RECEIVED" // stored, verified, opened, addressee exists
	Complete Stage = "COMPLETE" // and its attachments are whole
	Rejected Stage = "REJECTED" // final; Code says why
)

// Incarnation is one life of a node's ledger. PROTOCOL 9.5.
type Incarnation struct {
	Counter uint32
	Random  [8]byte
}

// StageOf is the stage of one authority, with a rejection code where rejected.
type StageOf struct {
	Authority authority.Name
	Stage     Stage
	Code      string
}

// Receipt is what a node says of a message that came to it. PROTOCOL 8.1.
type Receipt struct {
	Network     string
	Node        authority.Node
	Incarnation Incarnation
	Message     Key
	Digest      Digest
	Stages      []StageOf
	Time        time.Time
	Checkpoint  Digest
}

// Marshal writes the bytes that the node signs.
func (r Receipt) Marshal() []byte {
	m := &formatv1.Receipt{
		Network: r.Network, Node: r.Node.String(), Sender: r.Message.Sender.String(), MessageId: r.Message.ID.Bytes(),
		Incarnation:    &formatv1.Incarnation{Counter: r.Incarnation.Counter, Random: r.Incarnation.Random[:]},
		EnvelopeDigest: r.Digest.Bytes(), Time: r.Time.UnixMilli(), Checkpoint: r.Checkpoint.Bytes(),
	}
	for _, s := range r.Stages {
		m.Stages = append(m.Stages, &formatv1.Stage{Authority: s.Authority.String(), Stage: string(s.Stage), Code: s.Code})
	}
	return canonical.Marshal(m)
}

// ParseReceipt reads receipt bytes whose signature has been verified. PROTOCOL 8.1, 8.2.
func ParseReceipt(b []byte) (Receipt, error) {
	var m formatv1.Receipt
	if err := canonical.Unmarshal(b, &m, MaxReceipt); err != nil {
		return Receipt{}, err
	}
	r := Receipt{Network: m.GetNetwork(), Time: time.UnixMilli(m.GetTime()).UTC()}
	var err error
	if r.Node, err = authority.ParseNode(m.GetNode()); err != nil {
		return Receipt{}, err
	}
	if r.Message.Sender, err = authority.ParseName(m.GetSender()); err != nil {
		return Receipt{}, err
	}
	if r.Message.ID, err = IDFromBytes(m.GetMessageId()); err != nil {
		return Receipt{}, err
	}
	if r.Digest, err = DigestFromBytes(m.GetEnvelopeDigest()); err != nil {
		return Receipt{}, err
	}
	if r.Checkpoint, err = DigestFromBytes(m.GetCheckpoint()); err != nil {
		return Receipt{}, err
	}
	if r.Incarnation, err = ParseIncarnation(m.GetIncarnation()); err != nil {
		return Receipt{}, err
	}
	r.Stages, err = readStages(m.GetStages())
	return r, err
}

// ParseIncarnation reads an incarnation.
func ParseIncarnation(m *formatv1.Incarnation) (Incarnation, error) {
	i := Incarnation{Counter: m.GetCounter()}
	if len(m.GetRandom()) != len(i.Random) || i.Counter == 0 {
		return i, fault.New(fault.Invalid, "malformed", "read incarnation", "an incarnation is a counter from 1 and 8 bytes")
	}
	copy(i.Random[:], m.GetRandom())
	return i, nil
}

func readStages(in []*formatv1.Stage) ([]StageOf, error) {
	if len(in) == 0 || len(in) > MaxRecipients {
		return nil, fault.New(fault.Invalid, "malformed", "read receipt", "a receipt covers 1 to 64 authorities")
	}
	out := make([]StageOf, 0, len(in))
	for _, s := range in {
		name, err := authority.ParseName(s.GetAuthority())
		if err != nil {
			return nil, err
		}
		st := StageOf{name, Stage(s.GetStage()), s.GetCode()}
		if known := st.Stage == Received || st.Stage == Complete || st.Stage == Rejected; !known || (st.Stage == Rejected) != (st.Code != "") {
			return nil, fault.New(fault.Invalid, "malformed", "read receipt", "a stage is unknown, or a code stands where none belongs")
		}
		out = append(out, st)
	}
	return out, nil
}
