package cli

import (
	"fmt"
	"strings"

	"github.com/enlace-network/enlace/internal/directory"
)

// warnings are what a person must not overlook before signing: who speaks changes, or it cannot be undone.
func warnings(st directory.Statement, now directory.View, known bool) []string {
	var all []string
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch st.Kind() {
	case directory.KindRotateState:
		warn("the keys that sign for %s are replaced; compare the new ones with the state, by telephone", st.Subject())
	case directory.KindRotateStewards:
		warn("the stewards of the network are replaced; compare every new key with its holder")
	case directory.KindRotateHub:
		warn("whoever holds the new hub's keys signs the log from now on")
	case directory.KindRecover:
		warn("a recovery takes the word of %s from its old keys; ask the state, by a road you know", st.Subject())
	case directory.KindCompleteRecovery:
		warn("the old keys of %s end for ever", st.Subject())
	case directory.KindSettle:
		warn("one key of %s has vetoed this recovery; ask the state before you sign", st.Subject())
	case directory.KindRules:
		warn("nodes whose program does not know these rules will stop taking statements")
	case directory.KindRetire, directory.KindRevoke:
		warn("it is never undone")
	}
	all = append(all, replacedWarning(st)...)
	if known {
		all = append(all, thresholdWarning(st, now)...)
	} else if st.Kind() != directory.KindGenesis && st.Kind() != directory.KindAdmitState {
		warn("no directory was at hand: what it replaces, and whether the signatures suffice, cannot be said; add --hub or --log")
	}
	return all
}

func replacedWarning(st directory.Statement) []string {
	retired := 0
	switch b := st.Body().(type) {
	case directory.AuthorityRotation:
		retired = len(b.Retire)
	case directory.NodeRotation:
		retired = len(b.Retire)
	}
	if retired == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d keys are replaced; what was signed or sealed before stays readable only as long as the node keeps its key file", retired)}
}

// thresholdWarning compares how many decide before and after.
func thresholdWarning(st directory.Statement, now directory.View) []string {
	next, ok := newSet(st)
	if !ok {
		return nil
	}
	before := now.Snapshot().Stewards().Threshold
	if st.Kind() != directory.KindRotateStewards {
		e, _ := now.State(st.Subject().State())
		before = e.Threshold
	}
	if next.Threshold >= before {
		return nil
	}
	return []string{fmt.Sprintf("the threshold goes down: %d signatures are enough, until now %d were needed", next.Threshold, before)}
}

// missing says whose signatures a statement still lacks, as far as the directory tells. PROTOCOL 4.5.
func (w signers) missing(st directory.Statement, now directory.View) []string {
	if w.snapshot == nil && st.Kind() != directory.KindGenesis {
		return nil
	}
	var all []string
	for _, d := range w.demands(st, now) {
		have, open := 0, []string(nil)
		for _, f := range d.keys {
			if hasSigned(st, d.role, f) {
				have++
			} else {
				open = append(open, f.String()[:16])
			}
		}
		if more := d.least - have; more > 0 {
			line := fmt.Sprintf("%d more as %s", more, d.role)
			if len(open) > 0 && len(open) <= 8 {
				line += " of " + strings.Join(open, ", ")
			}
			all = append(all, line)
		}
	}
	return all
}
