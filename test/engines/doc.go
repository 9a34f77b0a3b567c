// Package engines tests the engines kafkalog and natslog against their servers: quick ones in this process (kfake, an embedded
// nats-server) in every run, and real ones where TANDEM_KAFKA and TANDEM_NATS say where they are.
//
//	make kafka-up nats-up
//	make engines
//	make kafka-down nats-down
package engines
