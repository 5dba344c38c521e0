package message

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// made is when the messages of these tests were made.
var made = time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC)

func idOf(t testing.TB, label string) ID {
	t.Helper()
	id, err := NewID(made, bytes.NewReader(vectortest.Bytes(label, 10)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

type idVector struct {
	Time   int64          `json:"time"`
	Random vectortest.Hex `json:"random"`
	ID     vectortest.Hex `json:"id"`
	Text   string         `json:"text"`
}

// PROTOCOL 2.7.
func TestVectorID(t *testing.T) {
	var vectors []idVector
	for _, label := range []string{"message", "conversation"} {
		id := idOf(t, label)
		vectors = append(vectors, idVector{made.UnixMilli(), vectortest.Bytes(label, 10), id.Bytes(), id.String()})
		if id.Time() != made || id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Errorf("%s has time %v", id, id.Time())
		}
		if back, err := ParseID(id.String()); err != nil || back != id {
			t.Errorf("%s reads as %v, %v", id, back, err)
		}
		if back, err := IDFromBytes(id.Bytes()); err != nil || back != id {
			t.Errorf("%x reads as %v, %v", id.Bytes(), back, err)
		}
	}
	vectortest.Check(t, "id", "message IDs from time and randomness", []string{"2.7"}, vectors)
}

func TestNewIDsSortByTime(t *testing.T) {
	early, err := NewID(made, bytes.NewReader(bytes.Repeat([]byte{0xff}, 10)))
	if err != nil {
		t.Fatal(err)
	}
	late, err := NewID(made.Add(time.Millisecond), bytes.NewReader(make([]byte, 10)))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Compare(early[:], late[:]) >= 0 {
		t.Errorf("%v does not come before %v", early, late)
	}
	if _, err := NewID(made, bytes.NewReader(make([]byte, 9))); err == nil {
		t.Error("an ID was made without enough randomness")
	}
}

// PROTOCOL 2.7: one text form, version 7 alone.
func TestParseIDRefuses(t *testing.T) {
	good := idOf(t, "message").String()
	for _, s := range []string{
		"", good[:35], good + "0", strings.ToUpper(good), "{" + good + "}", "urn:uuid:" + good, strings.ReplaceAll(good, "-", ""),
		"00000000-0000-0000-0000-000000000000", "0190b4a6-7c1e-4a3b-8f00-1a2b3c4d5e6f", "0190b4a6-7c1e-7a3b-cf00-1a2b3c4d5e6f",
	} {
		if id, err := ParseID(s); fault.CodeOf(err) != "malformed-id" {
			t.Errorf("%q = %v, %v; want malformed-id", s, id, err)
		}
	}
	for _, n := range []int{0, 15, 17} {
		if _, err := IDFromBytes(make([]byte, n)); fault.CodeOf(err) != "malformed-id" {
			t.Errorf("%d bytes: %v, want malformed-id", n, err)
		}
	}
	if b := (ID{}).Bytes(); len(b) != 0 || !(ID{}).IsZero() {
		t.Errorf("no ID has bytes %x", b)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(idOf(f, "message").String())
	f.Add("0190B4A6-7C1E-7A3B-8F00-1A2B3C4D5E6F")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q reads as %s", s, id)
		}
	})
}

// An ID of one authority is no other's, whatever part of it is changed. PROTOCOL 7.4.
func TestOwnID(t *testing.T) {
	mx, err := authority.ParseName("mx/fgr")
	if err != nil {
		t.Fatal(err)
	}
	jm, err := authority.ParseName("jm/jcf")
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewIDOf(mx, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseID(id.String()); err != nil || again != id {
		t.Errorf("the ID is not one: %v", err)
	}
	if !id.IsOf(mx) || id.IsOf(jm) {
		t.Error("the ID is not its maker's alone")
	}
	for i := range id {
		changed := id
		changed[i] ^= 1
		if changed.IsOf(mx) {
			t.Errorf("byte %d changes nothing", i)
		}
	}
}
