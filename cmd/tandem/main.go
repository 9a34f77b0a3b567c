// Command tandem runs a Tandem server, and publishes to, reads from and manages one. Each subcommand is a file.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A reader that has gone (tandem tail | head) shows as an error of the write, which ends the command quietly, and
	// must not kill a server whose log nobody reads any more.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default holds again, so that the second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
