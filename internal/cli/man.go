package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/enlace-network/enlace/internal/fault"
)

func (a *app) manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "man", Short: "Write the manual pages of all commands",
		Long:    "Write one manual page for each command, made from its help: enlace.1, enlace-request.1, enlace-request-new.1 and so on.",
		Example: "  enlace man --dir /usr/local/share/man/man1\n  man enlace-request-new",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.man(c.Root(), dir) },
	}
	c.Flags().StringVar(&dir, "dir", "man", "directory for the pages; made if it is missing")
	return c
}

func (a *app) man(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Wrap(err, fault.Internal, "", "write manual", "the directory cannot be made")
	}
	count := 0
	err := eachCommand(root, func(c *cobra.Command) error {
		count++
		page := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		if err := os.WriteFile(page, a.manPage(c), 0o644); err != nil {
			return fault.Wrap(err, fault.Internal, "", "write manual", "a page cannot be written")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.print(map[string]any{"dir": dir, "pages": count}, func(w io.Writer) { fmt.Fprintf(w, "%d pages in %s\n", count, dir) })
}

// eachCommand visits a command and all below it that a user may see.
func eachCommand(c *cobra.Command, visit func(*cobra.Command) error) error {
	if c.Hidden {
		return nil
	}
	if err := visit(c); err != nil {
		return err
	}
	for _, child := range c.Commands() {
		if err := eachCommand(child, visit); err != nil {
			return err
		}
	}
	return nil
}

// manPage is a page in the man(7) macros. Cobra's own writer goes by way of Markdown and two further modules; this
// does without.
func (a *app) manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 %s \"enlace %s\" \"Enlace\"\n", strings.ToUpper(name), a.clock().UTC().Format("2006-01-02"), version().Version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n", roff(name), roff(c.Short), roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n.nf\n%s\n.fi\n", roff(long))
	manFlags(&b, "OPTIONS", c.LocalNonPersistentFlags())
	manFlags(&b, "GLOBAL OPTIONS", c.Root().PersistentFlags())
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	manRelated(&b, c)
	return b.Bytes()
}

func manFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		head := `\fB\-\-` + roff(f.Name) + `\fR`
		if kind != "" {
			head += ` \fI` + roff(kind) + `\fR`
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", head, roff(usage))
	})
}

func manRelated(b *bytes.Buffer, c *cobra.Command) {
	var names []string
	if c.HasParent() {
		names = append(names, c.Parent().CommandPath())
	}
	for _, child := range c.Commands() {
		if !child.Hidden {
			names = append(names, child.CommandPath())
		}
	}
	if len(names) == 0 {
		return
	}
	for i, n := range names {
		names[i] = ".BR " + roff(strings.ReplaceAll(n, " ", "-")) + " (1)"
	}
	fmt.Fprintf(b, ".SH SEE ALSO\n%s\n", strings.Join(names, " ,\n"))
}

// roff escapes text: backslashes, dashes that are typed, what is not ASCII, and lines that would begin a macro.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	s = b.String()
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// build is what is known of how the program was made.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version reads what the Go linker wrote down.
func version() build {
	v := build{Version: "devel", Revision: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print which build this is", Example: "  enlace version\n  enlace version --json", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version()
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "enlace %s (revision %s, %s, %s)\n", v.Version, v.Revision, v.Go, v.Platform)
			})
		},
	}
}
