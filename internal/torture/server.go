package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
)

// server is the PostgreSQL server of one machine, with its data on the machine's disk.
type server struct {
	bin, dir, port, log string
	life                *exec.Cmd
	ended               chan struct{}
}

// nobody is a user that every system has: PostgreSQL refuses to run as root. It is that user in a namespace alone, outside
// it is still who started it, so that the disk lets it in.
const nobody = 65534

// newServer makes a cluster below a machine's folder and runs it. Usage "no-postgres" where it is not installed.
func newServer(ctx context.Context, m *machine) (*server, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, fault.New(fault.Usage, "no-postgres", "start server", "PostgreSQL is not installed").WithHint("make postgres")
	}
	slices.Sort(found)
	s := &server{bin: filepath.Dir(found[len(found)-1]), dir: m.path("postgres"), log: m.log + ".postgres"}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	init := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", s.dir, "-U", "enlace", "-A", "trust", "-E", "UTF8", "--locale=C", "--wal-segsize=4")
	confine(init)
	if out, err := init.CombinedOutput(); err != nil {
		return nil, failed("start server", fmt.Errorf("initdb: %w\n%s", err, out))
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	make := exec.CommandContext(ctx, filepath.Join(s.bin, "createdb"), "-h", "127.0.0.1", "-p", s.port, "-U", "enlace", "ledger")
	if out, err := make.CombinedOutput(); err != nil {
		return nil, failed("start server", fmt.Errorf("createdb: %w\n%s", err, out))
	}
	return s, nil
}

// freePort is one below those that the system gives to outgoing connections, as the server is started again on it.
func freePort() (string, error) {
	for range 100 {
		port := fmt.Sprint(12000 + rand.IntN(3000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, failed("find port", l.Close())
		}
	}
	return "", failed("find port", errors.New("no port is free"))
}

func (s *server) dsn() string {
	return "host=127.0.0.1 port=" + s.port + " user=enlace dbname=ledger sslmode=disable"
}

// confine runs a program as nobody in namespaces of its own; all its processes end with it.
func confine(c *exec.Cmd) {
	c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getgid(), Size: 1}},
		Setpgid:     true,
		Pdeathsig:   syscall.SIGKILL,
	}
}

// start runs the server and waits until it takes connections.
func (s *server) start(ctx context.Context) error {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return failed("start server", err)
	}
	defer out.Close()
	life := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.dir, "-k", "", "-p", s.port, "-c", "listen_addresses=127.0.0.1",
		"-c", "max_connections=40", "-c", "shared_buffers=16MB", "-c", "min_wal_size=8MB", "-c", "max_wal_size=64MB", "-c", "restart_after_crash=on")
	confine(life)
	life.Stdout, life.Stderr = out, out
	if err := life.Start(); err != nil {
		return failed("start server", err)
	}
	s.life, s.ended = life, make(chan struct{})
	go func(ended chan<- struct{}) { _ = life.Wait(); close(ended) }(s.ended)
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		ready := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", s.port)
		if ready.Run() == nil {
			return nil
		}
		if ctx.Err() != nil || !s.up() {
			words, _ := os.ReadFile(s.log)
			return failed("start server", fmt.Errorf("it does not start: %s", words[max(0, len(words)-tail):]))
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (s *server) up() bool {
	if s.life == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// kill ends the server with all its processes at once: its first is the first of its namespace.
func (s *server) kill() {
	if s.life == nil {
		return
	}
	_ = s.life.Process.Kill()
	<-s.ended
	s.life = nil
}
