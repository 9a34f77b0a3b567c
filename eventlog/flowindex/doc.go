// Package flowindex keeps, in a local store, where the events of each flow lie: by flow, by the name that other events use for them as
// their cause, by an effect in another flow, and by trace. It holds places and no events; see docs/adr/0025-flows.md.
//
// All that is written follows from the event, so that an event may be added again. Nothing is synced: the store says for each partition
// how far it goes, in the batch that goes so far, and what a crash took is read again. Entries lie in generations by the time of
// acceptance, which are dropped whole, the oldest first, by age and size.
package flowindex
