// Package browser serves tandem.js, the module with which a page reads and publishes: one file, without dependencies, that a browser
// loads as it is. docs/streams.md says what it promises; its tests are in test/interop/js/client, since they need node.
package browser
