package nudge

import (
	"strings"
	"time"
	_ "time/tzdata" // quiet hours must not depend on what the machine has installed

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const (
	// DefaultEscalateAfter is how long an item may lie unread before the duty desk hears of it.
	DefaultEscalateAfter = 15 * time.Minute
	// MaxEscalations is how often the duty desk is reminded after the first nudge. Then people have other means, such as
	// the telephone that an immediate item calls for anyway (domain.md 4.2).
	MaxEscalations = 4
)

// Quiet is the time of each day in which a desk is not woken. The zero value is never quiet.
type Quiet struct {
	from, to int // minutes of the day on the wall clock of zone; from may be after to
	zone     *time.Location
}

// ParseQuiet reads hours such as "22:00-06:00", the second not included, on the wall clock of a zone of the IANA
// database such as America/Jamaica. Both empty: never quiet. Kind Usage.
func ParseQuiet(hours, zone string) (Quiet, error) {
	if hours == "" && zone == "" {
		return Quiet{}, nil
	}
	if zone == "" || zone == "Local" {
		return Quiet{}, badQuiet(nil, "quiet hours need a zone by name, such as America/Jamaica")
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return Quiet{}, badQuiet(err, "there is no such time zone")
	}
	first, second, _ := strings.Cut(hours, "-")
	from, errFrom := time.Parse("15:04", first)
	to, errTo := time.Parse("15:04", second)
	if errFrom != nil || errTo != nil || from.Equal(to) {
		return Quiet{}, badQuiet(nil, "quiet hours are two different times of day, such as 22:00-06:00")
	}
	return Quiet{from.Hour()*60 + from.Minute(), to.Hour()*60 + to.Minute(), location}, nil
}

func badQuiet(cause error, say string) error {
	return fault.Wrap(cause, fault.Usage, "malformed-quiet", "read quiet hours", say)
}

// Holds reports whether the wall clock of the zone stands in the quiet hours. A day on which clocks change is judged by
// what the clock on the wall shows.
func (q Quiet) Holds(at time.Time) bool {
	if q.zone == nil {
		return false
	}
	local := at.In(q.zone)
	minute := local.Hour()*60 + local.Minute()
	if q.from < q.to {
		return q.from <= minute && minute < q.to
	}
	return q.from <= minute || minute < q.to
}

// Target is whom to tell for one authority.
type Target struct {
	Authority authority.Name
	// Desk is told first, outside its quiet hours. Duty is told in their place, and when an item lies unread. One of the
	// two may be zero: the other stands in, since an immediate item must reach someone.
	Desk, Duty Address
	Quiet      Quiet
	// EscalateAfter is the time between nudges; zero means [DefaultEscalateAfter].
	EscalateAfter time.Duration
}

// Progress is what a queue remembers of one unread item.
type Progress struct {
	// Came is when the item came.
	Came time.Time
	// Sent counts the nudges that are over: accepted, or given up. Last is when the latest of them was.
	Sent int
	Last time.Time
}

// Step is one nudge to come.
type Step struct {
	To  Address
	Due time.Time
}

// Next says whom to tell of an item that is still unread, and when; false when all that can be done is done. The first
// nudge is due at once; each later one goes to the duty desk, EscalateAfter past the one before, [MaxEscalations] times
// at most. Counting from the one before keeps a node that was switched off from sending them all in one go. A clock
// that was set back delays a nudge by EscalateAfter at most.
func (t Target) Next(p Progress, now time.Time) (Step, bool) {
	if p.Sent > MaxEscalations || t.Desk.IsZero() && t.Duty.IsZero() {
		return Step{}, false
	}
	if p.Sent <= 0 {
		return Step{t.first(now), earlier(p.Came, now)}, true
	}
	wait := t.EscalateAfter
	if wait <= 0 {
		wait = DefaultEscalateAfter
	}
	return Step{t.duty(), earlier(p.Last.Add(wait), now.Add(wait))}, true
}

// first asks for quiet hours at the time of telling: an item may have waited for the node to be switched on.
func (t Target) first(now time.Time) Address {
	if t.Desk.IsZero() || t.Quiet.Holds(now) {
		return t.duty()
	}
	return t.Desk
}

func (t Target) duty() Address {
	if t.Duty.IsZero() {
		return t.Desk
	}
	return t.Duty
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
