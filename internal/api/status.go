package api

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Window says how far back the engine recognises a repeated id (promise 6).
type Window struct {
	Entries int           // ids remembered
	Max     int           // how many are remembered at most
	Bytes   int64         // memory that they take
	Keep    time.Duration // how long an id is remembered at most; a topic with a shorter retention forgets earlier
	Oldest  time.Time     // when the oldest of them was accepted; zero when there is none
}

// status is what a server is doing.
type status struct {
	Version    string        `json:"version"`
	Engine     string        `json:"engine"`
	Log        string        `json:"log"` // identity of the log, in hexadecimal
	Ready      bool          `json:"ready"`
	Reason     string        `json:"reason,omitempty"` // why it is not ready
	Streams    int           `json:"streams"`
	Operations int           `json:"operations"`
	Window     *windowStatus `json:"window,omitempty"`

	Flows        *tandem.FlowIndexStatus `json:"flows,omitempty"`    // how the index of flows stands
	Services     []tandem.ServiceHealth  `json:"services,omitempty"` // base URLs of services that are checked
	Capabilities []driver.Capability     `json:"capabilities"`       // what the engine declares
	Warnings     []string                `json:"warnings,omitempty"`
}

type windowStatus struct {
	Entries int             `json:"entries"`
	Max     int             `json:"max"`
	Bytes   int64           `json:"bytes"`
	Keep    tandem.Duration `json:"keep"`
	Oldest  string          `json:"oldest,omitempty"` // RFC 3339
}

func (a *API) status(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) { return a.statusNow(c.r.Context()), "", nil })
}

func (a *API) statusNow(ctx context.Context) *status {
	info := a.log.Info()
	st := status{Version: a.opts.Version, Engine: info.Engine, Log: hex.EncodeToString(info.LogID[:]), Ready: true, Streams: a.opts.Streams.Open(),
		Capabilities: info.Capabilities(), Warnings: info.Warnings}
	if err := a.ready(); err != nil {
		st.Ready, st.Reason = false, tandem.ProblemOf(err).Detail
	}
	if a.opts.Operations != nil {
		st.Operations = a.opts.Operations.Running()
	}
	if a.opts.Window != nil {
		w := a.opts.Window()
		st.Window = &windowStatus{Entries: w.Entries, Max: w.Max, Bytes: w.Bytes, Keep: tandem.Duration(w.Keep)}
		if !w.Oldest.IsZero() {
			st.Window.Oldest = w.Oldest.UTC().Format(time.RFC3339)
		}
	}
	if a.opts.Flows != nil {
		flows := a.opts.Flows.Status(ctx)
		st.Flows = &flows
	}
	if a.opts.Services != nil {
		st.Services = a.opts.Services()
	}
	return &st
}

// ready returns why events cannot be published.
func (a *API) ready() error {
	if err := a.log.Health(); err != nil || a.opts.Ready == nil {
		return err
	}
	return a.opts.Ready()
}
