package wait_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/examples/kitchen"
	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
	"github.com/tandem-hybrid/tandem/examples/kitchen/wait"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/server"
)

// system is the example in this process, with a kitchen of the test's choice.
type system struct {
	public, api string
	line        *wait.Line
	board       *wait.Board
	called      *wait.Line // of the board
}

func start(t *testing.T, cook http.Handler) *system {
	t.Helper()
	cooks := httptest.NewServer(cook)
	t.Cleanup(cooks.Close)
	s := &system{line: &wait.Line{}, called: &wait.Line{}}
	s.board = wait.NewBoard(s.called)
	board := httptest.NewUnstartedServer(s.board)
	board.Listener = s.called.Count(board.Listener)
	board.Start()
	t.Cleanup(board.Close)
	yaml := strings.NewReplacer("http://127.0.0.1:9020", cooks.URL, "http://127.0.0.1:9021", board.URL,
		"127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:8090", "127.0.0.1:0").Replace(string(kitchen.Config))
	opts, _, err := config.Parse("tandem.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	opts.Data, opts.FreeBytes = t.TempDir(), -1
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Stop(context.Background()) })
	s.public, s.api, s.line.Addr = "http://"+srv.PublicAddr(), "http://"+srv.APIAddr(), srv.PublicAddr()
	return s
}

// send sends a request and returns the header of an answer that is a success.
func send(t *testing.T, method, url, body string) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s", method, url, res.Status)
	}
	return res.Header
}

// told is what came of one who waited.
type told struct {
	wait.Notice
	took time.Duration
	err  error
}

// round lets n wait while no order is cooked, until asked is so many requests, and then lets the cooks begin.
func (s *system) round(t *testing.T, way wait.Way, name string, n int, asked int64, within string) []told {
	t.Helper()
	send(t, "POST", s.api+"/v1/subscriptions/kitchen:pause", "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var placed, all sync.WaitGroup
	placed.Add(n)
	out := make([]told, n)
	for i := range out {
		all.Go(func() {
			order := fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "-"), i)
			began := time.Now()
			out[i].Notice, out[i].err = way.Wait(ctx, order, func(context.Context) (string, error) {
				defer placed.Done()
				h := send(t, "PUT", s.public+"/orders/"+order, `{"dish":"soup","within":"`+within+`"}`)
				return h.Get("Location"), nil
			})
			out[i].took = time.Since(began)
		})
	}
	placed.Wait()
	await(t, func() bool { return s.line.Requests.Load() >= asked })
	send(t, "POST", s.api+"/v1/subscriptions/kitchen:resume", "")
	all.Wait()
	return out
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) { // nobody tells of a count
		if time.Now().After(late) {
			t.Fatal("it did not happen within a minute")
		}
	}
}

// Everybody who waits knows exactly once, and what that costs is what the way says.
func TestEveryWay(t *testing.T) {
	s := start(t, cook.Handler())
	const n, every = 20, 100 * time.Millisecond
	for _, c := range []struct {
		name  string
		way   wait.Way
		asked int64 // requests before anything is ready
		polls bool
	}{
		{"webhook", s.board, 0, false}, // first: the board is called for the orders of all others, too
		{"poll", wait.Poll{Line: s.line, Every: every}, 3 * n, true},
		{"poll with ETag", wait.Poll{Line: s.line, Every: every, ETag: true}, 3 * n, true},
		{"long poll", wait.LongPoll{Line: s.line, Hold: time.Minute}, n, false},
		{"SSE", wait.SSE{Line: s.line}, n, false},
		{"WebSocket", wait.WebSocket{Line: s.line}, n, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := s.line
			if c.name == "webhook" {
				line = s.called
			}
			for _, count := range []interface{ Store(int64) }{&line.Due, &line.Begun, &line.Requests, &line.Bytes, &line.Broken} {
				count.Store(0)
			}
			most := int64(0)
			for i, told := range s.round(t, c.way, c.name, n, c.asked, "100ms") {
				if told.err != nil || told.Ready.IsZero() || told.Known.Before(told.Ready) {
					t.Errorf("waiter %d: %+v", i, told)
				}
				most += int64(told.took/every) + 1
			}
			requests, bytes := line.Requests.Load(), line.Bytes.Load()
			t.Logf("%d requests, %d bytes", requests, bytes)
			if line.Broken.Load() != 0 || bytes < 100*n {
				t.Errorf("%d connections broke, %d bytes", line.Broken.Load(), bytes)
			}
			switch {
			case c.polls && (requests < 3*n || requests > most || line.Begun.Load() != requests || line.Due.Load() < requests):
				t.Errorf("%d requests, %d of %d polls began; between %d and %d fit the interval", requests, line.Begun.Load(), line.Due.Load(), 3*n, most)
			case c.name == "webhook" && requests-s.board.Repeats() != n, !c.polls && c.name != "webhook" && requests != n:
				t.Errorf("%d requests for %d notices", requests, n)
			}
		})
	}
}

// A poll with ETag sends the one of the last answer, and understands that nothing is new.
func TestThePollSendsItsETag(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("If-None-Match"))
		switch len(sent) {
		case 1:
			w.Header().Set("ETag", `"a"`)
			fmt.Fprint(w, `{"state":"running"}`)
		case 2, 3:
			w.WriteHeader(http.StatusNotModified)
		default:
			fmt.Fprint(w, `{"state":"succeeded","result":{"type":"order.ready","data":{"at":"2026-01-31T09:30:00Z"}}}`)
		}
	}))
	defer server.Close()
	poll := wait.Poll{Line: &wait.Line{Addr: server.Listener.Addr().String()}, Every: time.Millisecond, ETag: true}
	n, err := poll.Wait(t.Context(), "1", func(context.Context) (string, error) { return "/operations/1", nil })
	if err != nil || n.Ready.Year() != 2026 || fmt.Sprintf("%q", sent) != `["" "\"a\"" "\"a\"" "\"a\""]` {
		t.Errorf("%v, %v; sent %q", n, err, sent)
	}
}

// A notice that takes its time shows as such: here the kitchen takes it between the dish and its answer.
func TestAPlantedDelayShows(t *testing.T) {
	const planted = 300 * time.Millisecond
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := httptest.NewRecorder()
		cook.Handler().ServeHTTP(at, r)
		time.Sleep(planted)
		w.Header().Set("Content-Type", at.Header().Get("Content-Type"))
		_, _ = w.Write(at.Body.Bytes())
	}))
	for name, way := range map[string]wait.Way{
		"poll": wait.Poll{Line: s.line, Every: 10 * time.Millisecond}, "long poll": wait.LongPoll{Line: s.line, Hold: time.Minute},
		"SSE": wait.SSE{Line: s.line}, "WebSocket": wait.WebSocket{Line: s.line}, "webhook": s.board,
	} {
		for _, told := range s.round(t, way, name, 2, 0, "0s") {
			if delay := told.Known.Sub(told.Ready); told.err != nil || delay < planted {
				t.Errorf("%s: %s, %v", name, delay, told.err)
			}
		}
	}
}

// A stream that breaks goes on behind its last place, and the order is placed once.
func TestABrokenStreamGoesOn(t *testing.T) {
	var asked []string
	placed := 0
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "retry: 2000\nid: c1\n\n")
		if len(asked) == 1 {
			fmt.Fprint(w, "id: c2\ndata: {\"type\":\"order") // cut in the middle: it was not told
			return
		}
		data, _ := json.Marshal(map[string]any{"type": "order.ready", "subject": "7", "data": cook.Ready{At: time.Now()}})
		fmt.Fprintf(w, ": heartbeat\n\nid: c2\ndata: %s\n\n", data)
	})
	server := httptest.NewServer(h)
	defer server.Close()
	line := &wait.Line{Addr: server.Listener.Addr().String()}
	_, err := wait.SSE{Line: line}.Wait(t.Context(), "7", func(context.Context) (string, error) { placed++; return "", nil })
	if err != nil || placed != 1 || fmt.Sprint(asked) != "[ cursor=c1]" || line.Broken.Load() != 1 {
		t.Errorf("%v; placed %d times, asked %q, %d broken", err, placed, asked, line.Broken.Load())
	}
}

// An order that is refused ends the wait at once, whatever the way.
func TestARefusedOrderEndsTheWait(t *testing.T) {
	s := start(t, cook.Handler())
	refused := fmt.Errorf("refused")
	for name, way := range map[string]wait.Way{
		"poll": wait.Poll{Line: s.line, Every: time.Hour}, "long poll": wait.LongPoll{Line: s.line, Hold: time.Minute},
		"SSE": wait.SSE{Line: s.line}, "WebSocket": wait.WebSocket{Line: s.line}, "webhook": s.board,
	} {
		if _, err := way.Wait(t.Context(), "1", func(context.Context) (string, error) { return "", refused }); err != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nobody is there: it is tried until ctx ends.
func TestAWaitEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	line := &wait.Line{Addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for line.Broken.Load() == 0 {
			time.Sleep(time.Millisecond) // nobody tells of a count
		}
		cancel()
	}()
	if _, err := (wait.SSE{Line: line}).Wait(ctx, "1", nil); err != context.Canceled {
		t.Error(err)
	}
}

// A delivery that comes again is told to nobody, and counted.
func TestTheBoardTellsOnce(t *testing.T) {
	line := &wait.Line{}
	board := wait.NewBoard(line)
	deliver := func() {
		w := httptest.NewRecorder()
		board.ServeHTTP(w, httptest.NewRequest("POST", "/events", strings.NewReader(`{"type":"order.ready","subject":"7","data":{"at":"2026-01-31T09:30:00Z"}}`)))
		if w.Code != http.StatusNoContent {
			t.Errorf("answered %d", w.Code)
		}
	}
	n, err := board.Wait(t.Context(), "7", func(context.Context) (string, error) { deliver(); deliver(); return "", nil })
	if err != nil || n.Ready.Year() != 2026 || board.Repeats() != 1 || line.Requests.Load() != 2 {
		t.Errorf("%+v, %v; %d repeats of %d requests", n, err, board.Repeats(), line.Requests.Load())
	}
}
