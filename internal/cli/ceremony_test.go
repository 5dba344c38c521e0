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

// damage FILE OLD NEW puts another text in the place of one.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path, text := ts.MkAbs(args[0]), ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}
