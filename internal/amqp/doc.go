// Package amqp speaks AMQP 0-9-1 to RabbitMQ, for the rooms that deliver to it (internal/delivery) and take from it (internal/source):
// connections, publishing with confirms, consuming with manual acknowledgement, and events as messages.
//
// # Promises
//
// A message is Confirmed when RabbitMQ has confirmed it and a queue has taken it: publishing is mandatory and persistent. What is not
// known to be taken is said to be so, with the reason. Nothing is published twice by this package; its callers try again.
//
// # Connections
//
// A Pool has one connection for each broker that somebody uses; publishers and consumers have a channel of their own on it. Who publishes
// and who consumes use different pools: a broker that is low on memory stops reading from the connections that publish, with the
// acknowledgements on them. A connection that is lost is made again when the next user asks for a channel, with waits between the attempts
// (backoff with jitter) that all users share. Passwords appear in no error and no log.
//
// # Bounds
//
// A publisher has as many messages without confirm as its callers wait for, and 1,024 more that nobody waits for any longer; then its channel
// is replaced. A consumer holds as many messages as its prefetch.
//
// # Who stops it
//
// Publisher.Close and Consumer.Close release the connection; the last one ends it and waits for its goroutines.
//
// Read address.go, broker.go (the connection), publisher.go and pubchannel.go, consumer.go, then encode.go and decode.go (the CloudEvents binding);
// see docs/adr/0016-amqp.md.
package amqp
