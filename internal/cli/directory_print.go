package cli

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/gazette"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) printDirectoryCommand() *cobra.Command {
	var out string
	var cards bool
	c := &cobra.Command{
		Use: "print", Short: "Write the directory as one page for printing",
		Long: "Write the directory as one HTML file made for print, in the language of --lang: open it in a browser and print it,\n" +
			"or print it to PDF. It needs nothing else and fetches nothing. It is TLP:AMBER; with --cards it also has telephone\n" +
			"numbers and mailboxes, as far as you may read them. --out - writes to the standard output.",
		Example: "  enlace directory print --lang es --out directorio.html\n  enlace directory print --lang en --cards --out directory.html", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				page, err := a.gazette(ctx, node, cards)
				if err != nil {
					return err
				}
				if out == "-" {
					_, err := a.streams.Out.Write(page)
					return err
				}
				if err := replace(out, bytes.NewReader(page)); err != nil {
					return err
				}
				return a.print(map[string]any{"file": out, "bytes": len(page)}, func(io.Writer) { a.note("wrote %s", out) })
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write; - is the standard output")
	c.Flags().BoolVar(&cards, "cards", false, "with telephone numbers and mailboxes")
	_ = c.MarkFlagRequired("out")
	return c
}

// gazette asks the node for everything and makes the page.
func (a *app) gazette(ctx context.Context, node *operator.Client, cards bool) ([]byte, error) {
	words, err := a.wordsNow(ctx, node)
	if err != nil {
		return nil, err
	}
	status, err := node.Directory.GetDirectoryStatus(ctx, &operatorv1.GetDirectoryStatusRequest{})
	if err != nil {
		return nil, err
	}
	list, err := wholeList(ctx, node, &operatorv1.ListEntriesRequest{Language: a.langTag, Cards: cards})
	if err != nil {
		return nil, err
	}
	issue := gazette.Issue{
		Language: a.langTag, Network: status.GetNetwork(), Position: list.GetPosition(), Quorum: timeOf(status.GetQuorumTime()),
		Printed: timeOf(list.GetTime()), Freshness: list.GetFreshness(), Cards: cards,
	}
	if status.GetHeadSize() > 0 {
		issue.Head = status.GetHeadRoot()
	}
	p := printer{words}
	for _, s := range list.GetStates() {
		issue.States = append(issue.States, p.state(s, list.GetAuthorities()))
	}
	var page bytes.Buffer
	err = gazette.Write(&page, issue)
	return page.Bytes(), err
}

func timeOf(milli int64) time.Time {
	if milli == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milli).UTC()
}

// printer puts the node's answers into the gazette's form.
type printer struct{ w words }

func (p printer) state(s *operatorv1.StateInfo, all []*operatorv1.AuthorityInfo) gazette.State {
	out := gazette.State{
		Code: s.GetName(), Title: or(s.GetTitle(), s.GetName()), Status: s.GetStatus(), NoteVerbale: s.GetNoteVerbale(), Until: timeOf(s.GetUntil()),
		ContactPoint: s.GetContactPoint(), Designated: s.GetContactPointDesignated(), Declared: s.GetInstrumentsDeclared(),
	}
	for _, i := range s.GetInstruments() {
		out.Instruments = append(out.Instruments, gazette.Coded{Code: i.GetCode(), Title: i.GetTitle()})
	}
	for _, x := range all {
		if stateIn(x.GetName()) == s.GetName() {
			out.Authorities = append(out.Authorities, p.authority(x))
		}
	}
	return out
}

func (p printer) authority(x *operatorv1.AuthorityInfo) gazette.Authority {
	out := gazette.Authority{
		Name: x.GetName(), Title: or(p.w.authority(x), x.GetName()), Acronym: x.GetAcronym(), Type: x.GetType(), Status: x.GetStatus(),
		NoteVerbale: x.GetNoteVerbale(), Website: x.GetWebsite(), Until: timeOf(x.GetUntil()), Confirmed: timeOf(x.GetConfirmed()),
		StaleSince: timeOf(x.GetStaleSince()), ContactPoint: x.GetContactPoint(), Hidden: x.GetHidden(), Languages: x.GetLanguages(),
	}
	for _, n := range x.GetNames() {
		if title := n.GetValue(); title != out.Title && !slices.Contains(out.Names, title) {
			out.Names = append(out.Names, title)
		}
	}
	for _, c := range x.GetCompetences() {
		out.Competences = append(out.Competences, gazette.Competence{
			Function: c.GetFunction(), Categories: p.coded("crime-categories", c.GetCategories()), Kinds: p.coded("request-kinds", c.GetKinds()),
			Territory: c.GetTerritory(), LegalSource: c.GetLegalSource(),
		})
	}
	for _, q := range x.GetRequirements() {
		out.Requirements = append(out.Requirements, gazette.Requirement{
			Kind: gazette.Coded{Code: q.GetKind(), Title: p.w.label("request-kinds", q.GetKind())}, Needs: q.GetNeeds(), Days: q.GetTypicalDays(),
			Languages: q.GetLanguages(), LegalSource: q.GetLegalSource(),
		})
	}
	for _, d := range x.GetDesks() {
		out.Desks = append(out.Desks, gazette.Desk{
			Slug: d.GetSlug(), Zone: d.GetTimeZone(), Hours: d.GetHours(), Holidays: d.GetHolidays(), Languages: d.GetLanguages(),
			Phone: d.GetPhone(), Phone24x7: d.GetPhone_24_7(), Satellite: d.GetSatellitePhone(), Mailbox: d.GetMailbox(),
		})
	}
	if n := x.GetNotice(); n != nil && n.GetAvailability() != "normal" {
		out.Notice = &gazette.Notice{Availability: n.GetAvailability(), Text: n.GetText(), Fallback: n.GetFallback(), Start: timeOf(n.GetStart()), End: timeOf(n.GetEnd())}
	}
	return out
}

func (p printer) coded(list string, codes []string) []gazette.Coded {
	var all []gazette.Coded
	for _, c := range codes {
		all = append(all, gazette.Coded{Code: c, Title: p.w.label(list, c)})
	}
	return all
}
