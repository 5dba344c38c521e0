package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kinds of faults.
const (
	faultKill     = "kill"      // SIGKILL, started again
	faultStop     = "stop"      // SIGSTOP, SIGCONT
	faultPower    = "power-cut" // SIGKILL, and the disk keeps what it likes of what no fsync covers
	faultFull     = "disk-full"
	faultWipe     = "bus-wiped"  // hub killed, all the bus had is gone
	faultHub      = "hub-down"   // hub killed, for longer
	faultClock    = "clock-jump" // ten minutes on or back, and back again
	faultCut      = "link-cut"   // the door of a machine takes no connections
	faultMute     = "link-mute"  // what is sent to the machine arrives, its answers do not
	faultDelay    = "link-delay" // 300 ms more each way
	faultTrickle  = "link-slow"  // 64 kbit/s
	faultFlipWire = "wire-flip"  // bytes changed on the way
	faultFlipFile = "file-flip"  // a bit of an attachment that is just arriving
	faultFlipBus  = "bus-flip"   // bits of the bus's files
	faultRestore  = "old-backup" // a machine is lost and set up anew from a backup
	clockJump     = 10 * time.Minute
	hubName       = "hub"
	roundFaults   = 7
	faultyFor     = 18 * time.Second
	quietestStart = 300 * time.Millisecond
)

// Fault is one line of a plan.
type Fault struct {
	Round int `json:"round"`
	// At is when in the round it begins, For how long it lasts.
	At      time.Duration `json:"at"`
	For     time.Duration `json:"for"`
	Kind    string        `json:"kind"`
	Machine string        `json:"machine"`
	Seed    uint64        `json:"seed"`
}

func (f Fault) String() string {
	return fmt.Sprintf("round %d +%s %s %s for %s", f.Round, sinceStart(f.At), f.Kind, f.Machine, sinceStart(f.For))
}

// share is how often a kind comes, and how long it lasts at most. hub and states say whose machines it befalls.
type share struct {
	kind        string
	weight      int
	longest     time.Duration
	hub, states bool
}

func shares() []share {
	return []share{
		{faultKill, 6, 2 * time.Second, true, true},
		{faultStop, 3, 6 * time.Second, true, true},
		{faultPower, 8, 2 * time.Second, true, true},
		{faultFull, 4, 5 * time.Second, true, true},
		{faultWipe, 2, time.Second, true, false},
		{faultHub, 2, 8 * time.Second, true, false},
		{faultClock, 3, 8 * time.Second, false, true},
		{faultCut, 3, 5 * time.Second, true, true},
		{faultMute, 6, 3 * time.Second, false, true},
		{faultDelay, 2, 6 * time.Second, true, true},
		{faultTrickle, 3, 6 * time.Second, true, true},
		{faultFlipWire, 3, 4 * time.Second, true, true},
		{faultFlipFile, 5, 7 * time.Second, false, true},
		{faultFlipBus, 2, time.Second, true, false},
	}
}

// Plan draws the faults of so many rounds from a seed. The same seed gives the same plan. With every round the shares go
// on where the last one stopped, so that a run of some rounds has seen every kind.
func Plan(seed uint64, rounds int, states []string) []Fault {
	r := rand.New(rand.NewPCG(seed, 1))
	deck := newDeck(r)
	var plan []Fault
	for round := range rounds {
		for range roundFaults {
			s := deck.draw()
			plan = append(plan, Fault{
				Round: round, At: quietestStart + time.Duration(r.Int64N(int64(faultyFor))), For: s.longest/4 + time.Duration(r.Int64N(int64(s.longest)*3/4)),
				Kind: s.kind, Machine: s.victim(r, states), Seed: r.Uint64(),
			})
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int {
		if a.Round != b.Round {
			return a.Round - b.Round
		}
		return int(a.At - b.At)
	})
	return plan
}

// withBackups has a machine burn down, and its node restored from a backup, in the second round and in every fifth after it.
func withBackups(plan []Fault, states []string, seed uint64) []Fault {
	r := rand.New(rand.NewPCG(seed, 4))
	out := slices.Clone(plan)
	for i, f := range out {
		if f.Round%5 == 1 && (i == 0 || out[i-1].Round != f.Round) {
			out[i] = Fault{Round: f.Round, At: f.At, For: 3*time.Second + time.Duration(r.Int64N(int64(4*time.Second))), Kind: faultRestore, Machine: states[r.IntN(len(states))], Seed: r.Uint64()}
		}
	}
	return out
}

// victim is a machine that the fault can befall; a state three times as often as the hub.
func (s share) victim(r *rand.Rand, states []string) string {
	if !s.states || s.hub && r.IntN(4) == 0 {
		return hubName
	}
	return states[r.IntN(len(states))]
}

// deck hands out kinds by their shares: shuffled, each as often as its weight, then again.
type deck struct {
	r    *rand.Rand
	left []share
}

func newDeck(r *rand.Rand) *deck { return &deck{r: r} }

func (d *deck) draw() share {
	if len(d.left) == 0 {
		for _, s := range shares() {
			for range s.weight {
				d.left = append(d.left, s)
			}
		}
		d.r.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	s := d.left[0]
	d.left = d.left[1:]
	return s
}

// favour moves faults of some kinds to the front of a plan: each round gets one of them first. For planted bugs, which a
// run must meet in its time.
func favour(plan []Fault, kinds []string, states []string, seed uint64) []Fault {
	if len(kinds) == 0 {
		return plan
	}
	r := rand.New(rand.NewPCG(seed, 2))
	out := slices.Clone(plan)
	for i := range out {
		if i%2 == 0 {
			kind := kinds[r.IntN(len(kinds))]
			at := slices.IndexFunc(shares(), func(s share) bool { return s.kind == kind })
			s := shares()[at]
			out[i].Kind, out[i].Machine, out[i].For = kind, s.victim(r, states), s.longest*3/4
		}
	}
	return out
}

// ofRound are the faults of one round.
func ofRound(plan []Fault, round int) []Fault {
	return slices.DeleteFunc(slices.Clone(plan), func(f Fault) bool { return f.Round != round })
}

// byKind counts.
func byKind(plan []Fault) map[string]int {
	n := map[string]int{}
	for _, f := range plan {
		n[f.Kind]++
	}
	return n
}

// lines prints a plan.
func lines(plan []Fault) string {
	var b strings.Builder
	for _, f := range plan {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// Shrink looks for fewer faults with which a run still fails: it leaves out halves, then quarters, and so on, while there
// is time. It returns the shortest plan that failed and how many runs it took; the plan itself where none did.
func Shrink(plan []Fault, fails func([]Fault) bool, enough func() bool) ([]Fault, int) {
	runs, parts := 0, 2
	for len(plan) > 1 && !enough() {
		smaller, size := []Fault(nil), (len(plan)+parts-1)/parts
		for at := 0; at < len(plan) && smaller == nil && !enough(); at += size {
			without := slices.Concat(plan[:at], plan[min(at+size, len(plan)):])
			if runs++; fails(without) {
				smaller = without
			}
		}
		switch {
		case smaller != nil:
			plan, parts = smaller, max(parts-1, 2)
		case size == 1:
			return plan, runs
		default:
			parts = min(2*parts, len(plan))
		}
	}
	return plan, runs
}
