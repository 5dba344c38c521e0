package tiles

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/enlace-network/enlace/internal/fault"
)

const childDir, childTask = "ENLACE_TEST_TILES", "ENLACE_TEST_TASK"

// TestMain runs this program as the process that a test kills or starves.
func TestMain(m *testing.M) {
	switch os.Getenv(childTask) {
	case "grow":
		childGrow(os.Getenv(childDir))
	case "starve":
		if err := childStarve(os.Getenv(childDir)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(t *testing.T, task, dir string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childTask+"="+task, childDir+"="+dir)
	return command
}

// childGrow appends and says how far it is, until it is killed.
func childGrow(dir string) {
	log, err := Open(context.Background(), Options{Dir: dir, Origin: origin, Signer: seed(1)})
	for err == nil {
		size := int(log.Size())
		_, err = log.Append(context.Background(), leaves(size, size+1+size%7)...)
		fmt.Println(log.Size())
	}
	fmt.Println(err)
}

// TestKilled kills a process again and again while it appends. What it said was appended is there, what is missing is
// handed in again, and the log is the same as one that was never killed.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	size := int64(0)
	for round := range 12 {
		command := child(t, "grow", dir)
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		command.Stderr = &said
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 + 5*round {
			if !lines.Scan() {
				t.Fatal("the child ended by itself")
			}
			if size, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
				t.Fatal(lines.Text())
			}
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			size, _ = strconv.ParseInt(lines.Text(), 10, 64)
		}
		_ = command.Wait()
		if said.Len() > 0 {
			t.Errorf("on standard error, where only the program itself may write:\n%s", said.String())
		}
		log := open(t, dir)
		if got, err := log.Root(); err != nil || log.Size() < size || got != root(int(log.Size())) {
			t.Fatalf("after a kill at %d: size %d, root %v, %v", size, log.Size(), got, err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log := open(t, dir)
	to := int(log.Size()) + 300
	grow(t, log, to)
	if got, err := log.Root(); err != nil || got != root(to) {
		t.Errorf("root %v, %v; want that of %d leaves", got, err, to)
	}
}

// TestStarved lets a real disk of half a megabyte run full.
func TestStarved(t *testing.T) {
	command := child(t, "starve", t.TempDir())
	command.SysProcAttr = namespace()
	out, err := command.CombinedOutput()
	if err != nil && (errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "mount:")) {
		t.Skipf("this machine lets nobody mount: %v %s", err, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func childStarve(dir string) error {
	if err := mount(dir); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	ctx := context.Background()
	log, err := Open(ctx, Options{Dir: filepath.Join(dir, "tiles"), Origin: origin, Signer: seed(1)})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 100<<10), 0o600); err != nil {
		return err
	}
	// The first batch has room, the second has not.
	if _, err := log.Append(ctx, leaves(0, 3*maxBatch)...); !fault.Is(err, fault.Retry) || fault.CodeOf(err) != "disk-full" {
		return fmt.Errorf("full disk: %w, want disk-full", err)
	}
	if log.Size() != maxBatch {
		return fmt.Errorf("size %d after the failure, want %d", log.Size(), maxBatch)
	}
	if err := fill(filepath.Join(dir, "filler")); err != nil {
		return err
	}
	for range 50 { // each attempt must leave nothing behind
		if _, err := log.Append(ctx, leaf(maxBatch)); fault.CodeOf(err) != "disk-full" {
			return fmt.Errorf("one leaf on a full disk: %w, want disk-full", err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "tiles/tile/entries/016.p/*")); err != nil || len(left) > 1 {
		return fmt.Errorf("left behind: %v, %w", left, err)
	}
	for _, name := range []string{"filler", "other"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if _, err := log.Append(ctx, leaves(maxBatch, maxBatch+300)...); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if got, err := log.Root(); err != nil || got != root(maxBatch+300) {
		return fmt.Errorf("root %v, %w", got, err)
	}
	return log.Close()
}

// fill writes until nothing fits any more.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = file.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return file.Close()
}
