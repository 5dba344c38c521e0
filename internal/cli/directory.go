package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

func (a *app) directoryCommand() *cobra.Command {
	return group("directory", "Look up states, authorities and nodes in the node's verified directory",
		a.listDirectoryCommand(), a.showEntryCommand(), a.whoCommand(), a.directoryStatusCommand())
}

func (a *app) listDirectoryCommand() *cobra.Command {
	in := new(operatorv1.ListEntriesRequest)
	c := &cobra.Command{
		Use: "ls", Short: "List states and their authorities",
		Example: "  enlace directory ls\n  enlace directory ls --state jm --lang en", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.words()
				if err != nil {
					return err
				}
				out, err := node.Directory.ListEntries(ctx, in)
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { printDirectory(w, out, words) })
			})
		},
	}
	c.Flags().StringVar(&in.State, "state", "", "only this state, such as jm")
	a.complete(c, "state", "member-states")
	return c
}

func printDirectory(w io.Writer, out *operatorv1.ListEntriesResponse, words words) {
	t := newTable(w)
	t.row("NAME", "STATUS", "TITLE", "NODE", "NPC", "CATEGORIES")
	for _, s := range out.GetStates() {
		t.row(s.GetName(), s.GetStatus(), words.state(s.GetName()), "", "", "")
		for _, x := range out.GetAuthorities() {
			if state, _, _ := strings.Cut(x.GetName(), "/"); state == s.GetName() {
				npc := ""
				if x.GetNationalPointOfContact() {
					npc = "NPC"
				}
				t.row("  "+x.GetName(), x.GetStatus(), words.authority(x), x.GetNode(), npc, strings.Join(x.GetCategories(), ", "))
			}
		}
		for _, n := range out.GetNodes() {
			if state, _, _ := strings.Cut(n.GetName(), "/"); state == s.GetName() {
				t.row("  "+n.GetName(), n.GetStatus(), clean(strings.Join(n.GetEndpoints(), ", ")), "", "", "")
			}
		}
	}
	t.end()
	fmt.Fprintf(w, "directory position %d, %s\n", out.GetPosition(), out.GetFreshness())
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

func (a *app) showEntryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show one state, authority or node",
		Example: "  enlace directory show jm/jcf\n  enlace directory show jm/node/primary", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.words()
				if err != nil {
					return err
				}
				out, err := node.Directory.GetEntry(ctx, &operatorv1.GetEntryRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { sheet{w, words}.entry(out) })
			})
		},
	}
}

func (s sheet) entry(e *operatorv1.GetEntryResponse) {
	switch {
	case e.GetAuthority() != nil:
		s.authority(e.GetAuthority())
	case e.GetNode() != nil:
		s.line("%s  %s", e.GetNode().GetName(), e.GetNode().GetStatus())
		for _, x := range e.GetNode().GetEndpoints() {
			s.field("endpoint", clean(x))
		}
	default:
		s.line("%s  %s  %s", e.GetState().GetName(), e.GetState().GetStatus(), s.w.state(e.GetState().GetName()))
	}
}

func (s sheet) authority(x *operatorv1.AuthorityInfo) {
	s.line("%s  %s  %s", x.GetName(), strings.ToUpper(clean(x.GetStatus())), s.w.authority(x))
	for _, n := range x.GetNames() {
		s.field("name ("+clean(n.GetLanguage())+")", clean(n.GetValue()))
	}
	s.field("acronym", clean(x.GetAcronym()))
	s.field("type", clean(x.GetType()))
	if x.GetNationalPointOfContact() {
		s.field("NPC", "national point of contact")
	}
	s.field("node", x.GetNode())
	s.field("languages", strings.Join(x.GetLanguages(), ", "))
	s.field("functions", strings.Join(x.GetFunctions(), ", "))
	for _, c := range x.GetCategories() {
		s.field("category", s.w.coded("crime-categories", c))
	}
	for _, d := range x.GetDesks() {
		s.field("desk "+clean(d.GetSlug()), clean(strings.Join(slices.Concat(d.GetHours(), []string{d.GetTimeZone()}), " ")))
		s.field("  languages", strings.Join(d.GetLanguages(), ", "))
		s.field("  telephone", clean(d.GetPhone()))
		s.field("  mailbox", clean(d.GetMailbox()))
	}
}

func (a *app) whoCommand() *cobra.Command {
	in := new(operatorv1.FindAuthorityRequest)
	c := &cobra.Command{
		Use: "who", Short: "Find the authority to ask",
		Example: "  enlace directory who --state jm --kind vehicle-registry --category vehicles.theft", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				words, err := a.words()
				if err != nil {
					return err
				}
				out, err := node.Directory.FindAuthority(ctx, in)
				if err != nil {
					return err
				}
				err = a.show(out, func(w io.Writer) {
					for _, x := range out.GetAuthorities() {
						sheet{w, words}.authority(x)
					}
				})
				if err == nil && len(out.GetAuthorities()) == 0 {
					return fault.New(fault.NotFound, "nobody", "find authority", "nobody declares this competence").
						WithHint("ask the national point of contact: enlace directory ls --state " + or(in.State, "STATE"))
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&in.State, "state", "", "state to ask, such as jm")
	c.Flags().StringVar(&in.Kind, "kind", "", "kind of request, such as vehicle-registry")
	c.Flags().StringVar(&in.Category, "category", "", "crime category, such as drugs.trafficking")
	a.complete(c, "kind", "request-kinds")
	a.complete(c, "category", "crime-categories")
	return c
}

func (a *app) directoryStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say how recent the node's directory is",
		Example: "  enlace directory status", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Directory.ListEntries(ctx, &operatorv1.ListEntriesRequest{})
				if err != nil {
					return err
				}
				v := map[string]any{
					"position": out.GetPosition(), "freshness": out.GetFreshness(),
					"states": len(out.GetStates()), "authorities": len(out.GetAuthorities()), "nodes": len(out.GetNodes()),
				}
				return a.print(v, func(w io.Writer) {
					fmt.Fprintf(w, "position %d, %s\n%d states, %d authorities, %d nodes\n", out.GetPosition(),
						freshnessWords(out.GetFreshness()), len(out.GetStates()), len(out.GetAuthorities()), len(out.GetNodes()))
				})
			})
		},
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
