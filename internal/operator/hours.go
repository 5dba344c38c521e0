package operator

import (
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a minimal machine has no zones of its own

	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	always = "24/7"
	// lookAhead is how many days are searched for the next change.
	lookAhead = 14

	isOpen    = "open"
	isClosed  = "closed"
	isUnknown = "unknown"
)

// zones remembers loaded time zones. There are some 600, and only such names are kept.
type zones struct {
	mu   sync.Mutex
	seen map[string]*time.Location // guarded by mu
}

// load is a zone by its IANA name. Invalid "unknown-zone".
func (z *zones) load(name string) (*time.Location, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if l := z.seen[name]; l != nil {
		return l, nil
	}
	l, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fault.New(fault.Invalid, "unknown-zone", "read time zone", "there is no such time zone").
			WithHint("write an IANA name such as America/Jamaica")
	}
	if z.seen == nil {
		z.seen = map[string]*time.Location{}
	}
	z.seen[name] = l
	return l, nil
}

// openingInfo is whether a desk is open now, and when that changes, there and where the caller is.
func (d *Door) openingInfo(desk directory.Desk, now time.Time, here *time.Location) *operatorv1.OpeningInfo {
	out := &operatorv1.OpeningInfo{Status: isUnknown, Here: now.In(here).Format(time.RFC3339), Zone: here.String()}
	there, err := d.zones.load(desk.TimeZone)
	if err != nil {
		return out
	}
	status, changes := opening(desk, now.In(there))
	out.Status, out.There = status, now.In(there).Format(time.RFC3339)
	if !changes.IsZero() {
		out.Changes = changes.UnixMilli()
		out.ChangesThere, out.ChangesHere = changes.Format(time.RFC3339), changes.In(here).Format(time.RFC3339)
	}
	return out
}

// opening judges a desk at a time of its own zone. changes is zero where nothing changes within two weeks, and where
// the desk says no hours. PROTOCOL 4.12.
func opening(desk directory.Desk, at time.Time) (status string, changes time.Time) {
	if len(desk.Hours) == 0 {
		return isUnknown, time.Time{}
	}
	horizon := midnight(at, lookAhead)
	status = isClosed
	for _, s := range spans(desk, at) {
		switch {
		case at.Before(s.from):
			return isClosed, s.from
		case !at.Before(s.to):
			continue
		case s.to.Before(horizon):
			return isOpen, s.to
		}
		return isOpen, time.Time{}
	}
	return status, time.Time{}
}

// span is a time when a desk is open, from inclusive to exclusive.
type span struct{ from, to time.Time }

// spans are those from yesterday on, in order, none touching another, as far as the next change takes.
func spans(desk directory.Desk, at time.Time) []span {
	var all []span
	for day := -1; day <= lookAhead; day++ {
		all = joined(append(all, spansOf(desk, midnight(at, day))...))
		// What comes later cannot touch a span that ends before the next midnight.
		if n := len(all); n > 0 && all[n-1].to.After(at) && all[n-1].to.Before(midnight(at, day+1)) {
			break
		}
	}
	return all
}

// spansOf are those that begin on a day.
func spansOf(desk directory.Desk, day time.Time) []span {
	if slices.Contains(desk.Holidays, day.Format(time.DateOnly)) {
		return nil
	}
	var all []span
	for _, rule := range desk.Hours {
		if s, ok := spanOf(rule, day); ok {
			all = append(all, clipped(s, desk.Holidays))
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	return all
}

// clipped ends a night shift where a holiday begins.
func clipped(s span, holidays []string) span {
	if next := midnight(s.from, 1); s.to.After(next) && slices.Contains(holidays, next.Format(time.DateOnly)) {
		s.to = next
	}
	return s
}

func joined(all []span) []span {
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// midnight is the beginning of a day so many days on.
func midnight(t time.Time, days int) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, t.Location())
}

// spanOf is when a rule, whose shape the directory has checked, opens on the day that begins at from. Times that end
// before they begin go over midnight.
func spanOf(rule string, from time.Time) (span, bool) {
	if rule == always {
		return span{from, midnight(from, 1)}, true
	}
	days, times, _ := strings.Cut(rule, " ")
	if !onDay(days, from.Weekday()) {
		return span{}, false
	}
	first, last, _ := strings.Cut(times, "-")
	s := span{clock(from, first), clock(from, last)}
	if !s.to.After(s.from) {
		s.to = clock(midnight(from, 1), last)
	}
	return s, true
}

// onDay holds a weekday against "mo" or "fr-mo".
func onDay(days string, day time.Weekday) bool {
	week := []string{"su", "mo", "tu", "we", "th", "fr", "sa"}
	first, last, isRange := strings.Cut(days, "-")
	from, to := slices.Index(week, first), slices.Index(week, last)
	if !isRange {
		to = from
	}
	return (int(day)-from+7)%7 <= (to-from+7)%7
}

// clock is a time of a day, by the clocks there: "24:00" is the next midnight, also where an hour is skipped.
func clock(day time.Time, hhmm string) time.Time {
	h, m := 0, 0
	if len(hhmm) == 5 {
		h, m = int(hhmm[0]-'0')*10+int(hhmm[1]-'0'), int(hhmm[3]-'0')*10+int(hhmm[4]-'0')
	}
	return time.Date(day.Year(), day.Month(), day.Day(), h, m, 0, 0, day.Location())
}
