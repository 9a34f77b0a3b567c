package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Topic is where an origin publishes.
const Topic = "happened"

// Plan is an origin and those who want to know.
type Plan struct {
	// Name is what the origin's process is called, and its kind.
	Name string
	// Options are its own; To and File are filled in.
	Options Options
	// Store lets it store what happens.
	Store bool
	// Query is appended to the address of the topic, such as "?ack=accepted".
	Query string
	// Consumers are the names of their processes, and their kinds.
	Consumers []string
	// Batch lets Tandem deliver events in batches.
	Batch bool
	// Config is what the server's configuration says beyond topic, services and subscriptions.
	Config string
}

// System is what Start started.
type System struct {
	consumer.Crowd
	Origin string // its own base URL
	Public string // that of the server's public listener; empty without a server
	// Up are the processes without which nothing that happens is accepted.
	Up []string
	// To are the addresses that the origin calls, by the proxies before the consumers; none when it publishes.
	To []string
}

// settings is what an origin finds in Settings.More.
type settings struct {
	Options
	Store bool   `json:"store"`
	Query string `json:"query"`
}

// Opener opens origins in children.
func Opener(_ context.Context, name string, s process.Settings, _ *slog.Logger) (process.Service, error) {
	var set settings
	if err := json.Unmarshal(s.More, &set); err != nil {
		return nil, err
	}
	if set.Store {
		if err := os.MkdirAll(s.Data, 0o700); err != nil {
			return nil, err
		}
		set.File = filepath.Join(s.Data, name+"-"+tandem.NewID()) // each life has its own
	}
	if set.Tell == Publish {
		set.To = []string{s.API + "/v1/topics/" + Topic + "/events" + set.Query}
	}
	return Open(set.Options)
}

// Start starts the consumers, with a Tandem server if the origin publishes, and then the origin.
func Start(ctx context.Context, env *compare.Env, plan Plan) (*System, error) {
	s := &System{Up: []string{plan.Name}}
	set := settings{Options: plan.Options, Store: plan.Store, Query: plan.Query}
	switch plan.Options.Tell {
	case Nobody:
	case Publish:
		if err := s.StartTandem(ctx, env, plan); err != nil {
			return nil, err
		}
		s.Up = append(s.Up, compare.Tandem)
	default:
		for _, name := range plan.Consumers {
			url, err := env.Launch(ctx, name, name, nil)
			if err != nil {
				return nil, err
			}
			s.To = append(s.To, url+"/events")
			s.URLs = append(s.URLs, own(env, name))
		}
		set.To = s.To
		s.Up = append(s.Up, plan.Consumers...)
	}
	if _, err := env.Launch(ctx, plan.Name, plan.Name, set); err != nil {
		return nil, err
	}
	// Who sends load calls it without the proxy: Tandem has none before its public listener either.
	s.Origin = own(env, plan.Name)
	return s, nil
}

// StartTandem starts the consumers and a server that delivers to them, without an origin.
func (s *System) StartTandem(ctx context.Context, env *compare.Env, plan Plan) error {
	sys, err := env.Start(ctx, process.Plan{Config: config(plan), Services: plan.Consumers})
	if err != nil {
		return err
	}
	s.API, s.Public = sys.API, sys.Public
	for _, name := range plan.Consumers {
		s.URLs = append(s.URLs, own(env, name))
	}
	return nil
}

// own is the base URL of a process itself.
func own(env *compare.Env, name string) string { return "http://" + env.Group.Process(name).Addr }

// config is a tandem.yaml in which everything that happens is delivered to every consumer.
func config(plan Plan) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "topics:\n  %s: {partitions: 16}\n", Topic)
	content := tandem.ContentStructured
	if plan.Batch {
		content = tandem.ContentBatch
	}
	if len(plan.Consumers) > 0 {
		b.WriteString("services:\n")
		for _, name := range plan.Consumers {
			fmt.Fprintf(&b, "  %s: {url: \"http://127.0.0.1:9\", timeout: 10s}\n", name)
		}
		b.WriteString("subscriptions:\n")
		for _, name := range plan.Consumers {
			fmt.Fprintf(&b, "  %s: {topics: [%s], service: %s, path: /events, content: %s, backoff: {base: 200ms, max: 2s}}\n", name, Topic, name, content)
		}
	}
	b.WriteString(plan.Config)
	return []byte(b.String())
}
