package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) directoryCommand() *cobra.Command {
	return group("directory", "Look up states, authorities and nodes in the node's verified directory",
		a.listDirectoryCommand(), a.showEntryCommand(), a.whoCommand(), a.printDirectoryCommand(), a.directoryStatusCommand(),
		a.directoryLogCommand(), a.directoryVerifyCommand())
}

func (a *app) listDirectoryCommand() *cobra.Command {
	in := new(operatorv1.ListEntriesRequest)
	c := &cobra.Command{
		Use: "ls", Short: "List states and their authorities",
		Long: "List the directory, or what of it wants attention: states that have designated no contact point, entries that\n" +
			"nobody confirmed for half a year, entries that are suspended.",
		Example: "  enlace directory ls\n  enlace directory ls --state jm --lang en\n  enlace directory ls --missing contact-point\n  enlace directory ls --stale", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.wordsNow(ctx, node)
				if err != nil {
					return err
				}
				in.Language = a.langTag
				out, err := wholeList(ctx, node, in)
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { printDirectory(w, out, words) })
			})
		},
	}
	c.Flags().StringVar(&in.State, "state", "", "only this state, such as jm")
	c.Flags().StringVar(&in.Missing, "missing", "", "only states that have designated none: contact-point")
	c.Flags().BoolVar(&in.Stale, "stale", false, "only what was neither declared, amended nor confirmed for half a year")
	c.Flags().StringVar(&in.Status, "status", "", "only what is active, suspended, retired or revoked")
	a.complete(c, "state", "member-states")
	return c
}

// wholeList puts the pages together. Every page is of the directory at that moment.
func wholeList(ctx context.Context, node *operator.Client, in *operatorv1.ListEntriesRequest) (*operatorv1.ListEntriesResponse, error) {
	whole, err := node.Directory.ListEntries(ctx, in)
	if err != nil {
		return nil, err
	}
	for whole.GetNextCursor() != "" {
		in.Cursor = whole.GetNextCursor()
		page, err := node.Directory.ListEntries(ctx, in)
		if err != nil {
			return nil, err
		}
		whole.States, whole.Authorities, whole.Nodes = append(whole.States, page.GetStates()...), append(whole.Authorities, page.GetAuthorities()...), append(whole.Nodes, page.GetNodes()...)
		whole.NextCursor, whole.Position, whole.Freshness = page.GetNextCursor(), page.GetPosition(), page.GetFreshness()
	}
	return whole, nil
}

func printDirectory(w io.Writer, out *operatorv1.ListEntriesResponse, words words) {
	t := newTable(w)
	t.row("NAME", "STATUS", "TITLE", "NODE", "NPC", "CATEGORIES")
	for _, s := range out.GetStates() {
		t.row(s.GetName(), s.GetStatus(), or(clean(s.GetTitle()), words.state(s.GetName())), "", "", "")
		for _, x := range out.GetAuthorities() {
			if stateIn(x.GetName()) == s.GetName() {
				t.row("  "+x.GetName(), statusOf(x), words.authority(x), x.GetNode(), npcOf(x), strings.Join(x.GetCategories(), ", "))
			}
		}
		for _, n := range out.GetNodes() {
			if stateIn(n.GetName()) == s.GetName() {
				t.row("  "+n.GetName(), staleMark(n.GetStatus(), n.GetStaleSince()), clean(strings.Join(n.GetEndpoints(), ", ")), "", "", "")
			}
		}
	}
	t.end()
	fmt.Fprintf(w, "directory position %d, %s\n", out.GetPosition(), out.GetFreshness())
}

func stateIn(name string) string {
	state, _, _ := strings.Cut(name, "/")
	return state
}

func statusOf(x *operatorv1.AuthorityInfo) string {
	s := staleMark(x.GetStatus(), x.GetStaleSince())
	if x.GetHidden() {
		s += ", hidden"
	}
	return s
}

func staleMark(status string, since int64) string {
	if since != 0 {
		return status + ", stale"
	}
	return status
}

func npcOf(x *operatorv1.AuthorityInfo) string {
	if x.GetContactPoint() || x.GetNationalPointOfContact() {
		return "NPC"
	}
	return ""
}

// state is a state's name in the reader's language; the shipped list has its codes in capitals.
func (w words) state(state string) string {
	if code := strings.ToUpper(state); w.lists.Has("member-states", code) {
		return w.label("member-states", code)
	}
	return ""
}

// authority is an authority's name in the reader's language, else the first it has.
func (w words) authority(x *operatorv1.AuthorityInfo) string {
	for _, n := range x.GetNames() {
		if n.GetLanguage() == w.a.langTag {
			return clean(n.GetValue())
		}
	}
	if len(x.GetNames()) > 0 {
		return clean(x.GetNames()[0].GetValue())
	}
	return clean(x.GetAcronym())
}

func (a *app) whoCommand() *cobra.Command {
	in := new(operatorv1.FindAuthorityRequest)
	c := &cobra.Command{
		Use: "who", Short: "Find the authority to ask",
		Long: "Find who is competent for what you need, with desks that are open now, languages, what a request has to bring,\n" +
			"and the instruments that both states have declared. Where nobody is, the state's contact point is named.",
		Example: "  enlace directory who --state jm --kind vehicle-registry --category vehicles.theft", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.wordsNow(ctx, node)
				if err != nil {
					return err
				}
				in.Language = a.langTag
				out, err := node.Directory.FindAuthority(ctx, in)
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { sheet{w, words}.who(out) })
			})
		},
	}
	c.Flags().StringVar(&in.State, "state", "", "state to ask, such as jm")
	c.Flags().StringVar(&in.Kind, "kind", "", "kind of request, such as vehicle-registry")
	c.Flags().StringVar(&in.Category, "category", "", "crime category, such as drugs.trafficking")
	c.Flags().StringVar(&in.Zone, "zone", "", "your time zone, such as America/Bogota; else that of your authority's desk")
	c.Flags().Uint32Var(&in.Limit, "limit", 20, "most authorities to show, up to 100")
	a.complete(c, "state", "member-states")
	a.complete(c, "kind", "request-kinds")
	a.complete(c, "category", "crime-categories")
	return c
}

func (s sheet) who(out *operatorv1.FindAuthorityResponse) {
	if out.GetSuccessor() != "" {
		s.line("%s is not in use any more; use %s", clean(out.GetCategory().GetTitle()), clean(out.GetSuccessor()))
	}
	for _, x := range out.GetAuthorities() {
		s.authority(x)
	}
	if out.GetNextCursor() != "" {
		s.line("there are more: name a state, or ask for more with --limit")
	}
	if len(out.GetAuthorities()) > 0 {
		return
	}
	switch out.GetFallback() {
	case "designated":
		s.line("Nobody declares this competence. Ask the national point of contact:")
	case "other":
		s.line("Nobody declares this competence, and the state has designated no contact point. Ask whom there is:")
	default:
		s.line("Nobody declares this competence, and there is no one else to ask. Ask the General Secretariat.")
	}
	for _, x := range out.GetContactPoints() {
		s.authority(x)
	}
}

func freshnessWords(f string) string {
	switch f {
	case "fresh":
		return "fresh: confirmed in the last minutes"
	case "degraded":
		return "degraded: not confirmed lately; requests are sent and marked"
	case "stale":
		return "stale: too old; nothing is sent until it is confirmed"
	}
	return clean(f)
}
