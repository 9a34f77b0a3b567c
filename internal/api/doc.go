// Package api is the API listener: the resources under /v1, /metrics, /livez and /readyz. What a request may do is decided
// here and in package auth; what it does is done by the rooms behind the interfaces in Options.
//
// A publish is answered after the log has stored it. Of one request at most the body is in memory, within the limits of
// Options; lines of NDJSON are read, stored and answered in groups of at most 1024 lines and about 1 MiB, of which at most
// three exist at a time. Requests are refused before anything of them is stored, but for NDJSON, where each line stands on its own.
//
// An API starts goroutines only within a request (one for a bulk request that is larger than a group), which ends before
// the request does. Close it to take its registration off the log.
package api
