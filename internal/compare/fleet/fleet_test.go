package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/server"
)

const tandemYAML = `
data: ./data
public: {listen: "127.0.0.1:0"}
api: {listen: "127.0.0.1:0"}
limits: {freeBytes: -1}
topics:
  positions: {partitions: 4}
routes:
  - {match: "POST /happened/{id}", topic: positions, type: vehicle.position, key: "{id}", subject: "{id}"}
  - match: "GET /socket/{id}"
    stream:
      topics: [positions]
      filter: {subject: "{id}", type: vehicle.command}
      publish: {topic: positions, type: vehicle.position, key: "{id}", subject: "{id}"}
`

// serve starts Tandem.
func serve(t *testing.T) *server.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(path, []byte(tandemYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// send lets every vehicle report some times, all vehicles at the same time, and returns how many reports failed.
func send(t *testing.T, r Reporter, vehicles, times int) (failed int) {
	t.Helper()
	at := Positions(vehicle.Generate(3, 10, 1))
	var mu sync.Mutex
	var all sync.WaitGroup
	for v := range vehicles {
		all.Go(func() {
			for n := range times {
				if err := r.Report(t.Context(), v, Report{Unit: strconv.Itoa(n*vehicles + v), Position: at(v, n)}); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

// However they are sent, every report is stored once under the name of its vehicle, in order, and its bytes are counted.
func TestReportsAreStored(t *testing.T) {
	s := serve(t)
	c, err := client.New("http://"+s.APIAddr(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const vehicles, times = 12, 5
	from := tandem.Start{Earliest: true}
	for name, open := range map[string]func() Reporter{
		"calls":   func() Reporter { return Calls(s.PublicAddr(), "/happened/", vehicles) },
		"sockets": func() Reporter { return Sockets(s.PublicAddr(), "/socket/", vehicles) },
		"batches": func() Reporter { return Batches(s.APIAddr(), "/v1/topics/positions/events", 2) },
	} {
		r := open()
		if failed := send(t, r, vehicles, times); failed > 0 {
			t.Errorf("%s: %d reports failed", name, failed)
		}
		r.Close()
		next := map[string]int{}
		for v := range vehicles {
			next[Name(v)] = v
		}
		stored := 0
		for {
			page, err := c.Read(t.Context(), client.Query{Topics: []string{"positions"}, Start: from, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) == 0 {
				break
			}
			from = tandem.Start{Cursor: page.Cursor}
			for _, ev := range page.Events {
				var r Report
				if err := json.Unmarshal(ev.Data, &r); err != nil || r.Unit != strconv.Itoa(next[ev.Subject]) || r.N != next[ev.Subject]/vehicles+1 || r.Latitude == 0 || ev.Type != "vehicle.position" {
					t.Fatalf("%s: of %s unit %d is stored as %s, %v", name, ev.Subject, next[ev.Subject], ev.Data, err)
				}
				next[ev.Subject] += vehicles
				stored++
			}
		}
		w := r.Wire()
		least, most := int64(vehicles*times), int64(vehicles*times)
		if name == "batches" {
			least, most = 2, vehicles*times-1 // a machine that stalls sends smaller ones
		}
		if stored != vehicles*times || w.Requests < least || w.Requests > most || w.Bytes < int64(stored*len(`{"unit":1,"n":1}`)) {
			t.Errorf("%s: %d of %d are stored, %+v", name, stored, vehicles*times, w)
		}
	}
}

// A report that was not stored is told to be so, and the next one goes over a new connection.
func TestFailuresAreTold(t *testing.T) {
	s := serve(t)
	for name, r := range map[string]Reporter{
		"calls":    Calls(s.PublicAddr(), "/nothing/", 1),
		"sockets":  Sockets(s.PublicAddr(), "/nothing/", 1),
		"batches":  Batches(s.APIAddr(), "/v1/topics/_x/events", 1),
		"nobody":   Calls("127.0.0.1:1", "/happened/", 1),
		"nobody 2": Sockets("127.0.0.1:1", "/happened/", 1),
		"nobody 3": Batches("127.0.0.1:1", "/happened/", 1),
	} {
		if failed := send(t, r, 1, 2); failed != 2 {
			t.Errorf("%s: %d of 2 failed", name, failed)
		}
		r.Close()
	}
	// The server says that it closes the connection, or breaks it, by turns.
	var n int
	brittle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		switch n % 3 {
		case 0:
			w.Header().Set("Connection", "close")
		case 1:
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "taken")
	}))
	defer brittle.Close()
	r := Calls(strings.TrimPrefix(brittle.URL, "http://"), "/happened/", 1)
	defer r.Close()
	if failed := send(t, r, 1, 9); failed != 3 || n != 9 {
		t.Errorf("%d of %d failed, want 3 of 9", failed, n)
	}
}

// A report of nobody who answers ends with its context.
func TestAReportIsBrokenOff(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, r := range map[string]Reporter{"calls": Calls(l.Addr().String(), "/", 1), "sockets": Sockets(l.Addr().String(), "/", 1), "batches": Batches(l.Addr().String(), "/", 1)} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Report(ctx, 0, Report{}) }()
		time.AfterFunc(10*time.Millisecond, cancel) // before or after it is sent: both must end
		if err := <-done; err == nil {
			t.Errorf("%s: a report that nobody took is stored", name)
		}
		r.Close()
	}
}

// Vehicles beyond those of the input drive along the same tracks, again and again.
func TestPositionsNeverEnd(t *testing.T) {
	tracks := []vehicle.Track{{Positions: []vehicle.Position{{N: 1, Seconds: 1}, {N: 2, Seconds: 2}}}, {Positions: []vehicle.Position{{N: 1, Seconds: 3}}}}
	at := Positions(tracks)
	var got string
	for _, x := range [][2]int{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 7}, {2, 1}} {
		p := at(x[0], x[1])
		got += fmt.Sprintf("%d:%g ", p.N, p.Seconds)
	}
	if got != "1:1 2:2 3:1 1:3 8:3 2:2 " {
		t.Error(got)
	}
}

func TestLargest(t *testing.T) {
	for _, c := range []struct {
		start, limit, holds, probes int
		want                        [2]int // the largest that held, the smallest that did not
	}{
		{100, 10000, 777, 20, [2]int{775, 787}},
		{100, 10000, 100, 20, [2]int{100, 103}},
		{100, 10000, 40, 20, [2]int{40, 41}},
		{100, 10000, 99999, 20, [2]int{10000, 0}},
		{100, 10000, 0, 20, [2]int{0, 1}},
		{100, 10000, 777, 4, [2]int{400, 800}},
		{100, 10000, 777, 1, [2]int{100, 0}},
	} {
		var asked []int
		holds, fails, err := Largest(c.start, c.limit, 0.03, func(n int) (bool, error) {
			asked = append(asked, n)
			return n <= c.holds, nil
		}, func() bool { return len(asked) < c.probes })
		if err != nil || holds > c.holds || fails != 0 && fails <= c.holds || holds != c.want[0] || fails != c.want[1] {
			t.Errorf("%+v: %d holds and %d does not, %v, by %v", c, holds, fails, err, asked)
		}
	}
	failure := errors.New("broken")
	if _, _, err := Largest(1, 2, 0.1, func(int) (bool, error) { return false, failure }, func() bool { return true }); !errors.Is(err, failure) {
		t.Error(err)
	}
}
