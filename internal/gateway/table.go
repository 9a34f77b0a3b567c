package gateway

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// table is one configuration, ready to serve. It does not change.
type table struct {
	root       node
	upstreams  map[string]*upstream
	operations string // path of the public face of operations, up to the id; "" for none
	suffix     string // what follows the id
}

// endpoint is a checked route.
type endpoint struct {
	Route
	pattern pattern
	serve   func(*exchange, *http.Request) error
	asks    []asked

	upstream *upstream // service

	source         string // topic
	key, subject   value
	maxBody        int64
	respondTopics  eventlog.Selection
	respondTimeout time.Duration

	filter tandem.Filter // stream
}

// asked is a service that authorizes, and the path on it.
type asked struct {
	upstream *upstream
	path     string
}

// Apply replaces routes and services as a whole, or returns what Check says and changes nothing. Requests under way
// finish with the old ones; connections to services that stay are kept.
func (g *Gateway) Apply(routes []Route, services []tandem.Service) error {
	if err := Check(routes, services); err != nil {
		return err
	}
	old := g.table.Load()
	t := &table{upstreams: map[string]*upstream{}}
	for _, s := range services {
		if up := old.upstreams[s.Name]; up != nil && reflect.DeepEqual(up.service, s) {
			t.upstreams[s.Name] = up
			continue
		}
		up, err := newUpstream(g, s)
		if err != nil {
			return err
		}
		t.upstreams[s.Name] = up
	}
	for i := range routes {
		e, err := g.endpoint(t, routes[i])
		if err != nil {
			return below("/routes/"+strconv.Itoa(i), err)
		}
		t.root.add(e)
	}
	if !g.table.CompareAndSwap(old, t) {
		return tandem.Errorf(tandem.CodeConflict, "two configurations were applied at once")
	}
	for name, up := range old.upstreams {
		if t.upstreams[name] != up {
			up.transport.CloseIdleConnections()
		}
	}
	return nil
}

// endpoint makes a checked route ready.
func (g *Gateway) endpoint(t *table, r Route) (*endpoint, error) {
	p, err := parsePattern(r.Match)
	if err != nil {
		return nil, err
	}
	e := &endpoint{Route: r, pattern: p, maxBody: r.MaxBodyBytes}
	for _, a := range r.Authorize {
		path := a.Path
		if path == "" {
			path = DefaultAuthorizePath
		}
		e.asks = append(e.asks, asked{t.upstreams[a.Service], path})
	}
	switch {
	case r.Service != "":
		e.upstream = t.upstreams[r.Service]
		e.serve = (*exchange).forward
	case r.Topic != "":
		e.serve = (*exchange).publish
		err = e.topic(g)
	case r.Stream != nil:
		e.serve = (*exchange).stream
		if e.filter, err = r.Stream.Filter.Bind(g.opts.Conditions); err != nil {
			err = below("/stream/filter", err)
		} else if pub := r.Stream.Publish; pub != nil {
			err = e.takes(g, pub.Key, pub.Subject)
		}
	case r.Client:
		e.serve = (*exchange).client
	default:
		e.serve = (*exchange).operation
		if p.allows(http.MethodGet) {
			t.operations, t.suffix = p.around()
		}
	}
	if r.Stream != nil && g.opts.Streams == nil || r.Operation != nil && g.opts.Operations == nil {
		err = tandem.Errorf(tandem.CodeUnsupported, "%s: this server has no streams or operations", r.Match)
	}
	return e, err
}

// takes prepares for events of clients.
func (e *endpoint) takes(g *Gateway, key, subject string) (err error) {
	if e.maxBody == 0 {
		e.maxBody = int64(g.opts.MaxEventBytes)
	}
	e.source = e.pattern.source()
	if e.key, err = parseValue(key, &e.pattern); err != nil {
		return err
	}
	e.subject, err = parseValue(subject, &e.pattern)
	return err
}

func (e *endpoint) topic(g *Gateway) (err error) {
	if err = e.takes(g, e.Key, e.Subject); err != nil {
		return err
	}
	if e.Respond != nil {
		topics := e.Respond.Topics
		if len(topics) == 0 {
			topics = []string{e.Topic}
		}
		e.respondTimeout = time.Duration(e.Respond.Timeout)
		if e.respondTimeout == 0 {
			e.respondTimeout = DefaultRespondTimeout
		}
		e.respondTopics, err = eventlog.Select(topics...)
	}
	return err
}

// source is the CloudEvents source of the events of a route, a URI reference: the methods and the path, with :name for
// {name}.
func (p *pattern) source() string {
	methods := "*"
	if p.methods != nil {
		methods = strings.Join(p.methods, ",")
	}
	var b strings.Builder
	b.WriteString("/routes/" + methods)
	for _, s := range p.segs {
		b.WriteByte('/')
		if s.kind != literal {
			b.WriteByte(':')
		}
		b.WriteString(url.PathEscape(s.text))
	}
	return b.String()
}

// around returns the escaped path before and after its one placeholder.
func (p *pattern) around() (before, after string) {
	at := &before
	for _, s := range p.segs {
		*at += "/"
		if s.kind == literal {
			*at += url.PathEscape(s.text)
		} else {
			at = &after
		}
	}
	return before, after
}

func joinMethods(methods []string) string {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(methods))), ", ")
}
