package api_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/api"
)

// TestStatus: who asks learns what the server is, whether it takes events, and how far back it knows an id.
func TestStatus(t *testing.T) {
	var why error
	window := api.Window{Entries: 2, Max: 100, Bytes: 4096, Keep: 24 * time.Hour, Oldest: time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)}
	h := newHarness(t, func(o *api.Options) {
		o.Version = "1.2.3"
		o.Ready = func() error { return why }
		o.Window = func() api.Window { return window }
	})
	type document struct {
		Version, Engine, Log, Reason string
		Ready                        bool
		Streams, Operations          int
		Window                       json.RawMessage
		Capabilities                 []driver.Capability
	}
	got := decode[document](h.do("GET", "/v1/status", "").want(200))
	if got.Version != "1.2.3" || got.Engine == "" || len(got.Log) != 16 || !got.Ready || got.Reason != "" {
		t.Errorf("%+v", got)
	}
	if want := `{"entries":2,"max":100,"bytes":4096,"keep":"24h0m0s","oldest":"2026-01-31T09:30:00Z"}`; string(got.Window) != want {
		t.Errorf("window %s, want %s", got.Window, want)
	}
	info := h.log.Info()
	if want := info.Capabilities(); !slices.Equal(got.Capabilities, want) {
		t.Errorf("capabilities %+v, want %+v", got.Capabilities, want)
	}
	why = tandem.Errorf(tandem.CodeUnavailable, "draining")
	window = api.Window{Keep: time.Hour}
	got = decode[document](h.do("GET", "/v1/status", "").want(200))
	if got.Ready || got.Reason != "draining" {
		t.Errorf("%+v", got)
	}
	if want := `{"entries":0,"max":0,"bytes":0,"keep":"1h0m0s"}`; string(got.Window) != want {
		t.Errorf("window %s, want %s", got.Window, want)
	}
	h.do("GET", "/v1/status?x=1", "").problem(400, "x")
}
