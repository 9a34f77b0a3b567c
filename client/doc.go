// Package client speaks to the API listener of a Tandem server over HTTP: it publishes events, reads and follows
// topics, by server-sent events or WebSocket, and manages topics, subscriptions and dead letters; Webhook takes in what subscriptions
// send. It links only package tandem, the frames of WebSocket and the standard library.
//
// A Client is safe for concurrent use, starts no goroutine that outlives a call, and needs no closing; a Socket, one connection for
// reading and publishing, does. Every error is a
// *tandem.Error with the code that the server saw; Unavailable also stands for a server that cannot be reached.
//
// What can be sent again without harm is: reads, changes of declarations, and publishing where every event has an id of
// its own, since a server takes a repeated id once (within its window). Such requests are repeated after 429, 503 and a broken
// connection, as Retry-After says or with exponential backoff and full jitter. Events without ids are sent once, except
// after 429, which says that nothing was stored.
package client
