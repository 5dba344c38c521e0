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

const roleList = "user, approver, duty, auditor, administrator"

func (a *app) userCommand() *cobra.Command {
	return group("user", "Manage the accounts of the own people",
		a.addUserCommand(), a.listUsersCommand(), a.roleCommand(), a.lockCommand(), a.resetCommand())
}

// onNode is the body of a command that speaks to the node.
func (a *app) onNode(do func(ctx context.Context, node *operator.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, node *operator.Client) error { return do(ctx, node, args) })
	}
}

func (a *app) addUserCommand() *cobra.Command {
	in := new(operatorv1.AddUserRequest)
	var file string
	c := &cobra.Command{
		Use: "add NAME", Short: "Make an account",
		Long:    "Make an account. Without --password-file the node draws a password, which is printed once.\nRoles: " + roleList + ".",
		Example: "  enlace user add ana --authority mx/fgr --role user --role approver", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in.User = args[0]
			var err error
			if in.Password, err = a.optionalPassword(c.Context(), file); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Users.AddUser(ctx, in)
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { printDrawn(w, "added "+in.User, out.GetPassword()) })
			})
		},
	}
	c.Flags().StringVar(&in.Authority, "authority", "", "authority they work for (default: yours)")
	c.Flags().StringArrayVar(&in.Roles, "role", nil, "role; may be repeated")
	c.Flags().StringVar(&file, "password-file", "", "file whose first line is the password; - reads the standard input")
	completeRoles(c)
	return c
}

func completeRoles(c *cobra.Command) {
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(strings.Split(roleList, ", "), cobra.ShellCompDirectiveNoFileComp))
}

// optionalPassword is empty where the node shall draw one.
func (a *app) optionalPassword(ctx context.Context, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	return a.secret(ctx, "Password", file)
}

func printDrawn(w io.Writer, done, password string) {
	fmt.Fprintln(w, done)
	if password != "" {
		fmt.Fprintf(w, "password, shown this once: %s\n", password)
	}
}

func (a *app) listUsersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the accounts of the own state", Example: "  enlace user ls", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			out, err := node.Users.ListUsers(ctx, &operatorv1.ListUsersRequest{})
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				t := newTable(w)
				t.row("USER", "AUTHORITY", "ROLES", "LOCKED", "SINCE")
				for _, u := range out.GetUsers() {
					locked := ""
					if u.GetLocked() {
						locked = "LOCKED"
					}
					t.row(u.GetUser(), u.GetAuthority(), strings.Join(u.GetRoles(), ", "), locked, when(u.GetCreated()))
				}
				t.end()
			})
		}),
	}
}

func (a *app) roleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "role NAME ROLE...", Short: "Replace somebody's roles",
		Long:    "Replace somebody's roles by those named. Roles: " + roleList + ".",
		Example: "  enlace user role ana user approver", Args: cobra.MinimumNArgs(2),
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, args []string) error {
			out, err := node.Users.SetRoles(ctx, &operatorv1.SetRolesRequest{User: args[0], Roles: args[1:]})
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) { fmt.Fprintf(w, "%s is now %s\n", args[0], strings.Join(args[1:], ", ")) })
		}),
	}
}

func (a *app) lockCommand() *cobra.Command {
	var unlock bool
	c := &cobra.Command{
		Use: "lock NAME", Short: "Lock an account and end its sessions, or unlock it",
		Example: "  enlace user lock ana --yes\n  enlace user lock ana --unlock", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			done := "unlocked "
			if !unlock {
				done = "locked "
				if err := a.sure(c.Context(), "lock "+args[0]+" and end what they have open?"); err != nil {
					return err
				}
			}
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Users.LockUser(ctx, &operatorv1.LockUserRequest{User: args[0], Unlock: unlock})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { fmt.Fprintln(w, done+args[0]) })
			})
		},
	}
	c.Flags().BoolVar(&unlock, "unlock", false, "unlock instead")
	return c
}

func (a *app) resetCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "reset NAME", Short: "Give somebody a new password and end their sessions",
		Example: "  enlace user reset ana --yes", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.sure(c.Context(), "give "+args[0]+" a new password?"); err != nil {
				return err
			}
			password, err := a.optionalPassword(c.Context(), file)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Users.ResetPassword(ctx, &operatorv1.ResetPasswordRequest{User: args[0], Password: password})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { printDrawn(w, "reset the password of "+args[0], out.GetPassword()) })
			})
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "file whose first line is the password; - reads the standard input")
	return c
}

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Manage the tokens with which programs call the node",
		a.issueTokenCommand(), a.listTokensCommand(), a.revokeTokenCommand())
}

func (a *app) issueTokenCommand() *cobra.Command {
	in := new(operatorv1.IssueTokenRequest)
	var life string
	c := &cobra.Command{
		Use: "issue", Short: "Make a token; its secret is printed once",
		Long: "Make a token for a program. Scopes: requests:read, requests:write, attachments:read, attachments:write,\n" +
			"directory:read, node:read, users:write, evidence:read.",
		Example: "  enlace token issue --name case-system --scope requests:read --scope attachments:read --life 30d", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			if life != "" {
				t, err := deadline(life, a.clock())
				if err != nil {
					return err
				}
				in.Expires = t.UnixMilli()
			}
			out, err := node.Session.IssueToken(ctx, in)
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				fmt.Fprintf(w, "token %s, its secret shown this once:\n%s\n", out.GetId(), out.GetToken())
			})
		}),
	}
	c.Flags().StringVar(&in.Name, "name", "", "what it is for")
	c.Flags().StringArrayVar(&in.Scopes, "scope", nil, "what it may do; may be repeated")
	c.Flags().StringVar(&in.Authority, "authority", "", "authority it works for (default: yours)")
	c.Flags().StringVar(&life, "life", "", "how long it lives: 30d or a date (default 90d)")
	return c
}

func (a *app) listTokensCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the tokens of the own state, ended ones too", Example: "  enlace token ls", Args: cobra.NoArgs,
		RunE: a.onNode(func(ctx context.Context, node *operator.Client, _ []string) error {
			out, err := node.Session.ListTokens(ctx, &operatorv1.ListTokensRequest{})
			if err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				t := newTable(w)
				t.row("ID", "NAME", "AUTHORITY", "SCOPES", "UNTIL", "STATE")
				for _, k := range out.GetTokens() {
					state := "valid"
					switch {
					case k.GetRevoked():
						state = "revoked"
					case k.GetExpires() <= a.clock().UnixMilli():
						state = "expired"
					}
					t.row(k.GetId(), clean(k.GetName()), k.GetAuthority(), strings.Join(k.GetScopes(), ", "), when(k.GetExpires()), state)
				}
				t.end()
			})
		}),
	}
}

func (a *app) revokeTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a token, and what it has open", Example: "  enlace token revoke 4f2ac01d9b7e6a55 --yes", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.sure(c.Context(), "revoke token "+args[0]+" for good?"); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, node *operator.Client) error {
				out, err := node.Session.RevokeToken(ctx, &operatorv1.RevokeTokenRequest{Id: args[0]})
				if err != nil {
					return err
				}
				return a.show(out, func(w io.Writer) { fmt.Fprintf(w, "revoked %s\n", args[0]) })
			})
		},
	}
}
