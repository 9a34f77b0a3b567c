// Package server is the Tandem process: it opens the log, starts the rooms that work on it and serves the two listeners,
// public for the routes of the configuration and API for everything else. Programs embed it with New and Start.
//
// Read wire.go first: it builds everything in the order that an event travels. A server owns what it starts; Stop takes
// it down in the reverse order and waits.
package server
