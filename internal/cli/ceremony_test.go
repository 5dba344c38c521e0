package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCeremonies runs what stewards and administrators do without a server.
func TestCeremonies(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/ceremony",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mode": mode, "keep": keep, "damage": damage,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// keep NAME WORD sets a variable to what stands behind a word on the last output.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	_, rest, ok := strings.Cut(ts.ReadFile("stdout"), args[1])
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		ts.Fatalf("nothing stands behind %q", args[1])
	}
	ts.Setenv(args[0], fields[0])
}

// damage FILE changes one byte in the middle of a file.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	at := len(b) / 2
	for b[at] == '\n' || b[at] == '-' {
		at++
	}
	if b[at]++; b[at] == '{' || b[at] == '[' || b[at] == ':' {
		b[at] = 'A'
	}
	ts.Check(os.WriteFile(path, b, 0o600))
}
