package consumer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/internal/benchfloor"
)

// maxBody is the largest request that is read.
const maxBody = 16 << 20

// Kinds of consumers.
const (
	Plain   = "plain"   // remembers what it took and nothing else
	Map     = "map"     // keeps the latest position of each vehicle
	Surge   = "surge"   // counts the vehicles of each cell of a hundredth of a degree
	History = "history" // syncs every event to a file before it answers
)

// Taken is what a consumer had of one unit of work.
type Taken struct {
	Unit  string `json:"unit"`
	At    int64  `json:"at"`    // when it came first, Unix nanoseconds
	Times int    `json:"times"` // how often
}

// Consumer is the service. Safe for concurrent use.
type Consumer struct {
	kind string
	mux  http.ServeMux
	file *benchfloor.File // of a history

	mu     sync.Mutex // guards what follows
	taken  map[string]*Taken
	latest map[string]cell // by vehicle
	cells  map[cell]int
}

type cell struct{ x, y int }

// event is what is looked at of a CloudEvent.
type event struct {
	Subject string `json:"subject"`
	Data    struct {
		Unit      string  `json:"unit"`
		Longitude float64 `json:"longitude"`
		Latitude  float64 `json:"latitude"`
	} `json:"data"`
}

// Open returns a consumer of a kind; a history makes or truncates the file at path, which the others do not look at.
func Open(kind, path string) (*Consumer, error) {
	c := &Consumer{kind: kind, taken: map[string]*Taken{}, latest: map[string]cell{}, cells: map[cell]int{}}
	switch kind {
	case Plain, Map, Surge:
	case History:
		var err error
		if c.file, err = benchfloor.OpenFile(path); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("no consumer is of the kind %q", kind)
	}
	c.mux.HandleFunc("POST /events", c.take)
	c.mux.HandleFunc("GET /taken", c.list)
	return c, nil
}

// ServeHTTP answers POST /events, which takes one CloudEvent or a batch, and GET /taken, which lists []Taken by unit.
func (c *Consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Close closes the file of a history.
func (c *Consumer) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

func (c *Consumer) take(w http.ResponseWriter, r *http.Request) {
	at := time.Now().UnixNano()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	events, err := decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if c.file != nil {
		if err := c.file.Append(append(body, '\n')); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	c.mu.Lock()
	for i := range events {
		c.remember(&events[i], at)
	}
	c.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// decode reads one event or an array of them.
func decode(body []byte) ([]event, error) {
	events := make([]event, 1)
	var err error
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		err = json.Unmarshal(body, &events)
	} else {
		err = json.Unmarshal(body, &events[0])
	}
	if err != nil {
		return nil, err
	}
	for i := range events {
		if events[i].Data.Unit == "" {
			return nil, fmt.Errorf("event %d has no data.unit", i)
		}
	}
	return events, nil
}

// remember does a consumer's work, once for each unit; with mu held.
func (c *Consumer) remember(ev *event, at int64) {
	unit := ev.Data.Unit
	if t := c.taken[unit]; t != nil {
		t.Times++
		return
	}
	c.taken[unit] = &Taken{Unit: unit, At: at, Times: 1}
	if c.kind != Map && c.kind != Surge {
		return
	}
	now := cell{int(math.Floor(ev.Data.Longitude * 100)), int(math.Floor(ev.Data.Latitude * 100))}
	before, moved := c.latest[ev.Subject]
	c.latest[ev.Subject] = now
	if c.kind == Surge {
		if moved {
			c.cells[before]--
		}
		c.cells[now]++
	}
}

func (c *Consumer) list(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	taken := make([]Taken, 0, len(c.taken))
	for _, t := range c.taken {
		taken = append(taken, *t)
	}
	c.mu.Unlock()
	slices.SortFunc(taken, func(a, b Taken) int { return strings.Compare(a.Unit, b.Unit) })
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(taken) // who asked is gone: nobody to tell
}
