package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Check returns everything that is wrong with routes and services, each with a pointer such as /routes/3/match. Code: Invalid.
func Check(routes []Route, services []tandem.Service) error {
	c := checker{services: map[string]bool{}}
	for i, s := range services {
		at := "/services/" + s.Name
		if s.Name == "" || c.services[s.Name] {
			c.fault("/services/"+strconv.Itoa(i), "the name %q is empty or there twice", s.Name)
		}
		c.services[s.Name] = true
		if _, err := parseServiceURL(s.URL); err != nil {
			c.wrong(at+"/url", err)
		}
		if s.Timeout < 0 {
			c.fault(at+"/timeout", "is negative")
		}
	}
	for i := range routes {
		r := &routes[i]
		if r.Operation != nil && r.Operation.Public {
			if p, err := parsePattern(r.Match); err == nil && p.allows(http.MethodGet) {
				c.faces++
			}
		}
	}
	patterns := make([]*pattern, 0, len(routes))
	for i := range routes {
		c.at = "/routes/" + strconv.Itoa(i)
		p, err := parsePattern(routes[i].Match)
		if err != nil {
			c.wrong(c.at+"/match", err)
			continue
		}
		for _, q := range patterns {
			if p.conflict(q) {
				c.fault(c.at+"/match", "%q and %q match the same requests, and neither is the more specific one", p.text, q.text)
			}
		}
		patterns = append(patterns, &p)
		c.route(&routes[i], &p)
	}
	if len(c.fields) == 0 {
		return nil
	}
	return &tandem.Error{Code: tandem.CodeInvalid, Op: "check routes", Err: errRoutes, Fields: c.fields}
}

var errRoutes = tandem.Errorf(tandem.CodeInvalid, "the routes are not declared right")

type checker struct {
	services map[string]bool
	faces    int // routes with operation: true that take GET
	at       string
	fields   []tandem.FieldError
}

func (c *checker) fault(pointer, format string, args ...any) {
	var e tandem.Error
	c.fields = append(c.fields, e.WithField(pointer, format, args...).Fields...)
}

// below returns err with the pointers of its fields below at.
func below(at string, err error) error {
	var e *tandem.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	moved := *e
	moved.Fields = slices.Clone(e.Fields)
	for i := range moved.Fields {
		moved.Fields[i].Pointer = at + moved.Fields[i].Pointer
	}
	return &moved
}

// wrong takes over an error, with the fields it has.
func (c *checker) wrong(pointer string, err error) {
	var e *tandem.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		c.fault(pointer, "%s", err)
		return
	}
	for _, f := range e.Fields {
		c.fault(pointer+f.Pointer, "%s", f.Detail)
	}
}

func (c *checker) route(r *Route, p *pattern) {
	face := r.Operation != nil && r.Operation.Public
	kinds := 0
	for _, is := range []bool{r.Service != "", r.Topic != "", r.Stream != nil, face, r.Client} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		c.fault(c.at, "%s: a route has exactly one of service, topic, stream, operation: true and client", r.Match)
	}
	for i, a := range r.Authorize {
		at := c.at + "/authorize/" + strconv.Itoa(i)
		if !c.services[a.Service] {
			c.fault(at, "there is no service %q", a.Service)
		}
		if a.Path != "" && (a.Path[0] != '/' || strings.ContainsAny(a.Path, "?#")) {
			c.fault(at, "%q is not a path that begins with /", a.Path)
		}
	}
	if r.Service != "" && !c.services[r.Service] {
		c.fault(c.at+"/service", "there is no service %q", r.Service)
	}
	if r.Client {
		c.getOnly("the browser module", p)
	}
	if r.MaxBodyBytes < 0 {
		c.fault(c.at+"/maxBodyBytes", "is negative")
	}
	if r.Topic != "" {
		c.topic(r, p)
	} else if r.Type != "" || r.Key != "" || r.Subject != "" || r.Respond != nil {
		c.fault(c.at, "%s: type, key, subject and respond are for topic routes", r.Match)
	}
	if r.Stream != nil {
		c.stream(r, p)
	}
	switch {
	case face:
		if len(p.names) != 1 || p.segs[len(p.segs)-1].kind == tail {
			c.fault(c.at+"/match", "the public face of operations has one placeholder, as in GET /operations/{id}")
		}
		if c.faces > 1 && p.allows(http.MethodGet) {
			c.fault(c.at+"/operation", "operations have one public face: another route has operation: true and takes GET, too")
		}
	case r.Operation != nil:
		if r.Service == "" && r.Topic == "" {
			c.fault(c.at+"/operation", "is for service and topic routes")
		}
		if err := r.Operation.Spec.Check(); err != nil {
			c.wrong(c.at+"/operation", err)
		}
		if c.faces == 0 {
			c.fault(c.at+"/operation", "clients could not look at it: add a route such as {match: \"/operations/{id}\", operation: true}")
		}
	}
}

func (c *checker) topic(r *Route, p *pattern) {
	c.takes("", r.Topic, r.Type)
	for _, m := range p.methods {
		if safe(m) {
			c.fault(c.at+"/match", "%s is a safe method, which stores nothing: use POST", m)
		}
	}
	if p.methods == nil {
		c.fault(c.at+"/match", "a topic route names its method, as in POST %s", p.text)
	}
	c.values("", r, p, r.Key, r.Subject)
	if r.Respond == nil {
		return
	}
	if r.Respond.Type == "" {
		c.fault(c.at+"/respond/type", "is required: it is the type of the reply")
	}
	if r.Respond.Timeout < 0 {
		c.fault(c.at+"/respond/timeout", "is negative")
	}
	if len(r.Respond.Topics) > 0 {
		if _, err := eventlog.Select(r.Respond.Topics...); err != nil {
			c.wrong(c.at+"/respond/topics", err)
		}
	}
	if r.Operation != nil {
		c.fault(c.at+"/respond", "a route has respond or operation, not both")
	}
}

func (c *checker) stream(r *Route, p *pattern) {
	s := r.Stream
	if _, err := eventlog.Select(s.Topics...); err != nil {
		c.wrong(c.at+"/stream/topics", err)
	}
	if _, err := s.Filter.Expand(func(name string) (string, bool) { return "x", indexOf(p.names, name) >= 0 }); err != nil {
		c.wrong(c.at+"/stream/filter", err)
	}
	if !s.Slow.Valid() {
		c.fault(c.at+"/stream/slow", "%q is not catchup, conflate or disconnect", s.Slow)
	}
	if pub := s.Publish; pub != nil {
		c.takes("/stream/publish", pub.Topic, pub.Type)
		c.values("/stream/publish", r, p, pub.Key, pub.Subject)
	}
	c.getOnly("a stream", p)
}

func (c *checker) getOnly(what string, p *pattern) {
	for _, m := range p.methods {
		if m != http.MethodGet {
			c.fault(c.at+"/match", "%s takes GET, not %s", what, m)
		}
	}
}

// takes checks where events of clients go.
func (c *checker) takes(at, topic, typ string) {
	if !tandem.ValidTopicName(topic) {
		c.fault(c.at+at+"/topic", "%q is not the name of a topic", topic)
	}
	if typ == "" {
		c.fault(c.at+at+"/type", "is required: it is the type of the events")
	}
}

// values checks the rules for key and subject.
func (c *checker) values(at string, r *Route, p *pattern, key, subject string) {
	for name, rule := range map[string]string{"/key": key, "/subject": subject} {
		v, err := parseValue(rule, p)
		if err != nil {
			c.wrong(c.at+at+name, err)
		}
		if len(r.Authorize) == 0 && slices.ContainsFunc(v.parts, func(p valuePart) bool { return p.principal }) {
			c.fault(c.at+at+name, "names {principal}, but no authorize says who that is")
		}
	}
}
