// Package gateway serves the public listener: the routes of the configuration and nothing else.
//
// A request is matched by method and path, checked for its origin, stripped of Tandem-… fields, given a flow and a trace,
// and put to the services that authorize it (503 or 504 when one of them
// does not answer). Then, by route:
//
//   - service: it goes to the service and the answer comes back, both streamed. The service is given until the header of
//     its answer (Service.Timeout, not counting what the client takes to send the body); 502 when it cannot be reached or
//     breaks off, 504 when its time is out. A client that leaves takes the service's request with it. An answer that begins
//     before the body of the request has all come goes out at once; over HTTP/1 its connection is then closed.
//   - topic: it becomes an event, answered 202 once that is durable, or with the data of the reply event (respond).
//   - operation: true: operations are looked at and cancelled.
//   - stream: events are handed out as they are stored.
//
// # Decisions
//
// Answers carry Tandem-Flow, so that a client can say which request it means, and no other Tandem-… field, whatever the
// service sent. A created traceparent has the flow as its trace id.
//
// The source of an event is the route ("/routes/POST/orders/:id"): what a client says about itself is data. With an
// Idempotency-Key the event's id is derived from principal, route and key, so that a repeat is answered with the first
// receipt, and the same key from somebody else, or on another route, is another event. The receipt that clients see has
// no position: how much a topic holds is not their business.
//
// The operation of a service route is known, in memory, before the request is forwarded, so that the event of a fast
// service finds it, and becomes durable before the header of the answer goes out. A request that fails (400 and above) leaves
// none behind, since nobody was told its id. Under Prefer: respond-async the service is asked all the same, and its success is answered
// with 202 and the operation. If the operation cannot be stored, the service's answer stands and goes out without the link,
// since its work is done. On a topic route the operation is stored with the event, in one step.
//
// What an authorizer is told of the path is in one spelling: needless escapes are gone, so that it may compare.
//
// # Bounds
//
// Bodies that become events are read whole, up to Route.MaxBodyBytes; others pass through a pooled buffer of 32 KiB. A
// client has 30 s to send such a body, and 30 s for each part of a streamed one (408). The gateway starts
// goroutines only to wait for replies, one for each set of topics while somebody waits; Stop ends them.
package gateway
