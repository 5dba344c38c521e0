package testnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
)

const (
	walkthrough = "\n## From nothing to two states on two machines\n"
	maxCommands = 10
	// patience is how long something may take that comes for sure, on a loaded machine.
	patience = 60 * time.Second
)

// programs is the folder of the three programs as make builds them, made by the first test of this package that wants
// them and removed by TestMain.
var (
	programFolder string
	programs      = sync.OnceValues(func() (string, error) {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", programFolder+string(filepath.Separator),
			"../../cmd/enlace", "../../cmd/enlace-node", "../../cmd/enlace-directory")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build: %w\n%s", err, out)
		}
		return programFolder, nil
	})
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if programFolder, err = os.MkdirTemp("", "enlace-programs-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programFolder)
	return m.Run()
}

// site is a network of real programs, each a process of its own, made by the commands of the README. What differs from
// what people do: passphrases and unlock keys come from files, since nobody sits there to type; all machines are this
// one; and the test carries the applications.
type site struct {
	t   *testing.T
	dir string
	env []string
	// listen is where a door of the README really is; told is what others know: the same, or a relay before it.
	listen, told map[string]string
	fingerprint  string
	// password of the first account, by state.
	password map[string]string
	daemons  map[string]*daemon
	// afterKill is what befalls the machine of a killed program before it starts again, by a seed; nil: nothing.
	afterKill func(d *daemon, seed uint64)
}

// newSite prepares a folder and addresses; relayed are the doors that are told by the address of a recording relay.
func newSite(t *testing.T, relayed ...string) (*site, map[string]*relay) {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), listen: map[string]string{}, told: map[string]string{}, password: map[string]string{}, daemons: map[string]*daemon{}}
	s.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "ENLACE_YES=true", "ENLACE_CONFIG_HOME="+filepath.Join(s.dir, "config"))
	s.write("pass", "four words of a test\n")
	s.door("hub.example:7400")
	s.door(busDoor)
	for _, state := range []string{"mx", "jm", "br"} {
		s.door(peerDoor(state))
		s.door(state + " operator")
	}
	relays := map[string]*relay{}
	for _, door := range relayed {
		relays[door] = newRelay(t, s.listen[door])
		s.told[door] = relays[door].addr()
	}
	return s, relays
}

// busDoor is where the hub's bus listens.
const busDoor = "hub.example:4222"

func peerDoor(state string) string { return "node." + state + ".example:7443" }

func (s *site) door(name string) {
	s.listen[name] = freeAddr(s.t)
	s.told[name] = s.listen[name]
}

// freeAddr is a loopback address below the range from which the system takes ports for outgoing connections: a daemon
// that is started again must find it free.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 18000+rand.N(12000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free loopback port")
	return ""
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString(text)
	// A person's file is on the disk when its programs start, also where the power is cut later.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		s.t.Fatal(err)
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

// walk goes the whole way of the README, in at most ten commands.
func (s *site) walk() {
	s.t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	commands := commandsOf(string(readme))
	if len(commands) < 4 || len(commands) > maxCommands {
		s.t.Fatalf("the README has %d commands, want at most %d", len(commands), maxCommands)
	}
	for _, c := range commands {
		s.step(c)
	}
}

// step runs one command of the README; a daemon goes on until the test ends.
func (s *site) step(command string) {
	s.t.Helper()
	words := strings.Fields(command)
	door := map[string]string{
		"hub/directory.yaml": "hub.example:7400", "mx/node.yaml": "mx operator", "jm/node.yaml": "jm operator", "br/node.yaml": "br operator",
	}[words[len(words)-1]]
	if door != "" {
		name, _, _ := strings.Cut(words[len(words)-1], "/")
		s.daemons[name] = &daemon{site: s, command: command, door: s.listen[door]}
		s.daemons[name].start()
		s.t.Cleanup(s.daemons[name].stop)
		return
	}
	out := s.run(command + s.extra(words))
	switch words[1] + " " + words[2] {
	case "network create":
		s.fingerprint = strings.Fields(out)[1]
		s.placeBus()
	case "node init":
		_, rest, _ := strings.Cut(out, "password ")
		s.password[words[3]] = strings.Fields(rest)[0]
		b, err := os.ReadFile(s.path(words[3], words[3]+".statements"))
		if err != nil {
			s.t.Fatal(err)
		}
		s.write(words[3]+".statements", string(b)) // to the Secretariat
	}
}

// placeBus says in the hub's configuration where its bus listens, and where nodes are told that it does.
func (s *site) placeBus() {
	s.t.Helper()
	b, err := os.ReadFile(s.path("hub", "directory.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(b), `nats: "127.0.0.1:0"`, `nats: "`+s.listen[busDoor]+`"`, 1)
	if text == string(b) {
		s.t.Fatal("the configuration of the hub names no bus")
	}
	s.write("hub/directory.yaml", text+"\nadvertise_nats: [\""+s.told[busDoor]+"\"]\n")
}

// extra is what stands in for a person at a terminal, and keeps the doors on loopback.
func (s *site) extra(words []string) string {
	switch words[1] + " " + words[2] {
	case "steward keygen":
		return " --passphrase-file pass --work-factor 10"
	case "network create":
		return " --passphrase-file pass --unlock-file hub.unlock --unlock-on-data-disk --listen " + s.listen["hub.example:7400"]
	case "node init":
		state := words[3]
		return " --passphrase-file pass --work-factor 10 --unlock-on-data-disk --unlock-file " + state + ".unlock --listen " +
			s.listen[peerDoor(state)] + " --operator " + s.listen[state+" operator"]
	case "statement sign":
		return " --passphrase-file pass"
	}
	return ""
}

// join brings one more state to a network, by the same commands as the first two.
func (s *site) join(state, authority string) {
	s.t.Helper()
	hub := " --hub hub.example:7400 --network FP"
	s.step("enlace node init " + state + " --authority " + authority + " --note-verbale 'NV 3/2026'" + hub + " --advertise " + peerDoor(state))
	s.step("enlace statement sign " + state + ".statements --key ana.key")
	s.step("enlace statement sign " + state + ".statements --key luis.key --submit" + hub)
	s.step("enlace-node --config " + state + "/node.yaml")
}

// command is a command of the README on this machine.
func (s *site) command(ctx context.Context, command string) *exec.Cmd {
	for name, addr := range s.told {
		command = strings.ReplaceAll(command, name, addr)
	}
	command = strings.ReplaceAll(command, "--network FP", "--network "+s.fingerprint)
	c := exec.CommandContext(ctx, "sh", "-c", "exec "+command)
	c.Dir, c.Env = s.dir, s.env
	return c
}

// run runs a command that must succeed and returns what it printed.
func (s *site) run(command string) string {
	s.t.Helper()
	out, err := s.try(command)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) try(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, errs := s.command(ctx, command), new(bytes.Buffer)
	c.Stderr = errs
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", command, err, out, errs)
	}
	return string(out), err
}

// as runs a command of a person who has logged in, "STATE-NAME".
func (s *site) as(person, command string) string {
	s.t.Helper()
	return s.run("enlace --profile " + person + " --json " + command)
}

// login opens a session as a person would and keeps it in the profile "STATE-NAME".
func (s *site) login(state, name, password string) {
	s.t.Helper()
	s.write("password", password+"\n")
	s.run("enlace --profile " + state + "-" + name + " login " + s.listen[state+" operator"] + " --ca " + state + "/operator-ca.pem --user " + name + " --password-file password")
}

// staff logs in as the first account, as node init printed it, and makes an officer, an approver and a duty desk.
func (s *site) staff(states ...string) {
	s.t.Helper()
	for _, state := range states {
		s.login(state, "admin", s.password[state])
		for name, roles := range map[string]string{"officer": "--role user", "approver": "--role approver", "duty": "--role duty --role user"} {
			var made struct{ Password string }
			if err := json.Unmarshal([]byte(s.as(state+"-admin", "user add "+name+" "+roles)), &made); err != nil {
				s.t.Fatal(err)
			}
			s.login(state, name, made.Password)
		}
	}
}

// show reads a request as a person does; nil where it is not there yet.
func (s *site) show(person, id string) *operatorv1.GetRequestResponse {
	s.t.Helper()
	out, err := s.try("enlace --profile " + person + " --json request show " + id)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 4 {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	r := new(operatorv1.GetRequestResponse)
	if err := protojson.Unmarshal([]byte(out), r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// until waits for a request to be as wanted at one side.
func (s *site) until(person, id string, wanted func(*operatorv1.GetRequestResponse) bool) *operatorv1.GetRequestResponse {
	s.t.Helper()
	var r *operatorv1.GetRequestResponse
	s.await(person+" sees "+id+" as wanted", func() bool {
		r = s.show(person, id)
		return r != nil && wanted(r)
	})
	return r
}

func (s *site) await(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("it never happened: " + what)
		}
	}
}

// know waits until the node of a state has an authority in its directory.
func (s *site) know(state, other string) {
	s.t.Helper()
	s.await(state+" knows "+other, func() bool { return strings.Contains(s.as(state+"-admin", "directory ls"), `"`+other+`"`) })
}

// daemon is one program that goes on, and may be killed and started again.
type daemon struct {
	site          *site
	command, door string
	process       *exec.Cmd
	ended         chan error
	mu            sync.Mutex
	log           bytes.Buffer // guarded by mu; of all its lives
}

// Write takes what the process logs.
func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *daemon) logged() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.log.Bytes())
}

// start begins a life of the program and waits until its door opens.
func (d *daemon) start() {
	t := d.site.t
	t.Helper()
	ended := d.run()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", d.door)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", d.command, err, d.logged())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s did not open its door\n%s", d.command, d.logged())
		}
	}
}

// run begins a life of the program, and does not wait for anything.
func (d *daemon) run() chan error {
	d.site.t.Helper()
	d.process = d.site.command(context.Background(), d.command)
	d.process.Stderr = d
	if err := d.process.Start(); err != nil {
		d.site.t.Fatal(err)
	}
	ended := make(chan error, 1)
	d.ended = ended
	go func(p *exec.Cmd) { ended <- p.Wait() }(d.process)
	return ended
}

// kill ends the process as a power cut of the machine ends it, but for the disk.
func (d *daemon) kill() {
	d.site.t.Helper()
	if err := d.process.Process.Kill(); err != nil {
		d.site.t.Fatal(err)
	}
	<-d.ended
	d.process = nil
}

// stop ends the process as an administrator does; it may be called twice.
func (d *daemon) stop() {
	if d.process == nil {
		return
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.ended:
		if err != nil {
			d.site.t.Errorf("%s ended: %v\n%s", d.command, err, d.logged())
		}
	case <-time.After(patience):
		_ = d.process.Process.Kill()
		<-d.ended
		d.site.t.Errorf("%s did not end", d.command)
	}
	d.process = nil
}
