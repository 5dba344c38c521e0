package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/operator"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

// with makes the connection of the profile in use, lets do make its calls, and hangs up.
func (a *app) with(c *cobra.Command, do func(ctx context.Context, node *operator.Client) error) error {
	p, err := a.loadProfile()
	if err != nil {
		return err
	}
	if p.ended(a.clock()) {
		return fault.New(fault.Unauthenticated, "no-session", "", "the session has ended").
			WithHint("log in again: enlace login " + p.Addr)
	}
	return a.dial(c.Context(), p, do)
}

// dial is with for a profile that is not saved yet.
func (a *app) dial(ctx context.Context, p profile, do func(ctx context.Context, node *operator.Client) error) error {
	trust, err := p.trust()
	if err != nil {
		return err
	}
	addr := p.Addr
	if a.addr != "" {
		addr = a.addr
	}
	node, err := operator.Dial(addr, trust, p.Token)
	if err != nil {
		return err
	}
	defer node.Close()
	if a.timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		ctx = limited
	}
	return do(ctx, node)
}

type loginFlags struct {
	user, passwordFile, tokenFile, ca, pin string
}

func (a *app) loginCommand() *cobra.Command {
	var f loginFlags
	c := &cobra.Command{
		Use: "login ADDR", Short: "Log in to a node and keep the session in a profile",
		Long: "Log in to the operator door of a node. The first time, say how to know the node: --ca with the CA\n" +
			"certificate that its administrator hands out, or --ca-sha256 with its fingerprint. The profile keeps\n" +
			"it, so that later logins need neither. A program logs in with a token: --token-file.",
		Example: "  enlace login node.example:7443 --ca ca.pem --user ana\n  enlace login node.example:7443 --ca-sha256 4f2a…9c --user ana --password-file pw.txt\n  enlace --profile feed login node.example:7443 --ca ca.pem --token-file token.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.login(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.user, "user", "", "account at the node (default: the profile's)")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "file whose first line is the password; - reads the standard input")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "file whose first line is a token made with enlace token issue")
	c.Flags().StringVar(&f.ca, "ca", "", "file with the CA certificate of the node's operator door, PEM")
	c.Flags().StringVar(&f.pin, "ca-sha256", "", "SHA-256 of that CA certificate, 64 hexadecimal digits")
	c.MarkFlagsMutuallyExclusive("ca", "ca-sha256")
	c.MarkFlagsMutuallyExclusive("token-file", "user")
	c.MarkFlagsMutuallyExclusive("token-file", "password-file")
	return c
}

func (a *app) login(ctx context.Context, args []string, f loginFlags) error {
	p, err := a.newProfile(args, f)
	if err != nil {
		return err
	}
	if _, err := p.trust(); err != nil {
		return err // before a password is asked for
	}
	if f.tokenFile != "" {
		return a.loginToken(ctx, p, f)
	}
	password, err := a.secret(ctx, "Password of "+p.User, f.passwordFile)
	if err != nil {
		return err
	}
	var out *operatorv1.LoginResponse
	err = a.dial(ctx, p, func(ctx context.Context, node *operator.Client) error {
		var err error
		out, err = node.Session.Login(ctx, &operatorv1.LoginRequest{User: p.User, Password: password})
		return err
	})
	if err != nil {
		return err
	}
	// If the program stops here the node has a session that nobody holds; it expires.
	p.Token, p.Expires = out.GetToken(), out.GetExpires()
	return a.loggedIn(p)
}

// newProfile is the profile in use with what this login says; it has no token.
func (a *app) newProfile(args []string, f loginFlags) (profile, error) {
	p, err := a.loadProfile()
	if err != nil && !fault.Is(err, fault.NotFound) {
		return p, err
	}
	p.Token, p.Expires = "", 0
	if len(args) == 1 {
		p.Addr = args[0]
	} else if a.addr != "" {
		p.Addr = a.addr
	}
	if p.Addr == "" {
		return p, fault.New(fault.Usage, "no-address", "log in", "no node is named").WithHint("enlace login ADDR, such as node.example:7443")
	}
	a.addr = p.Addr
	if f.pin != "" {
		p.Pin, p.CA = f.pin, ""
	}
	if f.ca != "" {
		b, err := readSmall(f.ca, maxProfile/2)
		if err != nil {
			return p, err
		}
		p.CA, p.Pin = string(b), ""
	}
	if f.user != "" {
		p.User = f.user
	}
	if p.User == "" && f.tokenFile == "" {
		return p, fault.New(fault.Usage, "no-user", "log in", "no user is named").WithHint("add --user NAME")
	}
	return p, nil
}

// loginToken tries a token before it keeps it.
func (a *app) loginToken(ctx context.Context, p profile, f loginFlags) error {
	token, err := a.secret(ctx, "Token", f.tokenFile)
	if err != nil {
		return err
	}
	p.Token = token
	err = a.dial(ctx, p, func(ctx context.Context, node *operator.Client) error {
		me, err := node.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
		p.User, p.Expires = me.GetUser(), me.GetExpires()
		return err
	})
	if err != nil {
		return err
	}
	return a.loggedIn(p)
}

func (a *app) loggedIn(p profile) error {
	if err := a.saveProfile(p); err != nil {
		return err
	}
	out := map[string]any{"profile": a.profile, "addr": p.Addr, "user": p.User, "expires": p.Expires}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "logged in to %s as %s until %s\n", p.Addr, clean(p.User), when(p.Expires))
	})
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the session; the profile keeps the node",
		Example: "  enlace logout", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.logout(c) },
	}
}

// logout forgets the token even where the node cannot be told.
func (a *app) logout(c *cobra.Command) error {
	p, err := a.loadProfile()
	if err != nil {
		return err
	}
	var told error
	if !p.ended(a.clock()) {
		told = a.with(c, func(ctx context.Context, node *operator.Client) error {
			_, err := node.Session.Logout(ctx, &operatorv1.LogoutRequest{})
			return err
		})
	}
	p.Token, p.Expires = "", 0
	if err := a.saveProfile(p); err != nil {
		return err
	}
	if told != nil && !fault.Is(told, fault.Unauthenticated) {
		return told
	}
	return a.print(map[string]any{"profile": a.profile, "logged_out": true}, func(w io.Writer) { fmt.Fprintln(w, "logged out") })
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Say what the node takes you for",
		Example: "  enlace whoami\n  enlace whoami --json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				me, err := node.Session.WhoAmI(ctx, &operatorv1.WhoAmIRequest{})
				if err != nil {
					return err
				}
				return a.show(me, func(w io.Writer) {
					t := newTable(w)
					t.row("user", clean(me.GetUser()))
					t.row("authority", me.GetAuthority())
					t.row("roles", or(strings.Join(me.GetRoles(), ", "), "-"))
					if len(me.GetScopes()) > 0 {
						t.row("scopes", strings.Join(me.GetScopes(), ", "))
					}
					t.row("node", me.GetNode())
					t.row("until", when(me.GetExpires()))
					t.end()
				})
			})
		},
	}
}

// or is s, or other where s is empty.
func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// fileExists is for files that must not be overwritten.
func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
