package health

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
)

// Options configure Services. The zero value works.
type Options struct {
	// Changed is called when a service has become healthy or unhealthy as a whole. It must not block.
	Changed func(service string, healthy bool)
	// Transport carries the checks; nil means a connection for each, which ends with it, since whether one can be made is part of the question.
	Transport http.RoundTripper
	Metrics   prometheus.Registerer // nil means none
	UserAgent string                // of the checks; empty means "Tandem"
	Logger    *slog.Logger          // nil means slog.Default
}

// Services are the services of the configuration in force. All methods are safe for concurrent use.
type Services struct {
	opts Options
	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.RWMutex // guards what follows, and what is in it
	byName map[string]*service
}

// service is one that is checked.
type service struct {
	name   string
	health tandem.Health
	decl   tandem.Service // as it was declared
	bases  []*base
	end    context.CancelFunc // of its checks
}

// base is a base URL of a service.
type base struct {
	text  string
	check *url.URL

	healthy bool
	reason  string
	since   time.Time
	passed  int    // checks in a row
	failed  int    // checks in a row
	checks  [2]int // that failed, and passed

	refused atomic.Int32 // requests in a row that failed; changed with mu held
}

// New returns Services that know none before Apply.
func New(opts Options) *Services {
	if opts.Changed == nil {
		opts.Changed = func(string, bool) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "Tandem"
	}
	s := &Services{opts: opts, byName: map[string]*service{}}
	s.life, s.end = context.WithCancel(context.Background())
	if opts.Metrics != nil {
		opts.Metrics.MustRegister(&collector{s})
	}
	return s
}

// Apply takes the place of the services before. What is known of those that did not change, but for their timeout, is kept. list was checked
// (tandem.Service.Check).
func (s *Services) Apply(list []tandem.Service) {
	for _, name := range s.replace(list) {
		s.opts.Changed(name, true)
	}
}

// replace returns the services that were unhealthy, and are so no more since their checks are gone or begin anew.
func (s *Services) replace(list []tandem.Service) (well []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byName
	s.byName = map[string]*service{}
	for _, decl := range list {
		decl.Timeout = 0
		if decl.Health == nil {
			continue
		}
		if known := old[decl.Name]; known != nil && reflect.DeepEqual(known.decl, decl) {
			s.byName[decl.Name] = known
			delete(old, decl.Name)
			continue
		}
		s.byName[decl.Name] = s.begin(decl)
	}
	for name, gone := range old {
		if gone.end(); !gone.healthy() {
			well = append(well, name)
		}
	}
	return well
}

// begin starts the checks of a service.
func (s *Services) begin(decl tandem.Service) *service {
	ctx, cancel := context.WithCancel(s.life)
	svc := &service{name: decl.Name, health: decl.Health.WithDefaults(), decl: decl, end: cancel}
	for _, text := range decl.BaseURLs() {
		u, err := checkURL(text, svc.health.Path)
		if err != nil {
			continue // Check has refused it
		}
		b := &base{text: text, check: u, healthy: true, since: time.Now()}
		svc.bases = append(svc.bases, b)
		s.wg.Go(func() { s.checks(ctx, svc, b) })
	}
	return svc
}

// Stop ends the checks and returns when none is under way. Nothing changes any more. It may be repeated.
func (s *Services) Stop(context.Context) error {
	s.end()
	s.wg.Wait()
	return nil
}

// Healthy reports whether a service takes requests at one of its base URLs at least, and if not, why. A service that is not checked does. The
// reason is for operators: it may name addresses.
func (s *Services) Healthy(name string) (ok bool, reason string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	svc := s.byName[name]
	if svc == nil || svc.healthy() {
		return true, ""
	}
	return false, "service " + name + " is unhealthy: " + svc.bases[0].reason
}

// healthy is called with mu held.
func (svc *service) healthy() bool {
	for _, b := range svc.bases {
		if b.healthy {
			return true
		}
	}
	return len(svc.bases) == 0
}

// Status returns what is known of the base URLs of services that are checked, in the order of names and declarations.
func (s *Services) Status() []tandem.ServiceHealth {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []tandem.ServiceHealth{}
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		svc := s.byName[name]
		for _, b := range svc.bases {
			list = append(list, tandem.ServiceHealth{Service: svc.name, URL: b.text, Healthy: b.healthy, Reason: b.reason, Since: b.since.UTC().Format(time.RFC3339)})
		}
	}
	return list
}

// note takes an outcome for a base URL, and says so where it changes something. Called without mu.
func (s *Services) note(svc *service, b *base, take func() (healthy bool, reason string)) {
	s.mu.Lock()
	was, wasAll := b.healthy, svc.healthy()
	healthy, reason := take()
	if b.healthy = healthy; !healthy {
		b.reason = reason
	} else {
		b.reason = ""
	}
	if healthy != was {
		b.since = time.Now()
	}
	all, current := svc.healthy(), s.byName[svc.name] == svc
	s.mu.Unlock()
	switch {
	case healthy == was || !current || s.life.Err() != nil:
		return
	case healthy:
		s.opts.Logger.Info("a service is healthy again", "service", svc.name, "url", b.text)
	default:
		s.opts.Logger.Warn("a service is unhealthy", "service", svc.name, "url", b.text, "reason", reason)
	}
	if all != wasAll {
		s.opts.Changed(svc.name, all)
	}
}
