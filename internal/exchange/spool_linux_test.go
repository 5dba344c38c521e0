package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/message"
)

const fullSpoolChild = "ENLACE_EXCHANGE_TEST_MOUNT"

// TestFullSpool runs TestFullSpoolChild in a mount namespace of its own, where it may make a small disk and fill it.
func TestFullSpool(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^TestFullSpoolChild$", "-test.v")
	child.Env = append(os.Environ(), fullSpoolChild+"=yes")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := child.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("this machine does not let a test mount a disk of its own: ", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
}

// TestFullSpoolChild: while the disk of the spool is full an attachment is answered by retry later, never by COMPLETE,
// and nothing of it is on record as stored; with room again it goes on where it was. P1, P3.
func TestFullSpoolChild(t *testing.T) {
	if os.Getenv(fullSpoolChild) == "" {
		t.Skip("run by TestFullSpool")
	}
	spool := t.TempDir()
	if err := mountDisk(spool, "size=1m", 0); err != nil {
		t.Skip("no small disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(spool, syscall.MNT_DETACH) })
	w := newWorld(t)
	w.jm.stop()
	ctx := context.Background()
	file := make([]byte, 9*message.HashChunk+1)
	rand.NewChaCha8([32]byte{2}).Read(file)
	id := w.sent(file)
	env, ref, sealed := w.sealed(id)
	w.mx.stop() // so that its courier does not do what the test does
	w.jm.spool = spool
	w.jm.restart()
	first, err := w.receive(w.mx.node, env)
	w.must(err)

	for range 2 {
		stored := w.stored(ref)
		done, err := w.jm.ReceiveAttachment(ctx, w.mx.node, ref, stored, bytes.NewReader(sealed[stored:]))
		if !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "disk-full" || done.Complete || len(done.Receipt) > 0 {
			t.Fatalf("on a full disk: %+v, %v; want disk-full", done, err)
		}
	}
	again, err := w.receive(w.mx.node, env)
	w.must(err)
	if !bytes.Equal(first, again) {
		t.Error("the receipt changed although nothing was stored")
	}
	stored := w.stored(ref)
	if stored == 0 || stored%message.HashChunk != 0 || stored > 1<<20 {
		t.Errorf("%d bytes are said to be stored on a disk of 1 MiB", stored)
	}

	w.must(mountDisk(spool, "size=16m", syscall.MS_REMOUNT))
	done, err := w.jm.ReceiveAttachment(ctx, w.mx.node, ref, stored, bytes.NewReader(sealed[stored:]))
	w.must(err)
	if !done.Complete || len(done.Receipt) == 0 {
		t.Fatalf("with room again: %+v", done)
	}
	r, _, err := w.jm.OpenAttachment(ctx, w.jm.actor(), id, ref.Message.ID, 0)
	w.must(err)
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, file) {
		t.Errorf("the file is not the same at the other end (%v)", err)
	}
}

func mountDisk(dir, size string, flags uintptr) error {
	if flags == 0 {
		// Nothing that is mounted here shall be seen outside.
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			return err
		}
	}
	return syscall.Mount("enlace-test", dir, "tmpfs", flags, size)
}

// stored is how much of an attachment the receiver says it has.
func (w *world) stored(ref message.AttachmentRef) uint64 {
	w.t.Helper()
	st, err := w.jm.AttachmentStatus(context.Background(), w.mx.node, ref)
	w.must(err)
	return st.Bytes
}
