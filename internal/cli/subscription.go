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

func (a *app) subscriptionCommand() *cobra.Command {
	return group("subscription", "Say which alerts the own authority wants",
		a.addSubscriptionCommand(), a.approveSubscriptionCommand(), a.listSubscriptionsCommand(), a.removeSubscriptionCommand())
}

func (a *app) addSubscriptionCommand() *cobra.Command {
	in := new(operatorv1.Subscription)
	c := &cobra.Command{
		Use: "add PATTERN", Short: "Want alerts of a category, a group, or all",
		Long: "Want alerts: drugs.trafficking is one category, drugs.> a group, > all of them; quote the last two. What lies\n" +
			"outside the competence that the authority declared in the directory does not come. Where two persons are\n" +
			"wanted it begins when another person approves it.",
		Example: "  enlace subscription add 'drugs.>' --urgency URGENT\n  enlace subscription add firearms.trafficking --type seizure --type stolen-object --state jm --state ht",
		Args:    cobra.ExactArgs(1),
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, args []string) error {
			in.Categories = args[0]
			out, err := node.Subscriptions.AddSubscription(ctx, &operatorv1.AddSubscriptionRequest{Subscription: in})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) {
				fmt.Fprintf(wr, "%s\n", out.GetId())
				fmt.Fprintln(wr, subscriptionWords(out.GetStatus()))
				if out.GetStatus() == "PENDING_APPROVAL" {
					fmt.Fprintf(wr, "a second person confirms it: enlace subscription approve %s\n", out.GetId())
				}
			})
		}),
	}
	c.Flags().StringSliceVar(&in.Types, "type", nil, "only alerts of this type, such as seizure; may be repeated")
	c.Flags().StringSliceVar(&in.States, "state", nil, "only alerts that concern this state, such as jm; may be repeated")
	c.Flags().StringVar(&in.Urgency, "urgency", "", "least urgency: ROUTINE, URGENT or IMMEDIATE (default: ROUTINE)")
	c.Flags().StringVar(&in.Authority, "authority", "", "authority that wants them (default: yours)")
	a.complete(c, "type", "alert-types")
	a.complete(c, "urgency", "urgency")
	c.ValidArgsFunction = a.completePattern
	return c
}

// completePattern offers the groups as patterns, and the categories.
func (a *app) completePattern(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	w, err := a.wordsOf(c)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, code := range w.lists.Codes("crime-categories") {
		pattern := code
		if !strings.Contains(code, ".") {
			pattern += ".>"
		}
		out = append(out, pattern+"\t"+w.label("crime-categories", code))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func subscriptionWords(status string) string {
	switch status {
	case "ACTIVE":
		return "in force [ACTIVE]"
	case "PENDING_APPROVAL":
		return "waits for a second person [PENDING_APPROVAL]"
	}
	return clean(status)
}

func (a *app) approveSubscriptionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "approve ID", Short: "Confirm a subscription that somebody else made",
		Example: "  enlace subscription approve 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, args []string) error {
			out, err := node.Subscriptions.ApproveSubscription(ctx, &operatorv1.ApproveSubscriptionRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintln(wr, subscriptionWords(out.GetStatus())) })
		}),
	}
}

func (a *app) listSubscriptionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List what the own authority wants",
		Example: "  enlace subscription ls\n  enlace subscription ls --lang es", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			w, err := a.wordsNow(ctx, node)
			if err != nil {
				return err
			}
			out, err := node.Subscriptions.ListSubscriptions(ctx, &operatorv1.ListSubscriptionsRequest{})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) {
				t := newTable(wr)
				t.row("ID", "AUTHORITY", "CATEGORIES", "TYPES", "STATES", "URGENCY", "STATUS", "AUTHOR", "SINCE")
				for _, s := range out.GetSubscriptions() {
					t.row(s.GetId(), s.GetAuthority(), clean(s.GetCategories()), or(clean(strings.Join(s.GetTypes(), ", ")), "all"),
						or(clean(strings.Join(s.GetStates(), ", ")), "all"), w.label("urgency", or(s.GetUrgency(), "ROUTINE")), clean(s.GetStatus()),
						clean(s.GetAuthor()), when(s.GetCreated()))
				}
				t.end()
			})
		}),
	}
}

func (a *app) removeSubscriptionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Want no such alerts any more",
		Long:    "End a subscription. Alerts that came stay; those that come later are passed over.",
		Example: "  enlace subscription rm 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f", Args: cobra.ExactArgs(1),
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, args []string) error {
			out, err := node.Subscriptions.RemoveSubscription(ctx, &operatorv1.RemoveSubscriptionRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.show(out, func(wr io.Writer) { fmt.Fprintln(wr, "removed") })
		}),
	}
}
