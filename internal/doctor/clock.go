package doctor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// clockLate and clockWrong are by how much a clock may differ before it is told of, and before it is failing: at five
	// minutes others put off what this node sends.
	clockLate  = 10 * time.Second
	clockWrong = time.Minute

	clock     = "clock"
	codeClock = "clock"
	setClock  = "set this machine's clock by NTP (timedatectl set-ntp true); nodes whose clocks differ by more than 5 minutes do not speak to each other"
)

// Reading is what another clock said, compared with this machine's.
type Reading struct {
	Who string
	// Ahead is by how much the other is ahead; half of Uncertain either way.
	Ahead, Uncertain time.Duration
}

// Readings collects what other clocks said. The zero value has none. Safe for concurrent use.
type Readings struct {
	mu      sync.Mutex
	all     []Reading // guarded by mu
	refused []string  // guarded by mu; who would not speak because the clocks differ too much
}

// Add notes a reading.
func (r *Readings) Add(one Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// Refused notes that somebody would not speak to this node because the clocks differ by more than 5 minutes.
func (r *Readings) Refused(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, who)
}

// Finding judges this machine's clock. One other clock cannot tell who is wrong; of several, the middle one is believed.
func (r *Readings) Finding() Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.refused) > len(r.all):
		return Finding{clock, "", Failing, "clock-wrong", "the clock differs by more than 5 minutes from those of " + strings.Join(r.refused, ", ") + ", which refuse to speak to this node", setClock, nil}
	case len(r.all) == 0:
		return Finding{clock, "", Unknown, "no-reference", "no other clock answered to compare with", "see the findings on hub and peers; check the time by hand (timedatectl)", nil}
	}
	slices.SortFunc(r.all, func(a, b Reading) int { return int(min(max(a.Ahead-b.Ahead, -1), 1)) })
	middle := r.all[(len(r.all)-1)/2]
	off := beyond(middle)
	words := fmt.Sprintf("%s, by the clocks of %s", skewWords(-middle.Ahead), whose(r.all))
	switch {
	case off <= clockLate:
		return Finding{clock, "", OK, "clock-right", words, "", nil}
	case len(r.all) == 1 && len(r.refused) == 0:
		return Finding{clock, "", Warning, "clocks-differ", words + "; one of the two is wrong", setClock, nil}
	case off <= clockWrong:
		return Finding{clock, "", Warning, "clock-off", words, setClock, nil}
	}
	return Finding{clock, "", Failing, "clock-wrong", words, setClock, nil}
}

// beyond is by how much a clock differs for certain.
func beyond(r Reading) time.Duration {
	return max(r.Ahead.Abs()-r.Uncertain/2, 0)
}

// skewWords say by how much this clock is ahead.
func skewWords(ahead time.Duration) string {
	side := "ahead"
	if ahead < 0 {
		side = "behind"
	}
	return fmt.Sprintf("it is %.1f s %s", ahead.Abs().Seconds(), side)
}

func whose(all []Reading) string {
	var names []string
	for i, r := range all {
		if i == 5 {
			names = append(names, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		names = append(names, r.Who)
	}
	return strings.Join(names, ", ")
}
