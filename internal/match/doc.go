// Package match finds, among many filters, those that an event may match: by an attribute that a filter is bound to certain
// values or beginnings of (tandem.Filter.Bounds). An event then costs as many evaluations as there are candidates, and not as
// there are filters. Whether a candidate matches is for the caller to judge.
//
// The package holds no lock and starts nothing.
package match
