// Package chain runs request chains: what is published to a topic with request links is sent to those first, and stored when all
// of them have succeeded.
//
// # Promises
//
// Links are called depth first in declared order, those with parallel beside their neighbours that have it, too, within one deadline
// and at most tandem.MaxHops replies deep. Nothing is stored before all have succeeded; then the cause and all replies are, in one
// Commit: where the engine is not atomic, in the order in which they came, the cause first. Ids of replies are derived, so that a
// repeat of a chain that failed calls again and takes effect once. A repeat of an id that is stored calls nobody, and one that
// arrives while its chain runs waits for that. A chain runs to its end when its caller goes away: whether it was stored is never in
// doubt for the next who asks.
//
// # What it costs
//
// A topic without request links costs one atomic load while there are none at all, and a look-up in a map otherwise. A chain costs
// one sync.
//
// # Who stops it
//
// Chain.Stop ends the chains under way, which fail as unavailable.
//
// Read chain.go (the table of links, and publishing), walk.go (the order of calls), then link.go (the mark) and repeat.go (ids that were seen). Links are
// subscriptions of internal/delivery, which puts them into the table; see docs/request-mode.md and docs/adr/0021-request-mode.md.
package chain
