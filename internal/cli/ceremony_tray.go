package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/directory"
	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
	"github.com/enlace-network/enlace/internal/registry"
)

// codeUnsigned is the hub's word for a statement that lacks signatures.
const codeUnsigned = "signers"

// tray fetches what waits at the hub for signatures, and the times it was left there by hash.
func (a *app) tray(ctx context.Context, f sourceFlags, key *keyring.OfflineKey) (directory.Bundle, map[directory.Hash]time.Time, error) {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	since := map[directory.Hash]time.Time{}
	if f.network == "" {
		return directory.Bundle{}, since, fault.New(fault.Usage, "no-network", "read tray", "the hub must be held against the network's fingerprint").WithHint("add --network FINGERPRINT")
	}
	client, err := a.hub(ctx, f.hub, f.network, key)
	if err != nil {
		return directory.Bundle{}, since, err
	}
	defer client.Close()
	all, err := client.Deposits(ctx)
	if err != nil {
		return directory.Bundle{}, since, err
	}
	var b directory.Bundle
	for _, d := range all {
		st, err := directory.ParseStatement(d.Statement)
		if err != nil {
			return b, since, err
		}
		since[st.Hash()] = d.Since
		b.Statements, b.Cards = append(b.Statements, st), append(b.Cards, d.Cards...)
	}
	return b, since, nil
}

// chosen are the statements of a bundle whose hash begins with an ID, or which are about a state; no ID = all.
func chosen(b directory.Bundle, ids []string) (directory.Bundle, error) {
	if len(ids) == 0 {
		return b, nil
	}
	var some directory.Bundle
	for _, id := range ids {
		found := false
		for _, st := range b.Statements {
			if (len(id) >= 8 && strings.HasPrefix(st.Hash().String(), id)) || st.Subject().State().String() == id {
				some.Statements, some.Cards, found = append(some.Statements, st), append(some.Cards, b.CardsOf(st)...), true
			}
		}
		if !found {
			return some, fault.New(fault.NotFound, "not-in-tray", "look into tray", "the tray has no statement "+id).WithHint("enlace statement ls --hub HOST:PORT lists it; give 8 digits or more, or a state")
		}
	}
	return some, nil
}

// signable leaves out what the key has no say in: a tray is everybody's.
func (a *app) signable(b directory.Bundle, key *keyring.OfflineKey, who signers) directory.Bundle {
	mine := directory.Bundle{}
	for _, st := range b.Statements {
		if _, err := who.roles(st, key.Public().Fingerprint(), who.view(a)); err == nil {
			mine.Statements, mine.Cards = append(mine.Statements, st), append(mine.Cards, b.CardsOf(st)...)
		}
	}
	return mine
}

// deposit leaves statements in the hub's tray. PROTOCOL 11.12.
func deposit(ctx context.Context, client *registry.Client, b directory.Bundle, token string) error {
	var statements [][]byte
	for _, st := range b.Statements {
		statements = append(statements, st.Signed())
	}
	return client.Deposit(ctx, statements, b.Cards, token)
}

// tail is a bundle from one statement on, with its cards.
func tail(b directory.Bundle, from int) directory.Bundle {
	rest := directory.Bundle{Statements: b.Statements[from:]}
	for _, st := range rest.Statements {
		rest.Cards = append(rest.Cards, b.CardsOf(st)...)
	}
	return rest
}

func (a *app) signTray(c *cobra.Command, ids []string, f signFlags) error {
	key, err := f.open(c.Context(), a)
	if err != nil {
		return err
	}
	all, _, err := a.tray(c.Context(), f.sourceFlags, key)
	if err == nil {
		all, err = chosen(all, ids)
	}
	if err != nil {
		return err
	}
	snapshot, err := f.read(c.Context(), a, key)
	if err != nil {
		return err
	}
	who := newSigners(snapshot, all)
	mine := a.signable(all, key, who)
	if len(mine.Statements) == 0 {
		a.note("The tray has nothing for this key to sign.")
		return a.printReadings(mine, who)
	}
	signed, err := a.consent(c.Context(), mine, key, who, directory.Role(f.role))
	if err != nil {
		return err
	}
	if f.submit {
		return a.handIn(c.Context(), f.hub, key, signed)
	}
	ctx, cancel := a.bounded(c.Context())
	defer cancel()
	client, err := a.hub(ctx, f.hub, f.network, key)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := deposit(ctx, client, signed, ""); err != nil {
		return err
	}
	a.note("The signatures are in the tray. When all have signed: enlace statement submit --hub %s", f.hub)
	return a.printReadings(signed, who)
}

// listTray prints what waits for signatures.
func (a *app) listTray(ctx context.Context, f sourceFlags, k keyFlags) error {
	key, err := k.open(ctx, a)
	if err != nil {
		return err
	}
	b, since, err := a.tray(ctx, f, key)
	if err != nil {
		return err
	}
	snapshot, err := f.read(ctx, a, key)
	if err != nil {
		return err
	}
	all := a.readings(b, newSigners(snapshot, b))
	return a.print(map[string]any{"statements": all}, func(w io.Writer) {
		t := newTable(w)
		t.row("KIND", "SUBJECT", "SINCE", "STATEMENT", "STILL TO SIGN")
		for i, r := range all {
			t.row(r.Kind, r.Subject, when(since[b.Statements[i].Hash()].UnixMilli()), r.Hash[:16], strings.Join(r.Missing, "; "))
		}
		t.end()
	})
}

func (a *app) statementGetCommand() *cobra.Command {
	var f sourceFlags
	var k keyFlags
	var out string
	c := &cobra.Command{
		Use: "get [ID...]", Short: "Take statements out of the hub's tray into a file, to be signed elsewhere",
		Long:    "Write statements of the tray, named by the first digits of their hashes or by their state, to a file for a\nstick; the tray keeps them. Sign the file off-line and hand it back with: enlace statement submit FILE.",
		Example: "  enlace statement get mx --out mx.statements --hub hub.example:7400 --network FINGERPRINT --key steward-1.key",
		RunE: func(c *cobra.Command, args []string) error {
			key, err := k.open(c.Context(), a)
			if err != nil {
				return err
			}
			b, _, err := a.tray(c.Context(), f, key)
			if err == nil {
				b, err = chosen(b, args)
			}
			if err == nil && len(b.Statements) == 0 {
				err = fault.New(fault.NotFound, "not-in-tray", "look into tray", "the tray is empty")
			}
			if err != nil {
				return err
			}
			snapshot, err := f.read(c.Context(), a, key)
			if err != nil {
				return err
			}
			return a.lay(out, b, newSigners(snapshot, b))
		},
	}
	f.register(c.Flags())
	k.register(c.Flags())
	c.Flags().StringVar(&out, "out", "", "statement file to write (default: named after the first statement)")
	return c
}

func (a *app) nodeTokenCommand() *cobra.Command {
	var hub, network string
	var k keyFlags
	c := &cobra.Command{
		Use: "token STATE", Short: "Give a state that is not admitted yet a one-time token to apply with",
		Long:    "Ask the hub, as a steward, for a token with which the state's new node may leave its application in the tray.\nIt is shown once, is good once, within 7 days, and gives no other right.",
		Example: "  enlace node token mx --key ana.key --hub hub.example:7400 --network FINGERPRINT",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			state, err := authority.ParseState(args[0])
			if err != nil {
				return err
			}
			key, err := k.open(c.Context(), a)
			if err != nil {
				return err
			}
			ctx, cancel := a.bounded(c.Context())
			defer cancel()
			client, err := a.hub(ctx, hub, network, key)
			if err != nil {
				return err
			}
			defer client.Close()
			token, end, err := client.IssueToken(ctx, state)
			if err != nil {
				return err
			}
			a.note("Good once, for %s, until %s. Give it to the administrator by another road than the fingerprint.", state, when(end.UnixMilli()))
			return a.print(map[string]any{"state": state.String(), "token": token, "expires": end.Unix()}, func(w io.Writer) { fmt.Fprintln(w, token) })
		},
	}
	c.Flags().StringVar(&hub, "hub", "", "address of the directory hub, host:port")
	registerNetwork(c.Flags(), &network)
	k.register(c.Flags())
	return c
}
