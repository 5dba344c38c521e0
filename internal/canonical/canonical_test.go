package canonical

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const limit = 1 << 16

// sample uses every shape of field: scalar, bytes, text, message, list of messages, list of numbers, list of bytes.
func sample() *formatv1.Hello {
	return &formatv1.Hello{
		Network: "n", Node: "mx/node/primary", Incarnation: &formatv1.Incarnation{Counter: 1, Random: []byte("12345678")},
		Versions: []uint32{1, 300}, Position: 7, Time: 1_700_000_000_000,
		Evidence: &formatv1.CheckpointCommitment{Origin: "o", Sequence: 1},
	}
}

// PROTOCOL 1.2.
func TestRoundTrip(t *testing.T) {
	want := sample()
	b := Marshal(want)
	var got formatv1.Hello
	if err := Unmarshal(b, &got, limit); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&got, want) || !bytes.Equal(Marshal(&got), b) {
		t.Errorf("got %v, want %v", &got, want)
	}
	if err := Unmarshal(nil, &got, limit); err != nil {
		t.Errorf("the empty message: %v", err)
	}
}

// field writes one field by hand.
func field(n protowire.Number, w protowire.Type, value ...byte) []byte {
	return append(protowire.AppendTag(nil, n, w), value...)
}

func text(n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// PROTOCOL 1.2: every other encoding of the same fields, and every field more, is refused.
func TestOtherFormsAreRefused(t *testing.T) {
	incarnation := join(field(1, protowire.VarintType, 1), text(2, "12345678"))
	for name, test := range map[string]struct {
		b    []byte
		code string
	}{
		"fields out of order":          {join(text(2, "b"), text(1, "a")), "not-canonical"},
		"a field twice":                {join(text(1, "a"), text(1, "b")), "not-canonical"},
		"a default written out":        {join(text(1, "")), "not-canonical"},
		"zero written out":             {field(6, protowire.VarintType, 0), "not-canonical"},
		"long varint":                  {field(6, protowire.VarintType, 0x81, 0x00), "not-canonical"},
		"long length":                  {join(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0x81, 0x00, 'a'}), "not-canonical"},
		"long tag":                     {[]byte{0x8a, 0x00, 1, 'a'}, "not-canonical"},
		"numbers not packed":           {join(field(5, protowire.VarintType, 1), field(5, protowire.VarintType, 2)), "not-canonical"},
		"numbers packed twice":         {join(text(5, "\x01"), text(5, "\x02")), "not-canonical"},
		"a message merged of two":      {join(text(4, string(field(1, protowire.VarintType, 1))), text(4, string(text(2, "12345678")))), "not-canonical"},
		"unknown field":                {join(text(1, "a"), text(99, "x")), "unknown-field"},
		"unknown field inside":         {text(4, string(join(incarnation, text(9, "x")))), "unknown-field"},
		"known number, other type":     {field(1, protowire.VarintType, 1), "unknown-field"},
		"a group":                      {join(field(98, protowire.StartGroupType), field(98, protowire.EndGroupType)), "unknown-field"},
		"cut":                          {text(1, "abc")[:3], "malformed"},
		"not UTF-8":                    {text(1, "\xff"), "malformed"},
		"field number zero":            {[]byte{0x02, 0x00}, "malformed"},
		"number too large for a field": {text(4, string(field(1, protowire.VarintType, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))), "not-canonical"},
	} {
		err := Unmarshal(test.b, &formatv1.Hello{}, limit)
		if fault.CodeOf(err) != test.code || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s (%x): %v, want %s", name, test.b, err, test.code)
		}
	}
}

// PROTOCOL 1.2: an unknown field is found in lists of messages too.
func TestUnknownFieldInList(t *testing.T) {
	stage := join(text(1, "mx/fgr"), text(2, "RECEIVED"))
	b := join(text(7, string(stage)), text(7, string(join(stage, text(4, "x")))))
	if err := Unmarshal(b, &formatv1.Receipt{}, limit); fault.CodeOf(err) != "unknown-field" {
		t.Errorf("got %v, want unknown-field", err)
	}
}

// PROTOCOL 1.2: present and empty is not absent; each has its one form.
func TestEmptyMessageIsPresent(t *testing.T) {
	var present, absent formatv1.Context
	if err := Unmarshal(text(9, ""), &present, limit); err != nil || present.GetAudience() == nil {
		t.Errorf("present: %v, %v", present.GetAudience(), err)
	}
	if err := Unmarshal(nil, &absent, limit); err != nil || absent.GetAudience() != nil {
		t.Errorf("absent: %v, %v", absent.GetAudience(), err)
	}
}

// PROTOCOL 1.3: the limit is looked at before anything is read.
func TestLimit(t *testing.T) {
	b := Marshal(sample())
	if err := Unmarshal(b, &formatv1.Hello{}, len(b)); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	for _, b := range [][]byte{b, bytes.Repeat([]byte{0xff}, len(b))} {
		if err := Unmarshal(b, &formatv1.Hello{}, len(b)-1); !fault.Is(err, fault.TooLarge) || fault.CodeOf(err) != "too-large" {
			t.Errorf("one byte over the limit: %v, want too-large", err)
		}
	}
}

// PROTOCOL 1.2: each byte of a message belongs to it.
func TestEveryByteCounts(t *testing.T) {
	b := Marshal(sample())
	for i := range b {
		for bit := range 8 {
			changed := bytes.Clone(b)
			changed[i] ^= 1 << bit
			var got formatv1.Hello
			if err := Unmarshal(changed, &got, limit); err == nil && proto.Equal(&got, sample()) {
				t.Errorf("byte %d, bit %d changed: read as the same message", i, bit)
			}
		}
	}
	if err := Unmarshal(append(bytes.Clone(b), 0), &formatv1.Hello{}, limit); err == nil {
		t.Error("a byte appended: accepted")
	}
}

func TestMarshalPanicsOnWhatNoParserMade(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("text that is not UTF-8 was written")
		}
	}()
	Marshal(&formatv1.Hello{Network: "\xff"})
}

// PROTOCOL 1.2: no format has a shape that has more than one form.
func TestShapesOfFormats(t *testing.T) {
	files := []protoreflect.FileDescriptor{
		formatv1.File_enlace_format_v1_content_proto, formatv1.File_enlace_format_v1_envelope_proto,
		formatv1.File_enlace_format_v1_signature_proto, formatv1.File_enlace_format_v1_statement_proto,
		formatv1.File_enlace_format_v1_transport_proto,
	}
	for _, file := range files {
		for i := range file.Messages().Len() {
			m := file.Messages().Get(i)
			if m.Oneofs().Len() > 0 || m.Messages().Len() > 0 {
				t.Errorf("%s has a oneof, an optional field or a map", m.FullName())
			}
			for j := range m.Fields().Len() {
				switch f := m.Fields().Get(j); f.Kind() {
				case protoreflect.FloatKind, protoreflect.DoubleKind, protoreflect.GroupKind, protoreflect.EnumKind:
					t.Errorf("%s is a %s", f.FullName(), f.Kind())
				}
			}
		}
	}
}

// FuzzUnmarshal: what is read has exactly one form, the one that was read.
func FuzzUnmarshal(f *testing.F) {
	f.Add(Marshal(sample()))
	f.Add([]byte{})
	f.Add(text(99, "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []proto.Message{&formatv1.Hello{}, &formatv1.Envelope{}, &formatv1.Content{}, &formatv1.Request{}, &formatv1.Subject{}, &formatv1.DeclareAuthority{}} {
			if err := Unmarshal(b, m, limit); err == nil && !bytes.Equal(Marshal(m), b) {
				t.Errorf("%T reads %x and writes %x", m, b, Marshal(m))
			}
		}
	})
}
