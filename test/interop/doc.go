// Package interop tests Tandem with clients and libraries that nobody here wrote: the CloudEvents SDK for Go, the npm
// packages eventsource and standardwebhooks, curl, and a browser for the shop's page. The server under test is the real binary in its own process.
//
// It also tries to break the promises from outside, as a stranger or an operator would: bad input and configuration,
// directories that cannot be used, roles, reloads, and readers that do not read.
//
// Run it with make interop, which installs the npm packages. Without TANDEM_BINARY the tests are skipped, and
// without chromium the browser's.
package interop
