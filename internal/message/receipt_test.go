package message

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

func receiptOf(t testing.TB, stages ...StageOf) Receipt {
	t.Helper()
	node, err := authority.ParseNode("jm/node/primary")
	if err != nil {
		t.Fatal(err)
	}
	return Receipt{
		Network: networkID, Node: node, Incarnation: Incarnation{1, [8]byte(vectortest.Bytes("incarnation jm", 8))},
		Message: Key{nameOf(t, "mx/fgr"), idOf(t, "message")}, Digest: DigestOf([]byte("header")), Stages: stages,
		Time: made, Checkpoint: DigestOf([]byte("checkpoint")),
	}
}

type receiptVector struct {
	Name    string         `json:"name"`
	Stages  [][]string     `json:"stages"`
	Receipt vectortest.Hex `json:"receipt"`
}

// PROTOCOL 8.1, 8.2, 9.5.
func TestVectorReceipt(t *testing.T) {
	to := nameOf(t, "jm/jcf")
	var vectors []receiptVector
	for _, test := range []struct {
		name   string
		stages []StageOf
	}{
		{"received", []StageOf{{to, Received, ""}}},
		{"complete, for two authorities", []StageOf{{to, Complete, ""}, {nameOf(t, "jm/customs"), Complete, ""}}},
		{"rejection", []StageOf{{to, Rejected, "wrong-commitment"}}},
	} {
		r := receiptOf(t, test.stages...)
		got, err := ParseReceipt(r.Marshal())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s reads as %+v, %v; want %+v", test.name, got, err, r)
		}
		v := receiptVector{Name: test.name, Receipt: r.Marshal()}
		for _, s := range test.stages {
			v.Stages = append(v.Stages, []string{s.Authority.String(), string(s.Stage), s.Code})
		}
		vectors = append(vectors, v)
	}
	vectortest.Check(t, "receipt", "receipts and a rejection, before they are signed", []string{"8.1", "8.2", "9.5"}, vectors)
}

// PROTOCOL 1.3, 8.1, 8.2, 9.5.
func TestReceiptRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*formatv1.Receipt)
		code   string
	}{
		"no node":                  {func(m *formatv1.Receipt) { m.Node = "" }, "malformed-name"},
		"an authority as the node": {func(m *formatv1.Receipt) { m.Node = "jm/jcf" }, "malformed-name"},
		"no sender":                {func(m *formatv1.Receipt) { m.Sender = "" }, "malformed-name"},
		"no ID":                    {func(m *formatv1.Receipt) { m.MessageId = nil }, "malformed-id"},
		"no digest":                {func(m *formatv1.Receipt) { m.EnvelopeDigest = nil }, "malformed"},
		"no checkpoint":            {func(m *formatv1.Receipt) { m.Checkpoint = nil }, "malformed"},
		"no incarnation":           {func(m *formatv1.Receipt) { m.Incarnation = nil }, "malformed"},
		"counter zero":             {func(m *formatv1.Receipt) { m.Incarnation.Counter = 0 }, "malformed"},
		"short random":             {func(m *formatv1.Receipt) { m.Incarnation.Random = []byte{1} }, "malformed"},
		"no stage":                 {func(m *formatv1.Receipt) { m.Stages = nil }, "malformed"},
		"unknown stage":            {func(m *formatv1.Receipt) { m.Stages[0].Stage = "READ" }, "malformed"},
		"rejected without a code":  {func(m *formatv1.Receipt) { m.Stages[0].Stage = "REJECTED" }, "malformed"},
		"received with a code":     {func(m *formatv1.Receipt) { m.Stages[0].Code = "expired" }, "malformed"},
		"malformed authority":      {func(m *formatv1.Receipt) { m.Stages[0].Authority = "jm" }, "malformed-name"},
		"65 stages":                {func(m *formatv1.Receipt) { many(64, func(int) { m.Stages = append(m.Stages, m.Stages[0]) }) }, "malformed"},
		"too large":                {func(m *formatv1.Receipt) { m.Network = strings.Repeat("n", MaxReceipt) }, "too-large"},
	} {
		var m formatv1.Receipt
		if err := canonical.Unmarshal(receiptOf(t, StageOf{nameOf(t, "jm/jcf"), Received, ""}).Marshal(), &m, MaxReceipt); err != nil {
			t.Fatal(err)
		}
		test.change(&m)
		if r, err := ParseReceipt(canonical.Marshal(&m)); fault.CodeOf(err) != test.code {
			t.Errorf("%s: %+v, %v; want %s", name, r, err, test.code)
		}
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add(receiptOf(f, StageOf{nameOf(f, "jm/jcf"), Rejected, "expired"}).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseReceipt(b); err == nil && !bytes.Equal(r.Marshal(), b) {
			t.Errorf("%x reads as %+v", b, r)
		}
	})
}
