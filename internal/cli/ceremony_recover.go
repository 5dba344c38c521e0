package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

const opComplete = "complete recovery"

// maxHead bounds a signed head. PROTOCOL 11.6.
const maxHead = 64 << 10

// stateIssue is a command that drafts a statement about a state from flags of its own.
func (a *app) stateIssue(c *cobra.Command, f *issueFlags, draft func(directory.Draft, authority.State) ([]byte, error)) *cobra.Command {
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		state, err := authority.ParseState(args[0])
		if err != nil {
			return err
		}
		return a.issue(c, *f, func(d directory.Draft) ([]byte, [][]byte, error) {
			payload, err := draft(d, state)
			return payload, nil, err
		})
	}
	f.register(c.Flags())
	return c
}

func (a *app) stateRecoverCommand() *cobra.Command {
	var f admitFlags
	var reason string
	c := &cobra.Command{
		Use: "recover STATE", Short: "Begin to give a state other keys, where its own are lost or stolen",
		Long: "Draft the recovery of a state: other keys shall speak for it. The stewards' threshold signs, the new keys,\n" +
			"and one key each of a third of the other states. From then on nothing new of the state is taken. Any one of its\n" +
			"old keys vetoes it within 14 days; after that the new keys complete it: enlace state complete-recovery.",
		Example: "  enlace state recover mx --public mx-new.state-key.pub --threshold 1 --reason 'machine stolen, NV 3/2027' --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
	}
	a.stateIssue(c, &f.issueFlags, func(d directory.Draft, state authority.State) ([]byte, error) {
		body, err := f.body()
		if err != nil {
			return nil, err
		}
		return d.Recover(state, &formatv1.Recover{Keys: body.GetKeys(), Threshold: body.GetThreshold(), CaCertificates: body.GetCaCertificates(), Reason: reason})
	})
	f.registerSet(c)
	reasonFlag(c.Flags(), &reason)
	return c
}

// registerSet adds the flags of a state's set of keys.
func (f *admitFlags) registerSet(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.public, "public", nil, "public key file of the state; may be repeated")
	c.Flags().IntVar(&f.threshold, "threshold", 1, "how many of these keys sign for the state")
	c.Flags().StringVar(&f.ca, "ca", "", "file with the state's CA certificates, PEM (default: they stay as they are)")
	_ = c.MarkFlagRequired("public")
}

func (a *app) stateVetoCommand() *cobra.Command {
	var f issueFlags
	return a.stateIssue(&cobra.Command{
		Use: "veto STATE", Short: "Stop a recovery of your own state that you did not ask for",
		Long: "Sign the veto of the recovery that runs. Any one key of the state, of those in force when the recovery was\n" +
			"logged, is enough. It takes effect wherever it arrives: with --submit at the hub, with --via at any node.",
		Example: "  enlace state veto mx --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
	}, &f, func(d directory.Draft, state authority.State) ([]byte, error) { return d.Veto(state) })
}

func (a *app) stateSettleCommand() *cobra.Command {
	var f issueFlags
	var outcome string
	c := a.stateIssue(&cobra.Command{
		Use: "settle STATE", Short: "Decide on a recovery that was vetoed",
		Long: "Draft the decision on a recovery: --outcome confirm lets it take effect, cancel ends it. The stewards'\n" +
			"threshold signs, and one key each of more than half of the other states.",
		Example: "  enlace state settle mx --outcome cancel --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
	}, &f, func(d directory.Draft, state authority.State) ([]byte, error) { return d.Settle(state, outcome) })
	c.Flags().StringVar(&outcome, "outcome", "", "confirm or cancel")
	_ = c.MarkFlagRequired("outcome")
	return c
}

func (a *app) stateCompleteCommand() *cobra.Command {
	var f issueFlags
	var earlier, later string
	var c *cobra.Command
	c = a.stateIssue(&cobra.Command{
		Use: "complete-recovery STATE", Short: "Let a recovery take effect that nobody vetoed for 14 days",
		Long: "Draft and sign the completion with the new keys. It carries two cosigned heads of the log as proof that 14\n" +
			"days went by: --earlier of a size with the recovery in it, kept in a file when the recovery was logged, and\n" +
			"--later, which is the newest head that the hub publishes where no file is named.",
		Example: "  enlace state complete-recovery mx --earlier head-of-the-day.note --key mx-new.state-key --log network.statements --later head-now.note\n  enlace state complete-recovery mx --earlier head.note --hub hub.example:7400 --network FINGERPRINT --key mx-new.state-key --submit",
	}, &f, func(d directory.Draft, state authority.State) ([]byte, error) {
		return a.completion(c.Context(), d, state, earlier, later)
	})
	c.Flags().StringVar(&earlier, "earlier", "", "file with a cosigned head of soon after the recovery")
	c.Flags().StringVar(&later, "later", "", "file with a cosigned head of now (default: the hub's published head)")
	_ = c.MarkFlagRequired("earlier")
	return c
}

// completion reads the heads and says in words why they do not do, before anybody signs.
func (a *app) completion(ctx context.Context, d directory.Draft, state authority.State, earlier, later string) ([]byte, error) {
	first, err := readHead(earlier)
	if err != nil {
		return nil, err
	}
	second, err := a.headOrPublished(ctx, d.Snapshot, later)
	if err != nil {
		return nil, err
	}
	e, _ := d.Snapshot.At(d.Created).State(state)
	if e.Recovery != nil {
		if err := waited(d.Snapshot, e.Recovery.Position, first, second, d.Created); err != nil {
			return nil, err
		}
	}
	return d.CompleteRecovery(state, first, second)
}

// waited explains the wait of PROTOCOL 4.20: when a completion can be made at the earliest.
func waited(s *directory.Snapshot, recovery uint64, first, second directory.Head, now time.Time) error {
	if first.Position() < recovery {
		return fault.New(fault.Denied, "too-soon", opComplete, fmt.Sprintf("the earlier head has size %d; the recovery is at position %d, so the head knows nothing of it", first.Size, recovery)).
			WithHint(fmt.Sprintf("take a head of size %d or more: the hub publishes its newest as a file", recovery))
	}
	begun, over := s.Judge(first, nil, now), s.Judge(second, nil, now)
	end := begun.Newest.Add(directory.RecoveryTime)
	if over.Confirmed && !over.Quorum.Before(end) {
		return nil
	}
	return fault.New(fault.Denied, "too-soon", opComplete, "the later head was not cosigned 14 days after the earlier one").
		WithHint("it can be completed with a head that a majority of the states cosigned on " + end.UTC().Format(time.RFC3339) + " or later")
}

func readHead(path string) (directory.Head, error) {
	note, err := readSmall(path, maxHead)
	if err != nil {
		return directory.Head{}, err
	}
	h, err := directory.ParseHead(note)
	if err != nil {
		return h, fault.Wrap(err, fault.Usage, "malformed-head", "read "+path, "the file is not a signed head of the log").
			WithHint("save what the hub publishes under .../checkpoint")
	}
	return h, nil
}

// headOrPublished reads a head from a file, or fetches the one that the hub publishes for everybody. PROTOCOL 11.10.
func (a *app) headOrPublished(ctx context.Context, s *directory.Snapshot, path string) (directory.Head, error) {
	if path != "" {
		return readHead(path)
	}
	tiles := s.Hub().Tiles
	if len(tiles) == 0 {
		return directory.Head{}, fault.New(fault.Usage, "no-tiles", opComplete, "the hub publishes no log that everybody can read").WithHint("name a file with --later")
	}
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	return published(ctx, strings.TrimSuffix(tiles[0], "/")+"/checkpoint", hubHTTP(s))
}

// published fetches what anybody may read. Who serves it matters little: the head is signed by the log and its witnesses.
func published(ctx context.Context, url string, client *http.Client) (directory.Head, error) {
	unreachable := func(err error) error {
		return fault.Wrap(err, fault.Retry, "unavailable", "fetch head", "the published head cannot be fetched from "+url).WithHint("save it by another road and name the file")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return directory.Head{}, unreachable(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return directory.Head{}, unreachable(err)
	}
	defer answer.Body.Close()
	note, err := io.ReadAll(io.LimitReader(answer.Body, maxHead))
	if err != nil || answer.StatusCode != http.StatusOK {
		return directory.Head{}, unreachable(err)
	}
	return directory.ParseHead(note)
}

// hubHTTP trusts the hub's own CA beside the machine's.
func hubHTTP(s *directory.Snapshot) *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, der := range s.Hub().Certificates {
		if c, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(c)
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
}

func (a *app) stateRotateCommand() *cobra.Command {
	var f admitFlags
	c := &cobra.Command{
		Use: "rotate STATE", Short: "Replace the keys that sign for a state",
		Long: "Draft the rotation of a state's keys: --public names the whole new set; keys that stay are named again. The\n" +
			"old threshold signs and the new one, each with its own file; the keys in force until then sign to the last.",
		Example: "  enlace state keygen mx --out mx-2027.state-key\n  enlace state rotate mx --public mx-2027.state-key.pub --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --out rotate.statements\n  enlace statement sign rotate.statements --key mx-2027.state-key\n  enlace statement submit rotate.statements --key mx.state-key --hub hub.example:7400",
	}
	a.stateIssue(c, &f.issueFlags, func(d directory.Draft, state authority.State) ([]byte, error) {
		body, err := f.body()
		if err != nil {
			return nil, err
		}
		return d.RotateState(state, &formatv1.RotateState{Keys: body.GetKeys(), Threshold: body.GetThreshold(), CaCertificates: body.GetCaCertificates()})
	})
	f.registerSet(c)
	return c
}

func (a *app) stateInstrumentsCommand() *cobra.Command {
	var f issueFlags
	var codes []string
	c := a.stateIssue(&cobra.Command{
		Use: "instruments STATE", Short: "Declare which legal instruments bind a state",
		Long:    "Draft and sign the whole list of instruments that bind the state, by its own word. It replaces the list before.",
		Example: "  enlace state instruments mx --instrument UNTOC --instrument NASSAU-1992 --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
	}, &f, func(d directory.Draft, state authority.State) ([]byte, error) {
		return d.DeclareInstruments(state, codes)
	})
	c.Flags().StringArrayVar(&codes, "instrument", nil, "code of an instrument; may be repeated")
	a.complete(c, "instrument", "legal-instruments")
	return c
}

func (a *app) stateContactPointCommand() *cobra.Command {
	var f issueFlags
	var note string
	c := &cobra.Command{
		Use: "contact-point AUTHORITY", Short: "Make an authority its state's national point of contact",
		Long: "Draft and sign the designation, which two stewards hold against the note verbale. The authority is the\n" +
			"state's point of contact from then on, and no other.",
		Example: "  enlace state contact-point mx/fgr --note-verbale 'NV 20/2026' --key mx.state-key --hub hub.example:7400 --network FINGERPRINT",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.issue(c, f, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.DesignateContactPoint(name, note)
				return payload, nil, err
			})
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&note, "note-verbale", "", "reference of the note verbale")
	_ = c.MarkFlagRequired("note-verbale")
	return c
}

func (a *app) authorityConfirmCommand() *cobra.Command {
	var f issueFlags
	return a.stateIssue(&cobra.Command{
		Use: "confirm STATE", Short: "Confirm that a state's entries are as they shall be",
		Long: "Sign that all entries of the state, authorities and nodes, are as they shall be. Due every six months; entries\n" +
			"that are neither confirmed nor amended for 183 days are shown as stale. Look at them first: enlace state show.",
		Example: "  enlace authority confirm mx --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
	}, &f, func(d directory.Draft, state authority.State) ([]byte, error) { return d.Confirm(state) })
}

// noticeFlags are what a notice says.
type noticeFlags struct {
	issueFlags
	availability, from, until, fallback, text string
}

func (a *app) authorityNoticeCommand() *cobra.Command {
	var f noticeFlags
	c := &cobra.Command{
		Use: "notice AUTHORITY", Short: "Say that an authority cannot be reached as usual, and who takes over",
		Long:    "Sign a notice that everybody who asks is shown: normal, degraded, emergency or closed, until a time or until\nanother notice. It binds nobody.",
		Example: "  enlace authority notice mx/fgr --availability closed --until 3d --fallback mx/sat --text 'hurricane' --key mx.state-key --hub hub.example:7400 --network FINGERPRINT --submit",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := authority.ParseName(args[0])
			if err != nil {
				return err
			}
			body, err := f.body(a.clock())
			if err != nil {
				return err
			}
			return a.issue(c, f.issueFlags, func(d directory.Draft) ([]byte, [][]byte, error) {
				payload, err := d.Notice(name, body)
				return payload, nil, err
			})
		},
	}
	f.issueFlags.register(c.Flags())
	fs := c.Flags()
	fs.StringVar(&f.availability, "availability", "", "normal, degraded, emergency or closed")
	fs.StringVar(&f.from, "from", "", "start: a day or a time (default: now)")
	fs.StringVar(&f.until, "until", "", "end: 72h, 3d, a day, or a time (default: until another notice)")
	fs.StringVar(&f.fallback, "fallback", "", "authority that takes over")
	fs.StringVar(&f.text, "text", "", "words for who asks; no personal data")
	_ = c.MarkFlagRequired("availability")
	return c
}

func (f noticeFlags) body(now time.Time) (*formatv1.Notice, error) {
	m := &formatv1.Notice{Availability: f.availability, Start: now.Unix(), Fallback: f.fallback, Text: f.text}
	if f.from != "" {
		start, err := deadline(f.from, now)
		if err != nil {
			return nil, err
		}
		m.Start = start.Unix()
	}
	if f.until != "" {
		end, err := deadline(f.until, now)
		if err != nil {
			return nil, err
		}
		m.End = end.Unix()
	}
	return m, nil
}
