package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/enlace-network/enlace/internal/doctor"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/node"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

// certificateSoon is when a certificate that should have renewed itself (7 days of life, at two thirds) has not.
const certificateSoon = 36 * time.Hour

type doctorFlags struct {
	peers  []string
	within time.Duration
	config string
	unlock unlockNow
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use: "doctor", Short: "Examine the node and say what to do",
		Long: "Have the node examine itself: disk, clock, certificates, unlock key, ledger and evidence log, directory, hub, bus,\n" +
			"queues, and every other node, which is sent a real test message and has to answer with a real receipt; it makes no\n" +
			"case there. Each finding comes with what to do about it, worst first. Exit code 1 if something is failing.\n\n" +
			"With --peer only that node is sent a test message; name a state, an authority or a node, again for more of them.\n" +
			"An administrator may do this; who may see the status alone is told what that shows, and nobody is sent anything.\n\n" +
			"Where the daemon does not answer, name its configuration with --config, on its own machine and as its account:\n" +
			"what can be examined by its files is, and nothing in them is changed.",
		Example: "  enlace doctor\n  enlace doctor --peer jm\n  enlace doctor --json\n  sudo -u enlace enlace doctor --config /etc/enlace/node.yaml", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c, f) },
	}
	c.Flags().StringArrayVar(&f.peers, "peer", nil, "send a test message to this state, authority or node alone; may be repeated")
	c.Flags().DurationVar(&f.within, "within", doctor.PeerWithin, "how long each peer may take, at most 1m")
	c.Flags().StringVar(&f.config, "config", "", "node.yaml of a node whose daemon does not answer")
	f.unlock.register(c)
	return c
}

// doctor asks the daemon, and where that does not answer its files.
func (a *app) doctor(c *cobra.Command, f doctorFlags) error {
	err := a.with(c, func(ctx context.Context, node *operator.Client) error {
		s, err := node.Node.GetStatus(ctx, &operatorv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		found, err := a.examine(ctx, node, s, f)
		if err != nil {
			return err
		}
		return a.report(s, found)
	})
	switch {
	case err == nil || !daemonAway(err):
		return err
	case f.config == "":
		return fault.As(err).WithHint("on the machine of the node, examine its files: enlace doctor --config /etc/enlace/node.yaml")
	}
	found, err := a.examineFiles(c.Context(), f)
	if err != nil {
		return err
	}
	return a.report(nil, found)
}

// daemonAway reports whether nobody could be asked, or nobody is logged in to ask.
func daemonAway(err error) bool {
	switch fault.CodeOf(err) {
	case "unreachable", "deadline", "no-profile", "no-session":
		return true
	}
	return false
}

// examine has the node examine itself. Who may not have that is told what the status shows.
func (a *app) examine(ctx context.Context, node *operator.Client, s *operatorv1.GetStatusResponse, f doctorFlags) ([]doctor.Finding, error) {
	more, err := directoryFindings(ctx, node, s.GetNode())
	if err != nil {
		return nil, err
	}
	found, err := a.diagnosed(ctx, node, f)
	if fault.Is(err, fault.Denied) && len(f.peers) == 0 {
		a.note("only an administrator may have the node examined: this is what its status shows")
		return append(more, append(diagnose(s, a.clock()), doctor.Finding{Component: "peer", State: doctor.Unknown, Code: "not-probed",
			Found: "nobody was sent a test message, and disk, ledger and clock were not looked at", Do: "run enlace doctor as an administrator"})...), nil
	}
	return append(more, withoutTold(found, more)...), err
}

// withoutTold leaves out what the directory's own words tell better.
func withoutTold(found, told []doctor.Finding) []doctor.Finding {
	return slices.DeleteFunc(found, func(f doctor.Finding) bool {
		return slices.ContainsFunc(told, func(t doctor.Finding) bool { return t.Component == f.Component && t.Code == f.Code })
	})
}

// diagnosed collects what the node streams. A stream that is cut is not all, and is an error.
func (a *app) diagnosed(ctx context.Context, node *operator.Client, f doctorFlags) ([]doctor.Finding, error) {
	stream, err := node.Node.Diagnose(ctx, &operatorv1.DiagnoseRequest{Peers: f.peers, Within: uint32(f.within.Milliseconds())})
	if err != nil {
		return nil, err
	}
	var all []doctor.Finding
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, fault.New(fault.Retry, "cut", "examine node", "the node ended before it had told all")
		}
		if err != nil {
			return nil, err
		}
		switch {
		case m.GetEnd() != nil:
			return all, nil
		case m.GetFinding() != nil:
			all = append(all, a.progress(findingOf(m.GetFinding())))
		case m.GetExamining() != "":
			a.note("looking at: %s", clean(m.GetExamining()))
		}
	}
}

// progress tells who waits of each peer; there may be many, and each may take its time.
func (a *app) progress(f doctor.Finding) doctor.Finding {
	if f.Component == "peer" {
		a.note("  %s: %s", or(f.About, "peers"), f.State)
	}
	return f
}

func findingOf(m *operatorv1.DiagnosisFinding) doctor.Finding {
	f := doctor.Finding{Component: clean(m.GetComponent()), About: clean(m.GetAbout()), State: doctor.State(clean(m.GetState())), Code: clean(m.GetCode()),
		Found: clean(m.GetFound()), Do: clean(m.GetTodo())}
	if p := m.GetProbe(); p != nil {
		f.Probe = &doctor.Measured{Road: clean(p.GetRoad()), RoundTrip: p.GetRoundTrip(), Ahead: p.GetClockAhead()}
	}
	return f
}

// examineFiles looks at a node that is stopped.
func (a *app) examineFiles(ctx context.Context, f doctorFlags) ([]doctor.Finding, error) {
	o := node.Options{Clock: a.clock, Random: a.random, Log: zap.NewNop()}
	if f.unlock.file != "" {
		o.Prompt = f.unlock.prompt(ctx, a)
	}
	var all []doctor.Finding
	err := node.Examine(ctx, f.config, o, func(component string) error {
		a.note("looking at: %s", component)
		return nil
	}, func(one doctor.Finding) error {
		one.Found, one.Do = clean(one.Found), clean(one.Do)
		all = append(all, one)
		return nil
	})
	return all, err
}

// report prints what was found, worst first; the status is nil where no daemon was asked.
func (a *app) report(s *operatorv1.GetStatusResponse, found []doctor.Finding) error {
	doctor.Sort(found)
	if found == nil {
		found = []doctor.Finding{} // in JSON a list all the same
	}
	out := map[string]any{"healthy": doctor.Healthy(found), "findings": found}
	if s != nil {
		status, err := jsonOf(s)
		if err != nil {
			return err
		}
		out["status"] = status
	}
	err := a.print(out, func(w io.Writer) {
		if s != nil {
			printNode(w, s)
		}
		printDiagnosis(w, found)
	})
	if err == nil && !doctor.Healthy(found) {
		return fault.New(fault.Internal, "unhealthy", "", "something is wrong with the node, see above")
	}
	return err
}

func printNode(w io.Writer, s *operatorv1.GetStatusResponse) {
	t := newTable(w)
	nodeRows(t, s)
	t.end()
}

func nodeRows(t table, s *operatorv1.GetStatusResponse) {
	t.row("node", s.GetNode())
	t.row("network", clean(s.GetNetwork()))
	t.row("version", clean(s.GetVersion()))
	t.row("incarnation", clean(s.GetIncarnation()))
	t.row("directory", fmt.Sprintf("position %d, %s", s.GetPosition(), freshnessWords(s.GetFreshness())))
	t.row("evidence log", fmt.Sprintf("%d events, root %s", s.GetEvidenceSize(), cut(s.GetEvidenceRoot(), 24)))
	t.row("certificate until", when(s.GetCertificateExpires()))
}

// printStatus prints what a node says of itself, unjudged.
func printStatus(w io.Writer, s *operatorv1.GetStatusResponse) {
	t := newTable(w)
	nodeRows(t, s)
	for _, c := range s.GetComponents() {
		state := "ok"
		if !c.GetHealthy() {
			state = "NOT OK"
		}
		t.row(clean(c.GetName()), state+"  "+clean(c.GetText()))
	}
	for _, p := range s.GetPeers() {
		t.row(p.GetNode(), fmt.Sprintf("last heard %s, %d waiting", when(p.GetLastContact()), p.GetQueued()))
	}
	t.end()
}

// printDiagnosis gives those that somebody has to do something about some room; the others get a line each.
func printDiagnosis(w io.Writer, found []doctor.Finding) {
	well := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.State == doctor.OK })
	if well < 0 {
		well = len(found)
	}
	for _, f := range found[:well] {
		fmt.Fprintf(w, "\n%s: %s: %s\n", f.State, componentOf(f), f.Found)
		if f.Do != "" {
			fmt.Fprintf(w, "  do: %s\n", f.Do)
		}
	}
	fmt.Fprintln(w)
	for _, f := range found[well:] {
		fmt.Fprintf(w, "%s: %s: %s\n", f.State, componentOf(f), f.Found)
	}
	if well == 0 {
		fmt.Fprintln(w, "all is well")
	}
}

func componentOf(f doctor.Finding) string { return strings.TrimSpace(f.Component + " " + f.About) }

// diagnose reads a node's status as a person who has seen many would.
func diagnose(s *operatorv1.GetStatusResponse, now time.Time) []doctor.Finding {
	found := []doctor.Finding{}
	add := func(state doctor.State, component, code, text, do string) {
		found = append(found, doctor.Finding{Component: component, State: state, Code: code, Found: text, Do: do})
	}
	for _, c := range s.GetComponents() {
		if !c.GetHealthy() {
			text := or(clean(c.GetText()), "not working")
			if c.GetSince() != 0 {
				text += ", since " + when(c.GetSince())
			}
			add(doctor.Failing, clean(c.GetName()), unhealthy(c.GetName()), text, advice(c.GetName()))
		}
	}
	switch s.GetFreshness() {
	case "degraded":
		add(doctor.Warning, "directory", "degraded", "it was not confirmed lately; traffic flows and is marked", advice("directory"))
	case "stale":
		add(doctor.Failing, "directory", "stale", "it is too old; nothing is sent", advice("directory"))
	}
	switch left := time.UnixMilli(s.GetCertificateExpires()).Sub(now); {
	case s.GetCertificateExpires() == 0:
	case left <= 0:
		add(doctor.Failing, "certificate", "expired", "it has expired", advice("certificate"))
	case left < certificateSoon:
		add(doctor.Warning, "certificate", "not-renewed", "it should have renewed itself and ends "+when(s.GetCertificateExpires()), advice("certificate"))
	}
	for _, p := range s.GetPeers() {
		if p.GetQueued() > 0 && p.GetLastError() != "" {
			found = append(found, doctor.Finding{Component: "queue", About: p.GetNode(), State: doctor.Warning, Code: "waiting",
				Found: fmt.Sprintf("%d messages wait, last heard %s: %s", p.GetQueued(), when(p.GetLastContact()), clean(p.GetLastError())), Do: advice("peer")})
		}
	}
	return found
}

// unhealthy is the code under which the node itself would tell of a component that is not well.
func unhealthy(component string) string {
	switch component {
	case "unlock-key":
		return "beside-data"
	case "bus":
		return "not-connected"
	case "proofs":
		return "kept"
	case "recovery":
		return "recovering"
	case "certificate":
		return "no-certificate"
	}
	return "unhealthy"
}

// advice is what to do about a component of a node.
func advice(component string) string {
	name, _, _ := strings.Cut(component, " ")
	switch name {
	case "ledger", "disk", "spool", "attachments":
		return "look at free space and health of the data disk; the node keeps what it has and tells senders to come back later"
	case "keyring", "keys", "unlock-key":
		return "unlock the keyring, and keep its key off the data disk; see the keyring section of node.yaml"
	case "directory", "hub", "registry":
		return "see whether the hub's address in node.yaml can be reached from here; peers bring the directory up to date too"
	case "bus":
		return "nothing is lost: what does not come over the bus comes from node to node, later; see whether the hub's bus (port 4222) can be reached from here"
	case "proofs":
		return "somebody signed two things that exclude each other: keep the proof, show it to the stewards of the network, and telephone the issuer before acting on its alerts"
	case "alerts", "broadcast":
		return "see who has not confirmed: enlace alert holders ID; what is missing is asked for and sent again by the nodes themselves"
	case "nudge", "notify":
		return "see whether the mail server or webhook of notify in node.yaml can be reached; until then look yourself: enlace alert ls --direction received"
	case "certificate":
		return "see whether the keyring is unlocked and this machine's clock is right; the node renews its certificate itself"
	case "clock":
		return "set the clock by NTP; messages dated more than 5 minutes ahead are put off by their receivers"
	case "peer", "courier", "outbox":
		return "nothing is lost: the node tries again by itself; if it is urgent, telephone the other side's desk (enlace directory show)"
	case "recovery":
		return "while it recovers, wait, and see that the nodes waited for can be reached; afterwards telephone those that did not answer: what was exchanged with them after the backup is not here"
	case "policy":
		return "check the rules: enlace policy check --dir DIR"
	}
	return "read the log of the node at the time named"
}

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "See and check the rules by which the node decides", a.showPolicyCommand(), a.checkPolicyCommand())
}

func (a *app) showPolicyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print the rules in force", Example: "  enlace policy show", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			out, err := node.Node.ExplainPolicy(ctx, &operatorv1.ExplainPolicyRequest{})
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				fmt.Fprintf(w, "// digest of the set: %s\n%s\n", out.GetDigest(), strings.TrimRight(out.GetSource(), "\n"))
			})
		}),
	}
}

func (a *app) checkPolicyCommand() *cobra.Command {
	var user, dir string
	c := &cobra.Command{
		Use: "check [ACTION]", Short: "Say whether somebody may do something, or whether a directory of rules is sound",
		Long: "With an action, ask the node in force whether you, or --user, may do it to something of the own authority\n" +
			"that somebody else wrote. Exit code 3 if not. With --dir, check rules before a node is given them; no node is asked.",
		Example: "  enlace policy check request:approve --user ana\n  enlace policy check --dir ./rules", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (dir == "") == (len(args) == 0) {
				return misused(c, "name an action, or a directory with --dir")
			}
			if dir != "" {
				return a.checkRules(dir)
			}
			return a.with(c, func(ctx context.Context, node *operator.Client) error { return a.explain(ctx, node, args[0], user) })
		},
	}
	c.Flags().StringVar(&user, "user", "", "somebody else's account")
	c.Flags().StringVar(&dir, "dir", "", "directory of rules to check")
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, action := range policy.Actions() {
			names = append(names, action.String())
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func (a *app) checkRules(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "bad-policy", "check rules", "the folder of rules cannot be opened: "+dir)
	}
	defer root.Close()
	set, err := policy.Load(root.FS())
	if err != nil {
		return err
	}
	digest := fmt.Sprintf("%x", set.Digest())
	out := map[string]any{"dir": dir, "rules": len(set.Rules()), "digest": digest}
	return a.print(out, func(w io.Writer) {
		for _, r := range set.Rules() {
			fmt.Fprintf(w, "%-28s %s\n", r.ID, clean(r.Text(a.lang)))
		}
		fmt.Fprintf(w, "sound: %d rules, digest %s\n", len(set.Rules()), digest)
	})
}

func (a *app) explain(ctx context.Context, node *operator.Client, action, user string) error {
	out, err := node.Node.ExplainPolicy(ctx, &operatorv1.ExplainPolicyRequest{Action: action, User: user})
	if err != nil {
		return err
	}
	out.Source = "" // policy show prints it
	err = a.show(out, func(w io.Writer) {
		fmt.Fprintln(w, map[bool]string{true: "allowed", false: "not allowed"}[out.GetAllowed()])
		for _, r := range out.GetReasons() {
			fmt.Fprintln(w, "  "+clean(r))
		}
	})
	if err == nil && !out.GetAllowed() {
		return fault.New(fault.Denied, "not-allowed", "", "the rules do not allow it")
	}
	return err
}
