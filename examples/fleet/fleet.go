// Package fleet is an example of a whole small system: vehicles that send their positions, a page that shows them, and the
// configuration that joins them. README.md tells what goes over the wire.
package fleet

import _ "embed"

// Config is tandem.yaml, with the port of a service that is started by hand.
//
//go:embed tandem.yaml
var Config []byte

// Services are the names of the services, in an order to start them.
func Services() []string { return []string{"map"} }
