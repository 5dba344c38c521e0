package hub

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// Main is the daemon's whole life in a process of its own: it reads the configuration, logs JSON lines to standard error,
// asks for the passphrase on the terminal if the configuration says so, and runs until ctx ends.
func Main(ctx context.Context, path string, clock func() time.Time) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	level, err := zapcore.ParseLevel(cfg.Observe.LogLevel)
	if err != nil {
		return wrongKey("observe.log_level")
	}
	logs := zap.NewProductionConfig()
	logs.Level = zap.NewAtomicLevelAt(level)
	log, err := logs.Build()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", opStart, "the log cannot be opened")
	}
	defer func() { _ = log.Sync() }() // standard error cannot be synced on a terminal
	return Run(ctx, cfg, Options{Prompt: ask, Clock: clock, Log: log})
}

// BusFiles is WriteBusFiles for a person at a terminal: it reads the configuration at path and asks for the passphrase if
// that says so.
func BusFiles(path, dir string, clock func() time.Time) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	return WriteBusFiles(cfg, dir, Options{Prompt: ask, Clock: clock, Log: zap.NewNop()})
}

// ask reads the passphrase from the terminal, without echo.
func ask() (keyring.Passphrase, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return keyring.Passphrase{}, fault.New(fault.Usage, "no-terminal", "unlock keyring", "there is no terminal to ask for the passphrase on").
			WithHint("set keyring.file.unlock to systemd:NAME or file:PATH")
	}
	fmt.Fprint(os.Stderr, "Passphrase of the hub's keyring: ")
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return keyring.Passphrase{}, fault.Wrap(err, fault.Usage, "no-terminal", "unlock keyring", "the passphrase could not be read")
	}
	return keyring.NewPassphrase(string(b)), nil
}

// Version is the module's version and the commit it was built from, as the Go toolchain recorded them.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && v == "(devel)" {
			v += " " + s.Value[:12]
		}
	}
	return v
}
