package consumer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
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
	kind    string
	mux     http.ServeMux
	history *benchfloor.File

	mu      sync.Mutex // guards what follows
	journal *os.File   // what was taken, to be known after a kill
	taken   map[string]*Taken
	latest  map[string]cell // by vehicle
	cells   map[cell]int
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

// Open returns a consumer of a kind. The file at path keeps what it takes, so that it is still known when the process is killed and started
// again: it is not synced, and does not outlive the machine.
func Open(kind, path string) (_ *Consumer, err error) {
	if !slices.Contains([]string{Plain, Map, Surge, History}, kind) {
		return nil, fmt.Errorf("no consumer is of the kind %q", kind)
	}
	c := &Consumer{kind: kind, taken: map[string]*Taken{}, latest: map[string]cell{}, cells: map[cell]int{}}
	if c.journal, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	err = c.recall()
	if err == nil && kind == History {
		c.history, err = benchfloor.OpenFile(path + "-" + tandem.NewID()) // each life has its own
	}
	if err != nil {
		c.journal.Close()
		return nil, err
	}
	c.mux.HandleFunc("POST /events", c.take)
	c.mux.HandleFunc("GET /taken", c.list)
	c.mux.HandleFunc("GET /count", c.count)
	c.mux.HandleFunc("GET /vehicles", c.vehicles)
	return c, nil
}

// recall reads what was taken before.
func (c *Consumer) recall() error {
	for lines := bufio.NewScanner(c.journal); ; {
		if !lines.Scan() {
			return lines.Err()
		}
		var t Taken
		if json.Unmarshal(lines.Bytes(), &t) == nil { // the last line may be cut off
			c.note(t)
		}
	}
}

// ServeHTTP answers POST /events, which takes one CloudEvent or a batch, GET /taken, which lists []Taken by unit, GET /count, the number
// of units, and GET /vehicles, how many vehicles a map or surge prices know.
func (c *Consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Close closes the files.
func (c *Consumer) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.journal.Close()
	if c.history != nil {
		if herr := c.history.Close(); err == nil {
			err = herr
		}
	}
	return err
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
	if c.history != nil {
		err = c.history.Append(append(body, '\n'))
	}
	if err == nil {
		err = c.work(events, at)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
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

// work does a consumer's work, once for each unit.
func (c *Consumer) work(events []event, at int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []byte
	for i := range events {
		lines = fmt.Appendf(lines, "{\"unit\":%q,\"at\":%d,\"times\":1}\n", events[i].Data.Unit, at)
	}
	if _, err := c.journal.Write(lines); err != nil {
		return err
	}
	for i := range events {
		ev := &events[i]
		if c.note(Taken{ev.Data.Unit, at, 1}) && (c.kind == Map || c.kind == Surge) {
			c.place(ev.Subject, cell{int(math.Floor(ev.Data.Longitude * 100)), int(math.Floor(ev.Data.Latitude * 100))})
		}
	}
	return nil
}

// note notes what was taken, and reports whether it is new.
func (c *Consumer) note(t Taken) bool {
	if before := c.taken[t.Unit]; before != nil {
		before.Times += t.Times
		return false
	}
	c.taken[t.Unit] = &t
	return true
}

func (c *Consumer) place(vehicle string, now cell) {
	before, moved := c.latest[vehicle]
	c.latest[vehicle] = now
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
	answer(w, taken)
}

func (c *Consumer) count(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	n := len(c.taken)
	c.mu.Unlock()
	answer(w, n)
}

func (c *Consumer) vehicles(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	n := len(c.latest)
	c.mu.Unlock()
	answer(w, n)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked is gone: nobody to tell
}
