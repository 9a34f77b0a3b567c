// Package shop is an example of a whole small system: five plain HTTP services, the configuration that joins them, and
// some real orders to place. The services are the packages below it; README.md tells what they say to each other.
package shop

import _ "embed"

// Config is tandem.yaml, with the ports of services that are started by hand.
//
//go:embed tandem.yaml
var Config []byte

// SampleOrders is a part of a public data set of real invoices; README.md names its source and licence.
//
//go:embed orders-sample.csv
var SampleOrders []byte

// Services are the names of the services, in an order to start them.
func Services() []string {
	return []string{"accounts", "inventory", "payments", "notifications", "orders"}
}
