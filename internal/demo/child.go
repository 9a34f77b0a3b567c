package demo

import (
	"context"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// command is the hidden subcommand that is one process of the demo.
const command = "demo-service"

// Child is the hidden command "demo-service NAME": one process of the demo. It runs until standard input ends, which it
// does when the parent is gone, or ctx is done. Code: Invalid.
func Child(ctx context.Context, name string) error {
	return process.Child(ctx, name, process.OpenExample)
}
