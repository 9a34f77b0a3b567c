// Package memlog is an engine that holds everything in memory and loses it when the process ends. It exists for tests: it
// is the shortest program that passes the conformance suite, and with Options.Partitioned it stands in for engines whose
// offsets count within a partition, so that nothing above the driver comes to rely on one sequence over the whole log.
//
// It has no goroutines: an Append does its own work under one mutex, and calls the function given to Notify before that
// mutex is released. Nothing is dropped, and memory is bounded by what the test stores.
package memlog
