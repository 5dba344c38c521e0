// Package canonical reads and writes the signed formats of Enlace in their single form (PROTOCOL 1.2).
//
// A signed format is a protocol buffer message without maps, oneofs, floats and groups. Its single form has the
// fields in ascending number, nothing at its default value, every varint minimal, and no unknown field. Two parties
// therefore never argue about which bytes were meant, and a signature covers everything a reader sees.
//
// Bytes that were signed are carried as they came and never made again; [Unmarshal] proves that they are the single
// form by marshalling the result and comparing.
package canonical

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/enlace-network/enlace/internal/fault"
)

// Marshal writes m in its single form.
func Marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		// Only invalid UTF-8 or a missing required field can fail, and nouns are built from parsed text.
		panic(fmt.Sprintf("canonical: %v", err))
	}
	return b
}

// Unmarshal reads b into m, refusing more than limit bytes, unknown fields and every other form than the single one.
// On error m is worthless. PROTOCOL 1.2, 1.3.
func Unmarshal(b []byte, m proto.Message, limit int) error {
	// Unknown fields are left out, so that they are missed below: what comes out the same has none at any depth.
	if err := Again(b, m, limit); err != nil {
		return err
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return malformed(err)
	}
	if !bytes.Equal(b, again) {
		return otherForm(b, m)
	}
	return nil
}

// Again reads bytes that Unmarshal took before, in this program or an earlier version of it: it does not prove again that
// they are the single form. Of other bytes it reads whatever it can.
func Again(b []byte, m proto.Message, limit int) error {
	if len(b) > limit {
		return tooLarge(b, limit)
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth, DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return malformed(err)
	}
	return nil
}

func tooLarge(b []byte, limit int) error {
	return fault.New(fault.TooLarge, "too-large", op, fmt.Sprintf("%d bytes are more than the %d allowed", len(b), limit))
}

const (
	op = "read signed format"
	// maxDepth is how deep messages nest. PROTOCOL 1.3.
	maxDepth = 32
)

func malformed(err error) error {
	return fault.Wrap(err, fault.Invalid, "malformed", op, "the bytes are not a message of this format")
}

// otherForm says why bytes are not the single form: an unknown field, or another way of writing.
func otherForm(b []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth}).Unmarshal(b, m); err != nil {
		return malformed(err)
	}
	if hasUnknown(m.ProtoReflect()) {
		return fault.New(fault.Invalid, "unknown-field", op, "the message has a field that this version does not know")
	}
	return fault.New(fault.Invalid, "not-canonical", op, "the bytes are not in the single form that signed formats have")
}
