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
	// Name is what the origin's process is called, and its kind. Empty starts none: what happens is published by others.
	Name string
	// Options are its own; To and File are filled in.
	Options Options
	// Store lets it store what happens.
	Store bool
	// Query is appended to the address of the topic, such as "?ack=accepted".
	Query string
	// Consumers are the names of their processes, and their kinds.
	Consumers []string
	// Direct lets consumers be reached without the proxies before them, which take a share of this machine: calls of them are not counted, and
	// cannot be made slow or fail.
	Direct bool
	// Links lets Tandem call the consumers, at the same time, before it stores what happened (mode: request).
	Links bool
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
	// To are the addresses at which consumers are called, in their order; none when Tandem has them as services.
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

// Start starts the consumers, with a Tandem server if what happens is published, and then the origin.
func Start(ctx context.Context, env *compare.Env, plan Plan) (*System, error) {
	s := &System{}
	var err error
	switch {
	case plan.Options.Tell == Publish && !plan.Direct:
		err = s.startTandem(ctx, env, process.Plan{Config: config(plan, nil), Services: plan.Consumers})
	case plan.Options.Tell == Publish:
		if err = s.startConsumers(ctx, env, plan); err == nil {
			err = s.startTandem(ctx, env, process.Plan{Config: config(plan, s.To)})
		}
	case plan.Options.Tell != Nobody:
		err = s.startConsumers(ctx, env, plan)
	}
	if plan.Links || plan.Options.Tell == Sequence || plan.Options.Tell == Parallel {
		s.Up = append(s.Up, plan.Consumers...)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range plan.Consumers {
		if plan.Options.Tell != Nobody {
			s.URLs = append(s.URLs, own(env, name))
		}
	}
	if plan.Name == "" {
		return s, nil
	}
	set := settings{Options: plan.Options, Store: plan.Store, Query: plan.Query}
	set.To = s.To
	if _, err := env.Launch(ctx, plan.Name, plan.Name, set); err != nil {
		return nil, err
	}
	// Who sends load calls it without the proxy: Tandem has none before its public listener either.
	s.Origin, s.Up = own(env, plan.Name), append(s.Up, plan.Name)
	return s, nil
}

// startTandem starts a server, and the services of its configuration.
func (s *System) startTandem(ctx context.Context, env *compare.Env, plan process.Plan) error {
	sys, err := env.Start(ctx, plan)
	if err != nil {
		return err
	}
	s.API, s.Public, s.Up = sys.API, sys.Public, append(s.Up, compare.Tandem)
	return nil
}

// startConsumers starts the consumers without a server.
func (s *System) startConsumers(ctx context.Context, env *compare.Env, plan Plan) error {
	for _, name := range plan.Consumers {
		url, err := env.Launch(ctx, name, name, nil)
		if err != nil {
			return err
		}
		if plan.Direct {
			url = own(env, name)
		}
		s.To = append(s.To, url+"/events")
	}
	return nil
}

// own is the base URL of a process itself.
func own(env *compare.Env, name string) string { return "http://" + env.Group.Process(name).Addr }

// config is a tandem.yaml in which everything that happens is delivered to every consumer: at urls, or when there are none to services.
func config(plan Plan, urls []string) []byte {
	var services, subscriptions strings.Builder
	content := tandem.ContentStructured
	if plan.Batch {
		content = tandem.ContentBatch
	}
	for i, name := range plan.Consumers {
		to := fmt.Sprintf("service: %s, path: /events", name)
		if urls != nil {
			to = fmt.Sprintf("url: %q", urls[i])
		} else {
			fmt.Fprintf(&services, "  %s: {url: \"http://127.0.0.1:9\", timeout: 10s}\n", name)
		}
		if plan.Links {
			to += ", mode: request, parallel: true"
		}
		fmt.Fprintf(&subscriptions, "  %s: {topics: [%s], %s, content: %s, backoff: {base: 200ms, max: 2s}}\n", name, Topic, to, content)
	}
	return fmt.Appendf(nil, "topics:\n  %s: {partitions: 16}\nservices:\n%ssubscriptions:\n%s%s", Topic, &services, &subscriptions, plan.Config)
}
