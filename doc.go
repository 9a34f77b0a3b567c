// Package tandem holds the words that every part of Tandem shares: events and where they are stored, topics,
// cursors, subscriptions, operations, filters, and errors with stable codes. It knows how those words look on the wire
// (CloudEvents in JSON and in HTTP headers, their filters, RFC 9457 problems, Standard Webhooks) and imports nothing
// but the standard library, so that a service can link it, or the packages client and outbox above it, at no cost.
//
// Nothing here does I/O or starts a goroutine, and all functions are safe for concurrent use. Values are plain data:
// whoever holds one owns it, unless a comment says that bytes are shared.
package tandem
