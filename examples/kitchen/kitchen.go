// Package kitchen is an example of a whole small system in which people wait: a kitchen that takes orders and finishes each after
// a time that nobody knows, and the configuration that joins it with those who wait. README.md tells what goes over the wire.
package kitchen

import _ "embed"

// Config is tandem.yaml, with the ports of services that are started by hand.
//
//go:embed tandem.yaml
var Config []byte
