// Command enlace-node is the daemon of a state; see package node and deploy/node.yaml.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/fault"
	"github.com/enlace-network/enlace/internal/node"
)

func main() {
	config := flag.String("config", "node.yaml", "configuration file")
	version := flag.Bool("version", false, "print the version and stop")
	flag.Parse()
	if *version {
		fmt.Println(node.Version())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := node.Main(ctx, *config, time.Now, rand.Reader); err != nil {
		fmt.Fprintln(os.Stderr, "enlace-node:", err)
		if hint := fault.As(err).Hint; hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", hint)
		}
		os.Exit(1)
	}
}
