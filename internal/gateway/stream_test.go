package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// asks are streams that keep what the gateway asks for.
type asks chan tandem.StreamRequest

func (a asks) Serve(w http.ResponseWriter, _ *http.Request, ask tandem.StreamRequest) {
	a <- ask
	w.WriteHeader(http.StatusOK)
}

// whoAsks authorizes everybody as who they say they are.
func whoAsks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Tandem-Principal", r.Header.Get("Authorization"))
}

// talk opens a stream at a path, and returns it once the request is over: from then on the stream stands for itself.
func (w *world) talk(who, path string, header ...string) talk {
	w.t.Helper()
	opened := make(asks, 1)
	w.opts.Streams = opened
	if a := w.do("GET", path, "", append(header, "Authorization", who)...); a.StatusCode != 200 {
		w.t.Fatalf("%s: %d %s", path, a.StatusCode, a.body)
	}
	ask := <-opened
	if ask.Principal != who || !ask.Public {
		w.t.Errorf("the stream is %q's, public %v", ask.Principal, ask.Public)
	}
	return talk{w.t, ask}
}

type talk struct {
	t   *testing.T
	ask tandem.StreamRequest
}

// say publishes events, which are given as members of JSON beside specversion. id, source and type may be absent.
func (c talk) say(events ...string) []tandem.Stored {
	c.t.Helper()
	list := make([]tandem.Event, len(events))
	for i, members := range events {
		absent := func(name string) bool { return !strings.Contains(members, `"`+name+`":`) }
		whole := members
		for _, name := range []string{"id", "source", "type"} {
			if absent(name) {
				whole += `,"` + name + `":"-"`
			}
		}
		ev, err := tandem.ParseEventJSON([]byte(`{"specversion":"1.0",` + whole + `}`))
		if err != nil {
			c.t.Fatalf("%s: %v", members, err)
		}
		for name, value := range map[string]*string{"id": &ev.ID, "source": &ev.Source, "type": &ev.Type} {
			if absent(name) {
				*value = ""
			}
		}
		list[i] = ev
	}
	stored := c.ask.Publish(context.Background(), list)
	if len(stored) != len(events) {
		c.t.Fatalf("%d answers for %d events", len(stored), len(events))
	}
	return stored
}

// refused checks that an event was refused with a code, and a pointer where that is not "".
func refused(t *testing.T, s tandem.Stored, code tandem.Code, pointer string) {
	t.Helper()
	var got string
	for _, f := range tandem.ProblemOf(s.Err).Errors {
		got += f.Pointer
	}
	if s.Err == nil || tandem.CodeOf(s.Err) != code || got != pointer {
		t.Errorf("%v at %q, want %s at %q", s.Err, got, code, pointer)
	}
}

const chatRoutes = `[{"match":"GET /rooms/{room}","authorize":"auth","maxBodyBytes":40,
	"stream":{"topics":["orders"],"publish":{"topic":"orders","type":"chat.said","key":"data.to","subject":"{principal}/{room}"}}}]`

// TestStreamPublish: what a client says of an event beside its id, time and data, and attributes of its own, is not believed.
func TestStreamPublish(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, chatRoutes)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c := w.talk("alice", "/rooms/a%2Fb", "Traceparent", parent)
	stored := c.say(`"id":"1","source":"/evil","type":"chat.said","subject":"evil","time":"2026-01-31T09:30:00Z","priority":"high","data":{"to":"bob"},
		"tandemflow":"evil","tandemcause":"evil","tandemoperation":"evil","tandemhops":31,"tandemposition":"orders/0/1","tandemdelivery":"evil","tandemproducer":"root",
		"traceparent":"00-11111111111111111111111111111111-1111111111111111-01"`,
		`"data":{"to":7}`)
	for _, s := range stored {
		if s.Err != nil || s.Receipt.ID == "" || s.Receipt.Duplicate == tandem.DuplicateYes {
			t.Fatalf("%+v", s)
		}
	}
	list := w.events("orders")
	if len(list) != 2 {
		t.Fatalf("%d events", len(list))
	}
	ev, second := list[0].Event, list[1].Event
	for what, got := range map[string][2]string{
		"id": {ev.ID, stored[0].Receipt.ID}, "type": {ev.Type, "chat.said"}, "source": {ev.Source, "/routes/GET/rooms/:room"},
		"subject": {ev.Subject, "alice/a/b"}, "key": {ev.Meta.Key, "bob"}, "producer": {ev.Meta.Producer, "alice"},
		"route": {ev.Meta.Route, "GET /rooms/{room}"}, "time": {ev.Time, "2026-01-31T09:30:00Z"}, "data": {string(ev.Data), `{"to":"bob"}`},
		"operation": {ev.Meta.Operation, ""}, "causes": {strings.Join(ev.Meta.Causes, " "), ""},
		"trace of the request":  {ev.Meta.TraceParent[:35], parent[:35]},
		"extensions":            {fmt.Sprint(ev.Extensions), fmt.Sprint([]tandem.Extension{{Name: "priority", Value: "high"}})},
		"type of the second":    {second.Type, "chat.said"},
		"key of the second":     {second.Meta.Key, "7"},
		"subject of the second": {second.Subject, "alice/a/b"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %q, want %q", what, got[0], got[1])
		}
	}
	if ev.ID == "1" || ev.Meta.Hops != 0 || len(ev.Meta.Flow) != 36 || ev.Meta.Flow == second.Meta.Flow || second.ID == "" {
		t.Errorf("ids %q and %q, hops %d, flows %q and %q", ev.ID, second.ID, ev.Meta.Hops, ev.Meta.Flow, second.Meta.Flow)
	}
}

// TestStreamPublishRefuses: what is wrong with one event keeps no other of the same client from being stored, in their order.
func TestStreamPublishRefuses(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, chatRoutes)
	c := w.talk("alice", "/rooms/1")
	stored := c.say(
		`"id":"a","data":{"to":"x"}`,
		`"id":"b","type":"order.placed","data":{"to":"x"}`, // another type than the route's
		`"id":"c","data":{"to":"y"}`,
		`"id":"d","data":{"from":"x"}`, // no key
		`"id":"e","data":{"to":{}}`,
		`"id":"f"`, // no data
		`"id":"g","data":{"to":"x","text":"`+strings.Repeat("x", 40)+`"}`,
		`"id":"a","data":{"to":"z"}`, // other data
		`"id":"h","data":{"to":"x","n":1}`,
		`"id":"c","data":{"to":"y"}`, // again
		`"data":{"to":"x","n":2}`,
	)
	refused(t, stored[1], tandem.CodeInvalid, "/type")
	for _, i := range []int{3, 4, 5} {
		refused(t, stored[i], tandem.CodeInvalid, "/data/to")
	}
	refused(t, stored[6], tandem.CodeTooLarge, "")
	refused(t, stored[7], tandem.CodeConflict, "/id")
	for _, i := range []int{0, 2, 8, 9, 10} {
		if s := stored[i]; s.Err != nil || (s.Receipt.Duplicate == tandem.DuplicateYes) != (i == 9) || s.Receipt.ID == "" {
			t.Errorf("event %d: %+v", i, s)
		}
	}
	if stored[9].Receipt.ID != stored[2].Receipt.ID {
		t.Errorf("a repeat is answered with %s, the first with %s", stored[9].Receipt.ID, stored[2].Receipt.ID)
	}
	var data []string
	for _, rec := range w.events("orders") {
		data = append(data, string(rec.Data))
	}
	if got, want := strings.Join(data, " "), `{"to":"x"} {"to":"y"} {"to":"x","n":1} {"to":"x","n":2}`; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

// TestStreamPublishIDs: an id counts for one principal on one route, on whichever connection.
func TestStreamPublishIDs(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, `[
		{"match":"GET /a","authorize":"auth","stream":{"topics":["orders"],"publish":{"topic":"orders","type":"t"}}},
		{"match":"GET /b","authorize":"auth","stream":{"topics":["orders"],"publish":{"topic":"orders","type":"t"}}}]`)
	const said = `"id":"1","data":1`
	seen := map[string]string{}
	for _, c := range []struct{ who, path string }{{"alice", "/a"}, {"bob", "/a"}, {"alice", "/b"}} {
		s := w.talk(c.who, c.path).say(said)[0]
		if s.Err != nil || s.Receipt.Duplicate == tandem.DuplicateYes {
			t.Errorf("%s at %s: %+v", c.who, c.path, s)
		}
		if first := seen[s.Receipt.ID]; first != "" {
			t.Errorf("%s at %s has the id of %s", c.who, c.path, first)
		}
		seen[s.Receipt.ID] = c.who + " at " + c.path
		again := w.talk(c.who, c.path).say(said)[0]
		if again.Err != nil || again.Receipt.Duplicate != tandem.DuplicateYes || again.Receipt.ID != s.Receipt.ID {
			t.Errorf("%s at %s, again: %+v after %+v", c.who, c.path, again, s)
		}
	}
	if n := len(w.events("orders")); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	// Who chooses no id repeats nothing.
	c := w.talk("alice", "/a")
	if s := c.say(`"data":1`, `"data":1`); s[0].Receipt.ID == s[1].Receipt.ID || s[1].Receipt.Duplicate == tandem.DuplicateYes {
		t.Errorf("%+v", s)
	}
}

func TestStreamPublishUnavailable(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, chatRoutes)
	c := w.talk("alice", "/rooms/1")
	w.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
	stored := c.say(`"data":{"to":"x"}`, `"data":{}`)
	refused(t, stored[0], tandem.CodeUnavailable, "")
	refused(t, stored[1], tandem.CodeInvalid, "/data/to")
	w.eng.Fail(nil)
	if s := c.say(`"data":{"to":"x"}`)[0]; s.Err != nil {
		t.Errorf("after that: %v", s.Err)
	}
	if err := w.log.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	refused(t, c.say(`"data":{"to":"x"}`)[0], tandem.CodeUnavailable, "")
}

// TestStreamWithoutPublish: where the route says nothing of publishing, nobody can.
func TestStreamWithoutPublish(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(whoAsks)}, `[{"match":"GET /a/{id}","authorize":"auth","stream":{"topics":["orders"],"slow":"conflate","filter":{"subject":"{id}"}}}]`)
	ask := w.talk("alice", "/a/7").ask
	if ask.Publish != nil || ask.Slow != tandem.SlowConflate || ask.Filter.String() != `{"exact":{"subject":"7"}}` {
		t.Errorf("%+v", ask)
	}
}
