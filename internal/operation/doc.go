// Package operation keeps operations: the tokens that clients hold for work that goes on after the response.
//
// An operation is running until the first of three things has happened: an event of a type that its spec names, and that
// carries its id, was stored in one of the topics that the spec names; its time is out; somebody cancelled it. The end is
// final. It is kept for Options.Keep and then forgotten.
//
// Promises:
//
//   - Whoever was told an id finds the operation after a crash, running or ended: its state is durable before the id leaves.
//   - No event is missed. An operation is known to the reader of its topics before its id leaves Begin, so its event
//     cannot come too early; readers keep a durable cursor, which moves in the commit that ends what was read, so it
//     cannot be overlooked by a restart either. Only retention can overtake a reader; then the time ends the operation.
//   - Nobody polls inside: those who wait are woken by the end.
//   - Ids are UUIDv7 with 74 random bits from crypto/rand. They cannot be guessed, so the id is what a client needs to
//     see an operation; a route may ask for more with authorize.
//
// Bounds: Options.MaxRunning operations run at a time (more are refused with Overloaded) with about 600 bytes each, and
// MaxWatches different sets of topics are read. Final operations are in state records only.
//
// Start starts one goroutine, the keeper, which alone writes and so decides every race between ends, and one reader for
// each set of topics; Drain frees those who wait, Stop ends the goroutines and waits for them.
package operation
