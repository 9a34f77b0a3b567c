package client

import (
	"context"
	"net/http"

	"github.com/tandem-hybrid/tandem"
)

// Status is what a server is doing.
type Status struct {
	Version    string  `json:"version"`
	Engine     string  `json:"engine"`           // embedded, kafka or nats
	Log        string  `json:"log"`              // identity of the log, in hexadecimal
	Ready      bool    `json:"ready"`            // events can be published
	Reason     string  `json:"reason,omitempty"` // why it is not ready
	Streams    int     `json:"streams"`
	Operations int     `json:"operations"`
	Window     *Window `json:"window,omitempty"`

	Flows        *tandem.FlowIndexStatus `json:"flows,omitempty"`    // how the index of flows stands
	Services     []tandem.ServiceHealth  `json:"services,omitempty"` // base URLs of services that are checked
	Capabilities []Capability            `json:"capabilities"`
	Warnings     []string                `json:"warnings,omitempty"` // what of the engine's settings weakens a promise
}

// Window says how far back a repeated id is recognised.
type Window struct {
	Entries int             `json:"entries"`
	Max     int             `json:"max"`
	Bytes   int64           `json:"bytes"` // memory that they take
	Keep    tandem.Duration `json:"keep"`
	Oldest  string          `json:"oldest,omitempty"` // RFC 3339
}

// Capability is what an engine declares, where engines differ.
type Capability struct {
	Name string `json:"name"`
	Is   string `json:"is"`
}

// Status returns what the server is doing, also when it is not ready.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/status", repeat: repeatAlways}, &s)
	return s, err
}

// Configuration is what is in force of the configuration file, beside topics and subscriptions.
type Configuration struct {
	File      bool            `json:"file"`                // there is one, which can be read again
	Since     string          `json:"since"`               // RFC 3339: when it took effect
	Later     []string        `json:"later,omitempty"`     // keys with other values in the file, which hold from the next start on
	Refused   *tandem.Problem `json:"refused,omitempty"`   // of the last reload; nil when that took effect
	RefusedAt string          `json:"refusedAt,omitempty"` // RFC 3339

	Services []tandem.Service `json:"services"`
	Routes   []Route          `json:"routes"`
	Sources  []Source         `json:"sources"`
}

// Route is a route of the public listener: what it matches, and which of the five things it is bound to.
type Route struct {
	Match   string `json:"match"`
	Service string `json:"service,omitempty"`
	Topic   string `json:"topic,omitempty"`
	Type    string `json:"type,omitempty"` // of the events that a topic route stores
	Stream  *struct {
		Topics  []string       `json:"topics"`
		Filter  *tandem.Filter `json:"filter,omitempty"`
		Publish *struct {
			Topic string `json:"topic"`
			Type  string `json:"type"`
		} `json:"publish,omitempty"`
	} `json:"stream,omitempty"`
	Client bool `json:"client,omitempty"`
	// Operation is "true" in JSON, for the public face of operations, or says what ends those that a service or topic route begins.
	Operation any `json:"operation,omitempty"`
	Authorize []struct {
		Service string `json:"service"`
	} `json:"authorize,omitempty"`
}

// Source is a queue of RabbitMQ whose messages become events of a topic.
type Source struct {
	Name  string `json:"name"`
	Queue string `json:"queue"`
	Topic string `json:"topic"`
}

// Config returns the configuration in force.
func (c *Client) Config(ctx context.Context) (Configuration, error) {
	var doc Configuration
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/config", repeat: repeatAlways}, &doc)
	return doc, err
}
