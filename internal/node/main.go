package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/keyring"
)

// Main is the daemon's whole life in a process of its own: it reads the configuration, logs JSON lines to standard
// error, asks for the passphrase on the terminal if the configuration says so, and runs until ctx ends.
func Main(ctx context.Context, path string, clock func() time.Time, random io.Reader) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	p, err := cfg.parse()
	if err != nil {
		return err
	}
	logs := zap.NewProductionConfig()
	logs.Level = zap.NewAtomicLevelAt(p.level)
	log, err := logs.Build()
	if err != nil {
		return fault.Wrap(err, fault.Internal, "", "start", "the log cannot be opened")
	}
	defer func() { _ = log.Sync() }() // standard error cannot be synced on a terminal
	return Run(ctx, cfg, Options{Prompt: ask, Clock: clock, Random: random, Log: log})
}

// ask reads the passphrase from the terminal, without echo.
func ask() (keyring.Passphrase, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return keyring.Passphrase{}, fault.New(fault.Usage, "no-terminal", "unlock keyring", "there is no terminal to ask for the passphrase on").
			WithHint("set keyring.file.unlock to systemd:NAME or file:PATH")
	}
	fmt.Fprint(os.Stderr, "Passphrase of the keyring: ")
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return keyring.Passphrase{}, fault.Wrap(err, fault.Usage, "no-terminal", "unlock keyring", "the passphrase could not be read")
	}
	return keyring.NewPassphrase(string(b)), nil
}
