// Command enlace-directory is the daemon of the directory hub; see package hub and deploy/directory.yaml. With bus-files
// it writes what a NATS server outside the hub needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/hub"
)

func main() {
	config := flag.String("config", "directory.yaml", "configuration file")
	version := flag.Bool("version", false, "print the version and stop")
	flag.Usage = usage
	flag.Parse()
	if *version {
		fmt.Println(hub.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *config, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "enlace-directory:", err)
		if hint := fault.As(err).Hint; hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", hint)
		}
		os.Exit(1)
	}
}

// run is the daemon, or the one command beside it.
func run(ctx context.Context, config string, args []string) error {
	switch {
	case len(args) == 0:
		return hub.Main(ctx, config, time.Now)
	case len(args) == 2 && args[0] == "bus-files":
		if err := hub.BusFiles(config, args[1], time.Now); err != nil {
			return err
		}
		fmt.Printf("%s: set up the NATS server with nats-server.conf, then set bus.mode to external and bus.urls in %s\n", args[1], config)
		return nil
	}
	return fault.New(fault.Usage, "usage", "read command line", "there is no such command").WithHint("enlace-directory -h")
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `enlace-directory [--config FILE]                 run the hub
enlace-directory [--config FILE] bus-files DIR   write what an external NATS server needs

`)
	flag.PrintDefaults()
}
