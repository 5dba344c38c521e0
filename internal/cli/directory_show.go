package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) showEntryCommand() *cobra.Command {
	var zone string
	c := &cobra.Command{
		Use: "show NAME", Short: "Show one state, authority or node with all that the directory says of it",
		Example: "  enlace directory show jm/jcf\n  enlace directory show jm/node/primary\n  enlace directory show jm --lang es", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.wordsNow(ctx, node)
				if err != nil {
					return err
				}
				out, err := node.Directory.GetEntry(ctx, &operatorv1.GetEntryRequest{Name: args[0], Language: a.langTag, Zone: zone})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { sheet{w, words}.entry(out) })
			})
		},
	}
	c.Flags().StringVar(&zone, "zone", "", "your time zone, such as America/Bogota; else that of your authority's desk")
	return c
}

func (s sheet) entry(e *operatorv1.GetEntryResponse) {
	switch {
	case e.GetAuthority() != nil:
		s.authority(e.GetAuthority())
	case e.GetNode() != nil:
		s.node(e.GetNode())
	default:
		s.state(e.GetState())
	}
}

func (s sheet) state(x *operatorv1.StateInfo) {
	s.line("%s  %s  %s", x.GetName(), strings.ToUpper(x.GetStatus()), or(clean(x.GetTitle()), s.w.state(x.GetName())))
	s.restricted(x.GetUntil(), x.GetUnconfirmed())
	s.field("note verbale", clean(x.GetNoteVerbale()))
	s.field("admitted at", position(x.GetPosition()))
	s.field("contact point", or(x.GetContactPoint(), map[bool]string{true: "not shown to you", false: "NONE DESIGNATED"}[x.GetContactPointDesignated()]))
	s.field("recovery", map[string]string{"held": "its keys are being recovered; its entries rest", "vetoed": "a recovery of its keys was vetoed"}[x.GetRecovery()])
	if !x.GetInstrumentsDeclared() {
		s.field("instruments", "unknown: the state has declared none")
	}
	for _, i := range x.GetInstruments() {
		s.field("instrument", codedInfo(i))
	}
}

func (s sheet) node(x *operatorv1.NodeInfo) {
	s.line("%s  %s", x.GetName(), strings.ToUpper(x.GetStatus()))
	s.restricted(x.GetUntil(), x.GetUnconfirmed())
	s.designation(x.GetNoteVerbale(), x.GetPosition(), x.GetConfirmed(), x.GetStaleSince())
	for _, e := range x.GetEndpoints() {
		s.field("endpoint", clean(e))
	}
	if len(x.GetEndpoints()) == 0 {
		s.field("endpoint", "none: it only dials out")
	}
	s.field("protocol", strings.Trim(fmt.Sprint(x.GetVersions()), "[]"))
}

func position(p uint64) string { return fmt.Sprintf("position %d of the log", p) }

func codedInfo(c *operatorv1.CodeInfo) string {
	if c.GetTitle() == "" || c.GetTitle() == c.GetCode() {
		return clean(c.GetCode())
	}
	return clean(c.GetTitle()) + " [" + clean(c.GetCode()) + "]"
}

// restricted says what bars an entry, before anything else.
func (s sheet) restricted(until int64, unconfirmed bool) {
	if until != 0 {
		s.field("until", when(until))
	}
	if unconfirmed {
		s.field("restriction", "taken on sight; not in the log yet")
	}
}

func (s sheet) designation(note string, at uint64, confirmed, stale int64) {
	s.field("note verbale", clean(note))
	s.field("declared at", position(at))
	s.field("confirmed", when(confirmed))
	if stale != 0 {
		s.field("STALE", "not confirmed for six months, since "+when(stale))
	}
}

func (s sheet) authority(x *operatorv1.AuthorityInfo) {
	s.line("%s  %s  %s", x.GetName(), strings.ToUpper(clean(x.GetStatus())), s.w.authority(x))
	s.restricted(x.GetUntil(), x.GetUnconfirmed())
	s.availability(x.GetNotice())
	for _, n := range x.GetNames() {
		s.field("name ("+clean(n.GetLanguage())+")", clean(n.GetValue()))
	}
	s.field("acronym", clean(x.GetAcronym()))
	s.field("type", clean(x.GetType()))
	if npcOf(x) != "" {
		s.field("NPC", "national point of contact")
	}
	if x.GetHidden() {
		s.field("hidden", "shown to its own state alone")
	}
	s.designation(x.GetNoteVerbale(), x.GetPosition(), x.GetConfirmed(), x.GetStaleSince())
	s.field("part of", clean(x.GetParent()))
	s.field("website", clean(x.GetWebsite()))
	s.field("node", x.GetNode())
	s.field("languages", strings.Join(x.GetLanguages(), ", "))
	s.competences(x)
	s.needs(x)
	s.bothDeclared(x)
	for _, d := range x.GetDesks() {
		s.desk(d)
	}
}

func (s sheet) availability(n *operatorv1.NoticeInfo) {
	if n == nil || n.GetAvailability() == "normal" {
		return
	}
	text := strings.ToUpper(clean(n.GetAvailability())) + " since " + when(n.GetStart())
	if n.GetEnd() != 0 {
		text += " until " + when(n.GetEnd())
	}
	s.field("NOTICE", text)
	s.field("", clean(n.GetText()))
	s.field("ask instead", clean(n.GetFallback()))
}

func (s sheet) competences(x *operatorv1.AuthorityInfo) {
	for _, c := range x.GetCompetences() {
		parts := []string{clean(c.GetFunction())}
		if len(c.GetKinds()) > 0 {
			parts = append(parts, "kinds: "+clean(strings.Join(c.GetKinds(), ", ")))
		}
		if c.GetTerritory() != "" {
			parts = append(parts, "in "+clean(c.GetTerritory()))
		}
		s.field("function", strings.Join(parts, "; "))
		s.field("  by", clean(c.GetLegalSource()))
		if len(c.GetCategories()) == 0 {
			s.field("  category", "all")
		}
		for _, category := range c.GetCategories() {
			s.field("  category", s.w.coded("crime-categories", category))
		}
	}
}

func (s sheet) needs(x *operatorv1.AuthorityInfo) {
	for _, q := range x.GetRequirements() {
		kind := "any kind"
		if q.GetKind() != "" {
			kind = s.w.label("request-kinds", q.GetKind())
		}
		s.field("needs", kind+": "+clean(q.GetNeeds()))
		if q.GetTypicalDays() > 0 {
			s.field("  usual time", fmt.Sprintf("%d days", q.GetTypicalDays()))
		}
		s.field("  in", strings.Join(q.GetLanguages(), ", "))
		s.field("  by", clean(q.GetLegalSource()))
	}
}

// bothDeclared shows what may serve as a legal basis. Not to have declared says nothing of what binds a state.
func (s sheet) bothDeclared(x *operatorv1.AuthorityInfo) {
	switch {
	case x.GetInstrumentsKnown() == "unknown":
		s.field("instruments", "unknown: one of the two states has declared none")
	case x.GetInstrumentsKnown() != "" && len(x.GetInstruments()) == 0:
		s.field("instruments", "none that both states have declared")
	}
	for _, i := range x.GetInstruments() {
		s.field("instrument", codedInfo(i)+", declared by both states")
	}
}

func (s sheet) desk(d *operatorv1.DeskInfo) {
	s.field("desk "+clean(d.GetSlug()), strings.TrimSpace(clean(strings.Join(d.GetHours(), ", ")+" "+d.GetTimeZone())))
	s.field("  now", openingWords(d.GetOpening()))
	s.field("  closed on", strings.Join(d.GetHolidays(), ", "))
	s.field("  languages", strings.Join(d.GetLanguages(), ", "))
	s.field("  telephone", clean(d.GetPhone()))
	s.field("  at any hour", clean(d.GetPhone_24_7()))
	s.field("  satellite", clean(d.GetSatellitePhone()))
	s.field("  mailbox", clean(d.GetMailbox()))
}

// openingWords has both times: the desk's, which it means when it says eight o'clock, and the reader's.
func openingWords(o *operatorv1.OpeningInfo) string {
	word := map[string]string{"open": "OPEN", "closed": "CLOSED"}[o.GetStatus()]
	if word == "" {
		return ""
	}
	word += ", it is " + hourOf(o.GetThere()) + " there"
	if o.GetChanges() == 0 {
		return word
	}
	verb := map[string]string{"open": "closes", "closed": "opens"}[o.GetStatus()]
	return fmt.Sprintf("%s; %s %s there, %s yours (%s)", word, verb, hourOf(o.GetChangesThere()), hourOf(o.GetChangesHere()), clean(o.GetZone()))
}

func hourOf(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return "-"
	}
	return t.Format("Mon 2006-01-02 15:04")
}
