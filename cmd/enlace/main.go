// Command enlace is the command line for officers, administrators, stewards and auditors; see internal/cli.
package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/enlace-network/enlace/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	code := cli.Main(ctx, os.Args[1:], streams, time.Now, rand.Reader)
	stop()
	os.Exit(code)
}
