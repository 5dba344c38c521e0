package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/enlace-network/enlace/internal/fault"
)

// failed is an error of the torture program itself, not of what it tortures.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Internal, "torture", op, err.Error())
}

// source is the folder of the module, from which programs are built.
func source(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/enlace-network/enlace").Output()
	if err != nil || len(out) < 2 {
		return "", fault.Wrap(err, fault.Usage, "no-source", "find source", "the module's source is not here").
			WithHint("run it in the folder of the repository")
	}
	return string(out[:len(out)-1]), nil
}

// buildDisk builds the fault file system from its own module.
func buildDisk(ctx context.Context, source, dir string) (string, error) {
	path := filepath.Join(dir, "faultfs")
	if out, err := exec.CommandContext(ctx, "go", "-C", filepath.Join(source, "tools", "faultfs"), "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", failed("build faultfs", fmt.Errorf("%w\n%s", err, out))
	}
	return path, nil
}

// disk is a folder on a faultfs: a disk that loses at a power cut what nobody made durable.
type disk struct {
	process  *exec.Cmd
	mu       sync.Mutex // of one command and its answer
	commands io.WriteCloser
	answers  *bufio.Scanner
}

// mount makes the folder and the disk in it. Usage "no-fuse" where the machine mounts no FUSE file systems.
func mount(program, folder string) (*disk, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, failed("mount disk", err)
	}
	d := &disk{process: exec.Command(program, folder)}
	d.process.Stderr = os.Stderr
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // whoever interrupts us does not take the disk away before the end
	in, err := d.process.StdinPipe()
	if err != nil {
		return nil, failed("mount disk", err)
	}
	out, err := d.process.StdoutPipe()
	if err != nil {
		return nil, failed("mount disk", err)
	}
	d.commands, d.answers = in, bufio.NewScanner(out)
	if err := d.process.Start(); err != nil {
		return nil, failed("mount disk", err)
	}
	if !d.answers.Scan() {
		return nil, fault.Wrap(d.process.Wait(), fault.Usage, "no-fuse", "mount disk", "this machine mounts no FUSE file systems, so there is nothing to cut the power of").
			WithHint("it takes /dev/fuse, and root or fusermount3")
	}
	return d, nil
}

// do gives one command.
func (d *disk) do(command string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := fmt.Fprintln(d.commands, append([]any{command}, args...)...); err != nil {
		return failed(command, err)
	}
	if !d.answers.Scan() {
		return failed(command, errors.New("the disk is gone"))
	}
	if d.answers.Text() != "ok" {
		return failed(command, errors.New(d.answers.Text()))
	}
	return nil
}

// close unmounts the disk; what it held is gone.
func (d *disk) close() error {
	_ = d.commands.Close()
	return failed("unmount disk", d.process.Wait())
}
