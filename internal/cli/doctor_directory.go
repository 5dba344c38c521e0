package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// directoryFindings are what the node's directory shows that somebody has to do something about. What the caller may not
// ask is left out.
func directoryFindings(ctx context.Context, node *operator.Client, own string) ([]doctor.Finding, error) {
	state, _, _ := strings.Cut(own, "/")
	s, err := node.Directory.GetDirectoryStatus(ctx, &operatorv1.GetDirectoryStatusRequest{})
	if err != nil {
		return nil, unlessDenied(err)
	}
	found := diagnoseDirectory(s)
	e, err := node.Directory.GetEntry(ctx, &operatorv1.GetEntryRequest{Name: state})
	if err != nil {
		return found, unlessDenied(err)
	}
	// First of all: nothing else is as urgent.
	found = append(diagnoseRecovery(e.GetState()), found...)
	stale, err := node.Directory.ListEntries(ctx, &operatorv1.ListEntriesRequest{State: state, Stale: true})
	if err != nil {
		return found, unlessDenied(err)
	}
	return append(found, diagnoseStale(state, stale)...), nil
}

func unlessDenied(err error) error {
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func diagnoseRecovery(s *operatorv1.StateInfo) []doctor.Finding {
	state := s.GetName()
	switch s.GetRecovery() {
	case "held":
		return []doctor.Finding{{Component: "recovery-of-state", About: state, State: doctor.Failing, Code: "held", Found: "others are about to give " + state +
			" new keys; 14 days after it was logged they take the place of yours, and nothing new of the state is taken meanwhile",
			Do: "if you did not ask for this, veto it now with any one of your keys: enlace state veto " + state +
				" --key " + state + ".state-key --hub HOST:PORT --network FINGERPRINT --submit; where the hub is down, hand the file in with: enlace statement submit FILE --via NODE --log FILE"}}
	case "vetoed":
		return []doctor.Finding{{Component: "recovery-of-state", About: state, State: doctor.Warning, Code: "vetoed", Found: "it was vetoed, and waits for a settlement; nothing new of the state is taken until then",
			Do: "speak with the stewards; they and most other states settle it: enlace state settle " + state}}
	}
	return nil
}

func diagnoseDirectory(s *operatorv1.GetDirectoryStatusResponse) []doctor.Finding {
	var found []doctor.Finding
	for _, p := range s.GetProofs() {
		found = append(found, doctor.Finding{Component: "directory", State: doctor.Failing, Code: "contradiction", Found: "proof against the hub: " + fmt.Sprintf("%s, found %s: the hub signed two histories that exclude each other", clean(p.GetKind()), when(p.GetTime())),
			Do: "keep it (enlace --json directory status has both signed heads), and call the stewards and other members by telephone"})
	}
	if s.GetHalted() != "" {
		found = append(found, doctor.Finding{Component: "directory", State: doctor.Failing, Code: "halted",
			Found: clean(or(s.GetHaltedText(), s.GetHalted())), Do: haltAdvice(s.GetHalted())})
	}
	for _, o := range s.GetOmitted() {
		found = append(found, doctor.Finding{Component: "directory", State: doctor.Failing, Code: "omitted", Found: "withheld statement: " + fmt.Sprintf("%s about %s was handed in %s and the hub has not logged it", clean(o.GetKind()), clean(o.GetSubject()), when(o.GetSince())),
			Do: "ask the Secretariat why; a restriction is in force among the nodes all the same; statement " + cut(o.GetHash(), 16)})
	}
	return found
}

func haltAdvice(why string) string {
	switch why {
	case "newer-rules":
		return "install a newer program: the network's rules have changed; traffic goes on with the directory as it is"
	case "split":
		return "traffic goes on; compare heads with other members by telephone, and let the stewards resolve which history holds"
	}
	return "look at: enlace directory status"
}

// diagnoseStale finds the own entries that nobody confirmed in time. PROTOCOL 4.9.
func diagnoseStale(state string, l *operatorv1.ListEntriesResponse) []doctor.Finding {
	var names []string
	for _, e := range l.GetAuthorities() {
		names = append(names, e.GetName())
	}
	for _, n := range l.GetNodes() {
		names = append(names, n.GetName())
	}
	if len(names) == 0 {
		return nil
	}
	return []doctor.Finding{{Component: "directory", About: state, State: doctor.Warning, Code: "stale-entries", Found: "not confirmed for six months: " + clean(strings.Join(names, ", ")),
		Do: "see whether they are right (enlace state show " + state + "), then: enlace authority confirm " + state + " --key " + state + ".state-key --hub HOST:PORT --network FINGERPRINT --submit"}}
}
