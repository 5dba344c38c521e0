// Faultfs is a disk that loses what nobody made durable. It shows a tree of files in a folder through FUSE, keeps it in
// memory, and on the command of a test has a power cut: what no fsync covers is kept, dropped, torn or reordered, as a
// disk may. A file's bytes and the name that a folder has for it are made durable apart, by an fsync of each.
//
//	faultfs FOLDER
//
// Commands come on standard input, one to a line; each is answered on standard output with "ok" or "error: WHY".
//
//	cut SEED        unmount, lose, mount again. Stop the programs that use the folder first: SIGKILL, and wait.
//	full on|off     no file grows while it is on (ENOSPC)
//	flip BYTE PATH  unmount, change the lowest bit of that byte of the file, mount again
//
// It ends, unmounting, when standard input does. It runs as root, or where fusermount3 is installed. It is a tool of
// tests: what it holds is gone with it.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: faultfs FOLDER")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "faultfs:", err)
		os.Exit(1)
	}
}

// session is a disk in a folder.
type session struct {
	disk   *disk
	folder string
	server *fuse.Server
}

func serve(folder string, commands io.Reader, answers io.Writer) error {
	s := &session{disk: newDisk(), folder: folder}
	if err := s.mount(); err != nil {
		return err
	}
	fmt.Fprintln(answers, "ok")
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		if err := s.do(lines.Text()); err != nil {
			fmt.Fprintln(answers, "error:", err)
			continue
		}
		fmt.Fprintln(answers, "ok")
	}
	return s.server.Unmount()
}

func (s *session) mount() (err error) {
	s.server, err = s.disk.mount(s.folder)
	return err
}

func (s *session) do(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "cut":
		seed, err := strconv.ParseUint(rest, 10, 64)
		if err != nil {
			return err
		}
		return s.away(func() error {
			s.disk.cut(rand.New(rand.NewPCG(seed, 0)))
			return nil
		})
	case "flip":
		at, path, _ := strings.Cut(rest, " ")
		position, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return err
		}
		return s.away(func() error { return s.disk.flip(strings.Split(path, "/"), position, 0) })
	case "full":
		if rest != "on" && rest != "off" {
			return fmt.Errorf("full is on or off, not %q", rest)
		}
		s.disk.fill(rest == "on")
		return nil
	}
	return fmt.Errorf("there is no command %q", verb)
}

// away does something while the disk is not mounted, so that the kernel keeps nothing of before.
func (s *session) away(do func() error) error {
	if err := s.server.Unmount(); err != nil {
		return fmt.Errorf("a program still uses the folder: %w", err)
	}
	if err := do(); err != nil {
		if again := s.mount(); again != nil {
			return again
		}
		return err
	}
	return s.mount()
}
