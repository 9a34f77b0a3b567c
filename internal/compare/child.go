package compare

import (
	"context"
	"log/slog"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// childCommand is the hidden subcommand that is one process of a run.
const childCommand = "compare-service"

// Child is the hidden command "compare-service KIND": Tandem, a service of the examples, or one of the scenarios. It runs
// until standard input ends or ctx is done. Code: Invalid.
func Child(ctx context.Context, kind string, scenarios []Scenario) error {
	return process.Child(ctx, kind, func(ctx context.Context, kind string, s process.Settings, logger *slog.Logger) (process.Service, error) {
		for _, sc := range scenarios {
			if open := sc.Services()[kind]; open != nil {
				return open(ctx, kind, s, logger)
			}
		}
		return process.OpenExample(ctx, kind, s, logger)
	})
}
