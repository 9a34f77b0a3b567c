package demo

import (
	"context"

	shop "github.com/tandem-hybrid/tandem/examples/shop"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Shop is the running demo: the server and the services.
type Shop struct {
	*system
	progress *progress
}

// startShop starts everything in a directory and returns when all answer.
func startShop(ctx context.Context, dir string, o Options) (*Shop, error) {
	s, err := startSystem(ctx, dir, o.Command, process.Plan{Config: shop.Config, Services: shop.Services(), Public: o.Public, API: o.API,
		Settings: process.Settings{Seed: o.Seed}})
	if err != nil {
		return nil, err
	}
	return &Shop{system: s}, nil
}

// WaitPlaced waits until so many orders were placed. WaitEnded does until so many have ended. Both return the error of
// the run when it ends before.
func (s *Shop) WaitPlaced(n int) error {
	return s.progress.wait(func(p *progress) bool { return p.placed >= n })
}

// WaitEnded waits until so many orders have ended.
func (s *Shop) WaitEnded(n int) error {
	return s.progress.wait(func(p *progress) bool { return p.ended() >= n })
}

// Counts returns how many orders were placed and how many of them have ended.
func (s *Shop) Counts() (placed, ended int) {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	return s.progress.placed, s.progress.ended()
}
