package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// wholeDay is the unit of "2d".
const wholeDay = 24 * time.Hour

// when prints a time of the network: UTC, with this machine's zone beside it. 0 is a dash.
func when(milli int64) string {
	if milli == 0 {
		return "-"
	}
	t := time.UnixMilli(milli)
	utc, local := t.UTC(), t.Local()
	if _, offset := local.Zone(); offset == 0 {
		return utc.Format("2006-01-02 15:04 UTC")
	}
	form := "15:04 MST"
	if local.YearDay() != utc.YearDay() {
		form = "2006-01-02 15:04 MST"
	}
	return utc.Format("2006-01-02 15:04 UTC") + " (" + local.Format(form) + ")"
}

// deadline reads the end of something: "36h", "2d", "1w" from now, a day (its last minute here), a time here
// ("2031-05-01 14:00"), or RFC 3339.
func deadline(s string, now time.Time) (time.Time, error) {
	if d, err := readDuration(s); err == nil {
		return now.Add(d), nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Minute), nil
	}
	return moment(s)
}

// moment reads a point in time: a day (its first minute here), a time here, or RFC 3339.
func moment(s string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Usage, "malformed-time", "read time", "the time cannot be read").
		WithHint("write 36h, 2d, 2031-05-01, '2031-05-01 14:00' or 2031-05-01T14:00:00Z")
}

// readDuration adds days and weeks to Go's units.
func readDuration(s string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": wholeDay, "w": 7 * wholeDay} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			if count, err := strconv.ParseUint(n, 10, 16); err == nil && count <= 3660 {
				return time.Duration(count) * unit, nil
			}
		}
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = fault.New(fault.Usage, "malformed-time", "read time", "the time has passed")
	}
	return d, err
}
