package cli

import (
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// maxCertificates bounds a PEM file of CA certificates.
const maxCertificates = 64 << 10

func (a *app) stateCommand() *cobra.Command {
	return group("state", "Member states: keys, admission, suspension",
		a.stateKeygenCommand(), a.stateAdmitCommand(), a.stateShowCommand(), a.suspendCommand("STATE", ofState), a.reinstateCommand("STATE", ofState),
		a.stateRotateCommand(), a.stateRecoverCommand(), a.stateVetoCommand(), a.stateSettleCommand(), a.stateCompleteCommand(),
		a.stateInstrumentsCommand(), a.stateContactPointCommand())
}

// subjectOf reads the argument of a command as a subject.
type subjectOf func(string) (directory.Subject, error)

func ofState(s string) (directory.Subject, error) {
	state, err := authority.ParseState(s)
	return directory.OfState(state), err
}

func ofAuthority(s string) (directory.Subject, error) {
	name, err := authority.ParseName(s)
	return directory.OfAuthority(name), err
}

func (a *app) stateKeygenCommand() *cobra.Command {
	var out string
	var lock newLock
	c := &cobra.Command{
		Use: "keygen STATE", Short: "Make a key of a state, locked by a passphrase",
		Long: "Make a key that signs for a state. 'enlace node init' makes one by itself; this one is for a state that\n" +
			"keeps its keys elsewhere, or has several. What is handed out is the line in FILE.pub.",
		Example: "  enlace state keygen mx --out mx.state-key",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := authority.ParseState(args[0])
			if err != nil {
				return err
			}
			return a.keygen(c, "state "+state.String(), or(out, state.String()+".state-key"), lock)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to make (default: STATE.state-key)")
	c.Flags().StringVar(&lock.file, "passphrase-file", "", "file whose first line is the new passphrase (default: ask)")
	lock.registerEffort(c.Flags())
	return c
}

type admitFlags struct {
	issueFlags
	public    []string
	threshold int
	ca, note  string
}

func (a *app) stateAdmitCommand() *cobra.Command {
	var f admitFlags
	c := &cobra.Command{
		Use: "admit STATE", Short: "Draft the admission of a state",
		Long: "Draft the admission of a state with its keys and CA certificates. The state signs with as many of its\n" +
			"keys as it asks for, then the stewards. 'enlace node init' drafts it together with the first node.",
		Example: "  enlace state admit mx --public mx-1.key.pub --threshold 1 --ca mx-ca.pem --note-verbale 'NV 14/2026' --log genesis.statement",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := authority.ParseState(args[0])
			if err != nil {
				return err
			}
			body, err := f.body()
			if err != nil {
				return err
			}
			return a.issue(c, f.issueFlags, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.AdmitState(state, body)
				return payload, nil, err
			})
		},
	}
	f.issueFlags.register(c.Flags())
	c.Flags().StringArrayVar(&f.public, "public", nil, "public key file of the state; may be repeated")
	c.Flags().IntVar(&f.threshold, "threshold", 1, "how many of its keys sign for the state")
	c.Flags().StringVar(&f.ca, "ca", "", "file with the state's CA certificates, PEM")
	c.Flags().StringVar(&f.note, "note-verbale", "", "reference of the note verbale")
	return c
}

func (f admitFlags) body() (*formatv1.AdmitState, error) {
	body := &formatv1.AdmitState{Threshold: uint32(max(f.threshold, 0)), NoteVerbale: f.note}
	for _, path := range f.public {
		k, _, err := readPublic(path)
		if err != nil {
			return nil, err
		}
		body.Keys = append(body.Keys, directory.DeclareKey(directory.PurposeState, k, time.Time{}))
	}
	if f.ca == "" {
		return body, nil
	}
	var err error
	body.CaCertificates, err = readCertificates(f.ca)
	return body, err
}

// readCertificates reads a PEM file.
func readCertificates(path string) ([][]byte, error) {
	text, err := readSmall(path, maxCertificates)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			all = append(all, block.Bytes)
		}
	}
	return all, nil
}

func (a *app) stateShowCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	c := &cobra.Command{
		Use: "show STATE", Short: "Show a state's entry: status, keys, nodes, authorities",
		Example: "  enlace state show mx --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := authority.ParseState(args[0])
			if err != nil {
				return err
			}
			key, err := k.openIf(c.Context(), a)
			if err != nil {
				return err
			}
			s, err := f.read(c.Context(), a, key)
			if err != nil {
				return err
			}
			return a.printState(s.At(a.clock()), state)
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	return c
}

// stateView is a state's entry as it is printed.
type stateView struct {
	State       string     `json:"state"`
	Status      string     `json:"status"`
	NoteVerbale string     `json:"note_verbale"`
	Threshold   int        `json:"threshold"`
	Keys        []keyView  `json:"keys"`
	Nodes       []partView `json:"nodes"`
	Authorities []partView `json:"authorities"`
}

type keyView struct {
	Fingerprint string `json:"fingerprint"`
	Status      string `json:"status"`
}

type partView struct {
	Name   string `json:"name"`
	Status string `json:"status"`
}

func (a *app) printState(v directory.View, state authority.State) error {
	e, ok := v.State(state)
	if !ok {
		return fault.New(fault.NotFound, "unknown-state", "show state", "the state is not in the directory")
	}
	out := stateView{State: state.String(), Status: condition(e.Condition), NoteVerbale: e.NoteVerbale, Threshold: e.Threshold}
	for _, h := range v.Keys(directory.OfState(state)) {
		out.Keys = append(out.Keys, keyView{h.Fingerprint.String(), h.Status.String()})
	}
	for _, n := range e.Nodes {
		node, _ := v.Node(n)
		out.Nodes = append(out.Nodes, partView{n.String(), condition(node.Condition)})
	}
	for _, n := range e.Authorities {
		auth, _ := v.Authority(n)
		out.Authorities = append(out.Authorities, partView{n.String(), condition(auth.Condition)})
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s (%s); %d of its keys sign\n", out.State, out.Status, clean(out.NoteVerbale), out.Threshold)
		t := newTable(w)
		for _, k := range out.Keys {
			t.row("key", k.Fingerprint, k.Status)
		}
		for _, n := range out.Nodes {
			t.row("node", n.Name, n.Status)
		}
		for _, n := range out.Authorities {
			t.row("authority", n.Name, n.Status)
		}
		t.end()
	})
}

// condition is a status with its end, if it has one.
func condition(c directory.Condition) string {
	s := c.Status.String()
	if c.Status == directory.Suspended {
		s += " until " + c.Until.UTC().Format(time.RFC3339)
	}
	if c.Unconfirmed {
		s += ", not confirmed"
	}
	return s
}

// reasonFlag is why; it stands in the directory for everybody to read.
func reasonFlag(fs *pflag.FlagSet, reason *string) {
	fs.StringVar(reason, "reason", "", "why, for all members to read; no personal data")
}

// suspendCommand suspends what its argument names, on the word of whoever holds the key. PROTOCOL 4.7.
func (a *app) suspendCommand(what string, read subjectOf) *cobra.Command {
	var f issueFlags
	var until, reason string
	kind := strings.ToLower(what)
	c := &cobra.Command{
		Use: "suspend " + what, Short: "Suspend the " + kind + ", for a time",
		Long: "Draft and sign a suspension. A state suspends its own entries for any time; stewards together up to 30\n" +
			"days, one alone up to 72 hours. It takes effect wherever it arrives, before it is in the log.",
		Example: "  enlace " + kind + " suspend mx --until 72h --reason 'keys stolen' --hub hub.example:7400 --network FINGERPRINT --key steward-1.key --submit",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := read(args[0])
			if err != nil {
				return err
			}
			end, err := deadline(until, a.clock())
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.Suspend(subject, end, reason)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&until, "until", "72h", "end: 72h, 2d, a day, or a time")
	reasonFlag(c.Flags(), &reason)
	return c
}

// reinstateCommand ends the suspensions made so far.
func (a *app) reinstateCommand(what string, read subjectOf) *cobra.Command {
	var f issueFlags
	var reason string
	kind := strings.ToLower(what)
	c := &cobra.Command{
		Use: "reinstate " + what, Short: "End the suspensions of the " + kind + " made so far",
		Long: "Draft and sign a reinstatement. The stewards' threshold must sign; to end what the state itself\n" +
			"imposed, the state too.",
		Example: "  enlace " + kind + " reinstate mx --reason 'new keys' --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			subject, err := read(args[0])
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.Reinstate(subject, reason)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	reasonFlag(c.Flags(), &reason)
	return c
}
