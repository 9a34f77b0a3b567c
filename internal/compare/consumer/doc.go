// Package consumer is a service that wants to know what happens elsewhere. It is told of units of work, by whoever is asked to tell it, as
// CloudEvents in JSON whose data has the number of the unit as "unit", and says at the end which units it had, when, and how often. It cannot
// know whether a service called it or Tandem delivered.
package consumer
