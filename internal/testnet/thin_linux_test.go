package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
	operatorv1 "github.com/enlace-network/enlace/internal/pb/enlace/operator/v1"
	"github.com/enlace-network/enlace/internal/testnet"
)

const (
	thinRate  = 8000                   // bytes per second and direction: 64 kbit/s
	thinDelay = 300 * time.Millisecond // each way
	// thinQueue is what the line's modem holds before it drops: a hundred packets, as many do. That is 19 seconds' worth, and
	// TCP left to itself fills it.
	thinQueue = 100 * 1500
	// The two ends of the line, of a range that is for tests.
	fatAddr, thinAddr = "198.18.77.1", "198.18.77.2"

	// urgentWithin is the promise: a 2 kB message that is IMMEDIATE arrives while a file is under way.
	urgentWithin = 10 * time.Second
	urgentCount  = 10
	// thinFile stands for one of 1 GB: it takes longer than the test either way.
	thinFile = 32 << 20
)

// thinLine is a line of 64 kbit/s with 600 ms round trip between this machine's network and a network namespace. It
// carries IP packets, so TCP on both sides is the kernel's and meets the queue as it would meet a modem's.
type thinLine struct {
	t         *testing.T
	namespace string
	in, out   *way // to and from the namespace
}

// way is one direction of a line: a queue that drops at its tail, a rate, a delay.
type way struct {
	mu      sync.Mutex
	waiting int // guarded by mu; bytes
	most    int // guarded by mu; the most that waited
	carried int // guarded by mu
	dropped int // guarded by mu; packets
}

// newThinLine skips the test where network namespaces or tunnels are not allowed.
func newThinLine(t *testing.T) *thinLine {
	t.Helper()
	l := &thinLine{t: t, namespace: fmt.Sprintf("enlace-thin-%d", os.Getpid()), in: &way{}, out: &way{}}
	if os.Getuid() != 0 {
		t.Skip("a thin line needs a network namespace, and that needs root")
	}
	if out, err := exec.Command("ip", "netns", "add", l.namespace).CombinedOutput(); err != nil {
		t.Skipf("a thin line needs a network namespace: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.namespace).Run() })
	fat, thin := l.tunnel("enlfat"), l.tunnel("enlthin")
	l.run("ip link set enlthin netns " + l.namespace)
	l.run("ip addr add " + fatAddr + " peer " + thinAddr + " dev enlfat")
	l.run("ip link set enlfat up")
	// Reno, unlike Cubic, does not turn careful before the queue is full: what others send by is not ours to choose.
	for _, command := range []string{"sysctl -q -w net.ipv4.tcp_congestion_control=reno", "ip link set lo up", "ip addr add " + thinAddr + " peer " + fatAddr + " dev enlthin", "ip link set enlthin up"} {
		l.run("ip netns exec " + l.namespace + " " + command)
	}
	go l.in.carry(fat, thin)
	go l.out.carry(thin, fat)
	return l
}

func (l *thinLine) run(command string) {
	l.t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		l.t.Skipf("%s: %v: %s", command, err, out)
	}
}

// tunnel makes a network device whose packets are read and written here.
func (l *thinLine) tunnel(name string) *os.File {
	l.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		l.t.Skipf("a thin line needs /dev/net/tun: %v", err)
	}
	var request [40]byte
	copy(request[:], name)
	*(*uint16)(unsafe.Pointer(&request[unix.IFNAMSIZ])) = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		l.t.Skipf("a thin line needs a tunnel: %v", errno)
	}
	f := os.NewFile(uintptr(fd), name)
	l.t.Cleanup(func() { _ = f.Close() })
	return f
}

// carry moves packets until either end is closed.
func (w *way) carry(from, to *os.File) {
	queue, late := make(chan []byte, 4096), make(chan packet, 4096)
	defer close(queue)
	go w.pace(queue, late)
	go func() {
		for p := range late {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes)
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if w.enter(n) {
			queue <- bytes.Clone(buf[:n])
		}
	}
}

type packet struct {
	bytes []byte
	due   time.Time
}

// pace lets packets go at the line's rate; what has gone is on its way for the line's delay.
func (w *way) pace(queue <-chan []byte, late chan<- packet) {
	defer close(late)
	free := time.Now()
	for p := range queue {
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(time.Duration(len(p)) * time.Second / thinRate)
		time.Sleep(time.Until(free))
		w.mu.Lock()
		w.waiting -= len(p)
		w.carried += len(p)
		w.mu.Unlock()
		late <- packet{p, free.Add(thinDelay)}
	}
}

func (w *way) enter(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting+n > thinQueue {
		w.dropped++
		return false
	}
	w.waiting += n
	w.most = max(w.most, w.waiting)
	return true
}

func (w *way) seen() (carried, most, dropped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	carried, most, dropped = w.carried, w.most, w.dropped
	w.most, w.dropped = w.waiting, 0
	return carried, most, dropped
}

// dial connects from within the namespace.
func (l *thinLine) dial(addr string) (net.Conn, error) {
	type dialled struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialled, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		f, err := os.Open("/run/netns/" + l.namespace)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- dialled{nil, err}
			return
		}
		conn, err := net.Dial("tcp", addr)
		done <- dialled{conn, err}
	}()
	d := <-done
	return d.conn, d.err
}

// forward passes connections on as fast as it goes, and returns where it listens.
func forward(t *testing.T, listen string, dial func() (net.Conn, error)) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", listen))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := dial()
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_, _ = pair[0].Close(), pair[1].Close()
				}()
			}
		}
	}()
	return l.Addr().String()
}

// thinState is a network where the node of jm is a program at the far end of a thin line, with the small-state profile.
func thinState(t *testing.T, l *thinLine) (mx, jm *testnet.Member) {
	t.Helper()
	reach := func(listen string) (string, error) {
		return forward(t, fatAddr+":0", func() (net.Conn, error) { return net.Dial("tcp", listen) }), nil
	}
	own := ""
	reno := &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno") })
	}}
	n := start(t, testnet.Options{States: []string{"mx", "jm"}, SmallState: []string{"jm"}, HubRelay: reach, Relay: func(listen string) (string, error) {
		if own == "" {
			own = listen
			return reach(listen)
		}
		own = listen
		_, port, err := net.SplitHostPort(listen)
		if err != nil {
			return "", err
		}
		return forward(t, fatAddr+":0", func() (net.Conn, error) { return reno.Dial("tcp", thinAddr+":"+port) }), nil
	}})
	mx, jm = n.Members[0], n.Members[1]
	operator := jm.Daemon.OperatorAddr.String()
	if err := jm.Stop(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(own)
	config := filepath.Join(jm.Dir, "node.yaml")
	text := string(must[[]byte](t)(os.ReadFile(config)))
	if err := os.WriteFile(config, []byte(strings.Replace(text, own, thinAddr+":"+port, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.node(config)
	forward(t, operator, func() (net.Conn, error) { return l.dial(operator) })
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := jm.Officer.Session.WhoAmI(t.Context(), &operatorv1.WhoAmIRequest{}); err == nil {
			return mx, jm
		} else if time.Since(began) > time.Minute {
			t.Fatalf("jm does not answer: %v", err)
		}
	}
}

// node runs a node in the namespace until the test ends.
func (l *thinLine) node(config string) {
	l.t.Helper()
	bin := must[string](l.t)(programs())
	var log bytes.Buffer
	process := exec.Command("ip", "netns", "exec", l.namespace, filepath.Join(bin, "enlace-node"), "--config", config)
	process.Stderr = &log
	if err := process.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = process.Process.Signal(os.Interrupt)
		_ = process.Wait()
		if l.t.Failed() {
			l.t.Log(log.String())
		}
	})
}

// urgent is a request of some 2 kB that cannot wait.
func urgent(from, to *testnet.Member) *operatorv1.Draft {
	d := testnet.Exercise(from, to, "identify-person", strings.Repeat("Who is it? ", 100))
	d.Urgency = "IMMEDIATE"
	d.Request.UrgencyReason = &formatv1.Reason{Code: "THREAT_TO_LIFE"}
	return d
}

// TestUrgentOvertakesAFile: on a line of 64 kbit/s and 600 ms round trip a message that is IMMEDIATE arrives within 10 s
// while a file is under way in the same direction, from and to the state behind the line. P12.
func TestUrgentOvertakesAFile(t *testing.T) {
	if raced || testing.Short() {
		t.Skip("it measures time")
	}
	l := newThinLine(t)
	mx, jm := thinState(t, l)
	t.Log("ready")
	t.Run("from the thin line", func(t *testing.T) { overtaken(t, jm, mx, l.out) })
	t.Run("to the thin line", func(t *testing.T) { overtaken(t, mx, jm, l.in) })
}

func overtaken(t *testing.T, from, to *testnet.Member, w *way) {
	began, _, _ := w.seen()
	file := testnet.File{Name: "film.bin", Data: bytes.NewReader(make([]byte, thinFile))}
	must[string](t)(from.Submit(t.Context(), testnet.Exercise(from, to, "identify-person", "Who is in the film?"), file))
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if carried, _, _ := w.seen(); carried-began > thinQueue {
			break
		} else if time.Since(start) > 2*time.Minute {
			t.Fatalf("the file does not move: %d bytes", carried-began)
		}
	}
	for i := range urgentCount {
		took, err := arrived(t, from, to)
		_, most, dropped := w.seen()
		t.Logf("message %d arrived after %s; at most %d bytes waited for the line, %d packets were dropped", i+1, took.Round(10*time.Millisecond), most, dropped)
		if err != nil || took > urgentWithin {
			t.Errorf("message %d took %s, want at most %s (%v)", i+1, took, urgentWithin, err)
		}
	}
	if end, _, _ := w.seen(); end-began > thinFile {
		t.Error("the file was over before the messages were")
	}
}

// arrived is how long a message takes from its release until the officers on the other side have it.
func arrived(t *testing.T, from, to *testnet.Member) (time.Duration, error) {
	began := time.Now()
	id, err := from.Submit(t.Context(), urgent(from, to))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = to.Await(ctx, to.Duty, id, func(*operatorv1.GetRequestResponse) bool { return true })
	return time.Since(began), err
}
