package tandem

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Service is a named upstream: plain HTTP, in any language.
type Service struct {
	Name    string   `json:"name,omitempty"`
	URL     string   `json:"url"`               // base URL, http or https; a path is put before that of the request
	Others  []string `json:"others,omitempty"`  // further base URLs, with the same path: requests go to each in turn
	Timeout Duration `json:"timeout,omitempty"` // of one request or delivery; zero means 30s for requests and 10s for deliveries
	Health  *Health  `json:"health,omitempty"`  // nil: nothing is checked, and each base URL counts as healthy
}

// BaseURLs returns URL and Others.
func (s *Service) BaseURLs() []string { return append([]string{s.URL}, s.Others...) }

// Health says how it is found out whether a base URL of a service takes requests: by GET requests of its own (active), and by what becomes of
// requests to it (passive), where no connection, no answer in time, and 502, 503 and 504 are failures.
type Health struct {
	Path      string   `json:"path"`                // of the check, below the base URL; 200 to 399 passes
	Interval  Duration `json:"interval,omitempty"`  // between two checks, give or take a tenth; zero means DefaultHealthInterval
	Timeout   Duration `json:"timeout,omitempty"`   // of a check; zero means DefaultHealthTimeout, or Interval if that is shorter
	Healthy   int      `json:"healthy,omitempty"`   // checks in a row that pass make it healthy; zero means 1
	Unhealthy int      `json:"unhealthy,omitempty"` // checks, or requests, in a row that fail make it unhealthy; zero means 3
}

// Defaults and bounds of Health.
const (
	DefaultHealthInterval = 5 * time.Second
	DefaultHealthTimeout  = time.Second
	MinHealthInterval     = 100 * time.Millisecond
	MaxHealthInterval     = time.Hour
	MaxHealthCount        = 100
)

// WithDefaults returns h with its zero values replaced.
func (h Health) WithDefaults() Health {
	if h.Interval == 0 {
		h.Interval = Duration(DefaultHealthInterval)
	}
	if h.Timeout == 0 {
		h.Timeout = min(Duration(DefaultHealthTimeout), h.Interval)
	}
	if h.Healthy == 0 {
		h.Healthy = 1
	}
	if h.Unhealthy == 0 {
		h.Unhealthy = 3
	}
	return h
}

// Check reports what is wrong with the base URLs beside the first and with the health check, with a field for each fault. Code: Invalid.
func (s *Service) Check() error {
	e := Errorf(CodeInvalid, "the service is not declared right")
	first, _ := url.Parse(s.URL)
	for i, text := range s.Others {
		at := "/others/" + strconv.Itoa(i)
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			e.WithField(at, "%q is not a URL such as http://127.0.0.1:9000", text)
		case slices.Contains(s.BaseURLs()[:i+1], text):
			e.WithField(at, "%q is there twice", text)
		case first != nil && u.EscapedPath() != first.EscapedPath():
			e.WithField(at, "%q has another path than %q", text, s.URL)
		}
	}
	if s.Health != nil {
		s.Health.check(e)
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}

func (h *Health) check(e *Error) {
	if u, err := url.Parse(h.Path); err != nil || !strings.HasPrefix(h.Path, "/") || u.Host != "" || u.Fragment != "" {
		e.WithField("/health/path", "%q is not a path such as /healthz", h.Path)
	}
	d := h.WithDefaults()
	if i := time.Duration(d.Interval); i < MinHealthInterval || i > MaxHealthInterval {
		e.WithField("/health/interval", "%s is outside %s to %s", d.Interval, Duration(MinHealthInterval), Duration(MaxHealthInterval))
	}
	if d.Timeout < 0 || d.Timeout > d.Interval {
		e.WithField("/health/timeout", "%s is not between 0 and the interval, %s", d.Timeout, d.Interval)
	}
	for name, n := range map[string]int{"healthy": d.Healthy, "unhealthy": d.Unhealthy} {
		if n < 1 || n > MaxHealthCount {
			e.WithField("/health/"+name, "%d is outside 1 to %d", n, MaxHealthCount)
		}
	}
}

// ServiceHealth is what is known of one base URL of a service that is checked.
type ServiceHealth struct {
	Service string `json:"service"`
	URL     string `json:"url"`
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason,omitempty"` // why it is not
	Since   string `json:"since"`            // RFC 3339: when it became so, or began to be checked
}
