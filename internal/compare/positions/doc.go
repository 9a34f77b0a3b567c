// Package positions is the scenario of vehicles that report where they are every four seconds: how many of them one machine can serve until one
// report in a hundred takes a second, by calls of a service that stores them, and by events, singly, in batches and over WebSocket; alone, and
// with a map, surge prices and a history that want every report.
package positions
