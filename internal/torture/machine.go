package torture

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/keyring"
)

const (
	// startWithin is how long a program may take to open its door on a loaded machine; stopWithin to end.
	startWithin = 60 * time.Second
	stopWithin  = 30 * time.Second
	// tries is how often a program is started again that ends by itself on a sound disk.
	tries = 4
	tail  = 2000 // bytes of a log that are shown
)

// machine is a computer with a disk, a clock, a link and one program on it.
type machine struct {
	name, dir, config string
	// program is run as: program which --config config --clock clock.
	program, which, clock string
	door                  string // address that shows that it is up
	disk                  *disk
	relays                []*relay
	log                   string // file of what the program logs, of all its lives
	// unlock opens the node's keys, recovery its backups.
	unlock   string
	recovery *keyring.RecoveryKey
	// server keeps the ledger; nil where that is a file.
	server *server

	// faults is held by who breaks the machine: one fault at a time.
	faults sync.Mutex
	// uploads is held for reading by an officer who hands a file in.
	uploads sync.RWMutex

	mu    sync.Mutex
	life  *exec.Cmd     // guarded by mu; nil while it is off
	ended chan struct{} // guarded by mu; of life
	deeds int           // guarded by mu; ends that nobody caused
}

// start begins a life of the program and waits until its door opens. A program that ends instead is started again a few
// times, as a service manager does.
func (m *machine) start(ctx context.Context) error {
	var err error
	for range tries {
		if err = m.startServer(ctx); err != nil {
			pause(ctx, time.Second)
			continue
		}
		if err = m.startOnce(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, time.Second)
	}
	return err
}

func (m *machine) startServer(ctx context.Context) error {
	if m.server == nil || m.server.up() {
		return nil
	}
	return m.server.start(ctx)
}

func (m *machine) startOnce(ctx context.Context) error {
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return failed("start "+m.name, err)
	}
	defer out.Close()
	life := exec.Command(m.program, m.which, "--config", m.config, "--clock", m.clock)
	life.Stdout, life.Stderr = out, out
	life.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := life.Start(); err != nil {
		return failed("start "+m.name, err)
	}
	ended := make(chan struct{})
	go func() { _ = life.Wait(); close(ended) }()
	m.mu.Lock()
	m.life, m.ended = life, ended
	m.mu.Unlock()
	return m.opens(ctx, ended)
}

// opens waits for the door.
func (m *machine) opens(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp", m.door, time.Second)
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-ended:
			m.off()
			return fmt.Errorf("%s ended by itself: %s", m.name, m.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s does not open its door: %s", m.name, m.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (m *machine) lastWords() string {
	b, _ := os.ReadFile(m.log)
	return string(b[max(0, len(b)-tail):])
}

// off forgets the life that has ended and returns it.
func (m *machine) off() (*exec.Cmd, chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	life, ended := m.life, m.ended
	m.life, m.ended = nil, nil
	return life, ended
}

// up reports whether the program runs; one that ended though nobody ended it is counted.
func (m *machine) up() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life == nil {
		return false
	}
	select {
	case <-m.ended:
		m.life, m.ended = nil, nil
		m.deeds++
		return false
	default:
		return true
	}
}

// kill ends the program at once, and returns when it is gone.
func (m *machine) kill() {
	if life, ended := m.off(); life != nil {
		_ = life.Process.Kill()
		<-ended
	}
}

// crash ends everything on the machine at once.
func (m *machine) crash() {
	m.kill()
	if m.server != nil {
		m.server.kill()
	}
}

// stop ends the program as an administrator does; it must end well.
func (m *machine) stop() error {
	life, ended := m.off()
	if life == nil {
		return nil
	}
	_ = life.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopWithin):
		_ = life.Process.Signal(syscall.SIGQUIT) // so that its log says where it stands
		<-ended
		return fmt.Errorf("%s does not end: %s", m.name, m.lastWords())
	}
	if code := life.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit status %d: %s", m.name, code, m.lastWords())
	}
	return nil
}

// signal is for SIGSTOP and SIGCONT.
func (m *machine) signal(s syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life != nil {
		_ = m.life.Process.Signal(s)
	}
}

// set changes the weather of all links to the machine.
func (m *machine) set(w weather) {
	for _, r := range m.relays {
		r.set(w)
	}
}

// setClock puts the machine's clock off by d.
func (m *machine) setClock(d time.Duration) error {
	unfinished := m.clock + ".new"
	if err := os.WriteFile(unfinished, []byte(d.String()), 0o600); err != nil {
		return failed("set clock", err)
	}
	return failed("set clock", os.Rename(unfinished, m.clock))
}

// panicked is the first panic in the program's log; empty = none.
func (m *machine) panicked() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return ""
	}
	for _, mark := range []string{"\npanic: ", "\nfatal error: ", "panicked"} {
		if at := bytes.Index(b, []byte(mark)); at >= 0 {
			return string(b[at:min(len(b), at+tail)])
		}
	}
	return ""
}

// path is inside the machine's folder.
func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
