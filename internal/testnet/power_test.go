package testnet_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// power is the disk of one machine, a faultfs, which loses at a power cut what no fsync covers.
type power struct {
	t        *testing.T
	process  *exec.Cmd
	commands io.WriteCloser
	answers  *bufio.Scanner
}

// plug gives the folder of a machine such a disk, before anything is in it.
func (s *site) plug(program, machine string) *power {
	s.t.Helper()
	if err := os.Mkdir(s.path(machine), 0o700); err != nil {
		s.t.Fatal(err)
	}
	p := &power{t: s.t, process: exec.Command(program, s.path(machine))}
	in, err := p.process.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := p.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.commands, p.answers = in, bufio.NewScanner(out)
	if err := p.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	if !p.answers.Scan() {
		_ = p.process.Wait()
		s.t.Skip("this machine mounts no FUSE file systems")
	}
	s.t.Cleanup(func() {
		_ = in.Close()
		if err := p.process.Wait(); err != nil {
			s.t.Error(err)
		}
	})
	return p
}

// cut has the power cut on a machine whose programs are dead.
func (p *power) cut(seed uint64) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.commands, "cut", seed); err != nil {
		p.t.Fatal(err)
	}
	if !p.answers.Scan() || p.answers.Text() != "ok" {
		p.t.Fatalf("cut: %q", p.answers.Text())
	}
}

// faultfs builds the program from its own module.
func faultfs(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "faultfs")
	if out, err := exec.Command("go", "-C", "../../tools/faultfs", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// TestPowerCut is TestKill where the machines lose, with the program, what it had not made durable: all of it, the end,
// or something in the middle. P1, P2, P3, P8.
func TestPowerCut(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("this machine has no FUSE, no power is cut: %v", err)
	}
	program := faultfs(t)
	s, _ := newSite(t)
	disks := map[string]*power{}
	for _, machine := range []string{"hub", "mx", "jm"} {
		disks[machine] = s.plug(program, machine)
	}
	s.afterKill = func(d *daemon, seed uint64) {
		machine, _, _ := strings.Cut(d.command[strings.LastIndexByte(d.command, ' ')+1:], "/")
		disks[machine].cut(seed)
	}
	s.survives()
}
