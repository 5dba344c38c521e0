package cli

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

const rootLong = `enlace is the command line of the secure exchange network between competent authorities.

An officer logs in to the node of the own state once, then writes, sends and answers requests, and publishes and
receives alerts. What a command prints is for people; with --json it is one object on one line, for programs.

Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by rule, 4 not found, 5 retry later.

Every global flag may be set by an environment variable: ENLACE_PROFILE, ENLACE_ADDR, ENLACE_JSON, ENLACE_LANG,
ENLACE_YES, ENLACE_TIMEOUT. Profiles lie in ENLACE_CONFIG_HOME, or else in the user's configuration directory.`

// root is the whole command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "enlace", Short: "Exchange requests and alerts with the authorities of other states", Long: rootLong,
		Example:      "  enlace login node.example:7443 --ca ca.pem --user ana\n  enlace request ls --direction received\n  enlace request show 0190b4a6-7c1e-7a3b-8f00-1a2b3c4d5e6f",
		SilenceUsage: true, SilenceErrors: true,
		Args: onlyCommands, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.settle(c.Flags()) },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return misused(c, err.Error()) })
	a.globalFlags(root.PersistentFlags())
	root.AddCommand(a.officerCommands()...)
	root.AddCommand(a.ceremonyCommands()...)
	root.AddCommand(a.toolCommands()...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	explainCobra(root)
	a.finish(root)
	return root
}

// officerCommands are those that speak to the operator door of a node.
func (a *app) officerCommands() []*cobra.Command {
	return []*cobra.Command{
		a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.requestCommand(), a.attachmentCommand(),
		a.alertCommand(), a.subscriptionCommand(), a.directoryCommand(), a.userCommand(), a.tokenCommand(), a.policyCommand(), a.doctorCommand(),
	}
}

// ceremonyCommands are those of stewards and administrators, who hold key files.
func (a *app) ceremonyCommands() []*cobra.Command {
	return []*cobra.Command{
		a.networkCommand(), a.stewardCommand(), a.stateCommand(), a.authorityCommand(), a.nodeCommand(), a.statementCommand(), a.contactCommand(), a.keyCommand(),
	}
}

// toolCommands are those that need neither.
func (a *app) toolCommands() []*cobra.Command {
	return []*cobra.Command{a.demoCommand(), a.benchCommand(), a.manCommand(), a.versionCommand()}
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&a.profile, "profile", "default", "name of the profile: one login at one node")
	f.StringVar(&a.addr, "addr", "", "address of the node, host:port, instead of the profile's")
	f.BoolVar(&a.json, "json", false, "print one JSON object on one line")
	f.StringVar(&a.langTag, "lang", "en", "language of the labels of codes: es, en, pt or fr")
	f.BoolVar(&a.yes, "yes", false, "do not ask back")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time; 0 = 30s for a call, none for files and watches")
}

// settle fills the global flags that were not given from the environment, and reads the language.
func (a *app) settle(f *pflag.FlagSet) error {
	for _, name := range []string{"profile", "addr", "json", "lang", "yes", "timeout"} {
		variable := "ENLACE_" + strings.ToUpper(name)
		value, ok := os.LookupEnv(variable)
		if !ok || value == "" || f.Changed(name) {
			continue
		}
		if err := f.Lookup(name).Value.Set(value); err != nil {
			return fault.New(fault.Usage, "malformed-environment", "read "+variable, "the value does not fit --"+name)
		}
	}
	lang, err := authority.ParseLanguage(a.langTag)
	if err != nil || !strings.Contains(" es en pt fr ", " "+a.langTag+" ") {
		return fault.New(fault.Usage, "unknown-language", "read --lang", "the languages are es, en, pt and fr")
	}
	if a.timeout < 0 {
		return fault.New(fault.Usage, "malformed-time", "read --timeout", "a time to wait is not negative")
	}
	a.lang = lang
	return nil
}

// finish goes through the tree: groups refuse what is no command of theirs and borrow their first example, and each
// command notes that it began, so that what cobra refused before is known for misuse.
func (a *app) finish(c *cobra.Command) {
	for _, child := range c.Commands() {
		a.finish(child)
	}
	if c.HasSubCommands() {
		c.Args = onlyCommands
		if c.Example == "" {
			c.Example = c.Commands()[0].Example
		}
	}
	run := c.RunE
	if run == nil {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		a.running = true
		return run(c, args)
	}
}

// explainCobra gives the commands that cobra made their examples.
func explainCobra(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Example = "  enlace help request new"
		case "completion":
			for _, shell := range c.Commands() {
				shell.Example = "  enlace completion " + shell.Name() + " > enlace-completion." + shell.Name()
			}
		}
	}
}

// onlyCommands are the arguments of a command that only holds others: none.
func onlyCommands(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := fault.New(fault.Usage, "unknown-command", opOf(c), "there is no command "+strconv.Quote(args[0]))
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return f.WithHint("did you mean " + strings.Join(near, ", ") + "?")
	}
	return f.WithHint(c.CommandPath() + " --help lists the commands")
}

// misused is a wrong command line.
func misused(c *cobra.Command, say string) *fault.Error {
	return fault.New(fault.Usage, "usage", opOf(c), say).WithHint(c.CommandPath() + " --help shows how")
}

// opOf names a command in an error, behind the program's name that every error begins with.
func opOf(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().Name()), " ")
}
