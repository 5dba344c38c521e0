package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/enlace-network/enlace/internal/authority"
	"github.com/enlace-network/enlace/internal/fault"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every command is handed: the global flags and the world.
type app struct {
	streams Streams
	clock   func() time.Time
	random  io.Reader
	// Global flags.
	profile string
	addr    string
	json    bool
	langTag string
	yes     bool
	timeout time.Duration
	// lang is read from langTag before a command runs.
	lang authority.Language
	// running is set when a command has begun: an error before that is about the command line.
	running bool
}

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, streams Streams, clock func() time.Time, random io.Reader) int {
	// A wrong flag before --json is reported as JSON too.
	a := &app{streams: streams, clock: clock, random: random}
	root := a.root()
	a.json = slices.Contains(args, "--json")
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var known *fault.Error
	if !a.running && !errors.As(err, &known) {
		err = misused(c, err.Error())
	}
	return a.fail(err)
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: onlyCommands, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(children...)
	return c
}

// print shows a result: with --json the value as one object on one line, else what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	if !a.json {
		text(a.streams.Out)
		return nil
	}
	enc := json.NewEncoder(a.streams.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// note writes a line for people beside the result; nothing with --json.
func (a *app) note(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.streams.Err, format+"\n", args...)
	}
}

// fail prints an error and returns its exit code. With --json the error is one object on the error stream.
func (a *app) fail(err error) int {
	f := fault.As(err)
	if a.json {
		_ = json.NewEncoder(a.streams.Err).Encode(map[string]string{"kind": f.Kind.String(), "code": f.Code, "error": sentence(err), "hint": f.Hint})
		return exitCode(f.Kind)
	}
	fmt.Fprintf(a.streams.Err, "enlace: %s\n", sentence(err))
	if f.Hint != "" {
		fmt.Fprintf(a.streams.Err, "hint: %s\n", f.Hint)
	}
	return exitCode(f.Kind)
}

// sentence is what a person reads: operation and reason. The cause is for logs, save where nothing else is known.
// "call" is what room wire puts where only the other side knew what was being done.
func sentence(err error) string {
	f := fault.As(err)
	switch {
	case f.Cause != nil && f.Op == "":
		return f.Cause.Error()
	case f.Op == "" || f.Op == "call":
		return f.Say
	}
	return f.Op + ": " + f.Say
}

func exitCode(k fault.Kind) int {
	switch k {
	case fault.Usage:
		return 2
	case fault.Denied, fault.Invalid, fault.Conflict, fault.TooLarge, fault.Unauthenticated:
		return 3
	case fault.NotFound:
		return 4
	case fault.Retry:
		return 5
	}
	return 1
}
