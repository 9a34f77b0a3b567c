package gateway

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// Route binds a method and a path of the public listener to exactly one of Service, Topic, Operation (as public face),
// Stream and Client. The zero value of each optional field means what its comment says.
type Route struct {
	// Match is "METHOD /path", "METHOD,METHOD /path", or "/path" for every method. GET answers HEAD, too. A segment
	// {name} stands for one segment that is not empty, a last {name...} for all the rest.
	Match string `json:"match"`

	// Service answers the request.
	Service string `json:"service,omitempty"`

	// Topic stores the request as an event of Type. Key orders it and Subject is its subject: "data.PATH" takes a member
	// of the JSON body, anything else is text in which {name} stands for a segment of the path and {principal} for who
	// was authorized. An empty Key leaves it to the topic.
	Topic   string `json:"topic,omitempty"`
	Type    string `json:"type,omitempty"`
	Key     string `json:"key,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Respond makes the data of a reply event the answer. Topic routes only.
	Respond *Respond `json:"respond,omitempty"`

	// Operation is "true" for the public face of operations, or what ends the operation that each request of a service
	// or topic route begins.
	Operation *Operation `json:"operation,omitempty"`

	// Stream hands events to clients as they are stored.
	Stream *Stream `json:"stream,omitempty"`

	// Client serves the browser module.
	Client bool `json:"client,omitempty"`

	// Authorize names the services that are asked, in order, before anything else happens.
	Authorize Authorizers `json:"authorize,omitempty"`

	// MaxBodyBytes is the largest request body. Zero means the largest event on topic routes and no limit on service
	// routes, which stream it.
	MaxBodyBytes int64 `json:"maxBodyBytes,omitempty"`
}

// Respond waits for the reply event of a type in the flow of the request.
type Respond struct {
	Type    string          `json:"type"`
	Timeout tandem.Duration `json:"timeout,omitempty"` // zero means DefaultRespondTimeout
	// Topics are where the reply is looked for; empty means the route's topic.
	Topics []string `json:"topics,omitempty"`
}

// Stream is what a stream route hands out.
type Stream struct {
	Topics []string      `json:"topics"`           // names or patterns
	Filter tandem.Filter `json:"filter,omitempty"` // {name} in its values, not in sql and cel, stands for a segment of the path
	// Slow is what becomes of a client that does not keep up, unless it asks for something else. Empty means catchup.
	Slow tandem.Slow `json:"slow,omitempty"`
	// Publish makes events of WebSocket messages. Nil refuses them.
	Publish *StreamPublish `json:"publish,omitempty"`
}

// StreamPublish is what becomes of a message that a client sends. Key and Subject are as on topic routes.
type StreamPublish struct {
	Topic   string `json:"topic"`
	Type    string `json:"type"`
	Key     string `json:"key,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// Operation is the value of a route's operation key.
type Operation struct {
	// Public is true for "operation: true": the route is the public face of operations, and Spec is zero.
	Public bool
	Spec   tandem.OperationSpec
}

// UnmarshalJSON accepts true or an object.
func (o *Operation) UnmarshalJSON(b []byte) error {
	if string(b) == "true" {
		*o = Operation{Public: true}
		return nil
	}
	if len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("operation is true or {topics, succeed, fail, timeout}")
	}
	*o = Operation{}
	return httpx.Strict(b, &o.Spec)
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (o Operation) MarshalJSON() ([]byte, error) {
	if o.Public {
		return []byte("true"), nil
	}
	return json.Marshal(o.Spec)
}

// Authorizer is a service that is asked whether a request may pass.
type Authorizer struct {
	Service string `json:"service"`
	Path    string `json:"path,omitempty"` // empty means DefaultAuthorizePath
}

// Authorizers are asked in order. In JSON they are a name, an object, or a list of both.
type Authorizers []Authorizer

// UnmarshalJSON accepts a name, an object, or a list of both.
func (a *Authorizers) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
	} else {
		list = []json.RawMessage{b}
	}
	*a = make(Authorizers, len(list))
	for i, raw := range list {
		if len(raw) > 0 && raw[0] == '"' {
			if err := json.Unmarshal(raw, &(*a)[i].Service); err != nil {
				return err
			}
			continue
		}
		if err := httpx.Strict(raw, &(*a)[i]); err != nil {
			return fmt.Errorf("authorize is the name of a service, {service, path}, or a list of those: %w", err)
		}
	}
	return nil
}

// Defaults of routes.
const (
	DefaultAuthorizePath  = "/authorize"
	DefaultRespondTimeout = 10 * time.Second
)
