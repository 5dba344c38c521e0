package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
}

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, streams Streams, clock func() time.Time, random io.Reader) int {
	a := &app{streams: streams, clock: clock, random: random}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.fail(err)
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
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
func sentence(err error) string {
	f := fault.As(err)
	switch {
	case f.Cause != nil && f.Op == "":
		return f.Cause.Error()
	case f.Op == "":
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
