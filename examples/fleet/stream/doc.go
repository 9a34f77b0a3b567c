// Package stream is all that a vehicle, or whoever follows vehicles, knows of Tandem: a WebSocket (RFC 6455) with frames in
// JSON, the subprotocol tandem.v1.json of docs/streams.md. A connection that breaks stays broken: who uses it dials again.
package stream
