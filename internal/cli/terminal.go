package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/enlace-network/enlace/internal/fault"
)

// maxSecret bounds what is read as a password or token.
const maxSecret = 4 << 10

// terminalOf is the file descriptor behind a stream, if a person sits there.
func terminalOf(stream any) (int, bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	fd := int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// sure asks before something that cannot be undone. Without a terminal to ask at, --yes must have been given.
func (a *app) sure(ctx context.Context, question string) error {
	if a.yes {
		return nil
	}
	if _, ok := terminalOf(a.streams.In); !ok || a.json {
		return fault.New(fault.Usage, "not-confirmed", "", "this asks for a confirmation: "+question).
			WithHint("add --yes to confirm")
	}
	fmt.Fprintf(a.streams.Err, "%s [y/N] ", question)
	line, err := a.readLine(ctx)
	if err != nil {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fault.New(fault.Denied, "not-confirmed", "", "not confirmed, nothing was done")
	}
	return nil
}

func (a *app) readLine(ctx context.Context) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1) // the reader outlives an interrupted question by at most the process's last moment
	go func() {
		line, err := bufio.NewReader(io.LimitReader(a.streams.In, maxSecret)).ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", fault.New(fault.Usage, "interrupted", "", "interrupted, nothing was done")
	case r := <-done:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return "", fault.Wrap(r.err, fault.Internal, "", "read answer", "the input cannot be read")
		}
		return strings.TrimRight(r.line, "\r\n"), nil
	}
}

// secret reads a password or token: the first line of a file ("-" is the standard input), else typed at the terminal
// without echo, else the first line of the standard input.
func (a *app) secret(ctx context.Context, prompt, file string) (string, error) {
	var s string
	var err error
	fd, terminal := terminalOf(a.streams.In)
	switch {
	case file != "" && file != "-":
		s, err = secretFile(file)
	case terminal && file == "":
		s, err = a.typed(ctx, prompt, fd)
	default:
		s, err = a.readLine(ctx)
	}
	if err != nil {
		return "", err
	}
	if s == "" {
		return "", fault.New(fault.Usage, "empty", "read "+strings.ToLower(prompt), "nothing was given").
			WithHint("name a file that holds it, or type it")
	}
	return s, nil
}

// typed reads a line without echo. An interrupt gives the terminal its echo back.
func (a *app) typed(ctx context.Context, prompt string, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", "read answer", "the terminal cannot be read")
	}
	stop := context.AfterFunc(ctx, func() {
		_ = term.Restore(fd, before)
		fmt.Fprintln(a.streams.Err)
		os.Exit(exitCode(fault.Internal)) // nothing has been done yet, and the read cannot be woken
	})
	defer stop()
	fmt.Fprint(a.streams.Err, prompt+": ")
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(a.streams.Err)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "", "read answer", "the terminal cannot be read")
	}
	return string(b), nil
}

func secretFile(path string) (string, error) {
	b, err := readSmall(path, maxSecret)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// readSmall reads a file that the user named, refusing one larger than limit before it is in memory.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	return readBounded("read "+path, f, limit)
}

// readBounded reads to the end, refusing more than limit before it is in memory.
func readBounded(op string, src io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(src, limit+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "unreadable", op, "the file cannot be read")
	}
	if int64(len(b)) > limit {
		return nil, fault.New(fault.Usage, "too-large", op, fmt.Sprintf("the file is larger than %d bytes", limit))
	}
	return b, nil
}

func unreadable(path string, err error) error {
	say := "the file cannot be read"
	if errors.Is(err, os.ErrNotExist) {
		say = "there is no such file"
	}
	return fault.Wrap(err, fault.Usage, "unreadable", "read "+path, say)
}

// clean is text from elsewhere on one line of this terminal: no control characters, no invisible marks that reorder
// or hide what follows. Other states write it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// paragraph is clean text of several lines, each behind an indent.
func paragraph(indent, s string) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n"), "\n")
	for i, l := range lines {
		lines[i] = indent + clean(l)
	}
	return strings.Join(lines, "\n")
}

// cut shortens clean text to n characters.
func cut(s string, n int) string {
	r := []rune(clean(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
