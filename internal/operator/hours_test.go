package operator

import (
	"testing"
	"time"

	"github.com/enlace-network/enlace/internal/directory"
)

// TestOpening: what people read on a door, at times where it is easily read wrongly. PROTOCOL 4.12.
func TestOpening(t *testing.T) {
	office := []string{"mo-fr 08:00-17:00"}
	for _, c := range []struct {
		say, zone string
		hours     []string
		holidays  []string
		at        string
		status    string
		changes   string
	}{
		{"in office hours", "America/Jamaica", office, nil, "2026-11-23T15:00:00Z", "open", "2026-11-23T17:00:00-05:00"},
		{"before them", "America/Jamaica", office, nil, "2026-11-23T12:59:59Z", "closed", "2026-11-23T08:00:00-05:00"},
		{"from the first second", "America/Jamaica", office, nil, "2026-11-23T13:00:00Z", "open", "2026-11-23T17:00:00-05:00"},
		{"not at the last", "America/Jamaica", office, nil, "2026-11-23T22:00:00Z", "closed", "2026-11-24T08:00:00-05:00"},
		{"over the weekend", "America/Jamaica", office, nil, "2026-11-28T15:00:00Z", "closed", "2026-11-30T08:00:00-05:00"},
		{"on a holiday", "America/Jamaica", office, []string{"2026-11-23"}, "2026-11-23T15:00:00Z", "closed", "2026-11-24T08:00:00-05:00"},
		{"always", "America/Jamaica", []string{"24/7"}, nil, "2026-11-28T04:00:00Z", "open", ""},
		{"always but on a holiday", "America/Jamaica", []string{"24/7"}, []string{"2026-11-25"}, "2026-11-24T15:00:00Z", "open", "2026-11-25T00:00:00-05:00"},
		{"over midnight, the evening", "America/Bogota", []string{"mo-su 22:00-06:00"}, nil, "2026-11-24T04:00:00Z", "open", "2026-11-24T06:00:00-05:00"},
		{"over midnight, the morning", "America/Bogota", []string{"mo 22:00-06:00"}, nil, "2026-11-24T10:00:00Z", "open", "2026-11-24T06:00:00-05:00"},
		{"over midnight into a holiday", "America/Bogota", []string{"mo-su 22:00-06:00"}, []string{"2026-11-24"}, "2026-11-24T04:00:00Z", "open", "2026-11-24T00:00:00-05:00"},
		{"days over the week's end", "America/Bogota", []string{"sa-mo 08:00-24:00"}, nil, "2026-11-29T20:00:00Z", "open", "2026-11-30T00:00:00-05:00"},
		{"two rules that touch", "America/Bogota", []string{"mo 08:00-12:00", "mo 12:00-18:00"}, nil, "2026-11-23T14:00:00Z", "open", "2026-11-23T18:00:00-05:00"},
		{"the day when clocks go forward", "America/New_York", []string{"su 01:00-05:00"}, nil, "2027-03-14T06:30:00Z", "open", "2027-03-14T05:00:00-04:00"},
		{"no hours", "America/Jamaica", nil, nil, "2026-11-23T15:00:00Z", "unknown", ""},
		{"far away", "America/Jamaica", []string{"mo 08:00-17:00"}, []string{"2026-11-23", "2026-11-30", "2026-12-07"}, "2026-11-23T15:00:00Z", "closed", ""},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		status, changes := opening(directory.Desk{Hours: c.hours, Holidays: c.holidays}, at.In(zone))
		got := ""
		if !changes.IsZero() {
			got = changes.Format(time.RFC3339)
		}
		if status != c.status || got != c.changes {
			t.Errorf("%s: %s until %q, want %s until %q", c.say, status, got, c.status, c.changes)
		}
	}
}
