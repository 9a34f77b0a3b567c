// Package webhook sends one event to an HTTP endpoint and says what came back: the sender of the delivery loop. It
// decides nothing: whether to try again, and when, is the loop's part (package delivery).
//
// A request is a POST with the event in the structured mode of CloudEvents, since the signature of Standard Webhooks
// covers only the body, and with Tandem's own headers. Redirects are never followed, an answer is read up to
// MaxAnswerBytes, and the rest of it is dropped together with its connection.
//
// Nothing here starts a goroutine; connections belong to the Transport, whose idle ones CloseIdleConnections ends.
package webhook
