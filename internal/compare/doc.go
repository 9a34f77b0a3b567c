// Package compare runs the same work in several styles, such as requests and events, on the same services under the same
// load, and reports what each costs and what each does under faults.
//
// Run carries out Scenarios, each a package below this one. A Scenario names Trials; a Trial gets an Env of its own, in which it
// starts a Tandem server and services as child processes (Start, Launch), and measures one Cell. Where work is offered
// by the clock, Env.Run does all of that: an open-loop load, faults, cost, and an account of what callers were told against what
// services did. A scenario with other load uses Histogram, Env.Measure and Env.Inject by itself.
//
// Between all processes stand proxies of this one, in every style alike. They count what goes over the wire, and make
// services slow or fail, so that this also works on services that were not made for it.
package compare
