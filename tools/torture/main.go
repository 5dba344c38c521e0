// Command torture runs a network and tries to make it lose, double or falsify what was acknowledged; see package torture.
// It prints what it found, and exits 1 if it found something.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/torture"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && (os.Args[1] == "node" || os.Args[1] == "hub") {
		os.Exit(exit(daemon(ctx, os.Args[1], os.Args[2:])))
	}
	os.Exit(exit(torture.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

// daemon is a node or the hub of a network that is tortured.
func daemon(ctx context.Context, which string, args []string) error {
	flags := flag.NewFlagSet(which, flag.ExitOnError)
	config, clock := flags.String("config", "", "configuration file"), flags.String("clock", "", "file with the offset of the clock")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return torture.Daemon(ctx, which, *config, *clock)
}

func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "torture:", err)
	if hint := fault.As(err).Hint; hint != "" {
		fmt.Fprintln(os.Stderr, "hint:", hint)
	}
	if fault.Is(err, fault.Usage) {
		return 2
	}
	return 1
}
