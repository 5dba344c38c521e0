package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/policy"
)

// certificateSoon is when a certificate that should have renewed itself (7 days of life, at two thirds) has not.
const certificateSoon = 36 * time.Hour

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Examine the node and say what to do",
		Long:    "Ask the node how it is. Each finding comes with what to do about it. Exit code 1 if something is wrong.",
		Example: "  enlace doctor\n  enlace doctor --json", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			s, err := node.Node.GetStatus(ctx, &operatorv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			more, err := directoryFindings(ctx, node, s.GetNode())
			if err != nil {
				return err
			}
			return a.report(s, append(more, diagnose(s, a.clock())...))
		}),
	}
}

// Levels of a diagnosis.
const (
	levelRed    = "error"
	levelYellow = "warning"
)

// diagnosis is one thing found and what to do about it.
type diagnosis struct {
	Level  string `json:"level"`
	About  string `json:"about"`
	Text   string `json:"text"`
	Advice string `json:"advice"`
}

func (a *app) report(s *operatorv1.GetStatusResponse, found []diagnosis) error {
	status, err := jsonOf(s)
	if err != nil {
		return err
	}
	healthy := true
	for _, d := range found {
		healthy = healthy && d.Level != levelRed
	}
	err = a.print(map[string]any{"healthy": healthy, "findings": found, "status": status}, func(w io.Writer) { a.printStatus(w, s, found) })
	if err == nil && !healthy {
		return fault.New(fault.Internal, "unhealthy", "", "something is wrong with the node, see above")
	}
	return err
}

func (a *app) printStatus(w io.Writer, s *operatorv1.GetStatusResponse, found []diagnosis) {
	t := newTable(w)
	t.row("node", s.GetNode())
	t.row("network", clean(s.GetNetwork()))
	t.row("version", clean(s.GetVersion()))
	t.row("incarnation", clean(s.GetIncarnation()))
	t.row("directory", fmt.Sprintf("position %d, %s", s.GetPosition(), freshnessWords(s.GetFreshness())))
	t.row("evidence log", fmt.Sprintf("%d events, root %s", s.GetEvidenceSize(), cut(s.GetEvidenceRoot(), 24)))
	t.row("certificate until", when(s.GetCertificateExpires()))
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
	for _, d := range found {
		fmt.Fprintf(w, "\n%s: %s: %s\n  do: %s\n", d.Level, d.About, d.Text, d.Advice)
	}
	if len(found) == 0 {
		fmt.Fprintln(w, "\nall is well")
	}
}

// diagnose reads a node's status as a person who has seen many would.
func diagnose(s *operatorv1.GetStatusResponse, now time.Time) []diagnosis {
	found := []diagnosis{}
	for _, c := range s.GetComponents() {
		if !c.GetHealthy() {
			text := or(clean(c.GetText()), "not working")
			if c.GetSince() != 0 {
				text += ", since " + when(c.GetSince())
			}
			found = append(found, diagnosis{levelRed, clean(c.GetName()), text, advice(c.GetName())})
		}
	}
	switch s.GetFreshness() {
	case "degraded":
		found = append(found, diagnosis{levelYellow, "directory", "it was not confirmed lately; traffic flows and is marked", advice("directory")})
	case "stale":
		found = append(found, diagnosis{levelRed, "directory", "it is too old; nothing is sent", advice("directory")})
	}
	switch left := time.UnixMilli(s.GetCertificateExpires()).Sub(now); {
	case s.GetCertificateExpires() == 0:
	case left <= 0:
		found = append(found, diagnosis{levelRed, "certificate", "it has expired", advice("certificate")})
	case left < certificateSoon:
		found = append(found, diagnosis{levelYellow, "certificate", "it should have renewed itself and ends " + when(s.GetCertificateExpires()), advice("certificate")})
	}
	for _, p := range s.GetPeers() {
		if p.GetQueued() > 0 && p.GetLastError() != "" {
			found = append(found, diagnosis{levelYellow, p.GetNode(), fmt.Sprintf("%d messages wait, last heard %s: %s", p.GetQueued(), when(p.GetLastContact()), clean(p.GetLastError())), advice("peer")})
		}
	}
	return found
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
