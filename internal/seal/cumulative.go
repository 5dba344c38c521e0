package seal

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/message"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Range is numbers from First to Last, both included.
type Range struct{ First, Last uint64 }

// beside is 0 for a number in the range, -1 for one after it and 1 for one before it.
func (a Range) beside(number uint64) int {
	switch {
	case a.Last < number:
		return -1
	case a.First > number:
		return 1
	}
	return 0
}

// Refusal is a number that was refused, with its code.
type Refusal struct {
	Number uint64
	Code   string
}

// CumulativeReceipt is a node's word on every number of a chain up to Position: passed over, refused, or else stored,
// verified and opened. PROTOCOL 8.5.
type CumulativeReceipt struct {
	Network string
	// Node is who received, in its Incarnation.
	Node        authority.Node
	Incarnation message.Incarnation
	Publisher   authority.Node
	// PublisherIncarnation is that of the chain.
	PublisherIncarnation message.Incarnation
	Audience             message.Digest
	// Position is the last number covered, from 1; ChainHash its chain hash, which names every alert covered.
	Position  uint64
	ChainHash message.Digest
	// PassedOver are numbers that the node's filters do not want: ascending ranges that neither touch nor overlap.
	PassedOver []Range
	// Refused are numbers that came and do not hold, ascending; none of them passed over.
	Refused    []Refusal
	Time       time.Time
	Checkpoint message.Digest
}

// Word is what a cumulative receipt says of a number.
type Word string

// The words.
const (
	WordNone       Word = ""        // beyond its position: not said yet
	WordStored     Word = "STORED"  // stored, verified and opened
	WordPassedOver Word = "PASSED"  // not wanted
	WordRefused    Word = "REFUSED" // for good; the code says why
)

// Of is what the receipt says of a number, with the code of a refusal.
func (r CumulativeReceipt) Of(number uint64) (word Word, code string) {
	if number == 0 || number > r.Position {
		return WordNone, ""
	}
	if _, found := slices.BinarySearchFunc(r.PassedOver, number, Range.beside); found {
		return WordPassedOver, ""
	}
	if i, found := slices.BinarySearchFunc(r.Refused, number, func(a Refusal, n uint64) int { return cmp.Compare(a.Number, n) }); found {
		return WordRefused, r.Refused[i].Code
	}
	return WordStored, ""
}

// Marshal writes the bytes that the node signs.
func (r CumulativeReceipt) Marshal() []byte {
	m := &formatv1.CumulativeReceipt{
		Network: r.Network, Node: r.Node.String(), Incarnation: incarnation(r.Incarnation), Publisher: r.Publisher.String(),
		PublisherIncarnation: incarnation(r.PublisherIncarnation), Audience: r.Audience[:], Position: r.Position, ChainHash: r.ChainHash[:],
		Time: r.Time.UnixMilli(), Checkpoint: r.Checkpoint[:],
	}
	for _, p := range r.PassedOver {
		m.PassedOver = append(m.PassedOver, &formatv1.NumberRange{First: p.First, Last: p.Last})
	}
	for _, f := range r.Refused {
		m.Refused = append(m.Refused, &formatv1.RefusedNumber{Number: f.Number, Code: f.Code})
	}
	return canonical.Marshal(m)
}

func (r CumulativeReceipt) maker() authority.Node { return r.Node }

func cumulativeForm() form[CumulativeReceipt] {
	return form[CumulativeReceipt]{authority.ForCumulativeReceipt, message.MaxCumulativeReceipt, parseCumulativeReceipt}
}

// SignCumulativeReceipt refuses a receipt that no publisher would take.
func SignCumulativeReceipt(ctx context.Context, signer Signer, key authority.Fingerprint, r CumulativeReceipt) ([]byte, error) {
	return cumulativeForm().sign(ctx, signer, key, r)
}

// VerifyCumulativeReceipt checks that the node it names signed it, and reads it. The publisher accepts it only if the
// chain hash is its own (code "wrong-receipt"), which the caller knows. PROTOCOL 3.4, 8.5.
func VerifyCumulativeReceipt(signed []byte, find NodeKey) (CumulativeReceipt, error) {
	return cumulativeForm().verify(signed, find)
}

// StoredCumulativeReceipt reads a receipt that was verified, or made here, before it was stored.
func StoredCumulativeReceipt(signed []byte) (CumulativeReceipt, error) {
	return cumulativeForm().stored(signed)
}

func parseCumulativeReceipt(b []byte) (CumulativeReceipt, error) {
	var m formatv1.CumulativeReceipt
	err := canonical.Unmarshal(b, &m, message.MaxCumulativeReceipt)
	if err != nil {
		return CumulativeReceipt{}, err
	}
	r := CumulativeReceipt{Network: m.GetNetwork(), Position: m.GetPosition(), Time: time.UnixMilli(m.GetTime()).UTC()}
	if r.Position == 0 {
		return CumulativeReceipt{}, malformedSigned("a cumulative receipt covers a number from 1 on")
	}
	for _, step := range []func(*formatv1.CumulativeReceipt) error{r.names, r.hashes, r.passed, r.refusals} {
		if err := step(&m); err != nil {
			return CumulativeReceipt{}, err
		}
	}
	return r, nil
}

func (r *CumulativeReceipt) names(m *formatv1.CumulativeReceipt) error {
	var err error
	if r.Node, err = authority.ParseNode(m.GetNode()); err != nil {
		return err
	}
	if r.Incarnation, err = message.ParseIncarnation(m.GetIncarnation()); err != nil {
		return err
	}
	if r.Publisher, err = authority.ParseNode(m.GetPublisher()); err != nil {
		return err
	}
	r.PublisherIncarnation, err = message.ParseIncarnation(m.GetPublisherIncarnation())
	return err
}

func (r *CumulativeReceipt) hashes(m *formatv1.CumulativeReceipt) error {
	var err error
	if r.Audience, err = message.DigestFromBytes(m.GetAudience()); err != nil {
		return err
	}
	if r.ChainHash, err = message.DigestFromBytes(m.GetChainHash()); err != nil {
		return err
	}
	r.Checkpoint, err = message.DigestFromBytes(m.GetCheckpoint())
	return err
}

func (r *CumulativeReceipt) passed(m *formatv1.CumulativeReceipt) error {
	if len(m.GetPassedOver()) > message.MaxRanges {
		return malformedSigned("there are more ranges than allowed")
	}
	last := uint64(0)
	for i, p := range m.GetPassedOver() {
		a := Range{p.GetFirst(), p.GetLast()}
		touches := i > 0 && a.First-last < 2
		if a.First <= last || touches || a.Last < a.First || a.Last > r.Position {
			return malformedSigned("ranges ascend, neither touch nor overlap, and end at the position")
		}
		r.PassedOver, last = append(r.PassedOver, a), a.Last
	}
	return nil
}

func (r *CumulativeReceipt) refusals(m *formatv1.CumulativeReceipt) error {
	if len(m.GetRefused()) > message.MaxRanges {
		return malformedSigned("there are more refused numbers than allowed")
	}
	last := uint64(0)
	for _, f := range m.GetRefused() {
		n := f.GetNumber()
		if word, _ := r.Of(n); n <= last || word != WordStored || !authority.IsSlug(f.GetCode()) {
			return malformedSigned("refused numbers ascend up to the position, have a code, and are not passed over")
		}
		r.Refused, last = append(r.Refused, Refusal{n, f.GetCode()}), n
	}
	return nil
}
