// Package interop tests Tandem with clients and libraries that nobody here wrote: the CloudEvents SDK for Go, the npm
// packages eventsource and standardwebhooks, and curl. The server under test is the real binary in its own process.
//
// Run it with make interop, which installs what it needs. Without TANDEM_BINARY the tests are skipped.
package interop
