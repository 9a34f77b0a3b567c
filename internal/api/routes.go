package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

// route is one line of the table of routes. A path has at most two variable parts, such as {name}, which hold neither / nor :.
type route struct {
	method, path string
	role         string // "" lets anybody ask
	handle       func(*API, *call) error
}

// routes is every resource there is. openapi.json says what each takes and gives.
var routes = []route{
	{"POST", "/v1/topics/{topic}/events", auth.RolePublish, (*API).publish},
	{"GET", "/v1/topics/{topic}/events", auth.RoleRead, (*API).readTopic},
	{"GET", "/v1/events", auth.RoleRead, (*API).readTopics},
	{"GET", "/v1/streams", auth.RoleRead, (*API).listStreams},

	{"GET", "/v1/topics", auth.RoleRead, (*API).listTopics},
	{"GET", "/v1/topics/{topic}", auth.RoleRead, (*API).getTopic},
	{"PUT", "/v1/topics/{topic}", auth.RoleOperate, (*API).putTopic},
	{"DELETE", "/v1/topics/{topic}", auth.RoleOperate, (*API).deleteTopic},

	{"GET", "/v1/subscriptions", auth.RoleRead, (*API).listSubscriptions},
	{"GET", "/v1/subscriptions/{name}", auth.RoleRead, (*API).getSubscription},
	{"PUT", "/v1/subscriptions/{name}", auth.RoleOperate, (*API).putSubscription},
	{"DELETE", "/v1/subscriptions/{name}", auth.RoleOperate, (*API).deleteSubscription},
	{"POST", "/v1/subscriptions/{name}:pause", auth.RoleOperate, (*API).pauseSubscription},
	{"POST", "/v1/subscriptions/{name}:resume", auth.RoleOperate, (*API).resumeSubscription},
	{"POST", "/v1/subscriptions/{name}:seek", auth.RoleOperate, (*API).seekSubscription},
	{"POST", "/v1/subscriptions/{name}:test", auth.RoleOperate, (*API).testSubscription},
	{"POST", "/v1/subscriptions/{name}:replay", auth.RoleOperate, (*API).replaySubscription},
	{"POST", "/v1/subscriptions/{name}:pull", auth.RolePull, (*API).pull},
	{"POST", "/v1/subscriptions/{name}:ack", auth.RolePull, (*API).ack},
	{"POST", "/v1/subscriptions/{name}:nack", auth.RolePull, (*API).nack},
	{"POST", "/v1/subscriptions/{name}:extend", auth.RolePull, (*API).extend},
	{"GET", "/v1/subscriptions/{name}/deliveries", auth.RoleRead, (*API).listDeliveries},
	{"GET", "/v1/subscriptions/{name}/dead-letters", auth.RoleRead, (*API).listDeadLetters},
	{"GET", "/v1/subscriptions/{name}/dead-letters/{id}", auth.RoleRead, (*API).getDeadLetter},
	{"POST", "/v1/subscriptions/{name}/dead-letters:redrive", auth.RoleOperate, (*API).redriveDeadLetters},
	{"POST", "/v1/subscriptions/{name}/dead-letters:discard", auth.RoleOperate, (*API).discardDeadLetters},

	{"GET", "/v1/operations/{id}", auth.RoleRead, (*API).operation},
	{"DELETE", "/v1/operations/{id}", auth.RoleOperate, (*API).operation},

	{"GET", "/v1/flows", auth.RoleRead, (*API).listFlows},
	{"GET", "/v1/flows/{id}", auth.RoleRead, (*API).getFlow},
	{"GET", "/v1/explain", auth.RoleRead, (*API).explain},

	{"GET", "/v1/status", auth.RoleRead, (*API).status},
	{"GET", "/v1/config", auth.RoleRead, (*API).config},
	{"POST", "/v1/config:reload", auth.RoleOperate, (*API).reload},
	{"GET", "/v1/openapi.json", auth.RoleRead, (*API).openapi},
	{"GET", "/v1/client.js", "", (*API).browserModule},
	{"GET", "/metrics", auth.RoleRead, (*API).serveMetrics},
	{"GET", "/livez", "", (*API).livez},
	{"GET", "/readyz", "", (*API).readyz},
}

// planned are resources that a later version has. They answer 501, so that a client can tell them from a wrong path.
var planned = []route{
	{"GET", "/v1/schemas", auth.RoleRead, (*API).unsupported},
	{"GET", "/v1/asyncapi.json", auth.RoleRead, (*API).unsupported},
}

func (a *API) unsupported(c *call) error { return notSupported(c.r.URL.Path) }

func notSupported(what string) error {
	return tandem.Errorf(tandem.CodeUnsupported, "%s is not supported yet", what).WithHint("GET /v1/openapi.json lists what is")
}

// resource is all the methods of one path.
type resource struct {
	path    string
	fixed   []string // what stands before, between and behind the variable parts
	methods []method
	options method
	allow   string
}

type method struct {
	name    string
	role    string
	handle  func(*API, *call) error
	seconds prometheus.Observer
}

// resources groups the tables by path.
func resources(m *metrics) []resource {
	var all []resource
	for _, r := range slices.Concat(routes, planned) {
		i := slices.IndexFunc(all, func(res resource) bool { return res.path == r.path })
		if i < 0 {
			res := resource{path: r.path, options: method{name: http.MethodOptions, handle: (*API).options}}
			before, rest, more := strings.Cut(r.path, "{")
			for more {
				res.fixed = append(res.fixed, before)
				_, rest, _ = strings.Cut(rest, "}")
				before, rest, more = strings.Cut(rest, "{")
			}
			res.fixed = append(res.fixed, before)
			i = len(all)
			all = append(all, res)
		}
		all[i].methods = append(all[i].methods, method{r.method, r.role, r.handle, m.requests.WithLabelValues(r.method, r.path)})
	}
	for i := range all {
		allow := []string{http.MethodOptions}
		for _, m := range all[i].methods {
			allow = append(allow, m.name)
			if m.name == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		slices.Sort(allow)
		all[i].allow = strings.Join(allow, ", ")
	}
	return all
}

// find returns the resource of a path and the text of its variable parts. The table is short and its first line is the
// busiest, so it is walked.
func find(all []resource, path string) (*resource, [2]string) {
	for i := range all {
		if args, ok := all[i].match(path); ok {
			return &all[i], args
		}
	}
	return nil, [2]string{}
}

func (res *resource) match(path string) (args [2]string, ok bool) {
	rest, ok := strings.CutPrefix(path, res.fixed[0])
	for i, after := range res.fixed[1:] {
		end := strings.IndexAny(rest, "/:")
		if end < 0 {
			end = len(rest)
		}
		if !ok || end == 0 {
			return args, false
		}
		args[i] = rest[:end]
		rest, ok = strings.CutPrefix(rest[end:], after)
	}
	return args, ok && rest == ""
}

// method returns what handles a method: GET also answers HEAD, whose body net/http leaves out.
func (res *resource) method(name string) *method {
	if name == http.MethodHead {
		name = http.MethodGet
	}
	for i := range res.methods {
		if res.methods[i].name == name {
			return &res.methods[i]
		}
	}
	return nil
}

func (a *API) options(c *call) error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
