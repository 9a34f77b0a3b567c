// Package compare runs the same work in both styles, as requests and as events, on the same services under the same load, and
// reports what each costs and what each does under faults.
package compare
