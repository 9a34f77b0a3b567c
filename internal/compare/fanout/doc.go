// Package fanout is the scenario of one change that many services want to know of: how long its owner takes to tell 1 to 50 of them, what becomes
// of the others when one of them is down, and what a service that is added later learns of what happened before.
package fanout
