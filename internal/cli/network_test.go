package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/enlace-network/enlace/internal/testnet"
)

// TestNetworkScripts runs the command line against two states on loopback, one network for all scripts. A script
// finds, for MX and JM alike:
//
//	MX_ADDR, MX_CA          operator door and its CA file
//	MX_AUTHORITY            the state's one authority
//	MX_OFFICER, MX_APPROVER, MX_DUTY, MX_ADMIN   files whose first line is the password of that account
//
// the accounts officer, approver and duty, and $MX_FIRST, the administrator. Beside testscript's commands:
//
//	exits CODE COMMAND...        run a command and compare its exit code
//	keep NAME                    set a variable to the first line that the last command printed
//	wait-state PROFILE ID STATE  wait until a request is in a state, as that profile sees it
//	wait-alert PROFILE ID STATE  wait until an alert is in a state, as that profile sees it
//	wait-feedback PROFILE ID     wait until somebody said what was found
func TestNetworkScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network")
	}
	n, err := testnet.Start(t.Context(), testnet.Options{Dir: t.TempDir(), States: []string{"mx", "jm"}})
	if err != nil {
		t.Fatal(err)
	}
	// The scripts run in parallel, below this test, so the network stops after the last.
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/network",
		Setup: func(env *testscript.Env) error { return describeNetwork(env, n) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "keep": keepLine, "wait-state": waitState, "wait-alert": waitAlert, "wait-feedback": waitFeedback,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func describeNetwork(env *testscript.Env, n *testnet.Network) error {
	env.Setenv("ENLACE_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
	env.Setenv("TZ", "America/Jamaica")
	for _, m := range n.Members {
		state := strings.ToUpper(m.State.String())
		env.Setenv(state+"_ADDR", m.Daemon.OperatorAddr.String())
		env.Setenv(state+"_CONFIG", filepath.Join(m.Dir, "node.yaml"))
		env.Setenv(state+"_CA", filepath.Join(m.Dir, "operator-ca.pem"))
		env.Setenv(state+"_AUTHORITY", m.Authority.String())
		for user, password := range m.Passwords {
			name := map[string]string{"officer": "OFFICER", "approver": "APPROVER", "duty": "DUTY"}[user]
			if name == "" {
				name = "ADMIN"
				env.Setenv(state+"_FIRST", user)
			}
			file := filepath.Join(env.WorkDir, strings.ToLower(state+"-"+name)+".password")
			if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
				return err
			}
			env.Setenv(state+"_"+name, file)
		}
	}
	return nil
}

func keepLine(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	if line == "" {
		ts.Fatalf("the last command printed nothing")
	}
	ts.Setenv(args[0], line)
}

func waitAlert(ts *testscript.TestScript, _ bool, args []string) {
	awaitAlert(ts, args[0], args[1], func(r *alertSeen) bool { return r.Summary.Status == args[2] })
}

func waitFeedback(ts *testscript.TestScript, _ bool, args []string) {
	awaitAlert(ts, args[0], args[1], func(r *alertSeen) bool {
		return slices.ContainsFunc(r.Steps, func(s struct{ Kind string }) bool { return s.Kind == "ALERT_FEEDBACK" })
	})
}

type alertSeen struct {
	Summary struct{ Status string }
	Steps   []struct{ Kind string }
}

func awaitAlert(ts *testscript.TestScript, profile, id string, wanted func(*alertSeen) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var r alertSeen
	for ctx.Err() == nil {
		if ts.Exec("enlace", "--profile", profile, "--json", "alert", "show", id) == nil {
			r = alertSeen{}
			ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
			if wanted(&r) {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("alert %s stays at %+v", id, r)
}

func waitState(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen := ""
	for ctx.Err() == nil {
		if ts.Exec("enlace", "--profile", args[0], "--json", "request", "show", args[1]) == nil {
			var r struct{ Summary struct{ Status string } }
			ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
			if seen = r.Summary.Status; seen == args[2] {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("request %s is %q, want %s", args[1], seen, args[2])
}
