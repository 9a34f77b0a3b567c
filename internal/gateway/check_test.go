package gateway

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestCheck(t *testing.T) {
	const face = `{"match":"/operations/{id}","operation":true}`
	for _, c := range []struct{ routes, want string }{ // want: "" or what one of the fields says
		{`[{"match":"POST /a","service":"s"}]`, ""},
		{`[{"match":"GET /a/{x}","service":"s"},{"match":"GET /{y}/b","service":"s"}]`, `/routes/1/match "GET /{y}/b" and "GET /a/{x}"`},
		{`[{"match":"GET /a","service":"s"},{"match":"GET /a","topic":"t","type":"x"}]`, `"GET /a" and "GET /a"`},
		{`[{"match":"GET a","service":"s"}]`, "/routes/0/match"},
		{`[{"match":"GET /a"}]`, "exactly one"},
		{`[{"match":"POST /a","service":"s","topic":"t","type":"x"}]`, "exactly one"},
		{`[{"match":"GET /a","service":"nobody"}]`, "/routes/0/service"},
		{`[{"match":"GET /a","service":"s","authorize":"nobody"}]`, "/routes/0/authorize/0"},
		{`[{"match":"GET /a","service":"s","authorize":["s",{"service":"s","path":"x"}]}]`, "/routes/0/authorize/1"},
		{`[{"match":"GET /a","client":true}]`, ""},
		{`[{"match":"POST /a","client":true}]`, "takes GET"},
		{`[{"match":"GET /a/{id}","stream":{"topics":["t"],"slow":"conflate","publish":{"topic":"t","type":"x","key":"{id}","subject":"data.s"}}}]`, ""},
		{`[{"match":"GET /a","stream":{"topics":["t"],"slow":"never"}}]`, "/routes/0/stream/slow \"never\" is not catchup"},
		{`[{"match":"GET /a","stream":{"topics":["t"],"publish":{"topic":"_t"}}}]`, "/routes/0/stream/publish/topic \"_t\" is not the name of a topic"},
		{`[{"match":"GET /a","stream":{"topics":["t"],"publish":{"topic":"t"}}}]`, "/routes/0/stream/publish/type is required"},
		{`[{"match":"GET /a","stream":{"topics":["t"],"publish":{"topic":"t","type":"x","key":"{principal}"}}}]`, "/routes/0/stream/publish/key names {principal}"},
		{`[{"match":"POST /a","stream":{"topics":["t"]}}]`, "takes GET"},
		{`[{"match":"GET /a/{id}","stream":{"topics":["t"],"filter":{"subject":"{id}"}}}]`, ""},
		{`[{"match":"GET /a/{id}","stream":{"topics":["t"],"filter":{"subject":"{name}"}}}]`, "/routes/0/stream/filter"},
		{`[{"match":"GET /a/{id}","stream":{"topics":["t"],"filter":{"subject":"{id}","cel":"data.x == {'a': 1}"}}}]`, ""},
		{`[{"match":"GET /a/{id}","stream":{"topics":["t"],"filter":{"not":{"sql":"subject = '{id}'"}}}}]`, "/routes/0/stream/filter/not/sql"},
		{`[{"match":"GET /a","stream":{"topics":[]}}]`, "/routes/0/stream/topics"},
		{`[{"match":"POST /a","topic":"t"}]`, "/routes/0/type"},
		{`[{"match":"POST /a","topic":"_t","type":"x"}]`, "/routes/0/topic"},
		{`[{"match":"GET /a","topic":"t","type":"x"}]`, "safe method"},
		{`[{"match":"/a","topic":"t","type":"x"}]`, "names its method"},
		{`[{"match":"POST /a/{id}","topic":"t","type":"x","key":"{id}-{principal}","subject":"data.a.b","authorize":"s"}]`, ""},
		{`[{"match":"POST /a/{id}","topic":"t","type":"x","subject":"{principal}"}]`, "/routes/0/subject names {principal}, but"},
		{`[{"match":"POST /a/{id}","topic":"t","type":"x","key":"{name}"}]`, "/routes/0/key"},
		{`[{"match":"POST /a","topic":"t","type":"x","subject":"{id"}]`, "/routes/0/subject"},
		{`[{"match":"POST /a","topic":"t","type":"x","respond":{}}]`, "/routes/0/respond/type"},
		{`[{"match":"POST /a","service":"s","respond":{"type":"x"}}]`, "for topic routes"},
		{`[{"match":"POST /a","service":"s","operation":{"topics":["t"],"succeed":["x"]}}]`, "clients could not look at it"},
		{`[{"match":"POST /a","service":"s","operation":{"topics":["t"],"succeed":["x"]}},` + face + `]`, ""},
		{`[{"match":"POST /a","service":"s","operation":{"topics":["t"],"succeed":[]}},` + face + `]`, "/routes/0/operation/succeed"},
		{`[{"match":"POST /a","service":"s","operation":{"topics":["t"],"succeed":["x"],"fail":["x"]}},` + face + `]`, "/routes/0/operation/fail/0"},
		{`[{"match":"POST /a","service":"s","operation":{"topics":["t"],"succeed":["x"]}},{"match":"DELETE /operations/{id}","operation":true}]`, "clients could not look at it"},
		{`[{"match":"DELETE /operations/{id}","operation":true},{"match":"GET /operations/{id}","operation":true}]`, ""},
		{`[` + face + `,{"match":"GET /o/{id}","operation":true}]`, "one public face"},
		{`[{"match":"GET /operations","operation":true}]`, "one placeholder"},
		{`[{"match":"POST /a","topic":"t","type":"x","respond":{"type":"y"},"operation":{"topics":["t"],"succeed":["x"]}},` + face + `]`, "respond or operation"},
	} {
		err := Check(parseRoutes(t, c.routes), []tandem.Service{{Name: "s", URL: "http://127.0.0.1:1"}})
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.routes, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.routes, err, c.want)
			continue
		}
		const code = tandem.CodeInvalid
		var e *tandem.Error
		if !errors.As(err, &e) || e.Code != code || len(e.Fields) == 0 {
			t.Errorf("%s: %v has code %s, want %s", c.routes, err, tandem.CodeOf(err), code)
		}
	}
	for _, s := range []tandem.Service{{Name: "s"}, {Name: "s", URL: "127.0.0.1:80"}, {Name: "s", URL: "ftp://x"}, {Name: "s", URL: "http://u:p@x"},
		{Name: "s", URL: "http://x?q"}, {Name: "s", URL: "http://x", Timeout: -1}, {URL: "http://x"}} {
		if err := Check(nil, []tandem.Service{s}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("service %+v: %v", s, err)
		}
	}
}

func TestRouteJSON(t *testing.T) {
	for _, bad := range []string{`{"authorize":{"service":"a","url":"x"}}`, `{"authorize":[1]}`, `{"operation":false}`, `{"operation":"yes"}`, `{"operation":{"topic":"x"}}`} {
		var r Route
		if err := decodeRoute(bad, &r); err == nil {
			t.Errorf("%s was accepted as %+v", bad, r)
		}
	}
}
