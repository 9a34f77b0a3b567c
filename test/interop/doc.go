// Package interop tests Tandem with clients and libraries that nobody here wrote: the CloudEvents SDKs for Go and
// JavaScript, the tool and the scenarios of cloudevents/conformance, the npm packages eventsource, ws, standardwebhooks and svix, curl, a
// browser for the shop's page and pages of its own, and nginx and HAProxy in front of streams. The server under test is the real binary in its own process.
//
// It also tries to break the promises from outside, as a stranger or an operator would: bad input and configuration,
// directories that cannot be used, roles, reloads, and readers that do not read. And it kills the server under load, with webhooks,
// replies and clients that pull.
//
// Run it with make interop, which installs the npm packages. Without TANDEM_BINARY the tests are skipped, and
// without chromium, nginx or haproxy those that need it.
package interop
