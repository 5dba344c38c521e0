package nudge_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/enlace-network/enlace/internal/nudge"
)

func mustQuiet(t *testing.T, hours, zone string) nudge.Quiet {
	t.Helper()
	q, err := nudge.ParseQuiet(hours, zone)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestQuiet(t *testing.T) {
	for _, test := range []struct {
		hours, zone, at string
		want            bool
	}{
		{"22:00-06:00", "America/Jamaica", "2026-01-10T02:59:00Z", false}, // 21:59
		{"22:00-06:00", "America/Jamaica", "2026-01-10T03:00:00Z", true},  // 22:00
		{"22:00-06:00", "America/Jamaica", "2026-01-10T05:00:00Z", true},  // midnight
		{"22:00-06:00", "America/Jamaica", "2026-01-10T10:59:59Z", true},  // 05:59
		{"22:00-06:00", "America/Jamaica", "2026-01-10T11:00:00Z", false}, // 06:00
		{"12:00-14:30", "America/Lima", "2026-01-10T16:59:00Z", false},
		{"12:00-14:30", "America/Lima", "2026-01-10T17:00:00Z", true},
		{"12:00-14:30", "America/Lima", "2026-01-10T19:30:00Z", false},
		// New York: five hours behind in winter, four in summer; one UTC time, two answers.
		{"22:00-06:00", "America/New_York", "2026-03-07T10:30:00Z", true},  // 05:30, the day before the change
		{"22:00-06:00", "America/New_York", "2026-03-08T10:30:00Z", false}, // 06:30, the day of it
		{"02:00-03:00", "America/New_York", "2026-03-08T06:59:00Z", false}, // 01:59
		{"02:00-03:00", "America/New_York", "2026-03-08T07:00:00Z", false}, // 03:00: there is no 02:00 that night
		{"01:00-02:00", "America/New_York", "2026-11-01T05:30:00Z", true},  // 01:30
		{"01:00-02:00", "America/New_York", "2026-11-01T06:30:00Z", true},  // 01:30 again
		{"01:00-02:00", "America/New_York", "2026-11-01T07:00:00Z", false}, // 02:00
		{"", "", "2026-01-10T05:00:00Z", false},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustQuiet(t, test.hours, test.zone).Holds(at); got != test.want {
			t.Errorf("%s %s at %s: quiet = %v", test.hours, test.zone, test.at, got)
		}
	}
	for _, bad := range [][2]string{{"22:00-06:00", ""}, {"22:00-06:00", "Local"}, {"22:00-06:00", "Mars/Base"}, {"", "America/Lima"},
		{"22:00", "America/Lima"}, {"22:00-22:00", "America/Lima"}, {"24:00-06:00", "America/Lima"}, {"22:00-06:60", "America/Lima"}, {"a-b", "America/Lima"}} {
		if q, err := nudge.ParseQuiet(bad[0], bad[1]); err == nil {
			t.Errorf("%q in %q was read as %v", bad[0], bad[1], q)
		}
	}
}

func desk(t testing.TB, s string) nudge.Address {
	box, err := nudge.ParseMailbox(s)
	if err != nil {
		t.Fatal(err)
	}
	return nudge.Address{Mail: []nudge.Mailbox{box}}
}

func name(a nudge.Address) string {
	if len(a.Mail) == 0 {
		return "nobody"
	}
	return a.Mail[0].String()
}

func TestPlan(t *testing.T) {
	const d, u = "desk@a.example", "duty@a.example"
	day := time.Date(2026, 1, 10, 17, 0, 0, 0, time.UTC)  // noon in Jamaica
	night := time.Date(2026, 1, 10, 4, 0, 0, 0, time.UTC) // 23:00
	both := nudge.Target{Desk: desk(t, d), Duty: desk(t, u), Quiet: mustQuiet(t, "22:00-06:00", "America/Jamaica")}
	onlyDesk, onlyDuty, slow := both, both, both
	onlyDesk.Duty, onlyDuty.Desk = nudge.Address{}, nudge.Address{}
	slow.EscalateAfter = time.Hour
	const m = time.Minute
	for _, test := range []struct {
		name            string
		target          nudge.Target
		now             time.Time
		sent            int
		came, last, due time.Duration // from now
		want            string
	}{
		{"at once", both, day, 0, 0, 0, 0, d},
		{"late, since the node was off", both, day, 0, -3 * time.Hour, 0, -3 * time.Hour, d},
		{"came by day, told by night", both, night, 0, -3 * time.Hour, 0, -3 * time.Hour, u},
		{"quiet", both, night, 0, 0, 0, 0, u},
		{"quiet without a duty desk", onlyDesk, night, 0, 0, 0, 0, d},
		{"no desk", onlyDuty, day, 0, 0, 0, 0, u},
		{"nobody", nudge.Target{}, day, 0, 0, 0, 0, ""},
		{"first escalation", both, day, 1, -m, -m, 14 * m, u},
		{"its own pace", slow, day, 1, -m, -m, 59 * m, u},
		{"escalation without a duty desk", onlyDesk, night, 1, -m, -m, 14 * m, d},
		{"no burst after a long silence", both, day, 2, -5 * time.Hour, -2 * m, 13 * m, u},
		{"due since long", both, day, 2, -5 * time.Hour, -2 * time.Hour, -105 * m, u},
		{"last", both, day, 4, -time.Hour, -5 * m, 10 * m, u},
		{"enough", both, day, 5, -2 * time.Hour, -time.Hour, 0, ""},
		{"clock set back before the first", both, day, 0, 24 * time.Hour, 0, 0, d},
		{"clock set back later", both, day, 1, 24 * time.Hour, 24 * time.Hour, 15 * m, u},
	} {
		step, more := test.target.Next(nudge.Progress{Came: test.now.Add(test.came), Sent: test.sent, Last: test.now.Add(test.last)}, test.now)
		if more != (test.want != "") {
			t.Errorf("%s: more = %v", test.name, more)
		} else if more && (name(step.To) != test.want || !step.Due.Equal(test.now.Add(test.due))) {
			t.Errorf("%s: %s in %v, want %s in %v", test.name, name(step.To), step.Due.Sub(test.now), test.want, test.due)
		}
	}
}

// Whatever the clock does, a plan ends after five nudges and never waits longer than its pace; where there is somebody,
// every step tells somebody.
func TestPlanEnds(t *testing.T) {
	a, b := desk(t, "desk@a.example"), desk(t, "duty@a.example")
	rapid.Check(t, func(t *rapid.T) {
		target := nudge.Target{Desk: a, Duty: b, EscalateAfter: time.Duration(rapid.IntRange(0, 120).Draw(t, "pace")) * time.Minute}
		pace := target.EscalateAfter
		if pace == 0 {
			pace = 15 * time.Minute
		}
		now := time.Unix(1_800_000_000, 0)
		p := nudge.Progress{Came: now}
		for range 6 {
			now = now.Add(time.Duration(rapid.IntRange(-600, 600).Draw(t, "minutes")) * time.Minute)
			step, more := target.Next(p, now)
			if !more {
				break
			}
			if step.Due.After(now.Add(pace)) || step.To.IsZero() {
				t.Fatalf("sent %d: %s, %v away", p.Sent, name(step.To), step.Due.Sub(now))
			}
			p.Sent, p.Last = p.Sent+1, now
		}
		if p.Sent != 5 {
			t.Fatalf("%d nudges, want 5", p.Sent)
		}
	})
}

func TestMailbox(t *testing.T) {
	for _, good := range []string{"duty@desk.example", "guardia.fgr+noche@fgr.gob.example", "a@b", "o'neil@desk.example"} {
		if box, err := nudge.ParseMailbox(good); err != nil || box.String() != good {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "duty", "@desk.example", "duty@", " duty@desk.example", "duty@desk.example ", "<duty@desk.example>",
		"Duty <duty@desk.example>", "duty@desk.example, other@desk.example", "duty@desk.example\r\nBcc: x@evil.example",
		"duty\r\n@desk.example", "duty@desk.example\n", "duty@desk.example\x00", "\"du ty\"@desk.example", "\"duty\"@desk.example",
		"duty@[127.0.0.1]", "(note)duty@desk.example", "guardía@desk.example", "duty@désk.example", "duty@-desk.example",
		"duty@desk..example", "duty@desk_example", "du>ty@desk.example", fmt.Sprintf("duty@%0250d.example", 1),
	} {
		if box, err := nudge.ParseMailbox(bad); err == nil {
			t.Errorf("%q was read as %q", bad, box)
		}
	}
}
