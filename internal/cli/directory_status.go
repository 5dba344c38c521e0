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

func (a *app) directoryStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say how recent the node's directory is, who stands behind it, and what is wrong with it",
		Example: "  enlace directory status", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Directory.GetDirectoryStatus(ctx, &operatorv1.GetDirectoryStatusRequest{})
				if err != nil {
					return err
				}
				words, err := a.words()
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { sheet{w, words}.directoryStatus(out) })
			})
		},
	}
}

func (s sheet) directoryStatus(o *operatorv1.GetDirectoryStatusResponse) {
	s.line("position %d, %s", o.GetConfirmed(), freshnessWords(o.GetFreshness()))
	if o.GetHalted() != "" {
		s.line("HALTED (%s): %s; nothing more comes into force, and restrictions still do", clean(o.GetHalted()), clean(o.GetHaltedText()))
	}
	s.field("network", o.GetNetwork())
	s.field("counted from", when(o.GetSince()))
	if o.GetStored() > o.GetConfirmed() {
		s.field("waiting", fmt.Sprintf("%d entries are stored and not confirmed yet", o.GetStored()-o.GetConfirmed()))
	}
	if o.GetHeadSize() > 0 {
		s.field("head", fmt.Sprintf("size %d, root %s", o.GetHeadSize(), o.GetHeadRoot()))
		s.field("witnesses", fmt.Sprintf("%d of %d needed: %s", len(o.GetVotes()), o.GetNeeded(), strings.Join(o.GetVotes(), ", ")))
		s.field("quorum at", when(o.GetQuorumTime()))
	}
	s.line("%d states, %d authorities, %d nodes", o.GetStates(), o.GetAuthorities(), o.GetNodes())
	if n := o.GetMissingContactPoints(); n > 0 {
		s.line("%d states have designated no contact point: enlace directory ls --missing contact-point", n)
	}
	if n := o.GetStaleEntries(); n > 0 {
		s.line("%d entries were not confirmed for six months: enlace directory ls --stale", n)
	}
	s.wrongs(o)
}

// wrongs are what the hub was caught at. Both notes are in the answer with --json, for who has to prove it.
func (s sheet) wrongs(o *operatorv1.GetDirectoryStatusResponse) {
	for _, p := range o.GetProofs() {
		s.line("PROOF AGAINST THE HUB (%s) %s, found %s", clean(p.GetKind()), clean(p.GetId()), when(p.GetTime()))
		s.field("by way of", strings.TrimSuffix(clean(p.GetFirstBy()+" and "+p.GetSecondBy()), " and "))
		s.field("agreed up to", position(p.GetAgreed()))
		s.long("one", p.GetFirst())
		s.long("the other", p.GetSecond())
	}
	for _, x := range o.GetOmitted() {
		s.line("OMITTED: the hub has not logged the %s of %s, handed in %s (%s)", clean(x.GetKind()), clean(x.GetSubject()), when(x.GetSince()), x.GetHash())
	}
}
