// Command enlace-directory is the daemon of the directory hub; see package hub and deploy/directory.yaml.
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
	flag.Parse()
	if *version {
		fmt.Println(hub.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := hub.Main(ctx, *config, time.Now); err != nil {
		fmt.Fprintln(os.Stderr, "enlace-directory:", err)
		if hint := fault.As(err).Hint; hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", hint)
		}
		os.Exit(1)
	}
}
