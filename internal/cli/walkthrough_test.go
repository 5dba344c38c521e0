package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	walkthrough = "\n## From nothing to two states on two machines\n"
	maxCommands = 10
	// patience is how long a daemon may take to open its door, on a loaded machine.
	patience = 60 * time.Second
)

// changes goes on with the network that stands: what a state changes later, against the live hub.
func (w *walk) changes() {
	w.t.Helper()
	hub := " --hub hub.example:7400 --passphrase-file pass"
	source := hub + " --network FP"
	designate := func(file string) {
		w.run("enlace statement sign " + file + " --key ana.key" + source)
		w.run("enlace statement sign " + file + " --key luis.key --submit" + source)
	}
	w.run("enlace authority declare mx/fgr --desk 'duty;America/Mexico_City;24/7;es' --out desk.statements --key mx/mx.state-key" + source)
	designate("desk.statements")
	w.run("enlace contact set mx/fgr duty --phone '+000 555 0100' --out card.statements --key mx/mx.state-key" + source)
	designate("card.statements")
	if got := w.run("enlace contact show mx/fgr --key jm/jm.state-key" + source); !strings.Contains(got, "+000 555 0100") {
		w.t.Errorf("the other state reads the contact card as %q", got)
	}
	again := w.run("enlace statement submit card.statements --key ana.key" + hub)
	if got := w.run("enlace statement submit card.statements --key luis.key" + hub); got != again {
		w.t.Errorf("handed in again: %q, want the same position, %q", got, again)
	}
	w.run("enlace node revoke jm/node/primary --reason stolen --submit --out x --key jm/jm.state-key" + source)
	if got := w.run("enlace state show jm --key ana.key" + source); !regexp.MustCompile(`jm/node/primary +revoked`).MatchString(got) {
		w.t.Errorf("after its revocation the state is shown as %q", got)
	}
	if got := w.run("enlace network show --hub hub.example:7400 --network FP"); !strings.Contains(got, "the network is founded: oas") {
		w.t.Errorf("the genesis is shown as %q", got)
	}
}

// commandsOf are the lines of code in the README's section about the way from nothing to two states.
func commandsOf(readme string) []string {
	_, section, _ := strings.Cut(readme, walkthrough)
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for i, part := range strings.Split(section, "\n```\n") {
		if i%2 == 1 {
			all = append(all, strings.Split(part, "\n")...)
		}
	}
	return all
}

// walk is the walk-through under way: real programs, as processes of their own, on loopback.
type walk struct {
	t    *testing.T
	dir  string
	env  []string
	addr map[string]string
	out  map[string]string
}

// TestWalkThrough goes from nothing to two states in ten commands, as the README has them for people. What differs:
// passphrases and unlock keys come from files, since nobody sits there to type; all machines are this one; and the applications are carried by the test.
func TestWalkThrough(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := commandsOf(string(readme))
	if len(commands) < 4 || len(commands) > maxCommands {
		t.Fatalf("%d commands, want at most %d", len(commands), maxCommands)
	}
	w := newWalk(t)
	for _, c := range commands {
		w.step(c)
	}
	w.knows("mx", "jm/jcf")
	w.knows("jm", "mx/fgr")
	w.changes()
}

func newWalk(t *testing.T) *walk {
	w := &walk{t: t, dir: t.TempDir(), addr: map[string]string{}, out: map[string]string{}}
	bin := filepath.Join(w.dir, "bin")
	if out, err := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../../cmd/enlace", "../../cmd/enlace-directory", "../../cmd/enlace-node").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "ENLACE_YES=true", "ENLACE_CONFIG_HOME="+filepath.Join(w.dir, "config"))
	if err := os.WriteFile(filepath.Join(w.dir, "pass"), []byte("four words of a test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hub.example:7400", "node.mx.example:7443", "node.jm.example:7443", "mx operator", "jm operator"} {
		w.addr[name] = freeAddr(t)
	}
	return w
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// step runs one command of the README; a daemon goes on until the test ends.
func (w *walk) step(command string) {
	w.t.Helper()
	words := strings.Fields(command)
	door := map[string]string{
		"hub/directory.yaml": w.addr["hub.example:7400"], "mx/node.yaml": w.addr["mx operator"], "jm/node.yaml": w.addr["jm operator"],
	}[words[len(words)-1]]
	if door != "" {
		w.daemon(command, door)
		return
	}
	out := w.run(command + w.extra(words))
	switch words[1] + " " + words[2] {
	case "network create":
		w.out["network"] = strings.Fields(out)[1]
	case "node init":
		_, rest, _ := strings.Cut(out, "password ")
		w.out[words[3]] = strings.Fields(rest)[0]
		w.carry(words[3] + ".statements")
	}
}

// carry brings an application from its node to the Secretariat.
func (w *walk) carry(name string) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, strings.TrimSuffix(name, ".statements"), name))
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, name), b, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// extra is what stands in for a person at a terminal, and keeps the doors on loopback.
func (w *walk) extra(words []string) string {
	switch words[1] + " " + words[2] {
	case "steward keygen":
		return " --passphrase-file pass --work-factor 10"
	case "network create":
		return " --passphrase-file pass --unlock-file hub.unlock --unlock-on-data-disk --listen " + w.addr["hub.example:7400"]
	case "node init":
		state := words[3]
		return " --passphrase-file pass --work-factor 10 --unlock-on-data-disk --unlock-file " + state + ".unlock --listen " +
			w.addr["node."+state+".example:7443"] + " --operator " + w.addr[state+" operator"]
	case "statement sign":
		return " --passphrase-file pass"
	}
	return ""
}

func (w *walk) run(command string) string {
	w.t.Helper()
	c, errs := w.command(w.t.Context(), command), new(bytes.Buffer)
	c.Stderr = errs
	out, err := c.Output()
	if err != nil {
		w.t.Fatalf("%s: %v\n%s%s", command, err, out, errs)
	}
	return string(out)
}

func (w *walk) command(ctx context.Context, command string) *exec.Cmd {
	for _, name := range []string{"hub.example:7400", "node.mx.example:7443", "node.jm.example:7443"} {
		command = strings.ReplaceAll(command, name, w.addr[name])
	}
	command = strings.ReplaceAll(command, "--network FP", "--network "+w.out["network"])
	c := exec.CommandContext(ctx, "sh", "-c", "exec "+command)
	c.Dir, c.Env = w.dir, w.env
	return c
}

// daemon starts one, waits for its door, and stops it at the end as an administrator would.
func (w *walk) daemon(command, door string) {
	w.t.Helper()
	c, log := w.command(context.Background(), command), new(bytes.Buffer)
	c.Stderr = log
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	w.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				w.t.Errorf("%s ended: %v\n%s", command, err, log)
			}
		case <-time.After(patience):
			_ = c.Process.Kill()
			w.t.Errorf("%s did not end", command)
		}
	})
	w.await(command+" opens its door", func() bool {
		conn, err := net.Dial("tcp", door)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

func (w *walk) await(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it never happened: " + what)
		}
	}
}

// knows logs in to a state's node as its first account and looks for another state's authority in the directory.
func (w *walk) knows(state, other string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, state+".password"), []byte(w.out[state]+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.run("enlace --profile " + state + " login " + w.addr[state+" operator"] + " --ca " + state + "/operator-ca.pem --user admin --password-file " + state + ".password")
	w.await(state+" knows "+other, func() bool {
		return strings.Contains(w.run("enlace --profile "+state+" directory ls"), other)
	})
	var status struct{ Network string }
	if err := json.Unmarshal([]byte(w.run("enlace --profile "+state+" node status --json")), &status); err != nil {
		w.t.Fatal(err)
	}
	if status.Network != w.out["network"] {
		w.t.Errorf("the node of %s is of network %s, want %s", state, status.Network, w.out["network"])
	}
	if _, err := os.Stat(filepath.Join(w.dir, state, "data", "first-account.json")); err == nil {
		w.t.Errorf("the file of the first account of %s is still there", state)
	}
}
