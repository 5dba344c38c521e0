package message

import (
	"testing"

	"github.com/enlace-network/enlace/internal/canonical"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// The subjects of the vectors are those of the alerts that they list. PROTOCOL 7.4, 7.5.
func TestSubjectOf(t *testing.T) {
	var vectors []struct {
		Bytes vectortest.Hex `json:"bytes"`
	}
	vectortest.Read(t, "chain-index", &vectors)
	var index formatv1.ChainIndex
	if err := canonical.Unmarshal(vectors[0].Bytes, &index, MaxChainIndex); err != nil {
		t.Fatal(err)
	}
	c := alertContext(t)
	for i, urgency := range []Urgency{Routine, Immediate} {
		c.Urgency = urgency
		s, err := SubjectOf(c)
		if want := index.GetEntries()[i].GetSubject(); err != nil || s.String() != want {
			t.Errorf("%s = %s, %v; want %s", urgency, s, err, want)
		}
		if s.Category() != c.Category || s.Lane() != urgency.Lane() || s.State() != c.Sender.State() || s.IsZero() {
			t.Errorf("%s has parts %v, %v, %v", s, s.Category(), s.Lane(), s.State())
		}
		if again, err := ParseSubject(s.String()); err != nil || again != s {
			t.Errorf("%s reads as %v, %v", s, again, err)
		}
	}
	c.Category = c.Category.Group()
	if s, err := SubjectOf(c); fault.CodeOf(err) != "malformed-name" || !s.IsZero() {
		t.Errorf("a group alone has subject %v, %v", s, err)
	}
}

// PROTOCOL 7.4: five tokens, each of its own form; nothing that a broker would take as a pattern.
func TestParseSubject(t *testing.T) {
	for s, ok := range map[string]bool{
		"alert.drugs.trafficking.routine.mx":     true,
		"alert.drugs.trafficking.bulk.x-rss":     true,
		"alert.drugs.trafficking.routine":        false,
		"alert.drugs.routine.mx":                 false,
		"alert.drugs.trafficking.routine.mx.":    false,
		"alert.drugs.trafficking.routine.mx.x":   false,
		"Alert.drugs.trafficking.routine.mx":     false,
		"alert.drugs.*.routine.mx":               false,
		"alert.drugs.trafficking.routine.>":      false,
		"alert.drugs.trafficking.soon.mx":        false,
		"alert.drugs.trafficking.routine.mexico": false,
		"alert..trafficking.routine.mx":          false,
		"":                                       false,
	} {
		got, err := ParseSubject(s)
		if (err == nil) != ok || (err == nil && got.String() != s) || (err != nil && fault.CodeOf(err) != "malformed-name") {
			t.Errorf("%q = %v, %v", s, got, err)
		}
	}
}

// PROTOCOL 2.8, 7.4.
func TestLane(t *testing.T) {
	for urgency, want := range map[Urgency]string{Immediate: "immediate", Urgent: "urgent", Routine: "routine"} {
		if got := urgency.Lane().String(); got != want {
			t.Errorf("%s goes %s, want %s", urgency, got, want)
		}
	}
}

// FuzzSubject: what is read is written back the same.
func FuzzSubject(f *testing.F) {
	f.Add("alert.drugs.trafficking.routine.mx")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseSubject(s); err == nil && got.String() != s {
			t.Errorf("%q reads as %s", s, got)
		}
	})
}
