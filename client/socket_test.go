package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

func TestStreamBySocketResumes(t *testing.T) {
	var asked []string
	c, slept := stand(t, Options{Token: "secret"}, upgraded(t, func(n int, w http.ResponseWriter, r *http.Request, accept func() *peer) {
		asked = append(asked, r.URL.Path+"?"+r.URL.Query().Encode())
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%v", r.Header)
		}
		switch n {
		case 1:
			p := accept()
			p.send(`{"cursor":"c0"}`, eventFrame("1", "c1"))
			p.write(fragmented(eventFrame("2", "c2")))
			p.expect("pong there?")
			p.send(`{"cursor":"c3"}`)
			p.write(websocket.AppendFrame(nil, websocket.Text, []byte(eventFrame("cut", "c4")))[:40]) // breaks within a message
		case 2:
			answerProblem(w, tandem.Errorf(tandem.CodeUnavailable, "starting"))
		case 3:
			p := accept()
			p.send(`{"gap":{"reason":"retention","from":"c3","to":"c9"}}`, `{"later":{"x":1}}`, `{"expiring":{"reason":"age"}}`, eventFrame("3", "c10"),
				`{"problem":{"type":"urn:tandem:problem/unavailable","title":"t","status":503,"detail":"the log is closed"}}`)
			p.close(websocket.CloseInternal, "")
		case 4:
			p := accept()
			p.send(`{"cursor":"c11"}`, `{"reconnect":{"reason":"draining","after":1000}}`)
			p.close(websocket.CloseRestart, "draining")
		default:
			answerProblem(w, tandem.Errorf(tandem.CodeNotFound, "no topic"))
		}
	}))
	var got, progress, why []string
	opts := StreamOptions{WebSocket: true, Interrupted: func(err error, _ time.Duration) { why = append(why, err.Error()) },
		Progress: func(at tandem.Cursor) { progress = append(progress, string(at)) }}
	var end error
	for m, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}, Start: tandem.Start{Earliest: true}}, opts) {
		switch {
		case err != nil:
			end = err
		case m.Gap != nil:
			got = append(got, "gap "+m.Gap.Reason+"@"+string(m.Cursor))
		default:
			got = append(got, m.Event.ID+string(m.Event.Data)+"@"+string(m.Cursor))
		}
	}
	if want := `1{"n":1}@c1 2{"n":1}@c2 gap retention@c9 3{"n":1}@c10`; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if want := "credit=256&from=earliest credit=256&cursor=c3 credit=256&cursor=c3 credit=256&cursor=c10 credit=256&cursor=c11"; strings.ReplaceAll(
		strings.ReplaceAll(strings.Join(asked, " "), "&topic=a", ""), "/v1/events?", "") != want {
		t.Errorf("asked %v", asked)
	}
	if tandem.CodeOf(end) != tandem.CodeNotFound || len(*slept) != 4 || strings.Join(progress, " ") != "c0 c3 c11" {
		t.Errorf("ended with %v, slept %v, progress %v", end, *slept, progress)
	}
	if len(why) != 4 || !strings.Contains(why[2], "the log is closed") || !strings.Contains(why[3], "draining") {
		t.Errorf("interrupted by %q", why)
	}
	if s := (*slept)[3]; s < time.Second || s > time.Second+streamBase { // and no longer for what breaks later
		t.Errorf("slept %s, the server said 1s", s)
	}
}

func TestStreamBySocketEndsWithItsLoop(t *testing.T) {
	gone := make(chan struct{})
	c, _ := stand(t, Options{}, talk(t, func(p *peer) {
		defer close(gone)
		p.send(eventFrame("1", "c1"), eventFrame("2", "c2"))
		p.expect("close 1000")
		p.write(websocket.AppendClose(nil, websocket.CloseNormal, ""))
		p.expect("end")
	}))
	for m, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}}, StreamOptions{WebSocket: true}) {
		if err != nil || m.Event.ID != "1" {
			t.Errorf("%+v %v", m, err)
		}
		break
	}
	<-gone
}

func TestStreamBySocketEndsWithItsContext(t *testing.T) {
	c, _ := stand(t, Options{}, talk(t, func(p *peer) {
		p.send(eventFrame("1", "c1"), eventFrame("2", "c2"))
		p.expect("close 1000")
		p.write(websocket.AppendClose(nil, websocket.CloseNormal, ""))
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var end error
	n := 0
	for _, err := range c.Stream(ctx, Query{Topics: []string{"a"}}, StreamOptions{WebSocket: true}) {
		cancel()
		end = err
		n++
	}
	if !errors.Is(end, context.Canceled) || n != 2 {
		t.Errorf("%d, %v", n, end)
	}
}

func TestStreamBySocketGivesUp(t *testing.T) {
	for _, tt := range []struct {
		err   error
		calls int
	}{{tandem.Errorf(tandem.CodeUnavailable, "starting"), 3}, {tandem.Errorf(tandem.CodeUnsupported, "no WebSocket"), 1}} {
		calls := 0
		c, _ := stand(t, Options{Retries: 2}, func(w http.ResponseWriter, _ *http.Request) { calls++; answerProblem(w, tt.err) })
		var end error
		for _, err := range c.Stream(t.Context(), Query{Topics: []string{"a"}}, StreamOptions{WebSocket: true}) {
			end = err
		}
		if tandem.CodeOf(end) != tandem.CodeOf(tt.err) || calls != tt.calls {
			t.Errorf("%v after %d", end, calls)
		}
	}
}

func TestSocketPublishes(t *testing.T) {
	all := make(chan struct{})
	s := dialed(t, SocketOptions{}, func(p *peer) {
		refs := map[string]uint64{}
		for range 3 { // none waits for the receipt of another
			ref, id := p.published()
			refs[id] = ref
		}
		p.send(receiptFrame(refs["3"], "3"), receiptFrame(999, "of nobody"),
			fmt.Sprintf(`{"problem":{"ref":%d,"type":"urn:tandem:problem/conflict","title":"t","status":409,"detail":"other data"}}`, refs["2"]), receiptFrame(refs["1"], "1"))
		<-all
		p.expect("close 1000")
		p.write(websocket.AppendClose(nil, websocket.CloseNormal, ""))
	})
	var wg sync.WaitGroup
	for _, id := range []string{"1", "2", "3"} {
		wg.Go(func() {
			r, err := s.Publish(t.Context(), tandem.Event{ID: id, Source: "/t", Type: "x", Data: []byte(`{"a":"<é>"}`)})
			switch {
			case id == "2" && tandem.CodeOf(err) != tandem.CodeConflict:
				t.Errorf("%+v %v", r, err)
			case id != "2" && (err != nil || r.ID != id || r.Duplicate != tandem.DuplicateYes || r.Topic != "orders" || r.Partition != 1 || r.Offset == 0 || r.Cursor != "c"):
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	wg.Wait()
	for _, e := range []tandem.Event{{ID: "1", Meta: tandem.Meta{Key: "k"}}, {ID: "1", Data: []byte("{")}, {ID: "1", Data: []byte("\"\xff\"")}} {
		if _, err := s.Publish(t.Context(), e); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%+v: %v", e, err)
		}
	}
	close(all)
	s.Close()
	if _, err := s.Publish(t.Context(), tandem.Event{ID: "4"}); tandem.CodeOf(err) != tandem.CodeGone {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Next(t.Context()); tandem.CodeOf(err) != tandem.CodeGone {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Ack("c"); tandem.CodeOf(err) != tandem.CodeGone {
		t.Errorf("after Close: %v", err)
	}
}

func TestSocketWithoutReceipt(t *testing.T) {
	read := make(chan struct{})
	s := dialed(t, SocketOptions{}, func(p *peer) {
		p.published()
		close(read)
		ref, _ := p.published()
		p.send(receiptFrame(ref, "2"))
		p.published()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-read; cancel() }()
	if _, err := s.Publish(ctx, tandem.Event{ID: "1"}); tandem.CodeOf(err) != tandem.CodeTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if r, err := s.Publish(t.Context(), tandem.Event{ID: "2"}); err != nil || r.ID != "2" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := s.Publish(t.Context(), tandem.Event{ID: "3"}); tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("the connection broke: %v", err)
	}
}

func TestSocketBoundsWhatIsUnderWay(t *testing.T) {
	full, answer, more := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := dialed(t, SocketOptions{}, func(p *peer) {
		var refs []uint64
		for range maxPublishing {
			ref, _ := p.published()
			refs = append(refs, ref)
		}
		close(full)
		<-answer
		p.send(receiptFrame(refs[0], "x"))
		p.published() // the one that waited
		close(more)
		<-answer
	})
	var wg sync.WaitGroup
	publish := func() {
		if _, err := s.Publish(t.Context(), tandem.Event{ID: "x"}); err != nil && tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Error(err)
		}
	}
	for range maxPublishing {
		wg.Go(publish)
	}
	<-full
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Publish(ctx, tandem.Event{ID: "x"}); tandem.CodeOf(err) != tandem.CodeTimeout || strings.Contains(err.Error(), "receipt") {
		t.Errorf("%v, and it was not even sent", err)
	}
	wg.Go(publish)
	close(answer)
	<-more
	wg.Wait() // the connection broke
}

// Receipts and pings come through while nobody takes messages.
func TestSocketIsNotHeldUpByItsReader(t *testing.T) {
	const window = 1000
	s := dialed(t, SocketOptions{Window: window}, func(p *peer) {
		ref, id := p.published()
		for i := range window {
			p.send(eventFrame(fmt.Sprint(i), fmt.Sprint("c", i)), `{"cursor":"x"}`)
		}
		for range 3 * window { // a place behind a place takes the room of one
			p.send(`{"cursor":"y"}`)
		}
		p.write(websocket.AppendFrame(nil, websocket.Ping, []byte("p")))
		p.expect("pong p")
		p.send(receiptFrame(ref, id))
		got := p.read()
		if got == `{"ack":"c499"}` { // unless the next one overtakes it
			got = p.read()
		}
		if got != `{"ack":"c999"}` {
			t.Errorf("the client sent %s", got)
		}
		p.close(websocket.CloseGoingAway, "")
	})
	if _, err := s.Publish(t.Context(), tandem.Event{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	if got, err := drain(t, s); tandem.CodeOf(err) != tandem.CodeUnavailable || strings.Count(got, "@") != window {
		t.Errorf("%d messages, %v", strings.Count(got, "@"), err)
	}
}

func TestSocketAcknowledges(t *testing.T) {
	s := dialed(t, SocketOptions{Window: 4}, func(p *peer) {
		p.send(eventFrame("1", "c1"), `{"gap":{"reason":"foreign","from":"a","to":"c2"}}`, eventFrame("2", "c3"), eventFrame("3", "c4"))
		p.expect(`{"ack":"c3"}`)
		p.close(websocket.CloseNormal, "")
	})
	if got, _ := drain(t, s); got != "1@c1 gap foreign@c2 2@c3 3@c4" {
		t.Error(got)
	}

	s = dialed(t, SocketOptions{Window: 2, ManualAck: true}, func(p *peer) {
		p.send(eventFrame("1", "c1"), eventFrame("2", "c2"), `{"cursor":"c3"}`, `{"cursor":"c4"}`)
		p.expect(`{"ack":"c2"}`) // and none by itself before
		p.send(eventFrame("3", "c5"))
		p.expect("close 1000")
	})
	for range 2 {
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ack("c2"); err != nil {
		t.Error(err)
	}
	if m, err := s.Next(t.Context()); err != nil || m.Event.ID != "3" {
		t.Errorf("%+v %v", m, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); tandem.CodeOf(err) != tandem.CodeTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSocketEndsAsTheServerSays(t *testing.T) {
	const problem = `{"problem":{"type":"urn:tandem:problem/forbidden","title":"t","status":403,"detail":"no longer"}}`
	for _, tt := range []struct {
		name  string
		end   func(p *peer)
		code  tandem.Code
		after time.Duration
		text  string
	}{
		{"normal", func(p *peer) { p.close(1000, "") }, tandem.CodeUnavailable, 0, "1000"},
		{"no status", func(p *peer) { p.close(1005, "") }, tandem.CodeUnavailable, 0, "1005"},
		{"restart", func(p *peer) { p.close(1012, "draining") }, tandem.CodeUnavailable, 0, "draining"},
		{"try later", func(p *peer) { p.close(1013, "") }, tandem.CodeUnavailable, 0, "1013"},
		{"own code", func(p *peer) { p.close(4000, "") }, tandem.CodeUnavailable, 0, "4000"},
		{"policy", func(p *peer) { p.close(1008, "bad frames") }, tandem.CodeInvalid, 0, "bad frames"},
		{"too large", func(p *peer) { p.close(1009, "") }, tandem.CodeTooLarge, 0, "1009"},
		{"internal", func(p *peer) { p.close(1011, "") }, tandem.CodeInternal, 0, "1011"},
		{"problem and policy", func(p *peer) { p.send(problem); p.close(1008, "") }, tandem.CodeForbidden, 0, "no longer"},
		{"reconnect and policy", func(p *peer) { p.send(`{"reconnect":{"reason":"slow","after":1500}}`); p.close(1008, "slow") }, tandem.CodeUnavailable, 1500 * time.Millisecond, "slow"},
		{"reconnect and break", func(p *peer) { p.send(`{"reconnect":{"reason":"age","after":-5}}`) }, tandem.CodeUnavailable, 0, "age"},
		{"problem and break", func(p *peer) { p.send(problem) }, tandem.CodeUnavailable, 0, "EOF"},
		{"forbidden code", func(p *peer) { p.write(websocket.AppendClose(nil, 1006, "")); p.expect("close 1002") }, tandem.CodeInternal, 0, "1002"},
		{"masked frame", func(p *peer) {
			p.write(websocket.AppendMasked(nil, websocket.Text, [4]byte{1}, []byte("{}")))
			p.expect("close 1002")
		}, tandem.CodeInternal, 0, "masked"},
		{"binary", func(p *peer) { p.write(websocket.AppendFrame(nil, websocket.Binary, nil)); p.expect("close 1003") }, tandem.CodeInternal, 0, "binary"},
		{"no JSON", func(p *peer) { p.send("{"); p.expect("close 1007") }, tandem.CodeInvalid, 0, "frame"},
		{"no event", func(p *peer) { p.send(`{"event":{"id":"1"},"cursor":"c"}`); p.expect("close 1007") }, tandem.CodeInvalid, 0, "event"},
		{"more than the window", func(p *peer) {
			for range 2*4 + maxGaps {
				p.send(eventFrame("x", "c"))
			}
			p.expect("close 1008")
		}, tandem.CodeInternal, 0, "credit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := dialed(t, SocketOptions{Window: 4, ManualAck: true}, func(p *peer) { p.send(eventFrame("1", "c1")); tt.end(p) })
			<-s.ended // and yet what came before is returned first
			got, err := drain(t, s)
			var e *tandem.Error
			if !strings.HasPrefix(got, "1@c1") || !errors.As(err, &e) || e.Code != tt.code || e.RetryAfter != tt.after || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%.20s, %#v", got, err)
			}
			if _, again := s.Next(t.Context()); again != err {
				t.Errorf("and then %v", again)
			}
		})
	}
}

func TestDial(t *testing.T) {
	filter, err := tandem.ParseFilter([]byte(`{"type":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	h := upgraded(t, func(_ int, _ http.ResponseWriter, r *http.Request, accept func() *peer) {
		if got := r.URL.Path + "?" + r.URL.Query().Encode(); got != "/v1/topics/orders/events?credit=10&cursor=c1&filter=%7B%22exact%22%3A%7B%22type%22%3A%22x%22%7D%7D" ||
			r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("User-Agent") != "me" {
			t.Errorf("%s %v", got, r.Header)
		}
		p := accept()
		p.send(`{"cursor":"c1"}`, eventFrame("1", "c2"))
		p.expect("close 1000")
	})
	// HTTP/2 has no upgrade: the HTTP client is to choose HTTP/1.1 by itself.
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	c, err := New(srv.URL, Options{HTTP: srv.Client(), Token: "secret", UserAgent: "me"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var progress tandem.Cursor
	s, err := c.Dial(ctx, "orders", Query{Start: tandem.Start{Cursor: "c1"}, Filter: filter}, SocketOptions{Window: 10, Progress: func(at tandem.Cursor) { progress = at }})
	if err != nil {
		t.Fatal(err)
	}
	cancel() // it bounded the opening
	if m, err := s.Next(t.Context()); err != nil || m.Event.ID != "1" || progress != "c1" {
		t.Errorf("%+v %v, progress %q", m, err, progress)
	}
	s.Close()
	s.Close()

	for _, window := range []int{-1, 10_001} {
		if _, err := c.Dial(t.Context(), "orders", Query{}, SocketOptions{Window: window}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%v", err)
		}
	}
}

func TestDialIsRefused(t *testing.T) {
	answer := func(change func(http.Header)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Connection", "Upgrade")
			h.Set("Upgrade", "websocket")
			h.Set("Sec-WebSocket-Accept", websocket.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
			h.Set("Sec-WebSocket-Protocol", socketProtocol)
			change(h)
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	}
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		code tandem.Code
	}{
		"not found": {func(w http.ResponseWriter, _ *http.Request) {
			answerProblem(w, tandem.Errorf(tandem.CodeNotFound, "no topic"))
		}, tandem.CodeNotFound},
		"unauthorized": {func(w http.ResponseWriter, _ *http.Request) {
			answerProblem(w, tandem.Errorf(tandem.CodeUnauthorized, "who"))
		}, tandem.CodeUnauthorized},
		"a page":         {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"events":[]}`)) }, tandem.CodeUnsupported},
		"another key":    {answer(func(h http.Header) { h.Set("Sec-WebSocket-Accept", "x") }), tandem.CodeUnsupported},
		"an extension":   {answer(func(h http.Header) { h.Set("Sec-WebSocket-Extensions", "permessage-deflate") }), tandem.CodeUnsupported},
		"another upload": {answer(func(h http.Header) { h.Set("Upgrade", "h2c") }), tandem.CodeUnsupported},
		"no upgrade":     {answer(func(h http.Header) { h.Set("Connection", "keep-alive") }), tandem.CodeUnsupported},
		"no protocol":    {answer(func(h http.Header) { h.Del("Sec-WebSocket-Protocol") }), tandem.CodeUnsupported},
		"another one":    {answer(func(h http.Header) { h.Set("Sec-WebSocket-Protocol", "cloudevents.json") }), tandem.CodeUnsupported},
	} {
		c, _ := stand(t, Options{}, tt.h)
		if _, err := c.Dial(t.Context(), "orders", Query{}, SocketOptions{}); tandem.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := stand(t, Options{HTTP: &http.Client{Timeout: time.Minute}}, answer(func(http.Header) {}))
	if _, err := c.Dial(t.Context(), "orders", Query{}, SocketOptions{}); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("%v", err)
	}
}
