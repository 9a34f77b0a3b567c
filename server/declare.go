package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
)

// check returns everything that is wrong with the declarations, as far as it can be seen without a log. Subscriptions
// are checked by the rooms that run them.
func (o *Options) check() error {
	var errs []error
	if err := auth.CheckTokens(o.Tokens); err != nil {
		errs = append(errs, err)
	}
	if err := auth.CheckListen(o.APIAddr, o.Tokens); err != nil {
		errs = append(errs, err)
	}
	if err := delivery.CheckEgress(o.Egress); err != nil {
		errs = append(errs, tandem.Wrap("egress", err))
	}
	if err := gateway.Check(o.Routes, o.Services); err != nil {
		errs = append(errs, err)
	}
	seen := map[string]bool{}
	for _, t := range o.Topics {
		if !tandem.ValidTopicName(t.Name) {
			errs = append(errs, tandem.Errorf(tandem.CodeInvalid, "%q is not the name of a topic", t.Name))
		}
		if seen[t.Name] {
			errs = append(errs, tandem.Errorf(tandem.CodeInvalid, "topic %s is declared twice", t.Name))
		}
		seen[t.Name] = true
	}
	for i := range o.Services {
		if err := o.Services[i].Check(); err != nil {
			errs = append(errs, tandem.Wrap("service "+o.Services[i].Name, err))
		}
	}
	known := services(o.Services)
	for _, s := range o.Subscriptions {
		if _, ok := known[s.Service]; s.Service != "" && !ok {
			errs = append(errs, tandem.Errorf(tandem.CodeInvalid, "subscription %s: no service %q is declared", s.Name, s.Service))
		}
	}
	if len(errs) > 1 {
		return &tandem.Error{Code: tandem.CodeInvalid, Err: errors.Join(errs...)}
	}
	return errors.Join(errs...)
}

// with returns o with the declarations, and the tokens, of next.
func (o Options) with(next Options) Options {
	o.Services, o.Topics, o.Routes, o.Subscriptions, o.Sources = next.Services, next.Topics, next.Routes, next.Subscriptions, next.Sources
	o.Tokens = next.Tokens
	return o
}

// later returns the keys of the file that have other values in next and keep those of o until the next start.
func (o *Options) later(next Options) (keys []string) {
	next.setDefaults()
	for _, k := range []struct {
		name string
		same bool
	}{
		{"data", next.Data == o.Data},
		{"engine", reflect.DeepEqual(next.Engine, o.Engine)},
		{"public.listen", next.PublicAddr == o.PublicAddr},
		{"api.listen", next.APIAddr == o.APIAddr},
		{"limits", next.FreeBytes == o.FreeBytes && next.MaxEventBytes == o.MaxEventBytes},
		{"egress", slices.Equal(next.Egress, o.Egress)},
		{"ledger", next.LedgerAge == o.LedgerAge && next.LedgerBytes == o.LedgerBytes},
		{"flows", next.FlowAge == o.FlowAge && next.FlowBytes == o.FlowBytes},
		{"traces", next.Traces == o.Traces && next.TracesSample == o.TracesSample},
		{"log", next.AccessLog == o.AccessLog && next.AccessSample == o.AccessSample},
		{"request", next.RequestTimeout == o.RequestTimeout},
		{"streams", next.Streams == o.Streams},
	} {
		if !k.same {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// declaredKey is the state record of the topics that a file declared at some time: JSON, a list of names. A name of it
// that the file no longer has is an orphan.
const declaredKey = "file/topics"

// declared is what the configuration in force declares, for those who ask on every request.
type declared struct {
	services map[string]tandem.Service
	topics   map[string]bool
	orphans  map[string]bool // topics that an earlier configuration declared
	subs     map[string]bool
	routes   []gateway.Route
	sources  []source.Source
	since    time.Time
}

type declarations struct {
	atomic.Pointer[declared]
	reload atomic.Pointer[reloaded] // nil before the first
	file   bool
}

// reloaded is what became of a reload.
type reloaded struct {
	at    time.Time
	err   error
	later []string // as Options.later
}

// Show returns what is in force, for the API.
func (d *declarations) Show() api.Configuration {
	now := d.Load()
	c := api.Configuration{File: d.file, Since: now.since.UTC().Format(time.RFC3339), Routes: make([]any, len(now.routes))}
	for _, name := range slices.Sorted(maps.Keys(now.services)) {
		c.Services = append(c.Services, now.services[name])
	}
	for i := range now.routes {
		c.Routes[i] = &now.routes[i]
	}
	for _, s := range now.sources {
		c.Sources = append(c.Sources, api.SourceLink{Name: s.Name, Queue: s.AMQP.Queue, Topic: s.Topic})
	}
	if last := d.reload.Load(); last != nil {
		c.Later = last.later
		if last.err != nil {
			c.Refused, c.RefusedAt = tandem.ProblemOf(last.err), last.at.UTC().Format(time.RFC3339)
		}
	}
	return c
}

// Service returns a service of the configuration in force.
func (d *declarations) Service(name string) (tandem.Service, bool) {
	s, ok := d.Load().services[name]
	return s, ok
}

// Owns reports whether the file declares a topic or a subscription.
func (d *declarations) Owns(kind, name string) bool {
	switch kind {
	case "topic":
		return d.Load().topics[name]
	case "subscription":
		return d.Load().subs[name]
	}
	return false
}

// Orphan reports whether an earlier configuration declared a topic that this one does not.
func (d *declarations) Orphan(topic string) bool { return d.Load().orphans[topic] }

// declare puts the declarations of opts in force: it checks all of them against the log and the rooms, and only then
// applies them. Topics that are new stay when a later step fails: an empty topic harms nobody.
func (r *running) declare(ctx context.Context, opts Options) (err error) {
	before := r.declarations.Load()
	defer func() {
		if err != nil {
			r.declarations.Store(before)
		}
	}()
	// Until all is applied, subscriptions of both configurations find their services.
	both := *before
	both.services = services(opts.Services)
	for name, s := range before.services {
		if _, ok := both.services[name]; !ok {
			both.services[name] = s
		}
	}
	r.declarations.Store(&both)

	if err := r.delivery.Check(opts.Subscriptions); err != nil {
		return err
	}
	if err := r.sources.Check(opts.Sources); err != nil {
		return err
	}
	for _, t := range opts.Topics {
		if err := r.checkTopic(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range opts.Topics {
		if err := r.declareTopic(ctx, t); err != nil {
			return err
		}
	}
	next, err := r.remember(ctx, opts)
	if err != nil {
		return err
	}
	if err := r.delivery.Apply(ctx, opts.Subscriptions); err != nil {
		return err
	}
	if err := r.gateway.Apply(opts.Routes, opts.Services); err != nil {
		return err
	}
	r.health.Apply(opts.Services)
	r.sources.Apply(opts.Sources)
	r.requests.apply(opts.Routes)
	r.auth.Apply(opts.Tokens)
	r.declarations.Store(next)
	return nil
}

func services(list []tandem.Service) map[string]tandem.Service {
	byName := make(map[string]tandem.Service, len(list))
	for _, s := range list {
		byName[s.Name] = s
	}
	return byName
}

// checkTopic refuses what declareTopic could not do.
func (r *running) checkTopic(ctx context.Context, t tandem.Topic) error {
	have, err := r.log.Topic(ctx, t.Name)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return nil
	}
	if err == nil && t.Partitions != 0 && t.Partitions != have.Partitions {
		err = tandem.Errorf(tandem.CodeConflict, "topic %s has %d partitions, which are fixed, and is declared with %d", t.Name, have.Partitions, t.Partitions).
			WithHint("declare %d, or a topic of another name", have.Partitions)
	}
	return err
}

func (r *running) declareTopic(ctx context.Context, t tandem.Topic) error {
	have, err := r.log.Topic(ctx, t.Name)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		_, err = r.log.CreateTopic(ctx, t)
		return err
	}
	if err != nil {
		return err
	}
	if t.Partitions == 0 {
		t.Partitions = have.Partitions
	}
	_, err = r.log.UpdateTopic(ctx, t)
	return err
}

// remember stores which topics files have declared, and returns the declarations of opts in the form for asking.
func (r *running) remember(ctx context.Context, opts Options) (*declared, error) {
	d := &declared{services: services(opts.Services), routes: opts.Routes, sources: opts.Sources, since: time.Now(), topics: map[string]bool{}, orphans: map[string]bool{}, subs: map[string]bool{}}
	for _, s := range opts.Subscriptions {
		d.subs[s.Name] = true
	}
	names := make([]string, 0, len(opts.Topics))
	for _, t := range opts.Topics {
		d.topics[t.Name] = true
		names = append(names, t.Name)
	}
	value, err := r.log.State(ctx, declaredKey)
	if err != nil {
		return nil, err
	}
	var earlier []string
	if value != nil {
		if err := json.Unmarshal(value, &earlier); err != nil {
			return nil, fmt.Errorf("state record %s: %w", declaredKey, err)
		}
	}
	for _, name := range earlier {
		if d.topics[name] {
			continue
		}
		if _, err := r.log.Topic(ctx, name); err == nil { // else it was deleted since
			d.orphans[name] = true
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(earlier)
	if slices.Equal(names, earlier) {
		return d, nil
	}
	value, err = json.Marshal(names)
	if err != nil {
		return nil, err
	}
	_, err = r.log.Commit(ctx, &eventlog.Tx{State: []driver.StateOp{{Key: declaredKey, Value: value}}})
	return d, err
}
