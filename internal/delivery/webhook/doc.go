// Package webhook sends events to an HTTP endpoint and says what came back: the sender of the delivery loop. It decides nothing:
// whether to try again, and when, is the loop's part (package delivery).
//
// A request is a POST with one event in the structured mode of CloudEvents, since the signature of Standard Webhooks covers only
// the body; in binary mode; or with many events in a batch, whose answer may say of each what became of it (Answer.Results). Redirects
// are never followed, an answer is read up to MaxAnswerBytes, and the rest of it is dropped together with its connection.
//
// A Guard keeps URLs of strangers away from addresses that are not public, at the moment of the connection. What is told of an
// exchange never shows the secrets of its Target.
//
// Nothing here starts a goroutine; connections belong to the Transport, whose idle ones CloseIdleConnections ends.
//
// Read webhook.go (one exchange), request.go (what is sent), then guard.go, token.go and handshake.go; see docs/adr/0007-webhooks.md.
package webhook
