// Package source takes messages from queues of RabbitMQ and publishes them as events.
//
// # Promises
//
// A message is acknowledged to RabbitMQ after its event is stored durably, never before: what is taken is in the log, or in its queue. An event
// with an id, its own or that of the message (message_id), takes effect once within the log's window, however often RabbitMQ hands it out; a
// message without one that is handed out again becomes a second event. Events keep the order of the queue, as far as RabbitMQ does. A message that
// is no valid event is rejected: it goes to the dead-letter exchange of its queue, or is dropped where there is none.
//
// While the log takes nothing, nothing is acknowledged, and nothing is lost: RabbitMQ keeps the rest. While RabbitMQ cannot be reached, the source
// tries on; nothing else notices.
//
// # Bounds
//
// A source holds at most as many messages as its prefetch.
//
// # Who stops it
//
// Sources.Stop lets what is being stored finish, then cancels it, and returns when every goroutine is gone.
//
// Read sources.go (which run), then taker.go (one of them); see docs/adr/0016-amqp.md.
package source
