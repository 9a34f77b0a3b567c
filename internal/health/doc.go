// Package health knows which base URLs of services take requests. It asks each that has a health check from time to time (check.go), watches what
// becomes of requests to it (through.go), and spreads requests over those that are healthy, or over all when none is.
//
// A base URL counts as healthy until checks, or requests, of the number declared have failed in a row. Then only checks that pass make it healthy
// again: a service that is about to stop may fail its checks and still answer, and is left alone all the same. What a check finds out is lost at a
// restart; a reload keeps it for services whose base URLs and checks stay.
//
// There is one goroutine for each base URL that is checked, and none for the others; a check under way has those of its connection, which it closes
// when it ends. Stop ends the checks.
package health
