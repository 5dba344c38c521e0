package message

import (
	"bytes"
	"encoding/binary"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// ID is a message or conversation ID: a UUIDv7 (RFC 9562 5.7). One message has one for life. PROTOCOL 2.7.
type ID [16]byte

// NewID makes an ID from a time and 10 bytes of randomness.
func NewID(t time.Time, random io.Reader) (ID, error) {
	var id ID
	if _, err := io.ReadFull(random, id[6:]); err != nil {
		return ID{}, fault.Wrap(err, fault.Internal, "", "make message ID", "no randomness")
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}

// NewIDOf makes an ID that no other authority can give to something of its own: alerts are named so. PROTOCOL 7.4.
func NewIDOf(owner authority.Name, t time.Time, random io.Reader) (ID, error) {
	id, err := NewID(t, random)
	copy(id[ownFrom:], ownPart(owner, id))
	return id, err
}

// IsOf reports whether an authority could have given the ID.
func (id ID) IsOf(owner authority.Name) bool { return bytes.Equal(id[ownFrom:], ownPart(owner, id)) }

// ownFrom is where the part of an ID begins that binds it to who gave it.
const ownFrom = 12

func ownPart(owner authority.Name, id ID) []byte {
	sum := DigestOf(append([]byte("enlace/v1/alert-id\n"+owner.String()+"\n"), id[:ownFrom]...))
	return sum[:len(id)-ownFrom]
}

// ParseID reads the text form.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != s {
		return ID{}, fault.New(fault.Invalid, "malformed-id", "read ID", "an ID is a UUID in lower case, such as 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f")
	}
	return IDFromBytes(u[:])
}

// IDFromBytes reads the 16 bytes of a UUIDv7.
func IDFromBytes(b []byte) (ID, error) {
	var id ID
	if len(b) != len(id) || b[6]>>4 != 7 || b[8]>>6 != 2 {
		return ID{}, fault.New(fault.Invalid, "malformed-id", "read ID", "an ID is a UUID of version 7")
	}
	copy(id[:], b)
	return id, nil
}

// String is the lower-case UUID text.
func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether there is no ID.
func (id ID) IsZero() bool { return id == ID{} }

// Bytes is a copy; empty for the zero ID, as signed formats want it.
func (id ID) Bytes() []byte {
	if id.IsZero() {
		return nil
	}
	return append([]byte(nil), id[:]...)
}

// Time is the millisecond the ID was made.
func (id ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
}
