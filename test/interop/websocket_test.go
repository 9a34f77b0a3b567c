package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// socket opens a WebSocket with the npm package ws; see js/socket.mjs.
func socket(t *testing.T, url string, more ...string) *program {
	t.Helper()
	return run(t, "node", append([]string{"js/socket.mjs", url}, more...)...)
}

// frame is what the server sends in tandem.v1.json.
type frame struct {
	Event   *message
	Cursor  string
	Receipt *struct {
		Ref       any
		ID, Topic string
		Offset    *uint64
		Cursor    string
		Duplicate bool
	}
	Problem *struct {
		Ref    any
		Status int
		Detail string
		Errors []struct{ Pointer, Detail string }
	}
	Gap                 *struct{ Reason, From, To string }
	Expiring, Reconnect *struct {
		Reason string
		After  int
	}
}

// message is an event, with data as publish makes it.
type message struct {
	ID, Source, Type, Subject string
	Data                      struct{ N int }
}

// frame returns the next frame, places left out.
func (p *program) frame() (f frame) {
	p.t.Helper()
	text := p.says("message ")
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		p.t.Fatalf("%v: %.300s", err, text)
	}
	return f
}

// follow expects the events from n to before end, and returns the place after them.
func (p *program) follow(n, end int) (cursor string) {
	p.t.Helper()
	for ; n < end; n++ {
		f := p.frame()
		if f.Event == nil || f.Event.Data.N != n || f.Cursor == "" {
			p.t.Fatalf("%+v where event %d was next", f, n)
		}
		cursor = f.Cursor
	}
	return cursor
}

// TestWebSocketTandem: the npm package ws with tandem.v1.json reads, publishes and goes on by cursor over a kill of the server.
func TestWebSocketTandem(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	events := s.url("/v1/topics/orders/events")
	for n := range 5 {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	w := socket(t, events+"?from=earliest", "other,cloudevents.json,tandem.v1.json")
	w.says("open tandem.v1.json -") // no permessage-deflate, which ws offers
	if line := w.next(); !strings.HasPrefix(line, `message {"cursor":"`) {
		t.Errorf("it begins with %s, not with the place where it begins", line)
	}
	w.follow(0, 5)

	// Frames of one connection are answered, and stored, in the order in which they were sent.
	event := func(id string, n int) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/ws","type":"test","subject":"k","data":{"n":%d}}`, id, n)
	}
	w.tell(`send {"publish":{"ref":"a","event":%s}}`, event("a", 5))
	w.tell(`parts {"publish":{"ref":2,"event":%s}}`, event("b", 6))
	w.tell(`send {"publish":{"ref":"again","event":%s}}`, event("a", 5))
	w.tell(`send {"publish":{"ref":"bad","event":{"specversion":"1.0","id":"c","source":"/ws"}}}`)
	w.tell(`send {"publish":{"event":%s}}`, event("d", 0))
	w.tell(`ping there?`)
	var cursor string
	var offsets []uint64
	n, answers, pongs := 5, []string{}, []string{}
	for len(answers) < 5 || n < 7 || len(pongs) < 2 {
		line := w.next("ping")
		if pong, ok := strings.CutPrefix(line, "pong "); ok {
			pongs = append(pongs, pong)
			continue
		}
		var f frame
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "message ")), &f); err != nil {
			t.Fatal(line)
		}
		switch {
		case f.Event != nil:
			if f.Event.Data.N != n {
				t.Fatalf("%s where event %d was next", line, n)
			}
			n, cursor = n+1, f.Cursor
		case f.Receipt != nil && f.Receipt.Offset != nil && f.Receipt.Topic == "orders" && f.Receipt.Cursor != "":
			answers = append(answers, fmt.Sprint(f.Receipt.Ref, " ", f.Receipt.ID, " ", f.Receipt.Duplicate))
			offsets = append(offsets, *f.Receipt.Offset)
		case f.Problem != nil:
			answers = append(answers, fmt.Sprint(f.Problem.Ref, " ", f.Problem.Status))
		case f.Cursor == "":
			t.Fatal(line)
		}
	}
	if got := strings.Join(answers, ", "); got != "a a false, 2 b false, again a true, bad 400, <nil> 400" {
		t.Errorf("the answers were %s", got)
	}
	if offsets[2] != offsets[0] {
		t.Errorf("the repeat is at %d, the first at %d", offsets[2], offsets[0])
	}
	if got := strings.Join(pongs, ", "); got != "between, there?" {
		t.Errorf("the pongs were %s", got)
	}

	s.stop(syscall.SIGKILL)
	w.says("close 1006")
	s.run()
	for n := 7; n < 20; n++ {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	w = socket(t, events+"?cursor="+cursor, "tandem.v1.json")
	w.says("open tandem.v1.json -")
	w.tell(`send {"publish":{"ref":"a","event":%s}}`, event("a", 5)) // has a receipt from before the kill
	again := func(f frame) bool { return f.Receipt != nil && f.Receipt.Duplicate && *f.Receipt.Offset == offsets[0] }
	for n, answered := 7, false; n < 20 || !answered; {
		switch f := w.frame(); {
		case again(f):
			answered = true
		case f.Event != nil && f.Event.Data.N == n:
			n, cursor = n+1, f.Cursor
		default:
			t.Fatalf("%+v where event %d was next", f, n)
		}
	}

	// A server that stops says when to come back.
	s.stop(syscall.SIGTERM)
	if f := w.frame(); f.Reconnect == nil || f.Reconnect.Reason != "draining" || f.Reconnect.After < 1000 || f.Reconnect.After > 4000 {
		t.Errorf("the last frame was %+v", f)
	}
	w.says("close 1012 draining")
	s.run()
	s.publish("orders", "k", 20)
	w = socket(t, events+"?cursor="+cursor, "tandem.v1.json")
	w.says("open")
	w.follow(20, 21)
}

// TestWebSocketCloudEvents: with cloudevents.json, as without a subprotocol, messages are events and nothing else.
func TestWebSocketCloudEvents(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	if status, _, body := s.call("PUT", s.url("/v1/topics/temp"), `{"partitions":1}`, "Content-Type: application/json"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	n := 0
	for _, protocol := range []string{"cloudevents.json", ""} {
		t.Run("protocol="+protocol, func(t *testing.T) {
			event := func(p *program, n int) (m message) {
				t.Helper()
				text := p.says("message ")
				if err := json.Unmarshal([]byte(text), &m); err != nil || m.Data.N != n || m.Subject != "k" || !strings.Contains(text, `"specversion":"1.0"`) {
					t.Fatalf("%s where event %d was next", text, n)
				}
				return m
			}
			place := s.publish("orders", "k", n).Cursor
			w := socket(t, s.url("/v1/topics/orders/events?last=1"), protocol)
			w.says("open " + map[bool]string{true: "-", false: protocol}[protocol == ""] + " -")
			event(w, n)
			w.tell(`send {"specversion":"1.0","id":"%d","source":"/ws","type":"test","subject":"k","data":{"n":%d}}`, n, n+1)
			if got := event(w, n+1); got.ID != fmt.Sprint(n) || got.Source != "/ws" {
				t.Errorf("what was published came back as %+v", got)
			}
			w.tell("ping there?")
			if line := w.next("ping"); line != "pong there?" { // a receipt would come before it
				t.Errorf("%s where the pong was next", line)
			}
			s.stop(syscall.SIGKILL)
			w.says("close 1006")
			s.run()
			w = socket(t, s.url("/v1/topics/orders/events?cursor=%s", place), protocol)
			w.says("open")
			event(w, n+1)
			w.tell(`send {"specversion":"1.0","id":"x","source":"/ws"}`)
			if said := w.says("close 1008 "); !strings.Contains(said, "type") {
				t.Errorf("the reason is %q", said)
			}
			n += 2

			s.publish("temp", "k", 0)
			old := s.publish("temp", "k", 1).Cursor
			for _, do := range []string{"DELETE", "PUT"} {
				if status, _, body := s.call(do, s.url("/v1/topics/temp"), map[string]string{"PUT": `{"partitions":1}`}[do], "Content-Type: application/json"); status/100 != 2 {
					t.Fatalf("%d %s", status, body)
				}
			}
			s.publish("temp", "k", 2)
			w = socket(t, s.url("/v1/topics/temp/events?cursor=%s", old), protocol)
			w.says("open")
			var gap struct {
				Type, Source string
				Data         struct{ Reason, From, To string }
			}
			if err := json.Unmarshal([]byte(w.says("message ")), &gap); err != nil || gap.Type != "tandem.stream.gap" || gap.Source != "/tandem" ||
				gap.Data.Reason != "recreated" || gap.Data.From != old || gap.Data.To == "" {
				t.Errorf("the gap is %+v, %v", gap, err)
			}
			event(w, 2)
			s.stop(syscall.SIGTERM)
			w.says("close 1012 draining")
			s.run()
		})
	}
}

// TestWebSocketCloses: how connections end, and which are refused.
func TestWebSocketCloses(t *testing.T) {
	s := start(t, `
topics:
  orders: {}
routes:
  - {match: "GET /read", stream: {topics: [orders]}}
`)
	events := s.url("/v1/topics/orders/events")
	for _, c := range []struct{ tell, closes string }{
		{"close", "close 1000"},
		{"close 1000 bye", "close 1000"},
		{"close 4711 bye", "close 4711"},
		{"binary {}", "close 1003"},
		{"latin1 \u00e4", "close 1007"},
		{"large 1200000", "close 1009"},
		{"raw 810178", "close 1002"},       // without a mask
		{"raw c18000000000", "close 1002"}, // as if compressed
		{strings.Repeat("send nonsense\n", 16) + "send nonsense", "close 1008 too many bad frames"},
	} {
		w := socket(t, events, "tandem.v1.json")
		w.says("open")
		w.tell("%s", c.tell)
		for range strings.Count(c.tell, "\n") {
			if f := w.frame(); f.Problem == nil || f.Problem.Ref != nil {
				t.Errorf("%+v", f)
			}
		}
		w.says(c.closes)
	}
	origin := "http://" + s.public
	for _, c := range []struct{ url, protocol, origin, says string }{
		{events, "mqtt", "", "refused 400"},
		{events + "?credit=2", "cloudevents.json", "", "refused 400"},
		{events + "?cursor=nonsense", "tandem.v1.json", "", "refused 400"},
		{s.url("/v1/topics/nothing/events"), "tandem.v1.json", "", "refused 404"},
		{events, "tandem.v1.json", "http://elsewhere.example", "refused 403"},
		{origin + "/read", "", "", "refused 403"},
		{origin + "/read", "", "http://elsewhere.example", "refused 403"},
		{origin + "/read", "", origin, "open - -"},
		{origin + "/read", "", "https://" + s.public, "open - -"}, // as where TLS ends at a proxy
	} {
		w := socket(t, c.url, c.protocol, c.origin)
		w.says(c.says)
	}
	// A route without publish takes no events.
	w := socket(t, origin+"/read", "tandem.v1.json", origin)
	w.says("open")
	w.tell(`send {"publish":{"ref":1,"event":{"specversion":"1.0","id":"1","source":"/ws","type":"t"}}}`)
	if f := w.frame(); f.Problem == nil || f.Problem.Status != http.StatusForbidden || f.Problem.Ref != 1.0 {
		t.Errorf("%+v", f.Problem)
	}
}

// TestWebSocketPublishOnARoute: what a client says about itself does not count, and its receipt says nothing of the log.
func TestWebSocketPublishOnARoute(t *testing.T) {
	s := start(t, `
topics:
  chat: {}
routes:
  - {match: "GET /rooms/{id}", stream: {topics: [chat], filter: {subject: "{id}"}, publish: {topic: chat, type: chat.said, subject: "{id}"}}}
`)
	origin := "http://" + s.public
	w := socket(t, origin+"/rooms/7", "tandem.v1.json", origin)
	w.says("open")
	if line := w.next(); !strings.HasPrefix(line, `message {"cursor":`) { // what comes now is seen
		t.Fatal(line)
	}
	const said = `send {"publish":{"ref":%d,"event":{"specversion":"1.0","id":%q,"source":"/root","type":"chat.said","subject":"8","tandemflow":"mine","data":{"n":%d}}}}`
	var source string
	for n := range 2 {
		w.tell(said, n, fmt.Sprint(n), n)
		for range 2 {
			switch f := w.frame(); {
			case f.Receipt != nil && f.Receipt.Ref == float64(n) && f.Receipt.ID != "" && f.Receipt.Offset == nil && f.Receipt.Cursor == "":
			case f.Event != nil && f.Event.Data.N == n && f.Event.Subject == "7" && f.Event.Type == "chat.said" && f.Event.Source != "/root":
				source = f.Event.Source
			default:
				t.Fatalf("%+v", f)
			}
		}
	}
	w.tell(said, 9, "1", 1)
	if f := w.frame(); f.Receipt == nil || !f.Receipt.Duplicate {
		t.Errorf("the repeat was answered with %+v", f)
	}
	w.tell(`send {"publish":{"ref":"bare","event":{"data":{"n":2}}}}`) // the route says the rest
	for range 2 {
		if f := w.frame(); (f.Receipt == nil || f.Receipt.Ref != "bare") && (f.Event == nil || f.Event.Data.N != 2 || f.Event.Type != "chat.said") {
			t.Errorf("no more than data was answered with %+v", f)
		}
	}
	w.tell(`send {"publish":{"ref":10,"event":{"specversion":"1.0","source":"/x","type":"other","data":{}}}}`)
	if f := w.frame(); f.Problem == nil || f.Problem.Status != http.StatusBadRequest || len(f.Problem.Errors) != 1 {
		t.Errorf("another type was answered with %+v", f)
	}
	page := get(t, s.url("/v1/topics/chat/events?from=earliest"))
	if strings.Count(page, `"type":"chat.said"`) != 3 || strings.Contains(page, `"mine"`) || strings.Count(page, `"source":"`+source) != 3 {
		t.Error(page)
	}
}
